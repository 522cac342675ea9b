//! Why something is not a certificate.

use m2m_types::TimestampError;

/// Why bytes are not a [`Certificate`](crate::Certificate). OIDs are cut to 64 characters.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is too large. Nothing of it was read.
    #[error("{found} bytes; at most {limit} are read")]
    TooLong {
        /// How many bytes it has.
        found: usize,
        /// How many are read.
        limit: usize,
    },
    /// It is not exactly one element of DER.
    #[error("{length} bytes that are not one element of DER")]
    NotDer {
        /// How many bytes it has.
        length: usize,
    },
    /// It is DER, but no certificate.
    #[error("not a certificate (RFC 5280 §4.1)")]
    NotCertificate,
    /// Not exactly one section of PEM.
    #[error("one PEM certificate is wanted, not {found}")]
    Pem {
        /// How many there are; zero if the text is none or too long.
        found: usize,
    },
    /// Its version is not 3.
    #[error("version {found}, not 3")]
    Version {
        /// Which it is, counted from 1.
        found: u64,
    },
    /// Its serial number is zero, negative or longer than 20 bytes.
    #[error("a serial number of {length} bytes that is not between 1 and 2^159 - 1")]
    Serial {
        /// How many bytes it has.
        length: usize,
    },
    /// The algorithm that is signed is another than the one beside the signature.
    #[error("the signature algorithms inside and outside differ (RFC 5280 §4.1.1.2)")]
    AlgorithmsDiffer,
    /// `notBefore` or `notAfter` is before 1970, or the first is behind the second.
    #[error("valid from {not_before} to {not_after}, in seconds since 1970")]
    Validity {
        /// Seconds since 1970.
        not_before: i64,
        /// Seconds since 1970.
        not_after: i64,
    },
    /// It has too many extensions.
    #[error("{found} extensions; at most {limit} are read")]
    TooManyExtensions {
        /// How many.
        found: usize,
        /// [`Certificate::MAX_EXTENSIONS`](crate::Certificate::MAX_EXTENSIONS).
        limit: usize,
    },
    /// An extension stands twice (RFC 5280 §4.2).
    #[error("the extension {oid} stands twice")]
    ExtensionTwice {
        /// Which.
        oid: Box<str>,
    },
    /// An extension is critical and not understood (RFC 5280 §4.2).
    #[error("the extension {oid} is critical and not understood")]
    UnknownCritical {
        /// Which.
        oid: Box<str>,
    },
    /// An extension is not what its standard says.
    #[error("the extension {oid} is malformed")]
    Extension {
        /// Which.
        oid: Box<str>,
    },
}

impl From<TimestampError> for CertificateError {
    fn from(_: TimestampError) -> Self {
        Self::NotCertificate
    }
}
