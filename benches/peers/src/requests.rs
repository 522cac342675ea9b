//! Signed messages: a webhook, and the HTTP message of RFC 9421 §B.2.5, beside the libraries for each and
//! beside what no library can undercut: ring over the bytes that were signed.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpsig::prelude::message_component::HttpMessageComponent;
use httpsig::prelude::{AlgorithmName, HttpSignatureBase, HttpSignatureHeaders, SharedKey};
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    HttpRequest, HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy, HttpSignatureScratch,
    ReplayError, ReplayMemory, RequestError, RequestKey, RequestParts, Ring, SecretName,
    SecretVersion, SharedSecret, TimeWindow, WebhookHeaders, WebhookSecret, WebhookVerifier,
    sign_request, verify_request,
};
use m2m_types::Timestamp;
use ring::hmac::{HMAC_SHA256, Key};

use crate::contender::{Contender, Recipe};

const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const WEBHOOK_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
/// With id and timestamp, 200 bytes are signed.
const PAYLOAD: &[u8] = br#"{"type":"order.paid","timestamp":"2026-11-22T06:41:32Z","data":{"order":"01JD8Z5V3T6X4Q9K2M7N0P1R5S","amount":"129.90","currency":"EUR","tenant":"acme-eu-west-1"}}"#;

/// RFC 9421 §B.1.5.
const SHARED_SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const DATE: &str = "Tue, 20 Apr 2021 02:07:55 GMT";
const SIGNATURE_INPUT: &str =
    r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
const SIGNATURE: &str = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
const BASE: &str = r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
const CREATED: u64 = 1_618_884_473;

/// Each group begins with ring.
pub fn recipes() -> Vec<Recipe> {
    let webhook = |library, prepare: fn(Webhook) -> Operation| {
        Recipe::new(
            format!("webhook/verify/v1/{library}"),
            move |id, fixture| {
                let forged = Webhook {
                    payload: b"{}",
                    ..Webhook::new(fixture.now)
                };
                assert!(!prepare(forged)(), "{id} accepts a forged webhook");
                Contender::new(id, prepare(Webhook::new(fixture.now)))
            },
        )
    };
    let http = |library, prepare: fn(&'static str) -> Operation| {
        Recipe::new(
            format!("http-signature/verify/hmac/{library}"),
            move |id, _| {
                let forged = SIGNATURE.replace("=:p", "=:q").leak();
                assert!(!prepare(forged)(), "{id} accepts a forged signature");
                Contender::new(id, prepare(SIGNATURE))
            },
        )
    };
    vec![
        webhook("ring", webhook_ring),
        webhook("standardwebhooks", webhook_peer),
        webhook("m2m", |webhook| webhook_ours(webhook, &[WEBHOOK_SECRET])),
        webhook("standardwebhooks-second-secret", webhook_peer_second),
        webhook("m2m-second-secret", |webhook| {
            webhook_ours(webhook, &[OTHER_SECRET, WEBHOOK_SECRET])
        }),
        http("ring", http_ring),
        http("httpsig", http_peer),
        http("m2m", http_ours),
        Recipe::new("request/verify/hmac/ring", |id, _| {
            // As many bytes as the canonical form has.
            let key = Key::new(HMAC_SHA256, &[7; 32]);
            let message = [7; 119];
            let tag = ring::hmac::sign(&key, &message);
            Contender::new(id, move || {
                ring::hmac::verify(&key, black_box(&message), tag.as_ref()).is_ok()
            })
        }),
        Recipe::new("request/verify/hmac/m2m", |id, fixture| {
            Contender::new(id, request_ours(fixture.now))
        }),
    ]
}

type Operation = Box<dyn FnMut() -> bool>;

#[derive(Clone)]
struct Webhook {
    now: u64,
    timestamp: String,
    payload: &'static [u8],
    /// Over [`PAYLOAD`], whatever the payload is.
    tag: Vec<u8>,
}

impl Webhook {
    fn new(now: u64) -> Self {
        let timestamp = now.to_string();
        let tag = ring::hmac::sign(&webhook_key(), &signed(&timestamp, PAYLOAD));
        Self {
            now,
            timestamp,
            payload: PAYLOAD,
            tag: tag.as_ref().to_vec(),
        }
    }

    fn header(&self) -> String {
        format!("v1,{}", STANDARD.encode(&self.tag))
    }
}

fn webhook_key() -> Key {
    let secret = STANDARD
        .decode(&WEBHOOK_SECRET[6..])
        .expect("the secret is base64");
    Key::new(HMAC_SHA256, &secret)
}

fn signed(timestamp: &str, payload: &[u8]) -> Vec<u8> {
    [
        WEBHOOK_ID.as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        payload,
    ]
    .concat()
}

fn webhook_ring(webhook: Webhook) -> Operation {
    let key = webhook_key();
    let signed = signed(&webhook.timestamp, webhook.payload);
    Box::new(move || ring::hmac::verify(&key, black_box(&signed), &webhook.tag).is_ok())
}

fn webhook_peer(webhook: Webhook) -> Operation {
    let peer = standardwebhooks::Webhook::new(WEBHOOK_SECRET).expect("the secret is base64");
    let headers = peer_headers(&webhook);
    Box::new(move || peer.verify(black_box(webhook.payload), &headers).is_ok())
}

/// What its users do while a secret is rotated.
fn webhook_peer_second(webhook: Webhook) -> Operation {
    let peers = [OTHER_SECRET, WEBHOOK_SECRET]
        .map(|secret| standardwebhooks::Webhook::new(secret).expect("the secret is base64"));
    let headers = peer_headers(&webhook);
    Box::new(move || {
        let payload = black_box(webhook.payload);
        peers
            .iter()
            .any(|peer| peer.verify(payload, &headers).is_ok())
    })
}

fn peer_headers(webhook: &Webhook) -> http::HeaderMap {
    let header = |text: &str| http::HeaderValue::from_str(text).expect("it is visible ASCII");
    let mut headers = http::HeaderMap::new();
    headers.insert("webhook-id", header(WEBHOOK_ID));
    headers.insert("webhook-timestamp", header(&webhook.timestamp));
    headers.insert("webhook-signature", header(&webhook.header()));
    headers
}

fn webhook_ours(webhook: Webhook, secrets: &[&str]) -> Operation {
    let secrets: Vec<WebhookSecret> = secrets
        .iter()
        .map(|secret| WebhookSecret::parse(secret.as_bytes()).expect("the secret is base64"))
        .collect();
    let verifier = WebhookVerifier::new(&secrets, TimeWindow::FIVE_MINUTES).expect("one or two");
    let headers = peer_headers(&webhook);
    let now = at(webhook.now);
    Box::new(move || {
        // Out of the same map: finding them is part of the work.
        let header = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        let headers = WebhookHeaders {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
        };
        verifier
            .verify(headers, black_box(webhook.payload), now)
            .is_ok()
    })
}

fn http_ring(signature: &str) -> Operation {
    let secret = STANDARD
        .decode(SHARED_SECRET)
        .expect("the secret is base64");
    let key = Key::new(HMAC_SHA256, &secret);
    let text = signature.trim_start_matches("sig-b25=").trim_matches(':');
    let tag = STANDARD.decode(text).expect("the signature is base64");
    Box::new(move || ring::hmac::verify(&key, black_box(BASE.as_bytes()), &tag).is_ok())
}

fn http_peer(signature: &'static str) -> Operation {
    let key = SharedKey::from_base64(&AlgorithmName::HmacSha256, SHARED_SECRET)
        .expect("the secret is base64");
    // Given to it as it wants them, in the order of the list.
    let values = [DATE, "example.com", "application/json"].map(|value| [value.to_owned()]);
    Box::new(move || {
        let Ok(all) = HttpSignatureHeaders::try_parse(black_box(signature), SIGNATURE_INPUT) else {
            return false;
        };
        let Some(headers) = all.get("sig-b25") else {
            return false;
        };
        let params = headers.signature_params();
        let lines: Result<Vec<HttpMessageComponent>, _> = params
            .covered_components
            .iter()
            .zip(&values)
            .map(|(id, value)| HttpMessageComponent::try_from((id, &value[..])))
            .collect();
        lines
            .and_then(|lines| HttpSignatureBase::try_new(&lines, params))
            .and_then(|base| base.verify_signature_headers(&key, headers))
            .is_ok()
    })
}

fn http_ours(signature: &'static str) -> Operation {
    let secret = STANDARD
        .decode(SHARED_SECRET)
        .expect("the secret is base64");
    let secret = SharedSecret::new(SecretBytes::new(secret)).expect("64 bytes");
    let key = HttpSignatureKey::secret(&secret).expect("it is no public key");
    let keys = HttpSignatureKeys::new()
        .with_key("test-shared-secret", key)
        .expect("the first");
    let covered = ["date", "@authority", "content-type"];
    let policy = HttpSignaturePolicy::danger_accepting_replays(&covered, TimeWindow::FIVE_MINUTES)
        .expect("three components");
    let mut scratch = HttpSignatureScratch::new();
    let fields = [
        ("Host", &b"example.com"[..]),
        ("Date", DATE.as_bytes()),
        ("Content-Type", b"application/json"),
        ("Content-Length", b"18"),
        ("Signature-Input", SIGNATURE_INPUT.as_bytes()),
        ("Signature", signature.as_bytes()),
    ];
    Box::new(move || {
        let request = HttpRequest {
            method: b"POST",
            scheme: b"https",
            authority: b"example.com",
            target: b"/foo?param=Value&Pet=dog",
            fields: black_box(&fields),
        };
        policy
            .verify(&request, &keys, &mut scratch, at(CREATED))
            .is_ok()
    })
}

/// Verified wholly each time; then found to have come before, which is looked up last.
fn request_ours(now: u64) -> Operation {
    let now = at(now);
    let secret = SharedSecret::generate(&SystemRandom).expect("the system has randomness");
    let name = SecretName::new("billing").expect("a name");
    let versions = [(SecretVersion::FIRST, &secret)];
    let ring = Ring::fixed_with(
        &name,
        versions,
        SecretVersion::FIRST,
        now,
        RequestKey::derive,
    )
    .expect("one version");
    let memory = ReplayMemory::new(100_000, TimeWindow::FIVE_MINUTES, &SystemRandom)
        .expect("the system has randomness");
    let request = RequestParts::new(b"POST", b"orders.example.org", b"/v1/orders/batch")
        .with_body_sha256([7; 32]);
    let header = sign_request(&ring, &request, now, &SystemRandom).expect("it is signed");
    verify_request(&ring, &memory, header.as_bytes(), &request, now).expect("it verifies");
    Box::new(move || {
        let again = verify_request(&ring, &memory, black_box(header.as_bytes()), &request, now);
        matches!(again, Err(RequestError::Replay(ReplayError::Replayed)))
    })
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).expect("before the year 9999")
}
