//! PEM text (RFC 7468): reading through rustls-pki-types, writing here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::{Zeroize, Zeroizing};

use crate::{KeyError, KeyFormat, SecretBytes};

const MALFORMED: KeyError = KeyError::Malformed {
    format: KeyFormat::Pem,
};

/// The DER of the one section among `kinds` that `pem` must have. Sections of other kinds (the
/// certificate in a combined file, `EC PARAMETERS`) are passed over.
pub(crate) fn decode(
    pem: &[u8],
    kinds: &[SectionKind],
) -> Result<(SectionKind, SecretBytes), KeyError> {
    let mut found = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, mut der) = section.map_err(|_| MALFORMED)?;
        let secret = SecretBytes::from(der.as_slice());
        der.zeroize();
        if !kinds.contains(&kind) {
            continue;
        }
        if found.replace((kind, secret)).is_some() {
            return Err(MALFORMED);
        }
    }
    found.ok_or(MALFORMED)
}

/// PEM text with lines of 64 characters (RFC 7468 §2), in one block that is never reallocated.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let characters = der.len().div_ceil(3) * 4;
    let lines = characters.div_ceil(64);
    let mut pem = Zeroizing::new(Vec::with_capacity(
        characters + lines + 2 * label.len() + "-----BEGIN -----\n-----END -----\n".len(),
    ));
    pem.extend_from_slice(b"-----BEGIN ");
    pem.extend_from_slice(label.as_bytes());
    pem.extend_from_slice(b"-----\n");
    let mut line = Zeroizing::new([0; 64]);
    for piece in der.chunks(48) {
        let length = STANDARD
            .encode_slice(piece, &mut line[..])
            .expect("48 bytes are 64 characters");
        pem.extend(line.iter().take(length));
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END ");
    pem.extend_from_slice(label.as_bytes());
    pem.extend_from_slice(b"-----\n");
    pem
}
