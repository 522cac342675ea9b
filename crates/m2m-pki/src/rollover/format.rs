//! The bytes of a rollover's record: the version of the form, then every part behind its length.

use std::collections::BTreeMap;
use std::time::Duration;

use m2m_types::{ServiceId, Timestamp};

use super::{Rollover, RolloverPeer, RolloverPhase};
use crate::Certificate;

const VERSION: u8 = 1;

impl Rollover {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.domain.as_str().as_bytes());
        let (kind, certificates, number): (u8, Vec<&Certificate>, u64) = match &self.phase {
            RolloverPhase::Single { authority } => (0, vec![authority], 0),
            RolloverPhase::Prepared { old, new, since } => (1, vec![old, new], *since),
            RolloverPhase::Activated { old, new, at } => (2, vec![old, new], at.unix_seconds()),
        };
        bytes.push(kind);
        bytes.extend(number.to_be_bytes());
        for certificate in certificates {
            put(&mut bytes, certificate.der());
        }
        for number in [self.sequence, self.needed, self.handover.as_secs()] {
            bytes.extend(number.to_be_bytes());
        }
        for (name, peer) in &self.peers {
            put(&mut bytes, name.as_str().as_bytes());
            bytes.extend(peer.sequence.to_be_bytes());
            bytes.extend(peer.lease.unix_seconds().to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(&[VERSION])?);
        let domain = reader.text()?.parse().ok()?;
        let (kind, number) = (reader.byte()?, reader.number()?);
        let first = reader.certificate()?;
        let phase = match kind {
            0 => RolloverPhase::Single { authority: first },
            1 => RolloverPhase::Prepared {
                old: first,
                new: reader.certificate()?,
                since: number,
            },
            2 => RolloverPhase::Activated {
                old: first,
                new: reader.certificate()?,
                at: Timestamp::from_unix_seconds(number).ok()?,
            },
            _ => return None,
        };
        let (sequence, needed) = (reader.number()?, reader.number()?);
        let handover = Duration::from_secs(reader.number()?);
        let mut peers = BTreeMap::new();
        while !reader.0.is_empty() {
            let name: ServiceId = reader.text()?.parse().ok()?;
            let sequence = reader.number()?;
            let lease = Timestamp::from_unix_seconds(reader.number()?).ok()?;
            peers.insert(name, RolloverPeer { sequence, lease });
        }
        Some(Self {
            domain,
            phase,
            sequence,
            needed,
            peers,
            handover,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.part()?).ok()
    }

    fn certificate(&mut self) -> Option<Certificate> {
        Certificate::from_der(self.part()?).ok()
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    // Names have at most 2048 bytes, certificates 64 KiB.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(part);
}
