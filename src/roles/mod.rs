//! Composition: the only code that names concrete adapters. [`stores`] and [`parts`] open them, [`gateway`] and [`workers`]
//! run them, [`service`] is a process with one of these roles or both.

pub mod accounts;
pub mod curator;
pub mod data_dir;
pub mod embedder;
pub mod erase;
pub mod gateway;
mod known;
mod membership;
pub mod migrations;
pub mod models;
pub mod operations;
pub mod parts;
pub mod service;
pub mod stores;
pub mod tidings;
pub mod trial;
pub mod workers;
