//! Why a request is not taken.

use m2m_crypto::{Algorithm, KeyError};

use crate::{CertificateError, KeyAlgorithm, Rejection};

/// Why a certification request is not taken, or could not be made: for operators. Who sent it gets
/// [`CsrError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// It is too large. Nothing of it was read.
    #[error("{found} bytes; at most {limit} are read")]
    TooLong {
        /// How many bytes it has.
        found: usize,
        /// [`UnverifiedCsr::MAX_BYTES`](crate::UnverifiedCsr::MAX_BYTES).
        limit: usize,
    },
    /// It is not exactly one element of DER.
    #[error("{length} bytes that are not one element of DER")]
    NotDer {
        /// How many bytes it has.
        length: usize,
    },
    /// It is DER, but no request.
    #[error("not a certification request (RFC 2986 §4)")]
    NotRequest,
    /// Not exactly one section of PEM.
    #[error("one PEM certification request is wanted, not {found}")]
    Pem {
        /// How many there are; zero if the text is none or too long.
        found: usize,
    },
    /// Its key is weak, invalid, or of a kind that is not taken.
    #[error("its key is not taken")]
    Key(#[from] KeyError),
    /// Its signature algorithm is not taken.
    #[error("the signature algorithm {oid} is not taken")]
    Algorithm {
        /// Which.
        oid: Box<str>,
    },
    /// It has more attributes than one, or one with more values than one.
    #[error("one attribute with one value is read, no more")]
    Attributes,
    /// It has an attribute other than `extensionRequest`.
    #[error("the attribute {oid} is not taken")]
    Attribute {
        /// Which.
        oid: Box<str>,
    },
    /// What it asks for is malformed.
    #[error("what it asks for is malformed")]
    Requested(#[source] CertificateError),
    /// It is not signed with the key it is about.
    #[error("no {algorithm} signature of its own {key} key")]
    Signature {
        /// The kind of key in it.
        key: KeyAlgorithm,
        /// The algorithm named beside the signature.
        algorithm: Algorithm,
    },
    /// A name to ask for is none.
    #[error("{name:?} is not a DNS name to ask for")]
    Name {
        /// Its first 64 characters.
        name: Box<str>,
    },
    /// The key did not sign.
    #[error("the key did not sign")]
    Sign,
}

impl CsrError {
    /// What its sender may learn: the same whatever the cause.
    pub fn rejection(&self) -> Rejection {
        Rejection::Refused
    }
}
