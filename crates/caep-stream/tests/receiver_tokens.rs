//! Each way to damage a token gets the same answer through the receiver's entry as from a verifier of
//! tokens: nothing is recorded.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::time::Duration;

use caep_set::{Profile, SetError};
use caep_stream::receiver::{Received, Receiver, Refusal, Source, SourceKeys};
use common::{A, NOW, RECEIVER, at, memory, open, push};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{Audience, Issuers, KeySet, Scratch, TokenType, Verifier, VerifyError};
use pollster::block_on;
use serde_json::{Value, json};

const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

struct World {
    key: SigningKey,
}

impl World {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        Self { key }
    }

    fn keys(&self) -> KeySet {
        let public = self.key.verifying_key().clone();
        KeySet::new().with_key("k1", public).unwrap()
    }

    fn receiver(&self) -> Receiver {
        self.receiver_by(Profile::ssf())
    }

    fn receiver_by(&self, profile: Profile) -> Receiver {
        let keys = SourceKeys::fixed(self.keys());
        let audience = Audience::exactly(RECEIVER);
        let source = Source::new(A, keys, audience, profile).unwrap();
        open(&memory().1, vec![source.danger_pushed_by_anybody()])
    }

    /// What verifies tokens, with the rules that SETs have.
    fn verifier(&self) -> Verifier {
        Verifier::builder(
            Issuers::one(A, self.keys()),
            Audience::exactly(RECEIVER),
            TokenType::named("secevent+jwt"),
        )
        .danger_accepting_no_expiry()
        .with_leeway(Duration::from_secs(60))
        .with_required_claim("jti")
        .with_required_claim("iat")
        .with_required_claim("events")
        .build()
        .unwrap()
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let text = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        self.signed(text)
    }

    fn signed(&self, text: String) -> String {
        let mut signature = [0; m2m_crypto::MAX_SIGNATURE_BYTES];
        let length = self.key.sign(text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", encode(&signature[..length]))
    }
}

fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

const HEADER: &str = r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1"}"#;

fn claims(changes: &Value) -> String {
    let mut all = json!({
        "iss": A, "aud": RECEIVER, "jti": "1", "iat": NOW - 10, "txn": "t",
        "sub_id": {"format": "opaque", "id": "7f3a"},
        "events": {EVENT: {}},
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all.to_string()
}

#[test]
fn set_003_every_class_of_jwt_abuse_is_refused_as_tokens_are() {
    let world = World::new();
    let (receiver, verifier) = (world.receiver(), world.verifier());
    let good = world.sign(HEADER, &claims(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts");
    };
    let with_header = |header: &str| world.sign(header, &claims(&json!({})));
    let stranger = World::new();
    let plain = claims(&json!({}));
    let damaged: Vec<(&str, String)> = vec![
        // JWT-A: algorithms and keys.
        (
            "A none",
            format!(
                "{}.{payload}.",
                encode(br#"{"typ":"secevent+jwt","alg":"none"}"#)
            ),
        ),
        (
            "A hmac",
            with_header(r#"{"typ":"secevent+jwt","alg":"HS256","kid":"k1"}"#),
        ),
        (
            "A other",
            with_header(r#"{"typ":"secevent+jwt","alg":"EdDSA","kid":"k1"}"#),
        ),
        (
            "A unknown kid",
            with_header(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k2"}"#),
        ),
        ("A other key", stranger.sign(HEADER, &plain)),
        // JWT-B: signatures.
        ("B empty", format!("{header}.{payload}.")),
        (
            "B short",
            format!("{header}.{payload}.{}", &signature[..signature.len() - 4]),
        ),
        ("B zero", format!("{header}.{payload}.{}", encode(&[0; 64]))),
        (
            "B moved",
            format!(
                "{header}.{}.{signature}",
                encode(claims(&json!({"jti": "2"})).as_bytes())
            ),
        ),
        // JWT-C: encoding and JSON.
        ("C padding", format!("{good}=")),
        ("C two", format!("{header}.{payload}")),
        ("C four", format!("{good}.x")),
        ("C array", world.sign(HEADER, "[]")),
        (
            "C twice",
            world.sign(HEADER, &format!(r#"{{"iss":"{A}","iss":"{A}"}}"#)),
        ),
        ("C text", world.sign(HEADER, "text")),
        ("C behind", world.sign(HEADER, &format!("{plain}{{}}"))),
        ("C not utf-8", {
            let text = format!("{header}.{}", encode(b"{\"iss\":\"\xff\"}"));
            world.signed(text)
        }),
        // JWT-D: time.
        (
            "D future",
            world.sign(HEADER, &claims(&json!({"iat": NOW + 3600}))),
        ),
        (
            "D expired",
            world.sign(HEADER, &claims(&json!({"exp": NOW - 3600}))),
        ),
        (
            "D not yet",
            world.sign(HEADER, &claims(&json!({"nbf": NOW + 3600}))),
        ),
        (
            "D text",
            world.sign(HEADER, &claims(&json!({"iat": "now"}))),
        ),
        ("D none", world.sign(HEADER, &claims(&json!({"iat": null})))),
        // JWT-E: claims.
        (
            "E issuer",
            world.sign(HEADER, &claims(&json!({"iss": "https://a.example/"}))),
        ),
        (
            "E no issuer",
            world.sign(HEADER, &claims(&json!({"iss": null}))),
        ),
        (
            "E audience",
            world.sign(HEADER, &claims(&json!({"aud": "https://x.example"}))),
        ),
        (
            "E audiences",
            world.sign(
                HEADER,
                &claims(&json!({"aud": [RECEIVER, "https://x.example"]})),
            ),
        ),
        (
            "E no audience",
            world.sign(HEADER, &claims(&json!({"aud": null}))),
        ),
        (
            "E no name",
            world.sign(HEADER, &claims(&json!({"jti": null}))),
        ),
        ("E number", world.sign(HEADER, &claims(&json!({"jti": 1})))),
        // JWT-F: header parameters.
        (
            "F crit",
            with_header(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1","crit":["x"],"x":1}"#),
        ),
        (
            "F b64",
            with_header(
                r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1","crit":["b64"],"b64":false}"#,
            ),
        ),
        ("F no type", with_header(r#"{"alg":"ES256","kid":"k1"}"#)),
        (
            "F jwt",
            with_header(r#"{"typ":"JWT","alg":"ES256","kid":"k1"}"#),
        ),
        (
            "F access token",
            with_header(r#"{"typ":"at+jwt","alg":"ES256","kid":"k1"}"#),
        ),
        (
            "F twice",
            with_header(r#"{"typ":"secevent+jwt","alg":"ES256","alg":"ES256","kid":"k1"}"#),
        ),
    ];
    for (what, set) in &damaged {
        let by_tokens = verifier.verify(set, at(NOW), &mut Scratch::new()).map(drop);
        let by_tokens = by_tokens.expect_err(what);
        let request = push(set, None);
        let pushed = receiver.handle_push(&request, at(NOW), &SystemRandom);
        let pushed = block_on(pushed);
        assert_eq!(pushed.response.status(), 400, "{what}");
        match pushed.received {
            // The receiver looks at `iss` first: an unknown one has no keys.
            Some(Received::Refused(Refusal::Issuer)) => assert!(
                matches!(by_tokens, VerifyError::IssuerUnknown { .. }),
                "{what}: {by_tokens}"
            ),
            Some(Received::Refused(Refusal::Form)) => assert!(
                matches!(by_tokens, VerifyError::ClaimMissing { .. }),
                "{what}: {by_tokens}"
            ),
            Some(Received::Refused(Refusal::Set(SetError::Token(found)))) => {
                assert_eq!(found, by_tokens, "{what}");
            }
            // It has no form of a SET at all.
            None => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
    let request = push(&good, None);
    let pushed = block_on(receiver.handle_push(&request, at(NOW), &SystemRandom));
    assert_eq!(
        pushed.received,
        Some(Received::New),
        "undamaged it is taken"
    );
}

#[test]
fn set_004_set_005_set_006_what_does_not_conform_is_refused_and_what_is_unknown_is_kept() {
    let world = World::new();
    let receiver = world.receiver();
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let deep: String = claims(&json!({})).replace(
        &format!(r#""{EVENT}":{{}}"#),
        &format!(r#""{EVENT}":{{"x":{deep}}}"#),
    );
    let upper = EVENT.to_uppercase();
    for (what, text) in [
        ("missing", claims(&json!({"events": null}))),
        ("empty", claims(&json!({"events": {}}))),
        ("array", claims(&json!({"events": []}))),
        (
            "two",
            claims(&json!({"events": {EVENT: {}, "https://x.example/e": {}}})),
        ),
        ("other letters", claims(&json!({"events": {upper: {}}}))),
        ("payload array", claims(&json!({"events": {EVENT: []}}))),
        ("payload text", claims(&json!({"events": {EVENT: "x"}}))),
        ("deep", deep),
        ("sub", claims(&json!({"sub": "alice"}))),
        ("exp", claims(&json!({"exp": NOW + 300}))),
        ("no subject", claims(&json!({"sub_id": null}))),
        ("subject text", claims(&json!({"sub_id": "alice"}))),
        (
            "subject empty",
            claims(&json!({"sub_id": {"format": "opaque", "id": ""}})),
        ),
    ] {
        let set = world.sign(HEADER, &text);
        let request = push(&set, None);
        let pushed = block_on(receiver.handle_push(&request, at(NOW), &SystemRandom));
        assert_eq!(pushed.response.status(), 400, "{what}");
        let body = pushed.response.body();
        assert!(body.starts_with(br#"{"err":"invalid_request""#), "{what}");
    }
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
    // A type that nobody knows is acknowledged; nobody is believed it.
    let unknown =
        claims(&json!({"events": {"https://x.example/e": {"any": [1, {"thing": null}]}}}));
    let set = world.sign(HEADER, &unknown);
    let request = push(&set, None);
    let pushed = block_on(receiver.handle_push(&request, at(NOW), &SystemRandom));
    assert_eq!(pushed.received, Some(Received::New));
}

#[test]
fn a_verification_beside_another_event_does_not_swallow_it() {
    let world = World::new();
    let receiver = world.receiver_by(Profile::rfc8417());
    let verification = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let both = json!({"events": {verification: {}, EVENT: {}}});
    let set = world.sign(HEADER, &claims(&both));
    let request = push(&set, None);
    let pushed = block_on(receiver.handle_push(&request, at(NOW), &SystemRandom));
    assert_eq!(pushed.received, Some(Received::New));
    assert_eq!(block_on(receiver.inbox().pending(9)).unwrap().len(), 1);
}
