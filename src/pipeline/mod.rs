//! A turn, from the question to the record on disk: [`engine`] runs the [`stages`] and [`live`] keeps what they say for
//! whoever reads. [`catalog`] holds the company pipelines, ready to run; [`chain`] asks the models.
//!
//! **Invariants.** Nothing here waits for the bus, and for the store only within a bound. `Done` is said after the
//! outbox has the record on disk.

pub mod ask;
mod breaker;
pub mod catalog;
pub mod chain;
pub mod citations;
pub mod engine;
pub mod gone;
pub mod history;
pub mod live;
pub mod neighbours;
pub mod prompt;
pub mod reasoning;
pub mod search;
pub mod stages;
mod told;
mod turn;
