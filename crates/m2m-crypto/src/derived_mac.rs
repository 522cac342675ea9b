//! HMAC under a key that is derived for one message and forgotten.

use ring::hmac;

#[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
use crate::constant_time_eq;
use crate::memory::with_stack_scrubbed;
use crate::{Hkdf, SignatureError};

/// How much of the stack is overwritten after a key was derived and used. Deriving, preparing and using
/// one takes five small frames and one of *ring*'s SHA-256.
const SCRUBBED_STACK_BYTES: usize = match cfg!(debug_assertions) {
    true => 8 * 1024,
    false => 3 * 1024,
};

impl Hkdf {
    /// Checks an HMAC-SHA256 under the key that [`Hkdf::expand`] would give for `info` and 32 bytes.
    ///
    /// Nothing is kept, nothing is allocated, and the stack that the key was on is overwritten: for
    /// whoever has more peers than he wants to keep keys of. Takes about as long as two HMACs.
    ///
    /// ```
    /// use m2m_crypto::{Hkdf, HkdfHash, SecretBytes};
    ///
    /// let root = Hkdf::extract(HkdfHash::Sha256, b"salt", &SecretBytes::from(&[7; 32][..]));
    /// let tag = root.sign_derived(&[b"peer 1"], b"message");
    /// root.verify_derived(&[b"peer 1"], b"message", &tag)?;
    /// assert!(root.verify_derived(&[b"peer 2"], b"message", &tag).is_err());
    /// # Ok::<(), m2m_crypto::SignatureError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if `tag` is not the whole tag of `message`; compared in constant time.
    pub fn verify_derived(
        &self,
        info: &[&[u8]],
        message: &[u8],
        tag: &[u8],
    ) -> Result<(), SignatureError> {
        #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
        if let Some(root) = self.quick() {
            return match constant_time_eq(&root.mac_derived(info, message), tag) {
                true => Ok(()),
                false => Err(SignatureError),
            };
        }
        with_stack_scrubbed::<SCRUBBED_STACK_BYTES, _>(|| {
            let verdict = hmac::verify(&self.derive(info), message, tag);
            verdict.map_err(|_| SignatureError)
        })
    }

    /// The tag that [`Hkdf::verify_derived`] checks.
    pub fn sign_derived(&self, info: &[&[u8]], message: &[u8]) -> [u8; 32] {
        #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
        if let Some(root) = self.quick() {
            return root.mac_derived(info, message);
        }
        with_stack_scrubbed::<SCRUBBED_STACK_BYTES, _>(|| {
            let mut tag = [0; 32];
            tag.copy_from_slice(hmac::sign(&self.derive(info), message).as_ref());
            tag
        })
    }

    fn derive(&self, info: &[&[u8]]) -> hmac::Key {
        let material = self.key().expand(info, hmac::HMAC_SHA256);
        let material = material.expect("HKDF gives 32 bytes with each hash");
        hmac::Key::from(material)
    }
}
