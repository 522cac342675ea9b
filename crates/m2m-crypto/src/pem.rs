//! PEM text (RFC 7468).
//!
//! Public keys are read by rustls-pki-types. Its reader keeps the base64 of what it reads in a
//! buffer that is freed as it is, so private keys are read by pem-rfc7468: in constant time, and into
//! a buffer of ours.

use pem_rfc7468::{Decoder, LineEnding};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::{KeyError, KeyFormat, SecretBytes};

const MALFORMED: KeyError = KeyError::Malformed {
    format: KeyFormat::Pem,
};

/// A private key in PEM, by its label.
pub(crate) enum PrivatePem {
    Pkcs8(SecretBytes),
    Pkcs1(SecretBytes),
    Sec1(SecretBytes),
}

/// The one `PUBLIC KEY` in `pem`. Sections of other kinds are passed over.
pub(crate) fn decode_public(pem: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, KeyError> {
    let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
    match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => Ok(key),
        _ => Err(MALFORMED),
    }
}

/// The one private key in `pem`. Sections of other kinds (the certificate in a combined file,
/// `EC PARAMETERS`) are passed over.
pub(crate) fn decode_private(pem: &[u8]) -> Result<PrivatePem, KeyError> {
    let mut found = None;
    let mut rest = pem;
    while let Some(start) = find(rest, b"-----BEGIN ") {
        let (section, after) = split_section(rest.get(start..).unwrap_or_default())?;
        rest = after;
        let mut decoder = Decoder::new_detect_wrap(section).map_err(|_| MALFORMED)?;
        let kind = match decoder.type_label() {
            "PRIVATE KEY" => PrivatePem::Pkcs8,
            "RSA PRIVATE KEY" => PrivatePem::Pkcs1,
            "EC PRIVATE KEY" => PrivatePem::Sec1,
            _ => continue,
        };
        let mut der = Zeroizing::new(vec![0; decoder.remaining_len()]);
        decoder.decode(&mut der).map_err(|_| MALFORMED)?;
        if found
            .replace(kind(SecretBytes::from(der.as_slice())))
            .is_some()
        {
            return Err(MALFORMED);
        }
    }
    found.ok_or(MALFORMED)
}

/// PEM text with lines of 64 characters, in one block that is never reallocated.
pub(crate) fn encode(label: &str, der: &[u8]) -> SecretBytes {
    const ENCODES: &str = "a key of some kilobytes fits the length computed for it";
    let length = pem_rfc7468::encoded_len(label, LineEnding::LF, der).expect(ENCODES);
    let mut pem = Zeroizing::new(vec![0; length]);
    pem_rfc7468::encode(label, LineEnding::LF, der, &mut pem).expect(ENCODES);
    SecretBytes::from(pem.as_slice())
}

/// Splits behind the `-----END …-----` of the section that `text` begins with.
fn split_section(text: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    const END: &[u8] = b"-----END ";
    let label = find(text, END).ok_or(MALFORMED)? + END.len();
    let dashes = find(text.get(label..).unwrap_or_default(), b"-----").ok_or(MALFORMED)?;
    text.split_at_checked(label + dashes + 5).ok_or(MALFORMED)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
