//! The signature algorithms of chains, counted, and spared where the same signature was checked before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use m2m_crypto::Sha256;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use webpki::ring;

use super::cache::{Fingerprint, Known};

/// What certificates may be signed with. The key decides which of them it can be, and nothing here is
/// taken from the process. SHA-1, MD5, RSA below 2048 bits and explicit curves are not among them.
pub(super) static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; COUNT] = [
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ring::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    #[cfg(feature = "aws-lc-rs")]
    webpki::aws_lc_rs::ML_DSA_44,
    #[cfg(feature = "aws-lc-rs")]
    webpki::aws_lc_rs::ML_DSA_65,
    #[cfg(feature = "aws-lc-rs")]
    webpki::aws_lc_rs::ML_DSA_87,
];
const COUNT: usize = match cfg!(feature = "aws-lc-rs") {
    true => 17,
    false => 14,
};

/// The checks of one verification.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    /// What the leaf's issuer signed. Leaves are not remembered: they come by the million.
    leaf: &'a [u8],
    known: Option<&'a Known>,
    limit: usize,
    checked: AtomicUsize,
    spared: AtomicUsize,
    /// Only locked where a signature has just been checked, which takes a thousand times as long.
    fresh: Mutex<Vec<Fingerprint>>,
}

#[derive(Debug)]
pub(super) struct Counted<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    tally: &'a Tally<'a>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(leaf: &'a [u8], known: Option<&'a Known>, limit: usize) -> Self {
        Self {
            leaf,
            known,
            limit,
            checked: AtomicUsize::new(0),
            spared: AtomicUsize::new(0),
            fresh: Mutex::default(),
        }
    }

    pub(super) fn algorithms(&'a self) -> [Counted<'a>; ALGORITHMS.len()] {
        ALGORITHMS.map(|algorithm| Counted {
            algorithm,
            tally: self,
        })
    }

    /// How many signatures were computed.
    pub(super) fn checked(&self) -> usize {
        self.checked.load(Ordering::Relaxed).min(self.limit)
    }

    /// How many were known.
    pub(super) fn spared(&self) -> usize {
        self.spared.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether more were asked for than allowed.
    pub(super) fn is_exhausted(&self) -> bool {
        self.checked.load(Ordering::Relaxed) > self.limit
    }

    /// The good signatures of intermediates that were not known.
    pub(super) fn into_fresh(self) -> Vec<Fingerprint> {
        self.fresh.into_inner().unwrap_or_default()
    }
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let tally = self.tally;
        let fingerprint = tally
            .known
            .filter(|_| message != tally.leaf)
            .map(|known| (known, self.fingerprint(public_key, message, signature)));
        if let Some((known, fingerprint)) = &fingerprint
            && known.contains(fingerprint)
        {
            tally.spared.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // Every check beyond the limit fails at once, so that the path builder runs out of paths.
        if tally.checked.fetch_add(1, Ordering::Relaxed) >= tally.limit {
            return Err(InvalidSignature);
        }
        self.algorithm
            .verify_signature(public_key, message, signature)?;
        if let Some((_, fingerprint)) = fingerprint
            && let Ok(mut fresh) = tally.fresh.lock()
        {
            fresh.push(fingerprint);
        }
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

impl Counted<'_> {
    /// Everything the check depends on, so that equal fingerprints mean the same answer.
    fn fingerprint(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [
            self.public_key_alg_id().as_ref(),
            self.signature_alg_id().as_ref(),
            public_key,
            signature,
            message,
        ] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}
