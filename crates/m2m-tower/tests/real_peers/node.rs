//! Node: jose for tokens and SETs, `node:https` for TLS, standardwebhooks, and http-message-signatures.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caep_set::{Event, Profile, SecurityEvent, SessionRevoked, SetMinter, SetVerifier, SubjectId};
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    HttpRequest, HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy, HttpSignatureScratch,
    HttpSigner, HttpSigningKey, SharedSecret, TimeWindow, WebhookHeaders, WebhookSecret,
    WebhookSigner, WebhookVerifier,
};
use m2m_token::{Audience, Issuers, Scratch};
use serde_json::{Value, json};

use crate::foreign::{Keys, Script, converse};
use crate::process::{installed, program, run, say};
use crate::world::{FOREIGN_ISSUER, ISSUER, World};

const RECEIVER: &str = "https://receiver.example";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const PAYLOAD: &str = r#"{"order": 1, "text": "größer"}"#;
const COVERED: [&str; 2] = ["@method", "@target-uri"];
const TARGET: &str = "/orders/17?a=b%20c";

/// What the peer says besides what every peer does.
const MORE: &[(&str, &str)] = &[
    ("ours: by the name of Ed25519", "accepted"),
    ("set: ours", "accepted"),
    ("set: ours for another", "refused"),
    ("set: ours as an access token", "refused"),
    ("set: an access token as one", "refused"),
    ("set: ours, altered", "refused"),
    ("call: two tokens", "400 Bearer error=\"invalid_request\""),
    ("webhook: ours", "accepted"),
    ("webhook: ours, altered", "refused"),
    ("webhook: ours under another id", "refused"),
    ("webhook: ours, an hour old", "refused"),
    ("webhook: ours by another secret", "refused"),
    ("signed: ours", "accepted"),
    ("signed: ours, another method", "refused"),
    ("signed: ours, another place", "refused"),
    ("signed: ours by another key", "refused"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_verifies_what_we_sign_calls_us_and_signs_what_we_take_when_it_is_right() {
    let Some(node) = node() else { return };
    let Some(packages) = installed("node/node_modules/jose/package.json") else {
        return;
    };
    let packages = packages.ancestors().nth(3).unwrap();
    let mut command = Command::new(node);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_peers/peer.mjs");
    // Without files of the user's that change what Node does.
    command.env_remove("NODE_OPTIONS").arg(script);
    let world = World::new();
    let secret = WebhookSecret::generate(&SystemRandom).unwrap();
    let other = WebhookSecret::generate(&SystemRandom).unwrap();
    let shared = SecretBytes::random(32, &SystemRandom).unwrap();
    let told = [
        ("set", set(&world)),
        ("webhook", webhook(&world, &secret, &other)),
        ("signed", signed(&world, &shared)),
    ];
    let script = Script {
        command,
        packages: Some(packages),
        told: &told,
        expected: MORE,
    };
    let (said, keys) = converse(&world, script).await;
    judge_set(&world, said["set"].as_str().unwrap(), &keys);
    judge_webhook(&world, &said["webhook"], (&secret, &other));
    judge_signed(&world, &said["signed"], &shared);
}

/// A Node that jose runs on.
fn node() -> Option<std::path::PathBuf> {
    let node = program("node")?;
    let version = run(Command::new(&node).arg("--version")).stdout;
    let major = version.trim().strip_prefix('v').unwrap_or_default();
    let major: Option<u32> = major.split('.').next().and_then(|text| text.parse().ok());
    if major.is_none_or(|major| major < 20) {
        say(&format!("SKIPPED: node {version:?}, and jose wants 20"));
        return None;
    }
    Some(node)
}

fn set(world: &World) -> Value {
    let minter = SetMinter::new(ISSUER, world.ring.clone()).unwrap();
    let subject = SubjectId::opaque("7f3a").unwrap();
    let event = SecurityEvent::new(subject, SessionRevoked::new());
    let set = minter.mint(&event, RECEIVER, world.now(), &SystemRandom);
    json!({ "token": set.unwrap().token(), "audience": RECEIVER, "event": SESSION_REVOKED })
}

/// It is for its receiver, of its transmitter and whole, or nothing.
fn judge_set(world: &World, set: &str, keys: &Keys) {
    let verifier = |issuer: &str, receiver: &str| {
        let issuers = Issuers::one(issuer, keys.clone());
        SetVerifier::new(issuers, Audience::exactly(receiver), Profile::ssf()).unwrap()
    };
    let mut scratch = Scratch::new();
    let right = verifier(FOREIGN_ISSUER, RECEIVER);
    let received = right.verify(set, world.now(), &mut scratch).unwrap();
    let received = received.conforming().unwrap();
    let event = received.token().event();
    assert!(matches!(event, Some(Event::SessionRevoked(_))), "{event:?}");

    let (signed, signature) = set.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let shortened = format!("{header}.{}.{signature}", &claims[..claims.len() - 4]);
    for wrong in [&shortened, &format!("{signed}."), &world.token("billing")] {
        assert!(
            right.verify(wrong, world.now(), &mut scratch).is_err(),
            "{wrong}"
        );
    }
    for wrong in [verifier(ISSUER, RECEIVER), verifier(FOREIGN_ISSUER, ISSUER)] {
        assert!(wrong.verify(set, world.now(), &mut scratch).is_err());
    }
}

fn webhook(world: &World, secret: &WebhookSecret, other: &WebhookSecret) -> Value {
    // During a rotation there are two signatures, and the receiver has one of the secrets.
    let fresh = WebhookSecret::generate(&SystemRandom).unwrap();
    let signer = WebhookSigner::new([&fresh, secret]).unwrap();
    let headers = |then: m2m_types::Timestamp| {
        json!({
            "webhook-id": "msg_1",
            "webhook-timestamp": then.unix_seconds().to_string(),
            "webhook-signature": signer.sign("msg_1", then, PAYLOAD.as_bytes()).unwrap(),
        })
    };
    let hour = world.now().unix_seconds() - 3600;
    let text = |secret: &WebhookSecret| {
        String::from_utf8(secret.expose_text().expose_secret().to_vec()).unwrap()
    };
    json!({
        "secret": text(secret),
        "other": text(other),
        "payload": PAYLOAD,
        "headers": headers(world.now()),
        "stale": headers(m2m_types::Timestamp::from_unix_seconds(hour).unwrap()),
    })
}

fn judge_webhook(world: &World, said: &Value, secrets: (&WebhookSecret, &WebhookSecret)) {
    let text = |name: &str| said[name].as_str().unwrap();
    let headers = WebhookHeaders {
        id: text("id").as_bytes(),
        timestamp: text("timestamp").as_bytes(),
        signature: text("signature").as_bytes(),
    };
    let (secret, other) = secrets;
    let verifier = |secret| WebhookVerifier::new([secret], TimeWindow::FIVE_MINUTES).unwrap();
    let (right, wrong) = (verifier(secret), verifier(other));
    let (now, payload) = (world.now(), text("payload").as_bytes());
    assert!(right.verify(headers, payload, now).is_ok());
    assert!(wrong.verify(headers, payload, now).is_err());
    assert!(right.verify(headers, &payload[1..], now).is_err());
    let renamed = WebhookHeaders {
        id: b"msg_2",
        ..headers
    };
    assert!(right.verify(renamed, payload, now).is_err());
    let later = now.saturating_add(Duration::from_secs(3600));
    assert!(right.verify(headers, payload, later).is_err());
}

/// A request that is signed by RFC 9421, with what the peer needs to verify it.
fn signed(world: &World, secret: &SecretBytes) -> Value {
    let key = HttpSigningKey::secret(&shared(secret)).unwrap();
    let signer = HttpSigner::new("sig1", &COVERED, "ours", key).unwrap();
    let fields = signer.sign(&request(b"GET", &[]), world.now(), &SystemRandom);
    let fields = fields.unwrap();
    json!({
        "secret": STANDARD.encode(secret.expose_secret()),
        "covered": COVERED,
        "request": {
            "method": "GET",
            "url": format!("https://orders.internal{TARGET}"),
            "headers": {
                "signature-input": fields.signature_input(),
                "signature": fields.signature(),
            },
        },
    })
}

fn judge_signed(world: &World, said: &Value, secret: &SecretBytes) {
    let fields = ["Signature-Input", "Signature"].map(|name| {
        let value = said[name].as_str().unwrap();
        (name, value.as_bytes())
    });
    let policy =
        HttpSignaturePolicy::danger_accepting_replays(&COVERED, TimeWindow::FIVE_MINUTES).unwrap();
    let keys = |secret: &SecretBytes, id: &str| {
        let key = HttpSignatureKey::secret(&shared(secret)).unwrap();
        HttpSignatureKeys::new().with_key(id, key).unwrap()
    };
    let verify = |request: HttpRequest<'_>, keys: &HttpSignatureKeys, now| {
        let mut scratch = HttpSignatureScratch::new();
        let verified = policy.verify(&request, keys, &mut scratch, now);
        verified.map(drop)
    };
    let (right, now) = (keys(secret, "js"), world.now());
    assert_eq!(verify(request(b"GET", &fields), &right, now), Ok(()));
    let other = SecretBytes::random(32, &SystemRandom).unwrap();
    let hour = Duration::from_secs(3600);
    let elsewhere = HttpRequest {
        target: b"/orders/18?a=b%20c",
        ..request(b"GET", &fields)
    };
    for (what, refused) in [
        ("method", verify(request(b"PUT", &fields), &right, now)),
        ("target", verify(elsewhere, &right, now)),
        (
            "key",
            verify(request(b"GET", &fields), &keys(&other, "js"), now),
        ),
        (
            "id",
            verify(request(b"GET", &fields), &keys(secret, "ours"), now),
        ),
        (
            "time",
            verify(request(b"GET", &fields), &right, now.saturating_add(hour)),
        ),
        (
            "twice",
            verify(request(b"GET", &[fields, fields].concat()), &right, now),
        ),
        ("nothing", verify(request(b"GET", &[]), &right, now)),
    ] {
        assert!(refused.is_err(), "{what}");
    }
}

fn request<'r>(method: &'r [u8], fields: &'r [(&'r str, &'r [u8])]) -> HttpRequest<'r> {
    HttpRequest {
        method,
        scheme: b"https",
        authority: b"orders.internal",
        target: TARGET.as_bytes(),
        fields,
    }
}

fn shared(secret: &SecretBytes) -> SharedSecret {
    SharedSecret::new(secret.duplicate_secret_in_memory()).unwrap()
}
