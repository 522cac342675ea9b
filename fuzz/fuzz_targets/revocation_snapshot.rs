#![no_main]
//! Any bytes as a snapshot of revocations: what is taken answers look-ups, takes in more, survives
//! its own transfer form, and never takes a revocation back.
//!
//! A checksum stands before everything else, and no fuzzer guesses one: where it alone is wrong, it
//! is put right and the bytes are tried again.

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::{at, check_message, now};
use m2m_revoke::{Kind, RevocationSnapshot, Revocations, SnapshotError, Target, TokenFacts};
use m2m_types::ServiceIdRef;

/// Where the checksum stands in the transfer form.
const CHECKSUM: std::ops::Range<usize> = 8..16;

fuzz_target!(|data: &[u8]| {
    match RevocationSnapshot::from_bytes(data.to_vec()) {
        Ok(snapshot) => check_snapshot(snapshot),
        Err(error) => {
            check_message(&error);
            if let SnapshotError::Checksum { computed, .. } = error {
                let mut bytes = data.to_vec();
                bytes[CHECKSUM].copy_from_slice(&computed.to_le_bytes());
                match RevocationSnapshot::from_bytes(bytes) {
                    Ok(snapshot) => check_snapshot(snapshot),
                    Err(SnapshotError::Checksum { .. }) => panic!("the checksum was put right"),
                    Err(error) => check_message(&error),
                }
            }
        }
    }
});

fn check_snapshot(snapshot: RevocationSnapshot) {
    let bytes = snapshot.as_bytes().to_vec();
    let entries: u64 = Kind::ALL.iter().map(|&kind| snapshot.count(kind)).sum();
    assert_eq!(entries, snapshot.len());

    let set = Revocations::from_snapshot(snapshot);
    let before = answers(&set);
    let issuer = "issuer";
    let facts = TokenFacts {
        issuer,
        jti: Some("jti"),
        subject: Some("spiffe://example.org/a"),
        session: Some("sid"),
        key: Some(&[2; 32]),
        issued_at: Some(now()),
    };
    let was_revoked = set.check_token(&facts, now()).is_err();

    let target = Target::Token { issuer, jti: "new" };
    let epoch = set.epoch();
    if let Err(error) = set.revoke(target, at(4_000_000_000)) {
        return check_message(&error);
    }
    assert!(
        set.epoch() != epoch || before[8],
        "a change is seen by caches"
    );
    assert!(set.check(&target, None, now()).is_err(), "revoked at once");
    let after = answers(&set);
    for (before, after) in before.iter().zip(after) {
        assert!(!before || after, "never taken back");
    }
    assert!(!was_revoked || set.check_token(&facts, now()).is_err());

    let rebuilt = set.snapshot().expect("nobody changed the bytes");
    let copy = RevocationSnapshot::from_bytes(rebuilt.as_bytes().to_vec());
    let copy = Revocations::from_snapshot(copy.expect("our own form"));
    assert_eq!(answers(&copy), after);
    let original = RevocationSnapshot::from_bytes(bytes).expect("it was taken before");
    set.merge(&original).expect("it has the same key");
    assert_eq!(
        answers(&set),
        after,
        "merging what is already in changes no answer"
    );
}

/// Whether each of some targets is revoked.
fn answers(set: &Revocations) -> [bool; 9] {
    let issuer = "issuer";
    let service = ServiceIdRef::parse("spiffe://example.org/a").expect("a SPIFFE ID");
    let targets = [
        Target::Token { issuer, jti: "jti" },
        Target::Subject {
            issuer,
            subject: "spiffe://example.org/a",
        },
        Target::Service(service),
        Target::Session { issuer, sid: "sid" },
        Target::Certificate {
            issuer: b"name",
            serial: &[1],
        },
        Target::CertificateThumbprint(&[1; 32]),
        Target::Key {
            issuer,
            thumbprint: &[2; 32],
        },
        Target::SecretVersion {
            name: "secret",
            version: 1,
        },
        Target::Token { issuer, jti: "new" },
    ];
    targets.map(|target| set.check(&target, Some(now()), now()).is_err())
}
