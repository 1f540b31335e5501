//! The stages of a turn, one file each, in the order in which they run.

pub mod language;

pub mod intent;

pub mod rewrite;

pub mod retrieve;

pub mod generate;
