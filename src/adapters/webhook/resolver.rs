//! Looks names up for the webhook client, and leaves out what is not the internet's. It is asked at every connection, so
//! a name that changes its address after it was registered gains nothing.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;
use super::phases;
use crate::ports::webhook::Error;

/// The system's resolver behind a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    /// Whether everything is let through.
    pub(super) allow_private: bool,
}

impl Resolver {
    /// The allowed addresses of a name, at least one.
    ///
    /// # Errors
    /// `Dns` when it has none at all, `Address` when none is allowed.
    pub(super) async fn addresses(self, name: &str) -> Result<Vec<SocketAddr>, Error> {
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| Error::Dns(error.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(Error::Dns(format!("{name} has no address")));
        }
        let allowed = self.allowed(found);
        if allowed.is_empty() { Err(Error::Address(name.to_owned())) } else { Ok(allowed) }
    }

    fn allowed(self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        addresses.retain(|address| self.allow_private || is_public(address.ip()));
        addresses
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = *self;
        Box::pin(async move {
            match phases::looking_up(resolver.addresses(name.as_str())).await {
                // Port 0 lets the client put in the URL's.
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(error) => Err(error.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_left_out_of_a_mixed_answer() {
        let mixed: Vec<SocketAddr> =
            ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(Resolver { allow_private: false }.allowed(mixed.clone()), ["8.8.8.8:0".parse().unwrap()]);
        assert_eq!(Resolver { allow_private: true }.allowed(mixed.clone()), mixed);
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_at_connection() {
        let name = "localhost";
        assert_eq!(Resolver { allow_private: false }.addresses(name).await, Err(Error::Address(name.to_owned())));
        assert!(Resolver { allow_private: true }.addresses(name).await.is_ok());
    }
}
