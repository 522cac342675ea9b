//! `Target`: what can be revoked, and `Revocation`: one target with how far and how long.

use m2m_types::{ServiceIdRef, Timestamp};

use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::term::{Entry, Term};

/// What a revocation names. Two targets are the same if and only if their kind and all their fields
/// are: `("ab", "c")` is not `("a", "bc")`, and a session is not a token of the same text.
///
/// Texts and bytes are compared as they are, so give them as the credential carries them. Nothing
/// here is copied or kept: the set holds a keyed fingerprint of it. The work is linear in the
/// length of the fields; whoever parsed the credential has bounded them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// One token: its `jti` under its `iss` (RFC 7519 §4.1.7).
    Token {
        /// `iss`.
        issuer: &'a str,
        /// `jti`.
        jti: &'a str,
    },
    /// Whatever `issuer` issued to one of its subjects (RFC 7519 §4.1.2).
    Subject {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
    /// Whatever anyone issued to a machine, by its one name.
    Service(ServiceIdRef<'a>),
    /// One session: its `sid` under its `iss`.
    Session {
        /// `iss`.
        issuer: &'a str,
        /// `sid`.
        sid: &'a str,
    },
    /// A certificate by issuer and serial number (RFC 5280 §4.1.2.2).
    Certificate {
        /// The DER of the issuer's `Name`.
        issuer: &'a [u8],
        /// The content bytes of the serial number's INTEGER.
        serial: &'a [u8],
    },
    /// A certificate by the SHA-256 of its DER (`x5t#S256`, RFC 8705 §3.1).
    CertificateThumbprint(&'a [u8; 32]),
    /// A key, by its SHA-256 thumbprint (RFC 7638) under the issuer that uses it.
    Key {
        /// `iss`.
        issuer: &'a str,
        /// The thumbprint.
        thumbprint: &'a [u8; 32],
    },
    /// One version of a shared secret or API key.
    SecretVersion {
        /// The secret's name.
        name: &'a str,
        /// Its version.
        version: u64,
    },
}

/// The kind of a [`Target`]: what was revoked, without saying which one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Target::Token`].
    Token = 1,
    /// [`Target::Subject`].
    Subject = 2,
    /// [`Target::Service`].
    Service = 3,
    /// [`Target::Session`].
    Session = 4,
    /// [`Target::Certificate`].
    Certificate = 5,
    /// [`Target::CertificateThumbprint`].
    CertificateThumbprint = 6,
    /// [`Target::Key`].
    Key = 7,
    /// [`Target::SecretVersion`].
    SecretVersion = 8,
}

/// One revocation, for [`Revocations::revoke_many`](crate::Revocations::revoke_many).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation<'a> {
    target: Target<'a>,
    issued_until: Option<Timestamp>,
    expires: Timestamp,
}

impl Target<'_> {
    /// The kind of this target.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Token { .. } => Kind::Token,
            Self::Subject { .. } => Kind::Subject,
            Self::Service(_) => Kind::Service,
            Self::Session { .. } => Kind::Session,
            Self::Certificate { .. } => Kind::Certificate,
            Self::CertificateThumbprint(_) => Kind::CertificateThumbprint,
            Self::Key { .. } => Kind::Key,
            Self::SecretVersion { .. } => Kind::SecretVersion,
        }
    }

    pub(crate) fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        let of = |first: &[u8], second: &[u8]| {
            fingerprints.of(&fingerprints.scope(self.kind(), first), second)
        };
        match self {
            Self::Token { issuer, jti } => of(issuer.as_bytes(), jti.as_bytes()),
            Self::Subject { issuer, subject } => of(issuer.as_bytes(), subject.as_bytes()),
            Self::Service(id) => fingerprints.of(fingerprints.services(), id.as_str().as_bytes()),
            Self::Session { issuer, sid } => of(issuer.as_bytes(), sid.as_bytes()),
            Self::Certificate { issuer, serial } => of(issuer, serial),
            Self::CertificateThumbprint(hash) => fingerprints.of(fingerprints.thumbprints(), *hash),
            Self::Key { issuer, thumbprint } => of(issuer.as_bytes(), *thumbprint),
            Self::SecretVersion { name, version } => of(name.as_bytes(), &version.to_le_bytes()),
        }
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Subject,
        Self::Service,
        Self::Session,
        Self::Certificate,
        Self::CertificateThumbprint,
        Self::Key,
        Self::SecretVersion,
    ];

    m2m_types::codes! {
        pub fn code;
        Self::Token => "token",
        Self::Subject => "subject",
        Self::Service => "service",
        Self::Session => "session",
        Self::Certificate => "certificate",
        Self::CertificateThumbprint => "certificate_thumbprint",
        Self::Key => "key",
        Self::SecretVersion => "secret_version",
    }

    /// The number that stands for this kind in a fingerprint: 1 to 8.
    pub(crate) const fn tag(self) -> u8 {
        self as u8
    }
}

impl<'a> Revocation<'a> {
    /// All of `target`, until `expires`; as [`Revocations::revoke`](crate::Revocations::revoke).
    pub const fn of(target: Target<'a>, expires: Timestamp) -> Self {
        Self {
            target,
            issued_until: None,
            expires,
        }
    }

    /// Only what was issued at `issued_until` or before; as
    /// [`Revocations::revoke_issued_until`](crate::Revocations::revoke_issued_until).
    #[must_use]
    pub const fn with_issued_until(mut self, issued_until: Timestamp) -> Self {
        self.issued_until = Some(issued_until);
        self
    }

    /// What is revoked.
    pub const fn target(&self) -> &Target<'a> {
        &self.target
    }

    /// The last second of issue that is revoked; `None` if it is all of the target.
    pub const fn issued_until(&self) -> Option<Timestamp> {
        self.issued_until
    }

    /// From when on it would be refused anyway.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    pub(crate) fn entry(&self, fingerprints: &Fingerprints) -> Entry {
        Entry {
            fingerprint: self.target.fingerprint(fingerprints),
            term: Term::new(self.expires, self.issued_until),
        }
    }
}
