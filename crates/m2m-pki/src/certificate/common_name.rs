//! The common name, which nothing here takes for a name, and which others still read.

use std::net::{IpAddr, Ipv4Addr};

use super::Certificate;
use crate::strict;

/// `id-at-commonName` as an element of DER.
const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];

impl Certificate {
    /// Whether a common name says a name or an address of the certificate in another spelling:
    /// `Example.ORG`, `010.0.0.1`, `0x0a000001`. Programs that read the common name compare texts, or
    /// read such numbers each in their own way, and would take it for somebody else.
    ///
    /// A common name that says something else altogether is none of our business.
    pub(crate) fn has_other_spelling(&self) -> bool {
        common_names(self.subject_der()).any(|name| {
            let mut names = self.dns_names();
            let is_spelled = self.dns_names().any(|dns| dns == name);
            let is_address = |address: &IpAddr| reads_as(name, *address);
            let differs = |address: &IpAddr| address.to_string() != name;
            (!is_spelled && names.any(|dns| dns.eq_ignore_ascii_case(name)))
                || self
                    .ip_addresses()
                    .iter()
                    .any(|address| is_address(address) && differs(address))
        })
    }
}

/// The common names in `subject` that are text in ASCII.
fn common_names(subject: &[u8]) -> impl Iterator<Item = &str> {
    let relative = elements(content(subject));
    let attributes = relative.flat_map(|set| elements(content(set)));
    let values = attributes.filter_map(|attribute| {
        let [name, value] = strict::fields(attribute, 0x30)?;
        (name == COMMON_NAME).then(|| content(value))
    });
    values
        .filter_map(|value| std::str::from_utf8(value).ok())
        .filter(|value| value.is_ascii())
}

fn content(element: &[u8]) -> &[u8] {
    strict::split(element).map_or(&[], |split| split.content)
}

fn elements(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let next = strict::split(rest)?;
        rest = next.rest;
        Some(next.whole)
    })
}

/// Whether somebody may read `text` as `address`.
fn reads_as(text: &str, address: IpAddr) -> bool {
    match address {
        IpAddr::V6(_) => text.parse() == Ok(address),
        // A leading zero means octal digits to some, and nothing to others.
        IpAddr::V4(address) => [8, 10]
            .iter()
            .any(|radix| ipv4(text, *radix) == Some(address)),
    }
}

/// As `inet_aton` reads addresses: one to four numbers, the last of which fills what is left.
fn ipv4(text: &str, radix: u32) -> Option<Ipv4Addr> {
    let number = |text: &str| {
        let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X"));
        match (hexadecimal, text.strip_prefix('0')) {
            (Some(digits), _) => u32::from_str_radix(digits, 16),
            (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, radix),
            _ => text.parse(),
        }
        .ok()
    };
    let mut parts = text.rsplit('.');
    let last = number(parts.next()?)?;
    let front: Vec<u32> = parts.map(number).collect::<Option<_>>()?;
    if front.len() > 3 || front.iter().any(|part| *part > 255) {
        return None;
    }
    let bits = 32 - 8 * front.len() as u32;
    if u64::from(last) >= 1 << bits {
        return None;
    }
    let front = front.iter().rev().zip([24, 16, 8]);
    let front: u32 = front.map(|(part, shift)| part << shift).sum();
    Some(Ipv4Addr::from_bits(front | last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_others_read_them() {
        let address = IpAddr::from([192, 168, 1, 9]);
        for text in [
            "192.168.1.9",
            "0xC0A80109",
            "192.168.001.011",
            "192.168.001.009",
            "192.168.265",
            "3232235785",
            "0xc0.0xa8.1.9",
        ] {
            assert!(reads_as(text, address), "{text}");
        }
        for text in [
            "",
            ".",
            "192.168.1.",
            "192.168.1.10",
            "256.1.1.1",
            "1.2.3.4.5",
            "localhost",
        ] {
            assert!(!reads_as(text, address), "{text}");
        }
        let six = "2001:db8::a".parse().unwrap();
        assert!(reads_as("2001:DB8::A", six) && reads_as("2001:db8:0:0:0:0:0:a", six));
        assert!(!reads_as("2001:db8::b", six));
    }
}
