//! Randomness as an argument.

use ring::rand::SecureRandom as _;

/// A source of unpredictable bytes.
///
/// Functions that draw randomness take it as an argument, so their signature shows what is not
/// deterministic and a test can make it fail. [`SystemRandom`] is the source for production.
pub trait SecureRandom: Send + Sync {
    /// Fills all of `bytes` with unpredictable bytes.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source cannot; `bytes` must then not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator (`getrandom` on Linux).
///
/// ```
/// use m2m_crypto::{SecureRandom, SystemRandom};
///
/// let mut nonce = [0; 12];
/// SystemRandom.fill(&mut nonce)?;
/// # Ok::<(), m2m_crypto::RandomError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

/// The source of randomness failed. There is nothing to do but to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness failed")]
pub struct RandomError;

impl SecureRandom for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        ring::rand::SystemRandom::new()
            .fill(bytes)
            .map_err(|_| RandomError)
    }
}
