//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440 §2): byte sequences of structured fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::MAX_CERTIFICATES;

/// The leaf and what came with it; nothing if there is no `Client-Cert`.
pub(super) fn chain(
    leaf: Option<&[u8]>,
    others: Option<&[u8]>,
) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut chain = Vec::new();
    match (leaf, others) {
        (None, None) => return Ok(chain),
        (None, Some(_)) => return Err("`client-cert-chain` without `client-cert` (RFC 9440 §2.3)"),
        (Some(leaf), _) => chain.push(certificate(leaf)?),
    }
    let others = others
        .into_iter()
        .flat_map(|list| list.split(|byte| *byte == b','));
    for item in others {
        if chain.len() >= MAX_CERTIFICATES {
            return Err("too many certificates");
        }
        chain.push(certificate(item.trim_ascii())?);
    }
    Ok(chain)
}

/// `:base64:` (RFC 9651 §3.3.5), without parameters, of which RFC 9440 has none.
fn certificate(item: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    const FORM: &str = "not a byte sequence, `:base64:`";
    let text = item
        .strip_prefix(b":")
        .and_then(|rest| rest.strip_suffix(b":"));
    let der = STANDARD.decode(text.ok_or(FORM)?).map_err(|_| FORM)?;
    match der.is_empty() {
        true => Err(FORM),
        false => Ok(der.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[test]
    fn only_one_form_is_read() {
        assert_eq!(chain(None, None).map(|chain| chain.len()), Ok(0));
        assert_eq!(chain(Some(b":AAEC:"), None).map(|chain| chain.len()), Ok(1));
        let three = chain(Some(b":AAEC:"), Some(b":AAE=:, :AA==:"));
        assert_eq!(three.map(|chain| chain.len()), Ok(3));
        for bad in [
            &b""[..],
            b":",
            b"::",
            b"AAEC",
            b":AAEC",
            b":AA EC:",
            b":AAEC:;a",
            b":AAEC:, :AAEC:",
            b":AAF=:",
            b"\"AAEC\"",
        ] {
            assert!(chain(Some(bad), None).is_err(), "{bad:?}");
        }
        assert!(chain(None, Some(b":AAEC:")).is_err());
        assert!(chain(Some(b":AAEC:"), Some(b"")).is_err());
        let many = [":AAEC:"; 10].join(",");
        assert!(chain(Some(b":AAEC:"), Some(many.as_bytes())).is_err());
    }
}
