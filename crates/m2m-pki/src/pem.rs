//! PEM (RFC 7468): read by `rustls-pki-types`, written by `pem-rfc7468`.

use pem_rfc7468::LineEnding;
use rustls_pki_types::pem::PemObject;

/// What `pem` holds, if it is exactly one section of the kind of `T` and no longer than a DER of
/// `limit` bytes could make it. [`Err`] says how many there were.
pub(crate) fn only<T: PemObject>(pem: &[u8], limit: usize) -> Result<T, usize> {
    // Base64 takes four characters for three bytes; room for line ends and text around it.
    if pem.len() > limit * 2 {
        return Err(0);
    }
    let mut sections = T::pem_slice_iter(pem);
    let first = sections.next().ok_or(0_usize)?.map_err(|_| 0_usize)?;
    match sections.count() {
        0 => Ok(first),
        more => Err(more + 1),
    }
}

/// `der` between lines that say `label`.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encoded_len(label, LineEnding::LF, der)
        .ok()
        .and_then(|length| {
            let mut buffer = vec![0; length];
            let text = pem_rfc7468::encode(label, LineEnding::LF, der, &mut buffer).ok()?;
            Some(text.to_owned())
        })
        .expect("the label is ours and the length asked for")
}
