//! `Event`: what happened to a secret, for the audit log. Numbers and names, never a secret.

use std::fmt;

use m2m_types::Timestamp;

use super::name::{Epoch, MemberName, SecretName, SecretVersion};

/// One thing that happened in a rotation. It is made of numbers and names; there is no field a secret
/// would fit in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    pub(crate) secret: SecretName,
    pub(crate) at: Timestamp,
    pub(crate) epoch: Epoch,
    pub(crate) what: EventKind,
}

/// What an [`Event`] says.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The secret has its first version.
    Begun,
    /// A number was given to a version that nobody has yet.
    Drafted(SecretVersion),
    /// A version goes out to the verifiers.
    Staged(SecretVersion),
    /// Signers move from one version to another.
    Activated {
        /// The one they leave.
        from: SecretVersion,
        /// The one they go to.
        to: SecretVersion,
    },
    /// A version ended with proof that nobody uses it.
    Retired(SecretVersion),
    /// A version that nobody ever signed with ended.
    Aborted(SecretVersion),
    /// A version ended early to make room for the next rotation; messages under way are refused.
    EndedEarly(SecretVersion),
    /// A version is compromised and will be dropped everywhere.
    Compromised {
        /// Which.
        version: SecretVersion,
        /// By when, by each verifier's own clock.
        drop_at: Timestamp,
    },
    /// The time of a version ran out.
    Dropped(SecretVersion),
    /// A member was declared.
    Registered(MemberName),
    /// A member proved that it holds the current ring, and may act.
    Admitted(MemberName),
    /// A member no longer counts.
    Removed(MemberName),
    /// Another process took the issuer's part.
    TakenOver,
}

impl Event {
    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// In which ring it shows.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What.
    pub fn what(&self) -> &EventKind {
        &self.what
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} epoch {}: ", self.at, self.secret, self.epoch)?;
        match &self.what {
            EventKind::Begun => f.write_str("begun"),
            EventKind::Drafted(version) => write!(f, "version {version} drafted"),
            EventKind::Staged(version) => write!(f, "version {version} staged"),
            EventKind::Activated { from, to } => {
                write!(f, "version {to} signs instead of version {from}")
            }
            EventKind::Retired(version) => write!(f, "version {version} retired with proof"),
            EventKind::Aborted(version) => write!(f, "version {version} aborted"),
            EventKind::EndedEarly(version) => write!(f, "version {version} ended early"),
            EventKind::Compromised { version, drop_at } => {
                write!(
                    f,
                    "version {version} is compromised, refused from {drop_at} on"
                )
            }
            EventKind::Dropped(version) => write!(f, "version {version} dropped"),
            EventKind::Registered(member) => write!(f, "{member} registered"),
            EventKind::Admitted(member) => write!(f, "{member} admitted"),
            EventKind::Removed(member) => write!(f, "{member} removed"),
            EventKind::TakenOver => f.write_str("taken over by another process"),
        }
    }
}
