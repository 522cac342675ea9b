//! rcgen as an encoder: it has no keys, so it writes a placeholder wherever one belongs, and what it asks
//! to be signed is kept and completed.

use std::cell::RefCell;

use crate::PublicKey;
use crate::key::Scheme;
use crate::strict;

/// Stands for every key. Any algorithm will do: what is written of it is replaced.
#[derive(Default)]
pub(crate) struct Placeholder {
    message: RefCell<Vec<u8>>,
}

impl Placeholder {
    /// What was to be signed.
    pub(crate) fn into_message(self) -> Vec<u8> {
        self.message.into_inner()
    }
}

impl rcgen::PublicKeyData for Placeholder {
    fn der_bytes(&self) -> &[u8] {
        &[]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Placeholder {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.message.replace(message.to_vec());
        Ok(Vec::new())
    }
}

/// A `TBSCertificate` with its algorithm, the issuer's name (unless it is the subject's own) and its key.
pub(crate) fn complete_certificate(
    tbs: &[u8],
    scheme: Scheme,
    issuer: Option<&[u8]>,
    key: &PublicKey,
) -> Option<Vec<u8>> {
    let [
        version,
        serial,
        _,
        written,
        validity,
        subject,
        _,
        extensions,
    ] = strict::fields(tbs, 0x30)?;
    let parts = [
        version,
        serial,
        &scheme.identifier(),
        issuer.unwrap_or(written),
        validity,
        subject,
        key.spki_der(),
        extensions,
    ];
    Some(strict::element(0x30, &parts))
}

/// A `CertificationRequestInfo` with its key.
pub(crate) fn complete_request(info: &[u8], key: &PublicKey) -> Option<Vec<u8>> {
    let [version, subject, _, attributes] = strict::fields(info, 0x30)?;
    let parts = [version, subject, key.spki_der(), attributes];
    Some(strict::element(0x30, &parts))
}

/// What was signed, the algorithm and the signature, as X.509 puts them together.
pub(crate) fn signed(message: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    // A BIT STRING begins with how many bits of its last byte do not count.
    let bits = strict::element(3, &[&[0], signature]);
    strict::element(0x30, &[message, algorithm, &bits])
}
