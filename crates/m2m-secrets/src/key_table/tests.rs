//! What is hashed, and what is refused before: counted.

use std::sync::Arc;

use m2m_crypto::SystemRandom;
use m2m_types::Timestamp;

use super::*;
use crate::pepper::counted::hashes;
use crate::{KeyFormat, MalformedKey, SharedSecret};

#[test]
fn a_check_hashes_once_and_what_is_malformed_or_unknown_not_at_all() {
    let now = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
    let pepper = SharedSecret::generate(&SystemRandom).unwrap();
    let version = PepperVersion::new(1).unwrap();
    let format = KeyFormat::new("acme", "live").unwrap();
    let hasher = Arc::new(KeyHasher::new(format.clone(), version, &pepper).unwrap());
    let owner: ServiceId = "spiffe://example.org/billing".parse().unwrap();
    let (client, issued) = ClientKeys::issue(owner, &hasher, &SystemRandom, now).unwrap();
    let clients = [&client];
    let table = KeyTable::build(Arc::clone(&hasher), clients, &SystemRandom, now).unwrap();
    let text = issued.key().expose_secret();

    assert_eq!(
        hashes(|| assert!(table.check(text.as_bytes(), now).is_ok())),
        1
    );
    for at in 0..text.len() {
        let mut typo = text.as_bytes().to_vec();
        typo[at] = match typo[at] {
            b'x' => b'y',
            _ => b'x',
        };
        let count = hashes(|| {
            let refused = table.check(&typo, now).unwrap_err();
            assert!(matches!(refused, KeyRefusal::Malformed(_)), "{refused}");
        });
        assert_eq!(count, 0, "byte {at}");
    }
    for end in 0..text.len() {
        let cut = &text.as_bytes()[..end];
        assert_eq!(hashes(|| assert!(table.check(cut, now).is_err())), 0);
    }
    let stranger = format.generate(&SystemRandom).unwrap();
    let stranger = stranger.expose_secret();
    let count = hashes(|| {
        let refused = table.check(stranger.as_bytes(), now).unwrap_err();
        assert!(matches!(refused, KeyRefusal::Unknown { .. }));
    });
    assert_eq!(count, 0);

    // The id of one with the secret of another, and a checksum of that: hashed once, and refused.
    let typo = format!("{}{}", &text[..21], &stranger[21..]);
    let refused = table.check(typo.as_bytes(), now).unwrap_err();
    assert_eq!(refused, KeyRefusal::Malformed(MalformedKey::Checksum));
}
