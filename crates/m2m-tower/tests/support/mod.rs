//! What the tests share: an issuer, a guard, and a service behind the layer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

#[cfg(feature = "tls")]
pub(crate) mod pki;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use m2m_crypto::{Algorithm, CertificateThumbprint, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Caller, Freshness, Grant, Guard, GuardBuilder, Resources};
use m2m_revoke::Revocations;
use m2m_token::{
    Audience, Issuers, Minter, SigningKeyRing, TokenRequest, TokenType, Verifier, VerifierBuilder,
};
use m2m_tower::{Authenticate, NotAdmitted};
use m2m_types::{ManualClock, ServiceId, Timestamp};
use tower::{Layer as _, ServiceExt as _, service_fn};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const BILLING: &str = "spiffe://example.org/billing";
pub(crate) const ORDERS: &str = "spiffe://example.org/orders";

/// 2026-01-01T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600).unwrap()
}

pub(crate) fn service(name: &str) -> ServiceId {
    name.parse().unwrap()
}

/// The certificate of machine `n`.
pub(crate) fn certificate(n: u8) -> CertificateThumbprint {
    CertificateThumbprint::of_der(&[0x30, 3, 2, 1, n])
}

pub(crate) struct World {
    pub(crate) ring: Arc<SigningKeyRing>,
    pub(crate) minter: Minter,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
        Self {
            minter: Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap(),
            ring,
            revocations: Arc::new(Revocations::new([7; 16], now())),
            clock: Arc::new(ManualClock::new(now())),
        }
    }

    pub(crate) fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(
            Issuers::one(ISSUER, self.ring.verifying_keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        )
    }

    /// Billing may read orders with a token, bound or not, and write some with a scope.
    pub(crate) fn bearer(&self) -> GuardBuilder {
        let orders = || Resources::under("/orders").unwrap();
        let write = Grant::new("POST", orders()).requiring_scope("orders:write");
        let allowed = AllowList::new()
            .allow(&service(BILLING), Grant::new("GET", orders()))
            .allow(&service(BILLING), write);
        Guard::builder(allowed)
            .with_bearer_tokens(self.verifier(), Freshness::in_process())
            .with_revocations(Arc::clone(&self.revocations), Freshness::in_process())
    }

    pub(crate) fn layer(&self) -> Authenticate {
        self.layer_of(self.bearer())
    }

    pub(crate) fn layer_of(&self, guard: GuardBuilder) -> Authenticate {
        let guard = Arc::new(guard.build().unwrap());
        Authenticate::new(guard, Arc::<ManualClock>::clone(&self.clock))
    }

    pub(crate) fn token(&self) -> String {
        self.mint(&TokenRequest::new(
            BILLING,
            ORDERS,
            Duration::from_secs(300),
        ))
    }

    pub(crate) fn mint(&self, request: &TokenRequest<'_>) -> String {
        self.minter.mint(request, now(), &SystemRandom).unwrap()
    }
}

/// What a service behind the layer saw, if it was reached.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) caller: Option<Caller>,
    pub(crate) not_admitted: Option<NotAdmitted>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) seen: Option<Seen>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request through the layer, to a service that takes everything.
pub(crate) fn send(layer: &Authenticate, request: Request<Empty<Bytes>>) -> Answer {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let inner = service_fn(move |request: Request<Empty<Bytes>>| {
        let keep = Arc::clone(&keep);
        async move {
            *keep.lock().unwrap() = Some(Seen {
                headers: request.headers().clone(),
                caller: request.extensions().get().cloned(),
                not_admitted: request.extensions().get().copied(),
            });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"behind"))))
        }
    });
    pollster::block_on(async {
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            seen: seen.lock().unwrap().take(),
        }
    })
}

pub(crate) fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

pub(crate) fn with_token(path: &str, token: &str) -> Request<Empty<Bytes>> {
    let request = get(path).header("authorization", format!("Bearer {token}"));
    request.body(Empty::new()).unwrap()
}
