//! Security Event Tokens: received, made, and made for many, each beside the bare signature.
//!
//! ```text
//! cargo bench -p m2m-benches --bench set
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use caep_set::{
    EventTime, InitiatingEntity, Profile, Reasons, SecurityEvent, SessionRevoked, SetMinter,
    SetVerifier, SubjectId,
};
use criterion::{Criterion, criterion_group, criterion_main};
use m2m_benches::now;
use m2m_crypto::{Algorithm, MAX_SIGNATURE_BYTES, SigningKey, SystemRandom};
use m2m_token::{Audience, Issuers, Scratch, SigningKeyRing};

const ISSUER: &str = "https://idp.example.com/123456789/";
const AUDIENCE: &str = "https://sp.example.com/caep";

/// The example of CAEP 1.0 §3.1 with a complex subject and all optional members.
fn event() -> SecurityEvent {
    let same = |sub| SubjectId::issuer_subject(ISSUER, sub).expect("a subject");
    let subject = SubjectId::complex([
        ("user", same("jane.smith@example.com")),
        ("device", same("e9297990-14d2-42ec-a4a9-4036db86509a")),
        ("tenant", SubjectId::opaque("123456789").expect("a subject")),
    ]);
    let mut event = SessionRevoked::new();
    event.common.initiating_entity = Some(InitiatingEntity::Policy);
    event.common.reason_admin = Some(Reasons::in_language("en", "Policy Violation: C076E822"));
    event.common.reason_user = Some(
        Reasons::in_language("en", "This device is no longer compliant.")
            .and("it", "Questo dispositivo non è più conforme."),
    );
    event.common.event_timestamp = Some(EventTime::from(now()));
    SecurityEvent::new(subject.expect("a subject"), event).with_transaction("8675309")
}

fn sets(c: &mut Criterion) {
    for (algorithm, name) in [(Algorithm::Es256, "es256"), (Algorithm::Ed25519, "ed25519")] {
        let key = SigningKey::generate(algorithm, &SystemRandom).expect("a key");
        let raw = SigningKey::generate(algorithm, &SystemRandom).expect("a key");
        let ring = SigningKeyRing::new(key, Duration::from_secs(3600)).expect("a ring");
        let ring = Arc::new(ring);
        let minter = SetMinter::new(ISSUER, Arc::clone(&ring)).expect("a minter");
        let verifier = SetVerifier::new(
            Issuers::one(ISSUER, ring.verifying_keys()),
            Audience::exactly(AUDIENCE),
            Profile::ssf(),
        )
        .expect("a verifier");
        let event = event();
        let set = minter.mint(&event, AUDIENCE, now(), &SystemRandom);
        let set = set.expect("a SET").into_token();
        let (input, _) = set.rsplit_once('.').expect("it has a signature");
        let mut signature = [0; MAX_SIGNATURE_BYTES];
        let length = raw
            .sign(input.as_bytes(), &mut signature)
            .expect("it signs");
        let signature = signature.get(..length).expect("as long as it says");

        let mut group = c.benchmark_group(format!("set/{name}"));
        group.bench_function("bare-verify", |b| {
            let key = raw.verifying_key();
            b.iter(|| {
                key.verify(black_box(input.as_bytes()), signature)
                    .expect("it holds")
            });
        });
        let mut scratch = Scratch::new();
        group.bench_function("receive", |b| {
            b.iter(|| {
                let set = verifier.verify(black_box(&set), now(), &mut scratch);
                black_box(set.expect("authentic").conforming().expect("conforming"))
            });
        });
        group.bench_function("bare-sign", |b| {
            let mut room = [0; MAX_SIGNATURE_BYTES];
            b.iter(|| {
                raw.sign(black_box(input.as_bytes()), &mut room)
                    .expect("it signs")
            });
        });
        group.bench_function("mint", |b| {
            b.iter(|| minter.mint(black_box(&event), AUDIENCE, now(), &SystemRandom));
        });
        let template = minter.template(&event, now()).expect("a template");
        group.bench_function("fan-out", |b| {
            b.iter(|| {
                minter.mint_named(
                    black_box(&template),
                    AUDIENCE,
                    "24c63fb56e5a2d77a6b512616ca9fa24",
                )
            });
        });
        group.finish();
    }
}

criterion_group!(benches, sets);
criterion_main!(benches);
