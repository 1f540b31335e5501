//! Looks names up for the webhook client, and leaves out what webhooks may not go to. It is asked at every connection, and
//! the client connects to what it gave and to nothing else, so a name that changes its address after it was registered,
//! or between a check and the connection, gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::Allowed;
use super::phases;
use crate::ports::webhook::Error;

/// Addresses of a name that are tried at most.
const MOST_ADDRESSES: usize = 16;

/// Who knows the addresses of names.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of a name.
    ///
    /// # Errors
    /// When they cannot be had now, or when there are none.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system, with its `hosts` file and its name servers.
pub(super) struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A look-up behind a filter.
#[derive(Clone)]
pub(super) struct Resolver {
    /// Who is asked.
    pub(super) lookup: Arc<dyn Lookup>,
    /// What is let through.
    pub(super) allowed: Allowed,
}

impl Resolver {
    /// The allowed addresses of a name, at least one.
    ///
    /// # Errors
    /// `Dns` when it has none at all, `Address` when none is allowed.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Error> {
        let found = self.lookup.lookup(name).await.map_err(|error| Error::Dns(error.to_string()))?;
        if found.is_empty() {
            return Err(Error::Dns(format!("{name} has no address")));
        }
        let allowed = found.into_iter().filter(|&address| self.allowed.permits(address)).take(MOST_ADDRESSES);
        // Port 0 lets the client put in the URL's.
        let allowed: Vec<SocketAddr> = allowed.map(|address| SocketAddr::new(address, 0)).collect();
        if allowed.is_empty() { Err(Error::Address(name.to_owned())) } else { Ok(allowed) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            match phases::looking_up(resolver.addresses(name.as_str())).await {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(error) => Err(error.into()),
            }
        })
    }
}
