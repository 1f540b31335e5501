//! Tasks, shutdown and telemetry: what every role runs on.

pub mod limits;
pub mod tasks;
pub mod telemetry;
