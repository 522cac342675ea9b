#![no_main]
//! Any text as a SPIFFE ID, against a second reading of the same grammar.

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::check_message;
use m2m_types::{ServiceId, ServiceIdRef, TrustDomain};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let domain = text.parse::<TrustDomain>();
    assert_eq!(domain.is_ok(), is_trust_domain(text));
    if let Err(error) = domain {
        check_message(&error);
    }
    let borrowed = ServiceIdRef::parse(text);
    assert_eq!(borrowed.is_ok(), is_spiffe_id(text));
    match text.parse::<ServiceId>() {
        Ok(id) => {
            assert_eq!(borrowed.map(|id| id.as_str()), Ok(text));
            assert_eq!(id.as_str(), text);
            assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            assert!(id.is_member_of(&id.trust_domain()));
        }
        Err(error) => {
            assert_eq!(borrowed.err(), Some(error));
            check_message(&error);
        }
    }
});

/// SPIFFE-ID §2, read once more.
fn is_spiffe_id(text: &str) -> bool {
    let Some((domain, path)) = text
        .strip_prefix("spiffe://")
        .and_then(|t| t.split_once('/'))
    else {
        return false;
    };
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    };
    text.len() <= 2048 && is_trust_domain(domain) && path.split('/').all(segment)
}

/// SPIFFE-ID §2.1, read once more.
fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c))
}
