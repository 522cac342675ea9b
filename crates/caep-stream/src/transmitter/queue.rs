//! `Queued`: a SET that waits to be delivered, signed, and how it is written.

use caep_set::{Event, Members, SecurityEvent};
use m2m_crypto::Sha256;
use m2m_store::{Expected, Key, Record};
use m2m_token::{MintError, Scratch, Unverified};
use m2m_types::Timestamp;

use super::interest;
use super::place::Position;
use super::record::Stream;
use super::{Transmitter, TransmitterError};

/// Which kind of state an event tells of which subject: a later event of the same family makes an earlier
/// one moot (SSF 1.0 §8.1.2.1).
pub(crate) type Family = [u8; 16];

/// What is known of a queued SET beside the SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing later makes it moot.
    Always,
    /// A revocation: nothing makes it moot, and there is room for it when there is none for others.
    Revocation,
    /// Until another of its family comes.
    UntilNext(Family),
}

impl Keep {
    pub(crate) fn of(event: &SecurityEvent) -> Self {
        if event.event().is_revocation() {
            return Self::Revocation;
        }
        // Of which scale, or about what, the state is.
        let scale = match event.event() {
            Event::DeviceComplianceChange(_) => "",
            Event::RiskLevelChange(event) => event.principal.as_str(),
            Event::AssuranceLevelChange(event) => event.namespace.as_str(),
            _ => return Self::Always,
        };
        let mut hash = Sha256::new();
        for text in [event.event().uri(), scale] {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&interest::digest(event.subject()));
        let mut family = Family::default();
        family.copy_from_slice(&hash.finish()[..16]);
        Self::UntilNext(family)
    }
}

/// A SET in a queue.
#[derive(Debug)]
pub(crate) struct Queued<'r> {
    pub(crate) position: Position,
    pub(crate) keep: Keep,
    pub(crate) token: &'r str,
}

const ALWAYS: u8 = 0;
const REVOCATION: u8 = 1;
const UNTIL_NEXT: u8 = 2;

impl<'r> Queued<'r> {
    pub(crate) fn encode(keep: Keep, token: &str) -> Vec<u8> {
        let (kind, family) = match keep {
            Keep::Always => (ALWAYS, Family::default()),
            Keep::Revocation => (REVOCATION, Family::default()),
            Keep::UntilNext(family) => (UNTIL_NEXT, family),
        };
        [&[kind][..], &family, token.as_bytes()].concat()
    }

    pub(crate) fn decode(record: &'r Record) -> Result<Self, TransmitterError> {
        let wrong = || TransmitterError::Record {
            key: record.key().clone(),
        };
        let position = super::place::position_of(record.key()).ok_or_else(wrong)?;
        let (kind, rest) = record.value().as_bytes().split_first().ok_or_else(wrong)?;
        let (family, token) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
        let keep = match *kind {
            ALWAYS => Keep::Always,
            REVOCATION => Keep::Revocation,
            UNTIL_NEXT => Keep::UntilNext(*family),
            _ => return Err(wrong()),
        };
        Ok(Self {
            position,
            keep,
            token: std::str::from_utf8(token).map_err(|_| wrong())?,
        })
    }
}

/// A SET that is to be put into a queue.
pub(crate) struct ToQueue {
    pub(crate) key: Key,
    pub(crate) value: Vec<u8>,
}

impl ToQueue {
    pub(crate) fn put(self, batch: m2m_store::Batch) -> m2m_store::Batch {
        batch.put(self.key, Expected::Anything, self.value)
    }
}

impl Transmitter {
    /// A SET about `stream` itself, in its queue.
    pub(crate) fn own_set(
        &self,
        stream: &Stream,
        position: Position,
        event: impl Into<Event>,
    ) -> Result<ToQueue, TransmitterError> {
        let subject =
            caep_set::SubjectId::opaque(&stream.id).map_err(|_| TransmitterError::NoStream)?;
        let event = SecurityEvent::new(subject, event);
        let position = position.in_stream(&stream.id);
        let name = position.token_id();
        let event = event.with_transaction(&name);
        let template = self.minter.template(&event, position.time())?;
        let token = self
            .minter
            .mint_named(&template, &stream.said.audience, &name)?;
        Ok(ToQueue {
            key: self.spaces.queued(&stream.id, stream.said.life, position)?,
            value: Queued::encode(Keep::Always, &token),
        })
    }

    /// The same SET, signed with a key that receivers know, if they no longer know the one it was signed
    /// with. `None` if it is good as it is.
    pub(crate) fn signed_anew(
        &self,
        token: &str,
        now: Timestamp,
        known: &mut Known,
    ) -> Result<Option<String>, TransmitterError> {
        let header = token.split('.').next().unwrap_or_default();
        if known.header.as_deref() == Some(header) {
            return Ok(None);
        }
        let mut scratch = Scratch::new();
        let unverified = Unverified::danger_decode(token, &mut scratch);
        let unverified = unverified.map_err(|_| TransmitterError::Mint(MintError::Serialize))?;
        if unverified
            .key_id()
            .is_some_and(|kid| self.is_known(kid, now))
        {
            known.header = Some(Box::from(header));
            return Ok(None);
        }
        let claims = unverified.danger_claims().json();
        let claims = Members::from_json(claims).map_err(TransmitterError::Event)?;
        let wrong = || TransmitterError::Mint(MintError::Serialize);
        let text = |name| claims.read::<Box<str>>(name).ok().flatten();
        let (audience, name) = (
            text("aud").ok_or_else(wrong)?,
            text("jti").ok_or_else(wrong)?,
        );
        let issued = claims.read::<u64>("iat").ok().flatten().ok_or_else(wrong)?;
        let issued = Timestamp::from_unix_seconds(issued).map_err(|_| wrong())?;
        let mut said = Members::new();
        for (member, _) in claims.iter() {
            if ["iss", "iat", "aud", "jti"].contains(&member) {
                continue;
            }
            let value = claims.read::<Box<serde_json::value::RawValue>>(member);
            let value = value.map_err(TransmitterError::Event)?;
            said.set(member, &value).map_err(TransmitterError::Event)?;
        }
        let said = serde_json::to_string(&said).map_err(|_| wrong())?;
        let event = SecurityEvent::from_json(&said).map_err(TransmitterError::Event)?;
        let template = self.minter.template(&event, issued)?;
        Ok(Some(self.minter.mint_named(&template, &audience, &name)?))
    }
}

/// The header of a SET whose key was found to be known: most have the same.
#[derive(Debug, Default)]
pub(crate) struct Known {
    header: Option<Box<str>>,
}
