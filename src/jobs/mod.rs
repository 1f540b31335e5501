//! What happens after a turn, outside its client's path: storing it and telling the company's webhooks.
//!
//! [`runner::run`] is the loop that all jobs share; each job is a file of its own and says what its message means and
//! what became of it. `persist` stores a turn and publishes what follows from it; `deliver` spreads that over the
//! company's endpoints and posts it; `analytics` counts it. Every job may be given the same message twice and has its
//! effect once. `retention` has no messages: it removes what is not to be kept any longer.
//!
//! Jobs know ports alone: no database, broker or HTTP client is named here.

pub mod analytics;
pub mod deliver;
pub mod ended;
mod events;
pub mod persist;
pub mod retention;
pub mod retry;
pub mod runner;
#[cfg(test)]
mod testing;
