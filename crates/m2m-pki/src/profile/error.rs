//! Why something is not a profile.

use std::time::Duration;

/// Why something is not a profile.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Its name is empty, longer than 64 bytes, or has other characters.
    #[error("a profile is named by 1 to 64 of a-z 0-9 - _ ., not by {length} bytes")]
    Name {
        /// How many bytes it has.
        length: usize,
    },
    /// Its certificates would live for less than a second.
    #[error("a maximum lifetime of {found:?} is none")]
    Lifetime {
        /// What was said.
        found: Duration,
    },
    /// Something is not a DNS name, or has a wildcard.
    #[error("{name:?} is not a DNS name without wildcard")]
    DnsName {
        /// Its first 64 characters.
        name: Box<str>,
    },
    /// Something is not a URI under which a CRL can be fetched.
    #[error("{uri:?} is not an http or https URI of at most 1024 visible characters")]
    CrlUri {
        /// Its first 64 characters.
        uri: Box<str>,
    },
    /// It is said of a profile of another kind.
    #[error("{what} is not for profiles of this kind")]
    Kind {
        /// What was said.
        what: &'static str,
    },
}
