//! HTTP message signatures over the types of the `http` crate.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)] // helpers of tests

use http::{Request, Response};
use m2m_crypto::SystemRandom;
use m2m_secrets::{
    HttpMessage, HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy, HttpSignatureScratch,
    HttpSigner, HttpSigningKey, SharedSecret, TimeWindow, signature_base,
};
use m2m_types::Timestamp;

#[test]
fn a_request_and_its_response_are_signed_and_verified() {
    let now = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
    let secret = SharedSecret::generate(&SystemRandom).unwrap();
    let key = HttpSignatureKey::secret(&secret).unwrap();
    let keys = HttpSignatureKeys::new().with_key("k1", key).unwrap();
    let covered = ["@method", "@target-uri", "accept"];
    let key = HttpSigningKey::secret(&secret).unwrap();
    let signer = HttpSigner::new("sig1", &covered, "k1", key).unwrap();

    let request = Request::get("https://Example.com:443/a?b=c")
        .header("Accept", "text/plain")
        .header("accept", "*/*")
        .body(());
    let (mut parts, ()) = request.unwrap().into_parts();
    let fields = signer.sign(&parts, now, &SystemRandom).unwrap();
    for (name, value) in [
        ("signature-input", fields.signature_input()),
        ("signature", fields.signature()),
    ] {
        parts.headers.append(name, value.parse().unwrap());
    }
    let window = TimeWindow::FIVE_MINUTES;
    let policy = HttpSignaturePolicy::danger_accepting_replays(&covered, window).unwrap();
    let mut scratch = HttpSignatureScratch::new();
    assert!(policy.verify(&parts, &keys, &mut scratch, now).is_ok());
    let base = signature_base(&parts, b"(\"@target-uri\" \"accept\" \"@request-target\")").unwrap();
    let base = String::from_utf8(base).unwrap();
    assert!(base.contains("\"@target-uri\": https://example.com/a?b=c\n"));
    assert!(base.contains("\"accept\": text/plain, */*\n"));
    assert!(base.contains("\"@request-target\": /a?b=c\n"));
    parts.headers.append("accept", "text/html".parse().unwrap());
    assert!(policy.verify(&parts, &keys, &mut scratch, now).is_err());

    let key = HttpSigningKey::secret(&secret).unwrap();
    let covered = ["@status", "\"@method\";req"];
    let signer = HttpSigner::new("sig1", &covered, "k1", key).unwrap();
    let (mut response, ()) = Response::builder()
        .status(204)
        .body(())
        .unwrap()
        .into_parts();
    let fields = signer
        .sign_response(&response, &parts, now, &SystemRandom)
        .unwrap();
    for (name, value) in [
        ("signature-input", fields.signature_input()),
        ("signature", fields.signature()),
    ] {
        response.headers.append(name, value.parse().unwrap());
    }
    let policy = HttpSignaturePolicy::danger_accepting_replays(&covered, window).unwrap();
    let verified = policy.verify_response(&response, &parts, &keys, &mut scratch, now);
    assert!(verified.is_ok());
    parts.method = http::Method::POST;
    let verified = policy.verify_response(&response, &parts, &keys, &mut scratch, now);
    assert!(verified.is_err());
}

#[test]
fn the_authority_of_a_request_of_http_1_is_its_one_host() {
    let parts = |hosts: &[&str]| {
        let request = hosts.iter().fold(Request::get("/a"), |request, host| {
            request.header("host", *host)
        });
        request.body(()).unwrap().into_parts().0
    };
    assert_eq!(parts(&["a.example"]).authority(), Some(&b"a.example"[..]));
    assert_eq!(parts(&[]).authority(), None);
    assert_eq!(parts(&["a.example", "b.example"]).authority(), None);
    assert_eq!(parts(&["a.example"]).scheme(), Some(&b"https"[..]));
}
