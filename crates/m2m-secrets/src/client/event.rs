//! `KeyEvent`: what happened to a client's key, for the audit log. No secret, no hash.

use std::fmt;

use m2m_types::{ServiceId, Timestamp};

use super::KeyVersion;
use crate::{ApiKeyId, PepperVersion};

/// Something that happened to one key of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    owner: ServiceId,
    id: ApiKeyId,
    version: KeyVersion,
    at: Timestamp,
    kind: KeyEventKind,
}

/// What happened to a key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEventKind {
    /// It was made and is current.
    Issued,
    /// Another is current; this one is refused from that second on.
    AcceptedUntil(Timestamp),
    /// It is current again, without end, because the one that was made after it has leaked.
    TookOver,
    /// It is refused from now on, and for ever.
    Ended(KeyEnd),
    /// It was used, and is kept under a newer pepper now.
    Rehashed {
        /// The pepper before.
        from: PepperVersion,
        /// The pepper now.
        to: PepperVersion,
    },
    /// It was reported once more after it had ended.
    ReportedAgain,
}

/// Why a key is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEnd {
    /// Its overlap is over.
    Expired,
    /// A third key was made during its overlap.
    Superseded,
    /// Somebody who may has said so.
    Revoked,
    /// It was found where it should not be.
    Leaked,
}

impl KeyEvent {
    pub(super) fn new(
        owner: ServiceId,
        id: ApiKeyId,
        version: KeyVersion,
        at: Timestamp,
        kind: KeyEventKind,
    ) -> Self {
        Self {
            owner,
            id,
            version,
            at,
            kind,
        }
    }

    /// Whose key.
    pub fn owner(&self) -> &ServiceId {
        &self.owner
    }

    /// The public name of the key.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The number of the key.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What.
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }
}

/// One line, fit for a log.
impl fmt::Display for KeyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            id,
            version,
            at,
            kind,
        } = self;
        write!(f, "{at} {owner} key {id} (version {version}) {kind}")
    }
}

impl fmt::Display for KeyEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued => f.write_str("was issued"),
            Self::AcceptedUntil(until) => write!(f, "is accepted until {until}"),
            Self::TookOver => f.write_str("took over"),
            Self::Ended(why) => write!(f, "ended: {why}"),
            Self::Rehashed { from, to } => write!(f, "moved from pepper {from} to {to}"),
            Self::ReportedAgain => f.write_str("was reported again"),
        }
    }
}

impl fmt::Display for KeyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::Leaked => "leaked",
        })
    }
}
