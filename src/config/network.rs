//! Blocks of addresses, as they are written in settings.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A block of addresses: `10.1.0.0/16`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// It is something else.
    #[error("{0:?} is not a block of addresses; write one as 10.1.0.0/16, 2001:db8::/32 or 127.0.0.1")]
    Form(String),
    /// Its prefix is longer than the address.
    #[error("{0:?} has a prefix longer than its address; IPv4 has 32 bits, IPv6 has 128")]
    Prefix(String),
    /// It names an address in the block and not the block.
    #[error("{text:?} sets bits behind its prefix; the block is {block}")]
    Bits {
        /// What was written.
        text: String,
        /// What may have been meant.
        block: Network,
    },
}

impl Network {
    /// Whether an address lies in the block. IPv4 and IPv6 are apart, whatever an IPv6 address stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let form = || InvalidNetwork::Form(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| form())?,
            Some(_) => return Err(form()),
            None => bits,
        };
        if prefix > bits {
            return Err(InvalidNetwork::Prefix(text.to_owned()));
        }
        let block = Self { address: masked(address, prefix), prefix };
        if block.address == address { Ok(block) } else { Err(InvalidNetwork::Bits { text: text.to_owned(), block }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An address of which only the first bits are left.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses_and_no_other() {
        for (block, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.1/32", "127.0.0.1", "127.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00:1::/32", "fd00:1:ffff::1", "fd00:2::1"),
            ("::1", "::1", "::2"),
            ("::/0", "::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            let network: Network = block.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {block}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} in {block}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused_with_what_is_wrong() {
        for text in ["", "ten", "10.1/16", "10.1.0.0/", "10.1.0.0/-1", "10.1.0.0/+16", "10.1.0.0/16/8", "example.com/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork::Form(text.to_owned())), "{text}");
        }
        for text in ["10.0.0.0/33", "fd00::/129"] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork::Prefix(text.to_owned())), "{text}");
        }
        let error = "10.1.2.3/16".parse::<Network>().unwrap_err();
        assert_eq!(error.to_string(), "\"10.1.2.3/16\" sets bits behind its prefix; the block is 10.1.0.0/16");
    }
}
