//! Which cryptography library works for a key.

pub(crate) mod ring;

#[cfg(feature = "aws-lc-rs")]
pub(crate) mod aws_lc_rs;
#[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
pub(crate) mod rust_crypto;

use std::fmt;

use crate::{Algorithm, KeyError};

/// The library that prepares and uses one key.
///
/// It is chosen per key, by `with_backend`, and nothing is process-global. A key starts with
/// [`Backend::Ring`] unless only another one knows its algorithm, so turning on a feature changes
/// nothing that already worked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// [ring](https://docs.rs/ring): always there. No ES512, no ML-DSA, no RSA key generation.
    Ring,
    /// [aws-lc-rs](https://docs.rs/aws-lc-rs): every algorithm, keys parsed once, and what it frees
    /// is wiped.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
}

impl Backend {
    /// The library a key of `algorithm` starts with.
    pub(crate) fn default_for(algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::Es512 | Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => {
                Self::beyond_ring(algorithm)
            }
            _ => Ok(Self::Ring),
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    pub(crate) fn beyond_ring(_: Algorithm) -> Result<Self, KeyError> {
        Ok(Self::AwsLcRs)
    }

    #[cfg(not(feature = "aws-lc-rs"))]
    pub(crate) fn beyond_ring(algorithm: Algorithm) -> Result<Self, KeyError> {
        Err(KeyError::Unsupported {
            algorithm,
            backend: Self::Ring,
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "ring",
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => "aws-lc-rs",
        })
    }
}
