//! `X-Forwarded-Client-Cert`, as Envoy writes it: `key=value` pairs, of which one has the certificates.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::MAX_CERTIFICATES;

/// The certificates of the one client that is named, the leaf first; nothing if the header is not there.
pub(super) fn chain(header: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let Some(header) = header else {
        return Ok(Vec::new());
    };
    let (mut leaf, mut whole) = (None, None);
    let mut rest = header;
    loop {
        let Pair { key, value, behind } = pair(rest)?;
        let slot = match key {
            _ if key.eq_ignore_ascii_case(b"cert") => Some(&mut leaf),
            _ if key.eq_ignore_ascii_case(b"chain") => Some(&mut whole),
            _ => None,
        };
        if slot.is_some_and(|slot| slot.replace(value).is_some()) {
            return Err("a key stands twice");
        }
        rest = match behind.split_first() {
            None => break,
            Some((b';', behind)) => behind,
            Some((b',', _)) => return Err("more than one client is named"),
            Some(_) => return Err("not pairs of `key=value` with `;` between them"),
        };
    }
    // The chain begins with the leaf.
    let text = whole.or(leaf).ok_or("neither `Cert` nor `Chain`")?;
    certificates(&decode(text)?)
}

/// A key, its value as it is written, and what follows it.
struct Pair<'h> {
    key: &'h [u8],
    value: &'h [u8],
    behind: &'h [u8],
}

fn pair(text: &[u8]) -> Result<Pair<'_>, &'static str> {
    const FORM: &str = "not `key=value`";
    let equals = text.iter().position(|byte| *byte == b'=').ok_or(FORM)?;
    let (key, value) = text.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    if !key.iter().all(u8::is_ascii_alphanumeric) || key.is_empty() {
        return Err(FORM);
    }
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|byte| matches!(byte, b';' | b','));
        let (value, behind) = value.split_at(end.unwrap_or(value.len()));
        return Ok(Pair { key, value, behind });
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (value, behind) = quoted.split_at(end.ok_or("a quoted value does not end")?);
    let behind = behind.get(1..).unwrap_or_default();
    Ok(Pair { key, value, behind })
}

/// Undoes the percent-encoding of PEM.
fn decode(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        let (high, low) = digit().zip(digit()).ok_or("a broken escape")?;
        decoded.push((high << 4 | low) as u8);
    }
    Ok(decoded)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        if chain.len() >= MAX_CERTIFICATES {
            return Err("too many certificates");
        }
        chain.push(certificate.map_err(|_| "not certificates in PEM")?);
    }
    match chain.is_empty() {
        true => Err("no certificate in PEM"),
        false => Ok(chain),
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    const CERT: &str = "-----BEGIN%20CERTIFICATE-----%0AAAEC%0A-----END%20CERTIFICATE-----%0A";

    fn count(header: &str) -> Result<usize, &'static str> {
        chain(Some(header.as_bytes())).map(|chain| chain.len())
    }

    #[test]
    fn one_client_is_read_and_nothing_that_could_be_two() {
        assert_eq!(chain(None).map(|chain| chain.len()), Ok(0));
        let one = format!(
            "By=spiffe://example.org/x;Hash=ab;Subject=\"CN=\\\"a;b,c\\\"\";Cert=\"{CERT}\""
        );
        assert_eq!(count(&one), Ok(1));
        assert_eq!(count(&format!("Cert={CERT}")), Ok(1));
        // The chain has it all.
        assert_eq!(
            count(&format!("Cert=\"{CERT}\";Chain=\"{CERT}{CERT}\"")),
            Ok(2)
        );
        for bad in [
            "",
            "Hash=ab;URI=spiffe://example.org/billing",
            &format!("Cert=\"{CERT}\",Cert=\"{CERT}\""),
            &format!("Cert=\"{CERT}\";Cert=\"{CERT}\""),
            &format!("Cert=\"{CERT}"),
            &format!("Cert=\"{CERT}\"x"),
            &format!("Cert=\"{CERT}\";"),
            "Cert=\"\"",
            "Cert=\"%2\"",
            "Cert=\"-----BEGIN%20CERTIFICATE-----\"",
            &format!("Chain=\"{}\"", CERT.repeat(11)),
        ] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
