//! Which addresses are the internet's. The ranges are those of IANA's registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `…/iana-ipv6-special-registry`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::config::{self, Network};

/// IPv4 blocks that are not the internet's, with their prefix lengths.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carriers' shared addresses
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, clouds' metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocols
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

/// IPv6 blocks inside global unicast (2000::/3) that are not the internet's.
const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocols, Teredo
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Where webhooks may go.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    everywhere: bool,
    besides: Arc<[Network]>,
}

impl Allowed {
    /// What the settings allow.
    pub(super) fn by(settings: &config::Webhooks) -> Self {
        Self { everywhere: settings.allow_private, besides: settings.allow_addresses.as_slice().into() }
    }

    /// Whether they may go to an address. An IPv4 address that is written as an IPv6 one is the same address; one that
    /// a translator (NAT64, 6to4) leads to is reached by another way, which has to be allowed as such.
    pub(super) fn permits(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.everywhere || is_public(address) || self.besides.iter().any(|block| block.contains(canonical))
    }

    /// Whether they may go to this machine itself.
    pub(super) fn permits_loopback(&self) -> bool {
        self.permits(Ipv4Addr::LOCALHOST.into()) || self.permits(Ipv6Addr::LOCALHOST.into())
    }
}

/// Whether an address is one that anybody on the internet could reach. IPv6 addresses that stand for an IPv4 address
/// are judged by that one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(block, length)| (address.to_bits() ^ block.to_bits()) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in = |block: Ipv6Addr, length: u32| (address.to_bits() ^ block.to_bits()) >> (128 - length) == 0;
    // Everything outside global unicast is special: loopback, unique local, link-local, multicast, local NAT64.
    is_in(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
        && !SPECIAL_V6.iter().any(|&(block, length)| is_in(block, length))
}

/// The IPv4 address in a mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_blocks_can_be_allowed() {
        let besides = ["10.1.0.0/16", "127.0.0.1", "fd00:1::/32"].map(|text| text.parse().unwrap());
        let allowed = Allowed { everywhere: false, besides: Arc::new(besides) };
        for good in ["10.1.2.3", "127.0.0.1", "fd00:1::5", "8.8.8.8", "::ffff:10.1.2.3"] {
            assert!(allowed.permits(good.parse().unwrap()), "{good}");
        }
        for bad in ["10.2.0.1", "127.0.0.2", "fd00:2::5", "::1", "64:ff9b::a01:203", "2002:a01:203::1", "::10.1.2.3"] {
            assert!(!allowed.permits(bad.parse().unwrap()), "{bad}");
        }
        assert!(allowed.permits_loopback());
        assert!(!Allowed { everywhere: false, besides: Arc::new([]) }.permits_loopback());
    }

    #[test]
    fn public_addresses_are_allowed() {
        for good in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
    }
}
