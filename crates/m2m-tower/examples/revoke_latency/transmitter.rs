//! The process that revokes: a transmitter, told by lines on its standard input which sessions are over.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::TransmitterMetadata;
use caep_stream::transmitter::{Caller, Transmitter, TransmitterOptions};
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Freshness, Grant, Guard, Resources};
use m2m_revoke::Revocations;
use m2m_store::IdempotencyKey;
use m2m_token::{Audience, Issuers, TokenType, Verifier};
use m2m_tower::ssf::{Deliverer, DeliveryEvent, ManagementService, MetadataService};
use m2m_tower::{Authenticate, Published};
use m2m_types::{Clock, SystemClock};
use tokio::net::TcpListener;
use tower::Layer as _;

use crate::Outcome;
use crate::net::{AUDIENCE, Kind, ORDERS, TRANSMITTER, issuer, sender, serve, signing_keys, store};

/// Until its standard input ends.
pub(crate) async fn run(directory: &Path, port: u16, kind: Kind) -> Outcome<()> {
    let (clock, issuer) = (Arc::new(SystemClock::new()), issuer(port));
    let keys = signing_keys(directory)?;
    let at = |path: &str| format!("{issuer}/{path}");
    let metadata = TransmitterMetadata::new(&issuer, &at("jwks.json"))?.with_endpoints(
        &at("ssf/streams"),
        &at("ssf/status"),
        &at("ssf/add"),
        &at("ssf/remove"),
        &at("ssf/verify"),
    )?;
    let transmitter = Arc::new(Transmitter::new(
        store(directory, TRANSMITTER, kind)?,
        "main",
        metadata,
        &at("ssf/poll"),
        Arc::clone(&keys),
        [SessionRevoked::URI],
        TransmitterOptions::default(),
    )?);

    let orders = ORDERS.parse()?;
    let mut allowed = AllowList::new();
    for method in ["GET", "POST"] {
        allowed = allowed.allow(&orders, Grant::new(method, Resources::under("/ssf")?));
    }
    let trusted = Issuers::one(&issuer, keys.verifying_keys());
    let verifier = Verifier::builder(
        trusted,
        Audience::exactly(&issuer),
        TokenType::access_token(),
    );
    let revocations = Arc::new(Revocations::new([7; 16], clock.now()?));
    let guard = Guard::builder(allowed)
        .with_bearer_tokens(verifier, Freshness::in_process())
        .with_revocations(revocations, Freshness::in_process())
        .build()?;
    let guard = Authenticate::new(Arc::new(guard), Arc::<SystemClock>::clone(&clock));
    let management = ManagementService::new(
        Arc::clone(&transmitter),
        Arc::<SystemClock>::clone(&clock),
        |caller| Caller::new(caller.service_id().as_str(), AUDIENCE).ok(),
    );
    let published = Published::jwk_set(&keys.jwk_set(), Duration::from_secs(300));
    let described = MetadataService::new(Arc::clone(&transmitter));
    let app = Router::new()
        .route_service("/ssf/{*rest}", guard.layer(management))
        .route_service("/.well-known/ssf-configuration", described)
        .route_service("/jwks.json", published);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(directory, TRANSMITTER, listener, app).await?;

    let deliverer = Deliverer::new(
        Arc::clone(&transmitter),
        sender(directory)?,
        Arc::<SystemClock>::clone(&clock),
    );
    let deliverer = deliverer.with_observer(|event| match event {
        DeliveryEvent::Delivered { .. } | DeliveryEvent::Lag(_) | DeliveryEvent::Tidied(_) => {}
        other => println!("transmitter: {other:?}"),
    });
    tokio::spawn(deliverer.run());

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || line.is_ok_and(|line| tell.send(line).is_err()) {
                break;
            }
        }
    });
    println!("ready");
    while let Some(session) = told.recv().await {
        let subject = SubjectId::complex([
            ("user", SubjectId::issuer_subject(&issuer, "alice")?),
            ("session", SubjectId::opaque(&session)?),
        ])?;
        let event = SecurityEvent::new(subject, SessionRevoked::new());
        let name = IdempotencyKey::generate(&SystemRandom)?;
        transmitter.publish(&event, name, clock.now()?).await?;
    }
    Ok(())
}
