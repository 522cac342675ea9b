//! `UnprovenKey`: a public key that somebody claims to hold, until a signature of theirs shows it.

use std::fmt;

use crate::public_key::PublicKey;
use crate::{Algorithm, KeyError, SignatureError, VerifyingKey};

/// A public key whose holder has still to show that they hold it, as in a certification request.
///
/// It is checked as a [`VerifyingKey`] is, except that its point lies on its curve: that is the first
/// thing which checking a signature finds out, and with *ring* it costs as much again to ask before.
/// So it can do nothing but [`UnprovenKey::prove`].
///
/// ```
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom, UnprovenKey};
///
/// let holder = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let mut signature = [0; 64];
/// holder.sign(b"it is mine", &mut signature)?;
///
/// let spki = holder.verifying_key().to_spki_der();
/// let key = UnprovenKey::from_spki_der(Algorithm::Es256, &spki)?.prove(b"it is mine", &signature)?;
/// assert_eq!(key.thumbprint(), holder.verifying_key().thumbprint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UnprovenKey {
    key: VerifyingKey,
}

impl UnprovenKey {
    /// Loads a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) as the key of `algorithm`.
    ///
    /// # Errors
    ///
    /// As [`VerifyingKey::from_spki_der`]; a point off its curve may be taken here, and never proven.
    pub fn from_spki_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let key = VerifyingKey::prepare_unproven(algorithm, PublicKey::from_spki(der)?)?;
        Ok(Self { key })
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The key, if it made `signature`, in the form of JOSE, of `message`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], whatever was wrong: the signature, or a point off its curve.
    pub fn prove(self, message: &[u8], signature: &[u8]) -> Result<VerifyingKey, SignatureError> {
        self.key.verify(message, signature)?;
        Ok(self.key)
    }
}

impl fmt::Debug for UnprovenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnprovenKey")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}
