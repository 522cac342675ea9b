//! `AddressRule`: to which addresses a connection may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// To which addresses a connection may go. Asked about each address itself, after a name was resolved, and
/// the connection then goes to the very address that was asked about.
///
/// Without more, only what the internet routes (IANA's registries of special-purpose addresses): no loopback,
/// no private or link-local networks, no metadata services, whatever form they are written in.
#[derive(Clone, Debug, Default)]
pub struct AddressRule {
    allowed: Vec<(IpAddr, u8)>,
}

impl AddressRule {
    /// Addresses of the internet.
    pub const fn public() -> Self {
        Self {
            allowed: Vec::new(),
        }
    }

    /// Those of this network too: the first `bits` are those of `address`. What is allowed for IPv4 is not
    /// allowed in another form.
    #[must_use]
    pub fn allowing(mut self, address: IpAddr, bits: u8) -> Self {
        self.allowed.push((address, bits));
        self
    }

    /// Whether a connection may go there.
    pub fn allows(&self, address: IpAddr) -> bool {
        let is_in = |(network, bits): &(IpAddr, u8)| is_within(address, *network, *bits);
        is_public(address) || self.allowed.iter().any(is_in)
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let differs: u128 = address ^ network;
    match width - u32::from(bits).min(width) {
        128 => true,
        rest => differs >> rest == 0,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u8); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network (RFC 791)
        (Ipv4Addr::new(10, 0, 0, 0), 8),      // private (RFC 1918)
        (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared (RFC 6598)
        (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback (RFC 1122)
        (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, metadata services (RFC 3927)
        (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
        (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocols (RFC 6890)
        (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation (RFC 5737)
        (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4 (RFC 7526)
        (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
        (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks (RFC 2544)
        (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
        (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
        (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast (RFC 5771)
        (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast (RFC 1112)
    ];
    let is_special =
        |(network, bits): &(Ipv4Addr, u8)| is_within(address.into(), (*network).into(), *bits);
    !SPECIAL.iter().any(is_special)
}

/// Global unicast is 2000::/3 (RFC 4291 §2.4); of that, less what is special. Mapped, translated and
/// tunnelled IPv4 addresses are none: they would be IPv4 addresses in disguise.
fn is_public_v6(address: Ipv6Addr) -> bool {
    const GLOBAL: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    const SPECIAL: [(Ipv6Addr, u8); 5] = [
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocols, Teredo (RFC 2928, RFC 4380)
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation (RFC 3849)
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4 (RFC 3056)
        (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16), // 6bone, given back (RFC 3701)
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation (RFC 9637)
    ];
    let is_in =
        |(network, bits): &(Ipv6Addr, u8)| is_within(address.into(), (*network).into(), *bits);
    is_in(&GLOBAL) && !SPECIAL.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::AddressRule;

    #[test]
    fn net_007_only_what_the_internet_routes_is_public() {
        let rule = AddressRule::public();
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "2606:4700::1",
            "2a00::1",
        ] {
            assert!(rule.allows(public.parse().expect("an address")), "{public}");
        }
        for special in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(
                !rule.allows(special.parse().expect("an address")),
                "{special}"
            );
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_in_its_own_form_alone() {
        let loopback = "127.0.0.0".parse().expect("an address");
        let rule = AddressRule::public().allowing(loopback, 8);
        assert!(rule.allows("127.0.0.1".parse().expect("an address")));
        for other in ["::ffff:127.0.0.1", "::1", "128.0.0.1", "10.0.0.1"] {
            let allowed = rule.allows(other.parse().expect("an address"));
            assert_eq!(allowed, other == "128.0.0.1", "{other}");
        }
        let all = AddressRule::public().allowing("::".parse().expect("an address"), 0);
        assert!(all.allows("::1".parse().expect("an address")));
    }
}
