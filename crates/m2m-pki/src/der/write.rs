//! Writing DER: headers with minimal lengths, and elements around content that is already there.

use super::{INTEGER, OID, SEQUENCE};

/// How many octets the header of an element of `length` content octets has.
pub(crate) const fn header_bytes(length: usize) -> usize {
    match length {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        0x1_0000..=0xff_ffff => 5,
        _ => 6,
    }
}

/// Appends the header of an element of `length` content octets, which are fewer than 2³².
pub(crate) fn header(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag);
    let octets = header_bytes(length) - 2;
    if octets > 0 {
        out.push(0x80 | octets as u8);
    }
    let bytes = (length as u64).to_be_bytes();
    let (_, minimal) = bytes.split_at(bytes.len() - octets.max(1));
    out.extend_from_slice(minimal);
}

/// Appends an element.
pub(crate) fn element(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    header(tag, content.len(), out);
    out.extend_from_slice(content);
}

/// An element around `parts`, one after the other.
pub(crate) fn around(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(header_bytes(length) + length);
    header(tag, length, &mut out);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// An INTEGER of `magnitude`, big-endian, whose leading zeroes are not written.
pub(crate) fn unsigned(magnitude: &[u8], out: &mut Vec<u8>) {
    let zeroes = magnitude.iter().take_while(|octet| **octet == 0).count();
    let (_, minimal) = magnitude.split_at(zeroes);
    let pad = minimal.first().is_none_or(|octet| *octet >= 0x80);
    header(INTEGER, minimal.len() + usize::from(pad), out);
    if pad {
        out.push(0);
    }
    out.extend_from_slice(minimal);
}

/// An `Extension` (RFC 5280 §4.1) around the DER of its value.
pub(crate) fn extension(oid: &[u8], criticality: Criticality, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + value.len());
    add_extension(oid, criticality, value, &mut out);
    out
}

/// Appends it.
pub(crate) fn add_extension(oid: &[u8], criticality: Criticality, value: &[u8], out: &mut Vec<u8>) {
    let critical: &[u8] = match criticality {
        Criticality::Critical => &[super::BOOLEAN, 1, 0xff],
        Criticality::NotCritical => &[],
    };
    let whole = |length: usize| header_bytes(length) + length;
    let content = whole(oid.len()) + critical.len() + whole(value.len());
    header(SEQUENCE, content, out);
    element(OID, oid, out);
    out.extend_from_slice(critical);
    element(super::OCTET_STRING, value, out);
}

/// Whether who does not know an extension may go on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Criticality {
    Critical,
    NotCritical,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::Reader;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let mut out = Vec::new();
            element(SEQUENCE, &vec![1; length], &mut out);
            assert_eq!(out.len(), header_bytes(length) + length);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.read(SEQUENCE).map(<[u8]>::len), Ok(length));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn integers_are_minimal() {
        for (magnitude, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 5], &[2, 1, 5]),
            (&[0x80], &[2, 2, 0, 0x80]),
        ] {
            let mut out = Vec::new();
            unsigned(magnitude, &mut out);
            assert_eq!(out, der);
        }
    }
}
