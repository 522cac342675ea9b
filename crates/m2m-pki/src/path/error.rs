//! Why a chain is refused.

use m2m_types::{ServiceId, Timestamp, TrustDomain};

use super::place::{PeerRole, Place};
use crate::profile::short;
use crate::{CertificateError, Rejection, RevocationError, SvidError};

/// Why a chain is refused: for logs and operators. The peer gets [`ChainError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There is no certificate.
    #[error("no certificate was presented")]
    NoCertificate,
    /// There are too many. None was read.
    #[error("{found} certificates were presented; at most {limit} are read")]
    TooManyCertificates {
        /// How many.
        found: usize,
        /// How many are read.
        limit: usize,
    },
    /// A certificate is not one, or not of the form that is read.
    #[error("{place}: {error}")]
    Malformed {
        /// Which. Certificates that cannot be read are left out of the path, unless it is the leaf.
        place: Place,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// The leaf names no machine, which is what is asked for.
    #[error("leaf: {error}")]
    NotService {
        /// The rule of X.509-SVID it breaks.
        error: SvidError,
    },
    /// There is no bundle for the trust domain.
    #[error("there is no trust bundle of {trust_domain}")]
    NoBundle {
        /// Which.
        trust_domain: TrustDomain,
    },
    /// No authority of the bundle is at the end of what was presented.
    #[error("{place}: no authority of {trust_domain} and nobody presented is its issuer")]
    NoPath {
        /// The last certificate that could be linked to the leaf.
        place: Place,
        /// Whose bundle was asked.
        trust_domain: TrustDomain,
    },
    /// More than [`ChainLimits::MAX_INTERMEDIATES`](crate::ChainLimits::MAX_INTERMEDIATES) stand
    /// between the leaf and an authority.
    #[error("more than {limit} intermediates")]
    TooDeep {
        /// How many there may be.
        limit: usize,
    },
    /// A signature is not that of the issuer's key.
    #[error("a signature is not that of the issuer's key")]
    Signature,
    /// A signature was made with an algorithm that is not taken, or with another than the issuer's
    /// key has.
    #[error("a signature algorithm is not taken, or not that of the issuer's key")]
    Algorithm,
    /// So many paths are possible that looking for a good one was given up.
    #[error("no path was found within {limit} checks of signatures")]
    Budget {
        /// How many signatures may be checked.
        limit: usize,
    },
    /// Now is not within the life of a certificate.
    #[error("{place}: valid from {not_before} to {not_after}; now is {now}")]
    Validity {
        /// Which.
        place: Place,
        /// From when it is valid.
        not_before: Timestamp,
        /// The last second in which it is.
        not_after: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// A certificate that issued another is not that of a CA (RFC 5280 §4.2.1.9).
    #[error("{place}: not the certificate of a CA, yet it issued one")]
    NotAuthority {
        /// Which.
        place: Place,
    },
    /// The leaf is the certificate of a CA.
    #[error("leaf: the certificate of a CA")]
    LeafIsAuthority,
    /// The key usage of a certificate does not allow what it is used for (RFC 5280 §4.2.1.3).
    #[error("{place}: its keyUsage is not that of {}", .place.needs())]
    KeyUsage {
        /// Which.
        place: Place,
    },
    /// Too many intermediates stand below a CA (RFC 5280 §4.2.1.9).
    #[error("{place}: {found} intermediates stand below it, and its pathLenConstraint is {limit}")]
    PathLength {
        /// Which.
        place: Place,
        /// Its `pathLenConstraint`.
        limit: u32,
        /// How many stand below it.
        found: usize,
    },
    /// The purposes of a certificate do not cover the peer's role (RFC 5280 §4.2.1.12).
    #[error("{place}: its extKeyUsage is not that of a {role}")]
    Purpose {
        /// Which.
        place: Place,
        /// What the peer is.
        role: PeerRole,
    },
    /// Its key is for TLS and for something else too that no such key must do, or for everything.
    #[error("{place}: its extKeyUsage has a purpose that does not go with TLS")]
    ForeignPurpose {
        /// Which.
        place: Place,
    },
    /// Its common name says one of its names in another spelling, so that others read another name.
    #[error("{place}: its common name spells one of its names in another way")]
    CommonName {
        /// Which.
        place: Place,
    },
    /// An extension stands in a certificate in which it must not.
    #[error("{place}: the extension {oid} has no place in it")]
    Misplaced {
        /// Which certificate.
        place: Place,
        /// Which extension.
        oid: &'static str,
    },
    /// A name is outside of what a CA above may issue for, or the constraint is of a kind that is not
    /// enforced, which is a refusal too (RFC 5280 §4.2.1.10).
    #[error("a name is outside of the name constraints above it, or these are not understood")]
    NameConstraints,
    /// An extension is not critical where it must be.
    #[error("{place}: the extension {oid} is not critical, and must be")]
    NotCritical {
        /// Which certificate.
        place: Place,
        /// Which extension.
        oid: &'static str,
    },
    /// A CA has no name (RFC 5280 §4.1.2.6).
    #[error("{place}: a CA without a subject")]
    Nameless {
        /// Which certificate.
        place: Place,
    },
    /// A CA has no `subjectKeyIdentifier` (RFC 5280 §4.2.1.2), or the `authorityKeyIdentifier` of
    /// what it issued is missing (§4.2.1.1) or another.
    #[error("{place}: a key identifier is missing, or not that of the issuer's key")]
    KeyIdentifier {
        /// Which certificate.
        place: Place,
    },
    /// An RSA key of less than 2048 or more than 8192 bits, or of a length that is no multiple of
    /// eight, which no program makes.
    #[error("{place}: an RSA key of {bits} bits")]
    KeyLength {
        /// Which certificate.
        place: Place,
        /// How many bits.
        bits: usize,
    },
    /// The key of the leaf is none of P-256, P-384, Ed25519, RSA, and ML-DSA where that is known.
    #[error("{place}: its key is of a kind that is not taken")]
    Key {
        /// Which certificate.
        place: Place,
    },
    /// A certificate is revoked, or nobody knows.
    #[error("{place}: {error}")]
    Revocation {
        /// Which.
        place: Place,
        /// What is known.
        error: RevocationError,
    },
    /// Everything holds, but the leaf is for somebody else.
    #[error("leaf: for {}, who is not expected here", .found.as_ref().map_or("other names", short))]
    Unexpected {
        /// Which machine it names, if one.
        found: Option<ServiceId>,
    },
    /// The bundle no longer holds the authority at the end of the path.
    #[error("authority: no longer in the trust bundle of {trust_domain}")]
    AuthorityGone {
        /// Whose bundle.
        trust_domain: TrustDomain,
    },
    /// The path builder does not read a certificate that was read here.
    #[error("a certificate has a form that the path builder does not take")]
    Form,
}

impl ChainError {
    /// What the peer may learn: the same word whatever the cause.
    pub fn rejection(&self) -> Rejection {
        Rejection::Refused
    }

    m2m_types::codes! {
        pub fn code;
        Self::NoCertificate => "no_certificate",
        Self::TooManyCertificates { .. } => "too_many_certificates",
        Self::Malformed { .. } => "malformed",
        Self::NotService { .. } => "not_service",
        Self::NoBundle { .. } => "no_bundle",
        Self::NoPath { .. } => "no_path",
        Self::TooDeep { .. } => "too_deep",
        Self::Signature => "signature",
        Self::Algorithm => "algorithm",
        Self::Budget { .. } => "budget",
        Self::Validity { .. } => "validity",
        Self::NotAuthority { .. } => "not_authority",
        Self::LeafIsAuthority => "leaf_is_authority",
        Self::KeyUsage { .. } => "key_usage",
        Self::PathLength { .. } => "path_length",
        Self::Purpose { .. } => "purpose",
        Self::ForeignPurpose { .. } => "foreign_purpose",
        Self::CommonName { .. } => "common_name",
        Self::Misplaced { .. } => "misplaced",
        Self::NameConstraints => "name_constraints",
        Self::NotCritical { .. } => "not_critical",
        Self::Nameless { .. } => "nameless",
        Self::KeyIdentifier { .. } => "key_identifier",
        Self::KeyLength { .. } => "key_length",
        Self::Key { .. } => "key",
        Self::Revocation { error: RevocationError::Revoked(_), .. } => "revoked",
        Self::Revocation { error: RevocationError::Unknown(_), .. } => "revocation_unknown",
        Self::Unexpected { .. } => "unexpected",
        Self::AuthorityGone { .. } => "authority_gone",
        Self::Form => "form",
    }
}

impl Place {
    /// Whose key usage a certificate in this place must have.
    fn needs(self) -> &'static str {
        match self {
            Self::Leaf => "a peer",
            Self::Intermediate(_) | Self::Authority => "a CA",
        }
    }
}
