//! Composition: the only code that names concrete adapters. [`parts`] opens them, [`service`] runs them as roles.

pub mod data_dir;
pub mod models;
pub mod parts;
pub mod service;
