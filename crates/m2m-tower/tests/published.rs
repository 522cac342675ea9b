//! Documents for everybody, with what caches need.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{JwkSet, SigningKeyRing};
use m2m_tower::Published;
use tower::ServiceExt as _;

const FRESH: Duration = Duration::from_secs(300);

fn ask(published: &Published, method: Method, known: Option<&str>) -> (Response<()>, Bytes) {
    let mut request = Request::builder()
        .method(method)
        .uri("/.well-known/jwks.json");
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    pollster::block_on(async {
        let response = published.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), body)
    })
}

fn header<'r>(response: &'r Response<()>, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

#[test]
fn a_key_set_is_served_to_read_to_look_at_and_not_again_to_who_has_it() {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let ring = SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap();
    let published = Published::jwk_set(&ring.jwk_set(), FRESH);
    let (response, body) = ask(&published, Method::GET, None);
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(
        header(&response, "content-type"),
        Some("application/jwk-set+json")
    );
    assert_eq!(
        header(&response, "cache-control"),
        Some("public, max-age=300")
    );
    // jwt_011: what is published has no private half.
    assert!(!String::from_utf8_lossy(&body).contains("\"d\""));
    assert_eq!(JwkSet::parse(&body).unwrap().len(), 1);
    let length = body.len().to_string();

    let (head, nothing) = ask(&published, Method::HEAD, None);
    assert_eq!((head.status().as_u16(), nothing.len()), (200, 0));
    assert_eq!(header(&head, "content-length"), Some(length.as_str()));

    let tag = header(&response, "etag").unwrap();
    for known in [tag, "*", &format!("W/{tag}"), &format!("\"x\", {tag}")] {
        let (response, nothing) = ask(&published, Method::GET, Some(known));
        assert_eq!(
            (response.status().as_u16(), nothing.len()),
            (304, 0),
            "{known}"
        );
        assert_eq!(header(&response, "etag"), Some(tag));
    }
    for unknown in ["\"x\"", tag.trim_matches('"'), ""] {
        assert_eq!(
            ask(&published, Method::GET, Some(unknown)).1,
            body,
            "{unknown}"
        );
    }

    let next = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let next = SigningKeyRing::new(next, Duration::from_secs(3600)).unwrap();
    published.replace_jwk_set(&next.jwk_set());
    let (replaced, other) = ask(&published, Method::GET, Some(tag));
    assert_eq!(replaced.status().as_u16(), 200);
    assert_ne!(other, body);
}

#[test]
fn nobody_writes_to_what_is_published() {
    let published = Published::crl(&b"\x30\x00"[..], FRESH);
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
        Method::TRACE,
    ] {
        let (response, body) = ask(&published, method, None);
        assert_eq!((response.status().as_u16(), body.len()), (405, 0));
        assert_eq!(header(&response, "allow"), Some("GET, HEAD"));
    }
    let (response, body) = ask(&published, Method::GET, None);
    assert_eq!(
        header(&response, "content-type"),
        Some("application/pkix-crl")
    );
    assert_eq!(&body[..], b"\x30\x00");
    let bundle = Published::trust_bundle("{\"keys\":[]}", FRESH);
    let (response, _) = ask(&bundle, Method::GET, None);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
}
