//! What happens after a turn, outside its client's path: storing it and telling the company's webhooks.
//!
//! [`runner::run`] is the loop that all jobs share; each job is a file of its own and says what its message means and
//! what became of it. `persist` stores a turn and publishes what follows from it; `deliver` spreads that over the
//! company's endpoints and posts it. Every job may be given the same message twice and has its effect once.
//!
//! Jobs know ports alone: no database, broker or HTTP client is named here.

pub mod deliver;
mod events;
pub mod persist;
pub mod retry;
pub mod runner;
#[cfg(test)]
mod testing;
