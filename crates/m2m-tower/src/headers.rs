//! Headers with which a stranger says who it is, or what it asks for besides the request line.

use http::header::HeaderName;
use http::request::Parts;

/// A certificate that a proxy saw (RFC 9440 §2).
pub(crate) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// What came with it (RFC 9440 §2.3).
pub(crate) const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
/// The same by Envoy and others.
pub(crate) const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What is never passed on: handlers must see the request that was decided about, and nobody's word on
/// who sent it.
const DROPPED: [HeaderName; 13] = [
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    XFCC,
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-path"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Removes them.
pub(crate) fn drop_claims(parts: &mut Parts) {
    // Few requests have one: to look costs less than to look each of them up.
    let is_likely = |name: &HeaderName| {
        matches!(
            name.as_str().as_bytes(),
            [b'x', b'-', ..] | [b'c', b'l', ..]
        )
    };
    if !parts.headers.keys().any(is_likely) {
        return;
    }
    for name in &DROPPED {
        parts.headers.remove(name);
    }
}
