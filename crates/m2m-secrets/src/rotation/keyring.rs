//! `Keyring`: the secrets themselves, and proofs of holding them.

use std::collections::BTreeMap;
use std::fmt;

use m2m_crypto::{Algorithm, Hkdf, HkdfHash, KeyError, MacKey, constant_time_eq};

use super::name::{SecretName, SecretVersion};
use crate::SharedSecret;

/// What proof keys are derived for, so that no tag of a request is ever a proof, nor the reverse.
const PROOF: &[u8] = b"m2m-secrets proof 1";

/// The secrets of one name that this process holds. The rest of the rotation goes by version numbers
/// and has no access to them.
pub struct Keyring {
    secret: SecretName,
    held: BTreeMap<SecretVersion, Held>,
}

struct Held {
    secret: SharedSecret,
    proof: MacKey,
}

impl Keyring {
    /// Holds nothing yet.
    pub fn new(secret: SecretName) -> Self {
        Self {
            secret,
            held: BTreeMap::new(),
        }
    }

    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// Takes `secret` in as `version`. One that is held already stays as it is: a version never becomes
    /// another secret.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is of no use as a key.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic")]
    pub fn insert(&mut self, version: SecretVersion, secret: SharedSecret) -> Result<(), KeyError> {
        if self.held.contains_key(&version) {
            return Ok(());
        }
        let key = Hkdf::extract(HkdfHash::Sha256, PROOF, secret.expose_secret());
        let number = version.number().to_be_bytes();
        let derived = key.expand(&[self.secret.as_str().as_bytes(), b"\0", &number], 32);
        let derived = derived.expect("32 bytes are fewer than HKDF may give");
        let proof = MacKey::new(Algorithm::Hs256, derived)?;
        self.held.insert(version, Held { secret, proof });
        Ok(())
    }

    /// The secret of `version`, if it is held.
    pub fn get(&self, version: SecretVersion) -> Option<&SharedSecret> {
        self.held.get(&version).map(|held| &held.secret)
    }

    /// Which versions are held, from the oldest to the newest.
    pub fn versions(&self) -> impl Iterator<Item = SecretVersion> {
        self.held.keys().copied()
    }

    /// Wipes all versions but those for which `keep` says yes.
    pub fn retain(&mut self, keep: impl Fn(SecretVersion) -> bool) {
        self.held.retain(|version, _| keep(*version));
    }

    /// A tag that only whoever holds all of `versions` can make: an HMAC under each, one over the
    /// other. [`None`] if one is not held, or none is asked for.
    pub(crate) fn prove(&self, versions: &[SecretVersion], body: &[u8]) -> Option<[u8; 32]> {
        let mut tag = [0; 32];
        for version in versions {
            let message = [body, &tag].concat();
            let key = &self.held.get(version)?.proof;
            key.sign(&message, &mut tag).ok()?;
        }
        (!versions.is_empty()).then_some(tag)
    }

    /// Whether `tag` is what [`Keyring::prove`] gives.
    pub(crate) fn is_proof(&self, versions: &[SecretVersion], body: &[u8], tag: &[u8; 32]) -> bool {
        let proof = self.prove(versions, body);
        proof.is_some_and(|proof| constant_time_eq(&proof, tag))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("secret", &self.secret)
            .field("held", &self.held.keys())
            .finish_non_exhaustive()
    }
}
