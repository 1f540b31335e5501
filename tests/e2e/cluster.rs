//! The distributed mode: two gateways, two workers, a broker, a database and an index, all real processes over real
//! sockets, under a load that remembers what it was promised, while one of them after the other fails.
//!
//! Each run ends with the same questions ([`check`]): is every turn that was read to its `done` stored once, with the
//! text that was read, and delivered; does the ledger balance with nothing pending; are sequences without gaps; and did
//! no stream fail because of a server that has no part in answering.

mod broker;
mod check;
mod database;
mod kills;
mod load;
mod network;
mod promise;
mod site;
mod timing;

/// A number that the environment may set, for longer runs by hand.
fn number_of(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().map_or(otherwise, |number| number.parse().expect(variable))
}
