//! `Acknowledgement` and `LeaseGrant`: "I hold this ring", proven, and the answer to it.

use std::fmt;
use std::time::Duration;

use m2m_types::Timestamp;

use super::encoding::{Reader, Writer};
use super::keyring::Keyring;
use super::name::{Epoch, MemberName, SecretName, SecretVersion};
use super::ring::MAX_RING_VERSIONS;

const ACKNOWLEDGEMENT: &[u8] = b"m2m-secrets ack 1\0";
const GRANT: &[u8] = b"m2m-secrets lease 1\0";

/// A member holds a ring, has recorded it durably, and says how long each version has not been used.
/// It is made with every secret the member was given, so it proves possession and not receipt.
///
/// It is public and travels in ordinary traffic: a signer puts it beside a request, a verifier beside
/// an answer. At most [`Acknowledgement::MAX_BYTES`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Acknowledgement {
    pub(crate) body: AcknowledgementBody,
    pub(crate) tag: [u8; 32],
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AcknowledgementBody {
    pub(crate) secret: SecretName,
    pub(crate) member: MemberName,
    pub(crate) epoch: Epoch,
    pub(crate) ring: [u8; 32],
    /// By the member's clock.
    pub(crate) sent_at: Timestamp,
    pub(crate) held: Vec<SecretVersion>,
    /// Seconds.
    pub(crate) idle: Vec<(SecretVersion, u64)>,
}

/// The issuer heard a member's acknowledgement of the newest ring: it may act for as long as its lease
/// lasts, counted by the member's own clock from when it asked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LeaseGrant {
    pub(crate) body: LeaseGrantBody,
    pub(crate) tag: [u8; 32],
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct LeaseGrantBody {
    pub(crate) secret: SecretName,
    pub(crate) member: MemberName,
    pub(crate) epoch: Epoch,
    /// What the acknowledgement said.
    pub(crate) sent_at: Timestamp,
    pub(crate) lease: Duration,
    pub(crate) held: Vec<SecretVersion>,
}

impl Acknowledgement {
    /// The most bytes of one.
    pub const MAX_BYTES: usize = 1_024;

    /// Who acknowledges.
    pub fn member(&self) -> &MemberName {
        &self.body.member
    }

    /// Which secret.
    pub fn secret(&self) -> &SecretName {
        &self.body.secret
    }

    /// The epoch of the ring that is acknowledged.
    pub fn epoch(&self) -> Epoch {
        self.body.epoch
    }

    /// To send.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::default()
            .fixed(&self.body.to_bytes())
            .fixed(&self.tag)
            .done()
    }

    /// What [`Acknowledgement::to_bytes`] gave; [`None`] if these bytes are none. It proves nothing
    /// before the issuer has checked it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let mut from = Reader::of(ACKNOWLEDGEMENT, bytes)?;
        let body = AcknowledgementBody {
            secret: from.secret_name()?,
            member: from.member_name()?,
            epoch: from.epoch()?,
            ring: from.fixed()?,
            sent_at: from.time()?,
            held: from.each(MAX_RING_VERSIONS, Reader::version)?,
            idle: from.each(MAX_RING_VERSIONS, |from| {
                Some((from.version()?, from.number()?))
            })?,
        };
        let tag = from.fixed()?;
        from.end()?;
        Some(Self { body, tag })
    }
}

impl AcknowledgementBody {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        Writer::of(ACKNOWLEDGEMENT)
            .bytes(self.secret.as_str().as_bytes())
            .bytes(self.member.as_str().as_bytes())
            .number(self.epoch.number())
            .fixed(&self.ring)
            .time(self.sent_at)
            .each(self.held.iter(), |to, held| to.number(held.number()))
            .each(self.idle.iter(), |to, (version, seconds)| {
                to.number(version.number()).number(*seconds)
            })
            .done()
    }

    /// [`None`] if a version is not in `keyring`.
    pub(crate) fn prove(self, keyring: &Keyring) -> Option<Acknowledgement> {
        let tag = keyring.prove(&self.held, &self.to_bytes())?;
        Some(Acknowledgement { body: self, tag })
    }
}

impl LeaseGrant {
    /// Whom it is for.
    pub fn member(&self) -> &MemberName {
        &self.body.member
    }

    /// To send.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::default()
            .fixed(&self.body.to_bytes())
            .fixed(&self.tag)
            .done()
    }

    /// What [`LeaseGrant::to_bytes`] gave; [`None`] if these bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of(GRANT, bytes)?;
        let body = LeaseGrantBody {
            secret: from.secret_name()?,
            member: from.member_name()?,
            epoch: from.epoch()?,
            sent_at: from.time()?,
            lease: from.seconds()?,
            held: from.each(MAX_RING_VERSIONS, Reader::version)?,
        };
        let tag = from.fixed()?;
        from.end()?;
        Some(Self { body, tag })
    }

    pub(crate) fn is_proven_by(&self, keyring: &Keyring) -> bool {
        keyring.is_proof(&self.body.held, &self.body.to_bytes(), &self.tag)
    }
}

impl LeaseGrantBody {
    fn to_bytes(&self) -> Vec<u8> {
        Writer::of(GRANT)
            .bytes(self.secret.as_str().as_bytes())
            .bytes(self.member.as_str().as_bytes())
            .number(self.epoch.number())
            .time(self.sent_at)
            .number(self.lease.as_secs())
            .each(self.held.iter(), |to, held| to.number(held.number()))
            .done()
    }

    /// [`None`] if a version is not in `keyring`.
    pub(crate) fn prove(self, keyring: &Keyring) -> Option<LeaseGrant> {
        let tag = keyring.prove(&self.held, &self.to_bytes())?;
        Some(LeaseGrant { body: self, tag })
    }
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AcknowledgementBody {
            secret,
            member,
            epoch,
            ..
        } = &self.body;
        write!(f, "Acknowledgement({member} holds {secret} epoch {epoch})")
    }
}

impl fmt::Debug for LeaseGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeaseGrantBody { member, lease, .. } = &self.body;
        write!(f, "LeaseGrant({member} for {lease:?})")
    }
}
