//! `Published`: a document for everybody to fetch, as it is now: a key set, a CRL, a trust bundle.

use std::convert::Infallible;
use std::fmt;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use m2m_crypto::sha256;
use m2m_token::JwkSet;
use m2m_types::Live;
use tower_service::Service;

use crate::body::WholeBody;

/// Serves one public document for `GET` and `HEAD`, with what caches need: how long it is fresh, and its
/// `ETag` (RFC 9110 §8.8.3), so that who has it already is answered with 304.
///
/// Cloning copies a pointer; [`Published::replace`] on one replaces for all.
///
/// ```
/// use std::time::Duration;
/// use m2m_tower::Published;
/// # use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// # use m2m_token::SigningKeyRing;
/// # let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// # let ring = SigningKeyRing::new(key, Duration::from_secs(3600))?;
///
/// let keys = Published::jwk_set(&ring.jwk_set(), Duration::from_secs(300));
/// // … route `/.well-known/jwks.json` to a clone; after each step of a rotation:
/// keys.replace_jwk_set(&ring.jwk_set());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Published {
    current: Arc<Live<Document>>,
    media_type: &'static str,
    fresh: Duration,
}

struct Document {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Document {
    fn new(bytes: Bytes) -> Self {
        let mut tag = String::with_capacity(34);
        tag.push('"');
        for byte in sha256(&bytes).iter().take(16) {
            let _ = write!(tag, "{byte:02x}"); // never fails
        }
        tag.push('"');
        Self {
            bytes,
            // Digits and quotation marks are fit for a header.
            tag: HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// Whether the client has it (RFC 9110 §13.1.2).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes()
        })
    }
}

impl Published {
    /// A JWK set (RFC 7517 §5), fresh for `fresh`.
    pub fn jwk_set(set: &JwkSet, fresh: Duration) -> Self {
        Self::new("application/jwk-set+json", set.to_json().into(), fresh)
    }

    /// A CRL in DER (RFC 5280 §4.2.1.13), fresh for `fresh`: until a newer one may come, and well before its
    /// `nextUpdate`.
    pub fn crl(der: impl Into<Bytes>, fresh: Duration) -> Self {
        Self::new("application/pkix-crl", der.into(), fresh)
    }

    /// A trust bundle in the SPIFFE format, fresh for `fresh`.
    pub fn trust_bundle(json: impl Into<Bytes>, fresh: Duration) -> Self {
        Self::new("application/json", json.into(), fresh)
    }

    fn new(media_type: &'static str, bytes: Bytes, fresh: Duration) -> Self {
        Self {
            current: Arc::new(Live::new(Document::new(bytes))),
            media_type,
            fresh,
        }
    }

    /// Publishes another document of the same kind in its place.
    pub fn replace(&self, bytes: impl Into<Bytes>) {
        self.current.store(Document::new(bytes.into()));
    }

    /// Publishes another JWK set in its place.
    pub fn replace_jwk_set(&self, set: &JwkSet) {
        self.replace(set.to_json());
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<WholeBody> {
        let is_head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return not_allowed(),
        };
        let document = self.current.load();
        let is_known = document.is_known(headers);
        let bytes = match is_head || is_known {
            true => Bytes::new(),
            false => document.bytes.clone(),
        };
        let mut response = Response::new(WholeBody::new(bytes));
        let fields = response.headers_mut();
        fields.insert(ETAG, document.tag.clone());
        let fresh = format!("public, max-age={}", self.fresh.as_secs());
        if let Ok(fresh) = HeaderValue::try_from(fresh) {
            fields.insert(CACHE_CONTROL, fresh);
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(document.bytes.len()));
        fields.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

fn not_allowed() -> Response<WholeBody> {
    let mut response = Response::new(WholeBody::new(Bytes::new()));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

impl<B> Service<Request<B>> for Published {
    type Response = Response<WholeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<WholeBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.headers())))
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("media_type", &self.media_type)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}
