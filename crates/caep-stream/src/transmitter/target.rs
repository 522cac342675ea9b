//! `PushTargets`: to which addresses SETs are pushed. Receivers name them, so they are not to be trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Which addresses a receiver may name for its pushes.
///
/// By default: `https`, a host name or a public address, no user, no fragment. Names of this machine and
/// of private networks are refused here by how they are written; **what a name resolves to must be checked
/// by whoever connects**, and the connection must go to the address that was checked, since a name may
/// mean something else the next time. [`PushTargets::allows_address`] is for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushTargets {
    loopback: bool,
}

impl PushTargets {
    /// Public ones over `https`.
    pub const fn public() -> Self {
        Self { loopback: false }
    }

    /// Also `http` and `https` to this machine, for tests and examples. Receivers can then make the
    /// transmitter send requests to whatever listens here.
    #[must_use]
    pub const fn danger_with_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Whether a receiver may name `url`.
    pub fn allows(self, url: &str) -> bool {
        let Some(host) = host(url) else {
            return false;
        };
        let address = address(&host);
        let here = match address {
            Some(address) => address.is_loopback(),
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        if here {
            return self.loopback;
        }
        if !url.starts_with("https://") {
            return false;
        }
        match address {
            Some(address) => self.allows_address(address),
            None => is_public_name(&host),
        }
    }

    /// Whether a connection may be made to `address`: what a name has resolved to.
    pub fn allows_address(self, address: IpAddr) -> bool {
        match address {
            _ if address.is_loopback() => self.loopback,
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) if address.is_loopback() => self.loopback,
                Some(address) => is_public_v4(address),
                None => is_public_v6(address),
            },
        }
    }
}

impl Default for PushTargets {
    fn default() -> Self {
        Self::public()
    }
}

/// The host of an `http` or `https` URL that is nothing but that: lower case, without the last dot.
fn host(url: &str) -> Option<String> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let is_plain = !rest.contains(['\\', '@', '#'])
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'<' && byte != b'>');
    let uri: Uri = url.parse().ok().filter(|_| is_plain)?;
    let host = uri.host()?.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    (!host.is_empty()).then(|| String::from(host))
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(embedded(address).map_or(IpAddr::V6(address), IpAddr::V4))
        }
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// A name that can be public. Not one are those that some resolvers read as an address: `2130706433`,
/// `0x7f.1`, `0177.0.0.1`; their last label is a number.
fn is_public_name(host: &str) -> bool {
    const INNER: [&str; 6] = ["local", "internal", "localdomain", "lan", "home", "corp"];
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = labels.last().copied().unwrap_or_default();
    host.len() <= 253
        && labels.len() > 1
        && labels.iter().all(is_label)
        && !last.starts_with(|c: char| c.is_ascii_digit())
        && !INNER.contains(&last)
}

/// The IPv4 address inside an IPv6 one: mapped, compatible, 6to4 or NAT64.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// Only what is assigned for global use (2000::/3), without documentation, Teredo and benchmarks.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first & 0xe000 == 0x2000
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_019_net_007_only_public_https_addresses_are_pushed_to() {
        let refused = [
            "http://rc.example/events",
            "ftp://rc.example/",
            "https://",
            "https:///events",
            "https://127.0.0.1/",
            "https://127.9.9.9:8443/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[::]/",
            "https://0.0.0.0/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://rc/",
            "https://metadata.google.internal/",
            "https://printer.local/",
            "https://user@rc.example/",
            "https://rc.example@127.0.0.1/",
            "https://rc.example\\@127.0.0.1/",
            "https://rc.example/#f",
            "https://rc.example/a b",
            "https://rc.example/\r\nX: y",
            "https://r\u{e9}.example/",
            "HTTPS://rc.example/",
        ];
        for url in refused {
            assert!(!PushTargets::public().allows(url), "{url}");
        }
        let allowed = [
            "https://rc.example/events?stream=1",
            "https://RC.example.:8443",
            "https://93.184.215.14/",
            "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
            "https://_a.b-c.rc.example/",
        ];
        for url in allowed {
            assert!(PushTargets::public().allows(url), "{url}");
        }
    }

    #[test]
    fn loopback_is_reached_only_by_whoever_said_so() {
        let targets = PushTargets::public().danger_with_loopback();
        for url in [
            "http://127.0.0.1:4433/e",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            assert!(targets.allows(url), "{url}");
        }
        for url in [
            "http://rc.example/",
            "https://10.0.0.1/",
            "https://0.0.0.0/",
        ] {
            assert!(!targets.allows(url), "{url}");
        }
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(!targets.allows_address(mapped));
        assert!(!PushTargets::public().allows_address("::ffff:127.0.0.1".parse().unwrap()));
        assert!(PushTargets::public().allows_address("93.184.215.14".parse().unwrap()));
    }
}
