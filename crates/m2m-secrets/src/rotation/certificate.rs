//! `RetireCertificate`: the proof without which no version is retired.

use std::fmt;

use m2m_types::Timestamp;

use super::name::{Epoch, MemberName, SecretName, SecretVersion};

/// Nobody uses a version any more, and how that is known of each member. Only
/// [`Rotation::can_retire`](crate::Rotation::can_retire) makes one, and retiring takes it away:
/// without a certificate nothing is retired.
///
/// ```compile_fail,E0277
/// let forged: m2m_secrets::RetireCertificate = Default::default(); // there is no such way
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nothing is retired before the certificate is handed in"]
pub struct RetireCertificate {
    pub(crate) secret: SecretName,
    pub(crate) version: SecretVersion,
    pub(crate) epoch: Epoch,
    pub(crate) left_at: Timestamp,
    pub(crate) made_at: Timestamp,
    pub(crate) evidence: Vec<Evidence>,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub(crate) member: MemberName,
    pub(crate) ground: Ground,
}

/// How it is known.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The member proved to hold a ring that does not sign with the version.
    LeftByProof(Epoch),
    /// The member reported no use for longer than messages live, at this time.
    QuietByReport(Timestamp),
    /// The member cannot acknowledge; the time it was given has passed.
    ByTime(Timestamp),
}

impl RetireCertificate {
    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// Of which version.
    pub fn version(&self) -> SecretVersion {
        self.version
    }

    /// In which ring it was made. It is of no use in a later one.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the last signer had left the version.
    pub fn left_at(&self) -> Timestamp {
        self.left_at
    }

    /// What is known of each member.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }
}

impl Evidence {
    /// Of whom.
    pub fn member(&self) -> &MemberName {
        &self.member
    }

    /// How it is known.
    pub fn ground(&self) -> Ground {
        self.ground
    }
}

impl fmt::Display for RetireCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version {} of {} is used by nobody (ring {}, left by its last signer {}, seen {})",
            self.version, self.secret, self.epoch, self.left_at, self.made_at
        )?;
        for Evidence { member, ground } in &self.evidence {
            write!(f, "\n  {member}: {ground}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftByProof(epoch) => write!(f, "signs by ring {epoch}, proven"),
            Self::QuietByReport(at) => write!(f, "quiet, reported {at}"),
            Self::ByTime(at) => write!(f, "by time, not by proof: its time ended {at}"),
        }
    }
}
