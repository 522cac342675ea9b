//! `IssuerEndpoints`: what an issuer answers over HTTP: it lets machines join, renews, gives tokens, publishes.
//!
//! | request | for | answer |
//! |---|---|---|
//! | `GET …/jwks.json` | everybody | the JWK set (RFC 7517) |
//! | `GET …/crl` | everybody | the CRL, DER |
//! | `GET …/bundle.json` | everybody | the trust bundle, SPIFFE |
//! | `POST …/join` | who has an invitation | its first certificate |
//! | `POST …/renew` | a machine, by its certificate | another one |
//! | `POST …/token` | a machine, by its certificate | a token for one audience, bound to that certificate |
//!
//! The last segment of the path decides; put a router in front of it that says under which path it stands.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use m2m_crypto::SystemRandom;
use m2m_pki::{Certificate, UnverifiedCsr};
use m2m_revoke::{StoredRevocations, Target};
use m2m_tower::ConnectedPeer;
use m2m_types::{Clock, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};
use tower_service::Service;

use super::invitation::{JoinRefused, JoinRequest};
use super::issuer::Issuer;
use super::log::{Log, LogEvent};

/// The most that is read of a request: a CSR of the largest size in base64url, and some.
const MAX_BODY: usize = 32 << 10;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);

/// The endpoints of an issuer, a service for `tower`; see [`Runtime::issuer_endpoints`](super::Runtime::issuer_endpoints).
#[derive(Clone)]
pub struct IssuerEndpoints {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: Arc<Issuer>,
    revocations: Arc<StoredRevocations>,
    clock: Arc<dyn Clock>,
    log: Log,
}

/// A certificate, and what its holder needs to go by it at once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Released {
    chain: Vec<String>,
    crl: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewRequest {
    csr: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenAsked {
    pub(super) audience: Box<str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenGiven {
    pub(super) access_token: String,
    pub(super) expires_in: u64,
}

/// Why something was not done, and which status says so.
enum Refusal {
    Form,
    NotTaken,
    Refused(String),
    Unavailable(String),
}

impl IssuerEndpoints {
    pub(super) fn new(
        issuer: Arc<Issuer>,
        revocations: Arc<StoredRevocations>,
        clock: Arc<dyn Clock>,
        log: Log,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                issuer,
                revocations,
                clock,
                log,
            }),
        }
    }
}

impl<B> Service<Request<B>> for IssuerEndpoints
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.answer(request).await) })
    }
}

impl Shared {
    async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let what = path.rsplit('/').next().unwrap_or_default();
        let is_get = parts.method == Method::GET;
        let issuer = &self.issuer;
        match (what, is_get) {
            ("jwks.json", true) => {
                let set = issuer.signing_keys().jwk_set().to_json();
                return published("application/jwk-set+json", set);
            }
            ("crl", true) => {
                let crl = Bytes::from_owner(issuer.authority().crl_der());
                return published("application/pkix-crl", crl);
            }
            ("bundle.json", true) => {
                return published("application/json", issuer.authority().bundle().to_json());
            }
            ("join" | "renew" | "token", false) if parts.method == Method::POST => {}
            _ => return status(StatusCode::NOT_FOUND, "not_found"),
        }
        let read = async { Limited::new(Box::pin(body), MAX_BODY).collect().await };
        let body = match tokio::time::timeout(BODY_TIME, read).await {
            Ok(Ok(body)) => body.to_bytes(),
            _ => return status(StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let peer = parts.extensions.get::<ConnectedPeer>();
        let done = match what {
            "join" => self.join(&body).await,
            "renew" => self.renew(peer, &body).await,
            _ => self.token(peer, &body),
        };
        done.unwrap_or_else(|refusal| self.refuse(path, &refusal))
    }

    async fn join(&self, body: &[u8]) -> Result<Response<Full<Bytes>>, Refusal> {
        let now = self.now()?;
        let (issuer, random) = (&self.issuer, &SystemRandom);
        let accepted = JoinRequest::accept(body, issuer.records(), now, random).await;
        let (service, csr) = accepted.map_err(|refused| match refused {
            JoinRefused::Form => Refusal::Form,
            JoinRefused::Records(error) => Refusal::Unavailable(error.to_string()),
            refused => Refusal::Refused(refused.to_string()),
        })?;
        self.check(&Target::Service(service.as_ref()), now, now)?;
        let issued = issuer.authority().issue(csr, &service, now, random).await;
        self.release(&issued.map_err(|error| Refusal::Refused(error.to_string()))?)
    }

    async fn renew(
        &self,
        peer: Option<&ConnectedPeer>,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let now = self.now()?;
        let (service, certificate) = self.caller(peer, now)?;
        let request: RenewRequest = serde_json::from_slice(body).map_err(|_| Refusal::Form)?;
        let csr = BASE64URL.decode(&request.csr).map_err(|_| Refusal::Form)?;
        let csr = UnverifiedCsr::from_der(&csr).and_then(UnverifiedCsr::verify);
        let csr = csr.map_err(|_| Refusal::Form)?;
        let authority = self.issuer.authority();
        let issued = authority
            .renew(certificate, service, csr, now, &SystemRandom)
            .await;
        self.release(&issued.map_err(|error| Refusal::Refused(error.to_string()))?)
    }

    fn token(
        &self,
        peer: Option<&ConnectedPeer>,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let now = self.now()?;
        let (service, certificate) = self.caller(peer, now)?;
        let asked: TokenAsked = serde_json::from_slice(body).map_err(|_| Refusal::Form)?;
        let audience: ServiceId = asked.audience.parse().map_err(|_| Refusal::Form)?;
        let issuer = &self.issuer;
        let bound = *certificate.thumbprint();
        let token = issuer.token(service, &audience, bound, now, &SystemRandom);
        let given = TokenGiven {
            access_token: token.map_err(|error| Refusal::Unavailable(error.to_string()))?,
            expires_in: issuer.token_lifetime().as_secs(),
        };
        json(&given)
    }

    /// Who is at the other end: proven by the handshake, still trusted, and not void.
    fn caller<'p>(
        &self,
        peer: Option<&'p ConnectedPeer>,
        now: Timestamp,
    ) -> Result<(&'p ServiceId, &'p Certificate), Refusal> {
        let peer = peer.ok_or(Refusal::NotTaken)?;
        let checked = peer.check(now);
        checked.map_err(|error| Refusal::Refused(error.to_string()))?;
        let service = peer.peer().service_id().ok_or(Refusal::NotTaken)?;
        if service.trust_domain() != self.issuer.service_id().trust_domain() {
            return Err(Refusal::NotTaken);
        }
        let certificate = peer.peer().certificate();
        let issued = certificate.not_before();
        self.check(&Target::Service(service.as_ref()), issued, now)?;
        self.check(&certificate.revocation_target(), issued, now)?;
        Ok((service, certificate))
    }

    fn check(&self, target: &Target<'_>, issued: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let set = self.revocations.revocations();
        let checked = set.check(target, Some(issued), now);
        checked.map_err(|revoked| Refusal::Refused(revoked.to_string()))
    }

    fn release(&self, certificate: &Certificate) -> Result<Response<Full<Bytes>>, Refusal> {
        json(&Released {
            chain: vec![BASE64URL.encode(certificate.der())],
            crl: BASE64URL.encode(self.issuer.authority().crl_der()),
        })
    }

    fn now(&self) -> Result<Timestamp, Refusal> {
        let now = self.clock.now();
        now.map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    fn refuse(&self, path: &str, refusal: &Refusal) -> Response<Full<Bytes>> {
        let (code, word, why) = match refusal {
            Refusal::Form => {
                return status(StatusCode::BAD_REQUEST, "invalid_request");
            }
            Refusal::NotTaken => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "no client certificate of this trust domain",
            ),
            Refusal::Refused(why) => (StatusCode::FORBIDDEN, "forbidden", why.as_str()),
            Refusal::Unavailable(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why.as_str())
            }
        };
        let path = path.get(path.rfind('/').unwrap_or(0)..).unwrap_or_default();
        self.log.tell(&LogEvent::IssuerRefused { path, why });
        status(code, word)
    }
}

impl Released {
    /// The certificates and the CRL in DER.
    pub(super) fn read(body: &[u8]) -> Option<(Vec<Certificate>, Vec<u8>)> {
        let released: Self = serde_json::from_slice(body).ok()?;
        let one = |text: &String| {
            let der = BASE64URL.decode(text).ok()?;
            Certificate::from_der(&der).ok()
        };
        let chain = released.chain.iter().map(one).collect::<Option<Vec<_>>>()?;
        Some((chain, BASE64URL.decode(&released.crl).ok()?))
    }
}

impl RenewRequest {
    pub(super) fn new(csr: &[u8]) -> Self {
        Self {
            csr: BASE64URL.encode(csr),
        }
    }
}

fn published(media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}

fn json(value: &impl Serialize) -> Result<Response<Full<Bytes>>, Refusal> {
    let body = serde_json::to_vec(value);
    let body = body.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(of(StatusCode::OK, body))
}

fn status(code: StatusCode, word: &str) -> Response<Full<Bytes>> {
    of(code, format!("{{\"error\":\"{word}\"}}\n"))
}

fn of(code: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Debug for IssuerEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerEndpoints")
            .field("issuer", &self.shared.issuer)
            .finish_non_exhaustive()
    }
}
