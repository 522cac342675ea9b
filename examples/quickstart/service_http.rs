//! What a service answers over HTTP: behind the guard its own work, and beside it the endpoint for events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use caep_stream::push;
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Credential, Freshness, Grant, Guard, Resources};
use m2m_secrets::REQUEST_SIGNATURE;
use m2m_token::{Audience, Issuers, TokenType, Verifier};
use m2m_tower::{Authenticate, ConnectedPeer, Identified};
use m2m_types::ServiceId;

use crate::Outcome;
use crate::issuer::lock;
use crate::issuer_http::with_whole_body;
use crate::lent::lent;
use crate::service::{Service, order};
use crate::signals;
use crate::world::{ISSUER, ISSUER_NAME};

/// How old what the issuer said last may be. Whoever has heard nothing for longer refuses everybody.
const FRESH: Duration = Duration::from_secs(600);
/// How many of its operators' lines a service keeps.
const LINES: usize = 1000;

pub(crate) fn router(service: &Arc<Service>) -> Outcome<Router> {
    let telling = Arc::clone(service);
    let clock = Arc::clone(&service.clock);
    let layer = Authenticate::new(Arc::new(guard(service)?), clock)
        .with_observer(move |refused, _| tell(&telling, refused.to_string()));
    let guarded = Router::new()
        .route("/orders", post(place_order))
        .route("/invoices/{id}", get(read_invoice))
        .route("/customers", get(read_invoice))
        .layer(layer);
    Ok(Router::new()
        .route("/events", post(take_event))
        .merge(guarded)
        .with_state(Arc::clone(service)))
}

/// Who may come: the other service, with its certificate and a token that is bound to it.
fn guard(service: &Service) -> Outcome<Guard> {
    let allowed = match service.place.takes_orders {
        true => Grant::new("POST", Resources::exactly("/orders")),
        false => Grant::new("GET", Resources::under("/invoices")?),
    };
    let allowed = AllowList::new().allow(&service.place.other_name.parse()?, allowed);
    let tokens = Verifier::builder(
        Issuers::one(ISSUER, Arc::clone(&service.keys)),
        Audience::exactly(service.place.name),
        TokenType::access_token(),
    )
    .with_cache(4 << 20, &SystemRandom)?;
    let fresh = || Freshness::confirmed_within(FRESH, Arc::clone(&service.confirmed));
    let revocations = Arc::clone(service.revocations.revocations());
    Ok(Guard::builder(allowed)
        .with_bound_tokens(tokens, fresh())
        .with_peers(service.machine.tls.clone(), fresh())
        .with_revocations(revocations, Freshness::in_process())
        .requiring(Credential::Token)
        .requiring(Credential::Certificate)
        .build()?)
}

/// An order, which is taken only if it was signed with the shared secret, just now, and once.
async fn place_order(
    State(service): State<Arc<Service>>,
    Identified(caller): Identified,
    headers: HeaderMap,
    body: Bytes,
) -> Result<String, StatusCode> {
    service.admitted.fetch_add(1, Ordering::Relaxed);
    let signature = headers.get(REQUEST_SIGNATURE);
    let signature = signature.map_or(&[][..], |value| value.as_bytes());
    match service.sharer.verify(signature, &order(&body)) {
        Ok(version) => {
            service.signed.fetch_add(1, Ordering::Relaxed);
            let caller = caller.service_id();
            Ok(format!(
                "taken from {caller}, signed with version {version}"
            ))
        }
        Err(error) => {
            tell(&service, format!("signature: {error}"));
            Err(StatusCode::UNAUTHORIZED)
        }
    }
}

async fn read_invoice(
    State(service): State<Arc<Service>>,
    Identified(caller): Identified,
) -> String {
    service.admitted.fetch_add(1, Ordering::Relaxed);
    format!("an invoice for {}", caller.service_id())
}

/// A SET is pushed. Only the issuer has a reason to, and it shows its certificate; the SET has a signature
/// of its own.
async fn take_event(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<ConnectedPeer>,
    request: Request,
) -> Result<Response, StatusCode> {
    let name = peer.peer().service_id().map(ServiceId::as_str);
    if name != Some(ISSUER_NAME) {
        return Err(StatusCode::FORBIDDEN);
    }
    let request = with_whole_body(request, push::MAX_BODY + 1).await;
    let request = request.map_err(|_| StatusCode::BAD_REQUEST)?;
    let response = signals::take_push(&service, &lent(&request)).await;
    Ok(response.map(Body::from))
}

fn tell(service: &Service, line: String) {
    let mut log = lock(&service.log);
    if log.len() < LINES {
        log.push(line);
    }
}
