//! What the issuer answers over HTTP, to machines that have shown their certificates.

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, get_service, post};
use m2m_tower::{Authenticate, ConnectedPeer};
use m2m_types::ServiceId;
use tower_service::Service as _;

use crate::issuer::Issuer;
use crate::lent::lent;
use crate::{Outcome, signals};

/// The longest request about streams that is read.
const MAX_REQUEST: usize = 64 << 10;

pub(crate) fn router(issuer: Arc<Issuer>) -> Outcome<Router> {
    let clock = Arc::clone(&issuer.clock);
    let layer = Authenticate::new(Arc::new(issuer.guard()?), clock);
    let documents = &issuer.documents;
    Ok(Router::new()
        .route("/token", post(token))
        .route("/renew", post(renew))
        .route("/in-place", post(in_place))
        .route("/jwks.json", get_service(documents.keys.clone()))
        .route("/bundle.json", get_service(documents.bundle.clone()))
        .route("/crl/{issuer}", get(crl))
        .route("/.well-known/ssf-configuration", any(shared_signals))
        .route("/ssf/{*path}", any(shared_signals))
        .layer(layer)
        .with_state(issuer))
}

/// Something was refused, or went wrong. Whoever asked hears no more than that.
pub(crate) struct Refused;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        StatusCode::FORBIDDEN.into_response()
    }
}

impl<E: Display> From<E> for Refused {
    fn from(error: E) -> Self {
        crate::say(&format!("the issuer refuses: {error}"));
        Self
    }
}

fn service(peer: &ConnectedPeer) -> Result<&ServiceId, Refused> {
    Ok(peer.peer().service_id().ok_or("a peer without a name")?)
}

/// A token for the audience that the body names, bound to the certificate of this connection.
async fn token(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<ConnectedPeer>,
    audience: String,
) -> Result<String, Refused> {
    let shown = peer.peer().certificate();
    Ok(issuer.token(service(&peer)?, shown, &audience)?)
}

/// Another certificate for whoever has shown one, by a request in PEM.
async fn renew(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<ConnectedPeer>,
    csr: String,
) -> Result<String, Refused> {
    let shown = peer.peer().certificate();
    let mut authorities = issuer.authorities.lock().await;
    let renewed = authorities.renew(shown, service(&peer)?, &csr).await?;
    Ok(renewed.to_pem())
}

/// A service says what it goes by, and is told what there is.
async fn in_place(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<ConnectedPeer>,
    body: Bytes,
) -> Result<Vec<u8>, Refused> {
    let has = serde_json::from_slice(&body)?;
    let offered = issuer.follow(service(&peer)?, has).await?;
    Ok(serde_json::to_vec(&offered)?)
}

async fn crl(
    State(issuer): State<Arc<Issuer>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let mut crl = issuer.documents.crl(&name).ok_or("no such CRL")?;
    Ok(crl.call(request).await?.map(Body::new))
}

async fn shared_signals(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<ConnectedPeer>,
    request: Request,
) -> Result<Response, Refused> {
    let request = with_whole_body(request, MAX_REQUEST).await?;
    let answered = signals::answer(&issuer, service(&peer)?, &lent(&request)).await?;
    Ok(answered.map(Body::from))
}

/// The request with all of its body, which may have `limit` bytes.
pub(crate) async fn with_whole_body(
    request: Request,
    limit: usize,
) -> Result<http::Request<Bytes>, axum::Error> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, limit).await?;
    Ok(http::Request::from_parts(parts, body))
}
