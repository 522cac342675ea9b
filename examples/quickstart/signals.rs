//! Shared Signals (SSF, CAEP): the issuer tells what is over, each service is pushed to, and acts upon it.
//! Both directions go by mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use caep_set::{CredentialChange, Profile, SecurityEvent, SessionRevoked};
use caep_stream::receiver::{
    Answer, Call, Discovery, EffectPolicy, Namespace, Outcome as Done, Receiver, Source,
    SourceKeys, StreamClient, Trust, TrustMatrix, TrustRule, VoidTarget,
};
use caep_stream::transmitter::{self, Caller, Pusher, Transmitter, TransmitterOptions};
use caep_stream::{Delivery, SecretHeader, StreamRequest, TransmitterMetadata};
use http::{Request, Response};
use m2m_crypto::{SecureRandom, SystemRandom};
use m2m_store::{IdempotencyKey, Store};
use m2m_token::{Audience, SigningKeyRing};
use m2m_types::{Clock, ServiceId};

use crate::Outcome;
use crate::hex::to_hex;
use crate::issuer::Issuer;
use crate::lent::lent_response;
use crate::service::Service;
use crate::world::{DOMAIN, ISSUER};

/// The events that there are here.
const EVENTS: [&str; 2] = [SessionRevoked::URI, CredentialChange::URI];

/// The issuer's side: its streams and what is on its way lies in `store`.
pub(crate) fn transmitter(
    store: Arc<dyn Store>,
    keys: Arc<SigningKeyRing>,
) -> Outcome<Arc<Transmitter>> {
    let at = |name: &str| format!("{ISSUER}/ssf/{name}");
    let metadata = TransmitterMetadata::new(ISSUER, &format!("{ISSUER}/jwks.json"))?
        .with_endpoints(
            &at("streams"),
            &at("status"),
            &at("add-subject"),
            &at("remove-subject"),
            &at("verify"),
        )?;
    let second = Duration::from_secs(1);
    let options = TransmitterOptions::default().with_retries(second, second);
    let poll = at("poll");
    Ok(Arc::new(Transmitter::new(
        store, "issuer", metadata, &poll, keys, EVENTS, options,
    )?))
}

/// Answers `service`, which has shown its certificate, about its stream.
pub(crate) async fn answer(
    issuer: &Issuer,
    service: &ServiceId,
    request: &Request<&[u8]>,
) -> Outcome<Response<Vec<u8>>> {
    if let Some(response) = issuer.transmitter.metadata(request) {
        return Ok(response);
    }
    let name = service.path().trim_start_matches('/');
    let caller = Caller::new(name, &audience(name))?;
    let now = issuer.clock.now()?;
    let handling = issuer
        .transmitter
        .handle(request, &caller, now, &SystemRandom);
    match handling.await? {
        transmitter::Answer::Ready(response) => Ok(response),
        transmitter::Answer::Waiting(_) => Err("nobody polls here".into()),
    }
}

/// `aud` of the SETs for a service.
fn audience(name: &str) -> String {
    format!("https://{name}.example")
}

/// Says that something is over. It is on record when this returns.
pub(crate) async fn publish(issuer: &Issuer, event: &SecurityEvent) -> Outcome<()> {
    let name = IdempotencyKey::generate(&SystemRandom)?;
    let now = issuer.clock.now()?;
    issuer.transmitter.publish(event, name, now).await?;
    Ok(())
}

/// Pushes what is to be pushed until the program ends, each over a connection of its own.
pub(crate) async fn push(issuer: Arc<Issuer>) -> Outcome<()> {
    let mut pusher = Pusher::new(Arc::clone(&issuer.transmitter));
    let now = || issuer.clock.now();
    loop {
        let Some(delivery) = pusher.poll_delivery(now()?, &SystemRandom).await? else {
            // What could not be delivered is tried again after a second.
            let _ = tokio::time::timeout(Duration::from_secs(1), pusher.changed()).await;
            continue;
        };
        let (id, request) = delivery.into_parts();
        match issuer.machine.call(request).await {
            Ok(response) => {
                let response = lent_response(&response);
                let heard = pusher.handle_response(&id, &response, now()?, &SystemRandom);
                heard.await?;
            }
            Err(_) => drop(pusher.handle_failure(&id, now()?, &SystemRandom).await?),
        }
    }
}

/// A service finds the transmitter, and has it push.
pub(crate) async fn subscribe(service: &Arc<Service>) -> Outcome<()> {
    let mut discovery = Discovery::new(ISSUER)?;
    let metadata = service.machine.call(discovery.request()).await?;
    let transmitter = discovery.read(&lent_response(&metadata))?;

    let name = service.place.short;
    let mut drawn = [0; 24];
    SystemRandom.fill(&mut drawn)?;
    let secret = format!("Bearer {}", to_hex(&drawn));
    let secret = || SecretHeader::new(&secret);
    let client = StreamClient::new(transmitter).with_audience([audience(name).as_str()]);
    let endpoint = format!("{}/events", audience(name));
    let wanted = StreamRequest::new()
        .requesting(EVENTS)
        .delivered_by(Delivery::push(&endpoint, Some(secret()?)));
    let Answer::Done(stream) = manage(service, &client.create(&wanted)?).await? else {
        return Err("no stream was made".into());
    };

    // Certificates are told by the names of who issues them.
    let mut effects = EffectPolicy::new();
    let material = service.machine.tls.material();
    for authority in material.bundles().iter().flat_map(|b| b.authorities()) {
        effects = effects.with_certificate_issuer(authority.subject_der())?;
    }
    let keys = SourceKeys::fixed(Arc::clone(&service.keys));
    let audience = Audience::exactly(&audience(name));
    let source = Source::new(ISSUER, keys, audience, Profile::ssf())?
        .with_effects(effects)
        .with_stream(&stream)
        .pushed_with(secret()?);
    // The issuer may end what it has issued, and nothing else.
    let rule = TrustRule::new(ISSUER, Trust::Act)
        .for_events(EVENTS)
        .about(Namespace::own())
        .about(Namespace::trust_domain(DOMAIN));
    let store = Arc::clone(&service.store);
    let receiver = Receiver::open(store, name, vec![source], &SystemRandom)
        .await?
        .with_trust(TrustMatrix::new().with(rule));
    match service.receiver.set(receiver) {
        Ok(()) => Ok(()),
        Err(_) => Err("it has subscribed before".into()),
    }
}

async fn manage<T>(service: &Service, call: &Call<T>) -> Outcome<Answer<T>> {
    let response = service.machine.call(call.request().clone()).await?;
    Ok(call.read(&lent_response(&response))?)
}

/// A SET was pushed: it is on record before it is acknowledged, and acted upon at once.
pub(crate) async fn take_push(
    service: &Arc<Service>,
    request: &Request<&[u8]>,
) -> Response<Vec<u8>> {
    let (Some(receiver), Ok(now)) = (service.receiver.get(), service.clock.now()) else {
        let mut response = Response::new(Vec::new());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let pushed = receiver.handle_push(request, now, &SystemRandom).await;
    let acting = Arc::clone(service);
    tokio::spawn(async move {
        if let Err(error) = act(&acting).await {
            crate::say(&format!("{} cannot act: {error}", acting.place.short));
        }
    });
    pushed.response
}

/// What was recorded is voided. A certificate that is void is on a CRL too, which closes its connections:
/// that is fetched now, and not when it would be time.
async fn act(service: &Service) -> Outcome<()> {
    let receiver = service.receiver.get().ok_or("not subscribed")?;
    let now = service.clock.now()?;
    let acting = receiver.act(&service.revocations, 100, now, &SystemRandom);
    let report = acting.await;
    for acted in &report.acted {
        if let Done::Voided(voided) = acted.outcome() {
            let is_certificate =
                |target: &VoidTarget| matches!(target, VoidTarget::Certificate { .. });
            if voided.iter().any(|one| is_certificate(&one.target)) {
                service.woken.notify_one();
            }
            service.acted.send_replace(Some(acted.to_string()));
        }
    }
    match report.problem {
        Some(problem) => Err(problem.into()),
        None => Ok(()),
    }
}
