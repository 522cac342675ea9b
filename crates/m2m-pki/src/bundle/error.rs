//! Why something is no trust bundle, or no authority of one.

use m2m_crypto::{JwkError, KeyError};

use crate::CertificateError;

/// Why a text is not taken as a bundle. `index` counts the entries from 0.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It is too long. Nothing of it was read.
    #[error("{found} bytes; at most {limit} are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// [`TrustBundle::MAX_BYTES`](crate::TrustBundle::MAX_BYTES).
        limit: usize,
    },
    /// It is not a JSON object, one of its members is there twice, or one is not of its type.
    #[error("not the JSON of a SPIFFE bundle (line {line}, column {column})")]
    Json {
        /// Where it stopped making sense, from 1; 0 if unknown.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// It has no `keys` (§4.1.3). An empty array is something else.
    #[error("`keys` is missing")]
    KeysMissing,
    /// It has too many entries.
    #[error("{found} entries; at most {limit} are read")]
    TooManyEntries {
        /// How many.
        found: usize,
        /// [`TrustBundle::MAX_ENTRIES`](crate::TrustBundle::MAX_ENTRIES).
        limit: usize,
    },
    /// An entry is not a JSON object of a key.
    #[error("entry {index} is malformed")]
    Entry {
        /// Which.
        index: usize,
        /// What is wrong with it.
        #[source]
        problem: JwkError,
    },
    /// An entry's `x5c` is not an array of one certificate in base64 (X.509-SVID §6.1).
    #[error("entry {index} has an x5c of {found} certificates in base64, not of one")]
    X5c {
        /// Which.
        index: usize,
        /// How many strings of base64 it has.
        found: usize,
    },
    /// An entry's key is another one than its certificate's (RFC 7517 §4.7).
    #[error("entry {index} has another key than its certificate")]
    KeyMismatch {
        /// Which.
        index: usize,
    },
    /// An entry cannot be an authority.
    #[error("entry {index} is no authority of the trust domain")]
    Authority {
        /// Which.
        index: usize,
        /// Why not.
        #[source]
        problem: AuthorityError,
    },
    /// It is PEM of something else than certificates, damaged, or without any.
    #[error("not PEM of certificates and nothing else")]
    Pem,
}

/// Why something cannot be an authority of a trust domain.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It is no certificate.
    #[error("not a certificate")]
    Certificate(#[from] CertificateError),
    /// It is the certificate of somebody who is no CA.
    #[error("the certificate is not that of a CA")]
    NotAuthority,
    /// Its `keyUsage` is missing or lacks `keyCertSign` (X.509-SVID §4.3).
    #[error("the certificate's keyUsage lacks keyCertSign")]
    KeyCertSignMissing,
    /// Its key is weak or malformed.
    #[error("the certificate's key cannot be used")]
    Key(#[from] KeyError),
    /// It has a URI that is not the trust domain's, or more than one (X.509-SVID §2, §3.2).
    #[error("the certificate has {found} URIs, which are not just that of the trust domain")]
    OtherDomain {
        /// How many it has.
        found: usize,
    },
    /// It is there already, or its `kid` is.
    #[error("it is there already")]
    Duplicate,
    /// There are too many.
    #[error(
        "a bundle has at most {} of a kind",
        crate::TrustBundle::MAX_AUTHORITIES
    )]
    TooMany,
    /// It is for JWT-SVIDs and has no `kid` (JWT-SVID §6.1).
    #[error("it has no kid")]
    KidMissing,
    /// Its private half came with it: whoever has read it can sign.
    #[error("its private half was published")]
    PrivateKey,
}

/// An entry of a bundle's text that is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedEntry {
    /// Where it stands, from 0.
    pub index: usize,
    /// Why it is not used.
    pub reason: SkipReason,
}

/// Why an entry is not used.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It has no `use`, or one that is not known.
    Usage,
    /// It has a `kty` that is not known, or that of a shared secret.
    KeyType,
    /// It has no `x5c`, or an empty one.
    NoCertificate,
    /// Its private half is published with it: whoever has read it can sign.
    PrivateKey,
    /// Nothing here verifies with a key like it.
    Unsupported,
}
