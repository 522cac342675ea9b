//! `VoidTarget`: what an event voids, as a value of its own.

use m2m_revoke::{Revocation, Target};
use m2m_types::{ServiceId, Timestamp};

/// What an event voids: a [`Target`] that owns what it names.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoidTarget {
    /// [`Target::Session`].
    Session {
        /// `iss` of its tokens.
        issuer: Box<str>,
        /// `sid`.
        sid: Box<str>,
    },
    /// [`Target::Subject`].
    Subject {
        /// `iss` of its tokens.
        issuer: Box<str>,
        /// `sub`.
        subject: Box<str>,
    },
    /// [`Target::Service`].
    Service(ServiceId),
    /// [`Target::Token`].
    Token {
        /// `iss`.
        issuer: Box<str>,
        /// `jti`.
        jti: Box<str>,
    },
    /// [`Target::Certificate`].
    Certificate {
        /// The DER of the issuer's `Name`.
        issuer: Box<[u8]>,
        /// The content bytes of the serial number's INTEGER.
        serial: Box<[u8]>,
    },
    /// [`Target::CertificateThumbprint`].
    CertificateThumbprint([u8; 32]),
}

/// One thing that is void, how far and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voided {
    /// What.
    pub target: VoidTarget,
    /// Only what was issued at this second or before; `None` if it is all.
    pub issued_until: Option<Timestamp>,
    /// When the last that it could concern has expired.
    pub expires: Timestamp,
}

impl VoidTarget {
    /// As the revocations take it.
    pub fn as_target(&self) -> Target<'_> {
        match self {
            Self::Session { issuer, sid } => Target::Session { issuer, sid },
            Self::Subject { issuer, subject } => Target::Subject { issuer, subject },
            Self::Service(id) => Target::Service(id.as_ref()),
            Self::Token { issuer, jti } => Target::Token { issuer, jti },
            Self::Certificate { issuer, serial } => Target::Certificate { issuer, serial },
            Self::CertificateThumbprint(thumbprint) => Target::CertificateThumbprint(thumbprint),
        }
    }
}

impl Voided {
    /// As the revocations take it.
    pub fn as_revocation(&self) -> Revocation<'_> {
        let whole = Revocation::of(self.target.as_target(), self.expires);
        match self.issued_until {
            Some(until) => whole.with_issued_until(until),
            None => whole,
        }
    }
}
