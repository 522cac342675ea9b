//! An event of one's own type, from the type to the service that acts upon it. The guide
//! `docs/guides/publish-your-own-events.md` walks through it.
//!
//! ```text
//! cargo run -p caep-stream --features store --example own_event
//! ```

use std::sync::Arc;
use std::time::Duration;

use caep_set::{CustomEvent, Event, Profile, SecurityEvent, SubjectId};
use caep_stream::receiver::{
    Discovery, Namespace, Outcome, Poller, Receiver, Source, SourceKeys, StreamClient, Trust,
    TrustMatrix, TrustRule, Waiting,
};
use caep_stream::transmitter::{Answer, Caller, Transmitter, TransmitterOptions};
use caep_stream::{Delivery, PendingSet, StreamRequest, TransmitterMetadata};
use http::{Request, Response};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::{Batch, Expected, IdempotencyKey, Key, MemoryStore, Space, Store};
use m2m_token::{Audience, SigningKeyRing};
use m2m_types::{Clock, SystemClock, Timestamp};
use pollster::block_on;
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BANK: &str = "https://bank.example";
const SHOP: &str = "https://shop.example";

/// The limit of an account has changed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LimitChanged {
    limit: u64,
    /// Counts the changes of an account, so that an older one can be told.
    revision: u64,
}

impl CustomEvent for LimitChanged {
    const URI: &'static str = "https://bank.example/events/limit-changed";
}

fn main() -> Result<()> {
    let now = SystemClock::new().now()?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let keys = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
    let bank = bank(Arc::clone(&keys))?;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let shop = shop(Arc::clone(&store), &keys)?;
    let revocations = StoredRevocations::open(
        Arc::clone(&store),
        now,
        &SystemRandom,
        StoredOptions::default(),
    );
    let revocations = block_on(revocations)?;
    let mut poller = subscribe(&bank, &shop, now)?;

    publish(&bank, now)?;

    let asked = poller.poll_request(now).ok_or("it is not time to poll")?;
    let answered = ask(&bank, &asked, now)?;
    let answered = lent_response(&answered);
    let taken = poller.handle_response(&shop, &answered, now, &SystemRandom);
    assert_eq!(block_on(taken).received.len(), 1);
    act(&shop, &revocations, now)?;

    let kept = block_on(store.get(&limit_of("4711", 7)?))?.ok_or("no limit was kept")?;
    let kept: LimitChanged = serde_json::from_slice(kept.value().as_bytes())?;
    assert_eq!((kept.limit, kept.revision), (500, 7));
    Ok(())
}

/// The transmitter.
fn bank(keys: Arc<SigningKeyRing>) -> Result<Transmitter> {
    let at = |path: &str| format!("{BANK}{path}");
    let metadata = TransmitterMetadata::new(BANK, &at("/jwks.json"))?.with_endpoints(
        &at("/streams"),
        &at("/status"),
        &at("/add-subject"),
        &at("/remove-subject"),
        &at("/verify"),
    )?;
    Ok(Transmitter::new(
        Arc::new(MemoryStore::new()),
        "bank",
        metadata,
        &at("/poll"),
        keys,
        [LimitChanged::URI],
        TransmitterOptions::default(),
    )?)
}

/// Says that the limit of an account has changed.
fn publish(bank: &Transmitter, now: Timestamp) -> Result<()> {
    let changed = LimitChanged {
        limit: 500,
        revision: 7,
    };
    let event = SecurityEvent::new(SubjectId::opaque("4711")?, Event::custom(&changed)?);
    let name = IdempotencyKey::generate(&SystemRandom)?;
    block_on(bank.publish(&event, name, now))?;
    Ok(())
}

/// The receiver.
fn shop(store: Arc<dyn Store>, keys: &SigningKeyRing) -> Result<Receiver> {
    let source = Source::new(
        BANK,
        SourceKeys::fixed(keys.verifying_keys()),
        Audience::exactly(SHOP),
        Profile::ssf(),
    )?;
    let trust = TrustMatrix::new().with(
        TrustRule::new(BANK, Trust::Act)
            .for_events([LimitChanged::URI])
            .about(Namespace::own()),
    );
    let receiver = block_on(Receiver::open(store, "shop", vec![source], &SystemRandom))?;
    Ok(receiver.with_trust(trust))
}

/// Asks for events of this type, to be polled.
fn subscribe(bank: &Transmitter, shop: &Receiver, now: Timestamp) -> Result<Poller> {
    let mut discovery = Discovery::new(BANK)?;
    let metadata = ask(bank, &discovery.request(), now)?;
    let client = StreamClient::new(discovery.read(&lent_response(&metadata))?);
    let wish = StreamRequest::new()
        .requesting([LimitChanged::URI])
        .delivered_by(Delivery::poll());
    let call = client.create(&wish)?;
    let made = call.read(&lent_response(&ask(bank, call.request(), now)?))?;
    let stream = made.done().ok_or("no stream was made")?;
    if !stream
        .events_delivered
        .iter()
        .any(|uri| **uri == *LimitChanged::URI)
    {
        return Err("the bank does not deliver these".into());
    }
    shop.attach(&stream);
    let interval = Duration::from_secs(1);
    Ok(Poller::new(&stream, Waiting::Here { interval })?)
}

/// Keeps the limit, in the commit that finishes the SET: once, whatever dies.
fn act(shop: &Receiver, revocations: &StoredRevocations, now: Timestamp) -> Result<()> {
    let effects = |set: &PendingSet, outcome: &Outcome, batch: Batch| {
        match (outcome, keeping(set)) {
            (Outcome::Told, Ok((key, limit))) => batch.put(key, Expected::Anything, limit),
            // Malformed, or of another type: it is finished, and changes nothing.
            _ => batch,
        }
    };
    let acted = shop.act_with(revocations, effects, 100, now, &SystemRandom);
    match block_on(acted).problem {
        Some(problem) => Err(problem.into()),
        None => Ok(()),
    }
}

/// What is to be kept of a SET, and where.
fn keeping(set: &PendingSet) -> Result<(Key, Vec<u8>)> {
    let event = set.token().event().ok_or("no event")?;
    let changed: LimitChanged = event.as_custom()?.ok_or("of another type")?;
    let subject = set.token().subject().ok_or("no subject")?;
    let caep_set::Format::Opaque { id } = subject.format() else {
        return Err("no account".into());
    };
    let key = limit_of(id, changed.revision)?;
    Ok((key, serde_json::to_vec(&changed)?))
}

/// SETs come in any order: each revision has a place of its own, and the last one counts.
fn limit_of(account: &str, revision: u64) -> Result<Key> {
    let id = [account.as_bytes(), b"/", &revision.to_be_bytes()].concat();
    Ok(Key::new(&Space::new("limits")?, &id)?)
}

/// Stands for HTTP, TLS and the check of an access token.
fn ask(
    bank: &Transmitter,
    request: &Request<Vec<u8>>,
    now: Timestamp,
) -> Result<Response<Vec<u8>>> {
    let mut lent = Request::new(request.body().as_slice());
    *lent.method_mut() = request.method().clone();
    *lent.uri_mut() = request.uri().clone();
    *lent.headers_mut() = request.headers().clone();
    if let Some(response) = bank.metadata(&lent) {
        return Ok(response);
    }
    let caller = Caller::new("shop", SHOP)?;
    match block_on(bank.handle(&lent, &caller, now, &SystemRandom))? {
        Answer::Ready(response) => Ok(response),
        Answer::Waiting(_) => Err("it waits, and was not asked to".into()),
    }
}

fn lent_response(response: &Response<Vec<u8>>) -> Response<&[u8]> {
    let mut lent = Response::new(response.body().as_slice());
    *lent.status_mut() = response.status();
    *lent.headers_mut() = response.headers().clone();
    lent
}
