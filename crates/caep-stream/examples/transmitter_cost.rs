//! What a transmitter costs: a page of a thousand SETs, and an event from being published to being
//! delivered, beside the signature in it. The store is in memory, and its cost is part of the figures.
//!
//! `cargo run --release -p caep-stream --features store --example transmitter_cost`
//!
//! Times are those of this thread of the processor, where the system tells them, so that it hardly matters
//! what else the machine does; the shortest of several rounds counts.
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::sync::Arc;
use std::time::Duration;

use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::poll::PollResponse;
use caep_stream::transmitter::{Answer, Caller, Pusher, Transmitter, TransmitterOptions};
use caep_stream::{StreamConfiguration, TransmitterMetadata};
use http::{Request, Response};
use m2m_crypto::{Algorithm, MAX_SIGNATURE_BYTES, SigningKey, SystemRandom};
use m2m_store::{IdempotencyKey, MemoryStore, Revision};
use m2m_token::SigningKeyRing;
use m2m_types::Timestamp;
use pollster::block_on;

const ISSUER: &str = "https://idp.example.com";
const PAGE: usize = 1000;
const PAGES: u32 = 40;
const ROUNDS: usize = 9;
const PUSHED: u32 = 200;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let now = Timestamp::from_unix_seconds(1_790_000_000)?;
    let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom)?;
    let signature = shortest(|| {
        let mut room = [0; MAX_SIGNATURE_BYTES];
        for _ in 0..PUSHED {
            key.sign(std::hint::black_box(&[7; 600]), &mut room)?;
        }
        Ok(())
    })?;
    let page = page(now)?;
    let pushed = pushed(now)?;
    println!("figure poll_page_1000_us {}", page.as_micros());
    let each = |time: Duration| time.as_nanos() as f64 / f64::from(PUSHED) / 1000.0;
    println!("figure sign_ed25519_us {:.1}", each(signature));
    println!("figure publish_to_delivered_us {:.1}", each(pushed));
    Ok(())
}

/// What a page of SETs costs that were signed before.
fn page(now: Timestamp) -> Outcome<Duration> {
    let transmitter = transmitter(Arc::new(MemoryStore::new()))?;
    let made = ask(&transmitter, "/streams", b"{}", now)?;
    let stream = StreamConfiguration::from_json(ISSUER, made.body())?;
    for nth in 0..PAGE {
        publish(&transmitter, nth, now)?;
    }
    block_on(transmitter.dispatch(now, &SystemRandom))?;
    let path = format!("/poll/{}", stream.stream_id);
    let body = br#"{"returnImmediately":true}"#;
    let answer = ask(&transmitter, &path, body, now)?;
    let count = PollResponse::from_json(answer.body())?.sets().count();
    if count != PAGE {
        return Err(format!("{count} SETs in a page").into());
    }
    println!("figure poll_page_bytes {}", answer.body().len());
    // The system counts in steps that are longer than one page takes.
    let pages = shortest(|| {
        for _ in 0..PAGES {
            std::hint::black_box(ask(&transmitter, &path, body, now)?);
        }
        Ok(())
    })?;
    Ok(pages / PAGES)
}

/// What it costs to publish events, to sign their SETs, to make the requests that push them, one after the
/// other, and to record that they arrived.
fn pushed(now: Timestamp) -> Outcome<Duration> {
    let store = Arc::new(MemoryStore::new());
    let transmitter = transmitter(Arc::clone(&store))?;
    let body =
        br#"{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://sp.example.com/e"}}"#;
    ask(&transmitter, "/streams", body, now)?;
    let mut pusher = Pusher::new(Arc::clone(&transmitter));
    let accepted = Response::builder().status(202).body(b"".as_slice())?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        // As an operator does: else the store walks past all that was ever deleted.
        store.prune(Revision::MAX);
        let begin = processor_time();
        for nth in 0..PUSHED {
            publish(&transmitter, nth as usize, now)?;
            let delivery = block_on(pusher.poll_delivery(now, &SystemRandom))?;
            let delivery = delivery.ok_or("there is nothing to push")?;
            let handled = pusher.handle_response(delivery.id(), &accepted, now, &SystemRandom);
            block_on(handled)?;
        }
        best = best.min(processor_time() - begin);
    }
    Ok(best)
}

fn transmitter(store: Arc<MemoryStore>) -> Outcome<Arc<Transmitter>> {
    let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom)?;
    let keys = SigningKeyRing::new(key, Duration::from_secs(86_400))?;
    let at = |path: &str| format!("{ISSUER}{path}");
    let metadata = TransmitterMetadata::new(ISSUER, &at("/jwks"))?.with_endpoints(
        &at("/streams"),
        &at("/status"),
        &at("/add"),
        &at("/remove"),
        &at("/verify"),
    )?;
    Ok(Arc::new(Transmitter::new(
        store,
        "cost",
        metadata,
        &at("/poll"),
        Arc::new(keys),
        [SessionRevoked::URI],
        TransmitterOptions::default(),
    )?))
}

fn ask(
    transmitter: &Transmitter,
    path: &str,
    body: &[u8],
    now: Timestamp,
) -> Outcome<Response<Vec<u8>>> {
    let caller = Caller::new("client", "https://sp.example.com")?;
    let request = Request::post(path).body(body)?;
    match block_on(transmitter.handle(&request, &caller, now, &SystemRandom))? {
        Answer::Ready(response) => Ok(response),
        Answer::Waiting(_) => Err("nobody asked it to wait".into()),
    }
}

fn publish(transmitter: &Transmitter, nth: usize, now: Timestamp) -> Outcome<()> {
    let user = SubjectId::issuer_subject(ISSUER, "jane.smith@example.com")?;
    let session = SubjectId::opaque(&format!("session-{nth}"))?;
    let subject = SubjectId::complex([("user", user), ("session", session)])?;
    let event = SecurityEvent::new(subject, SessionRevoked::new()).with_transaction("8675309");
    let name = IdempotencyKey::generate(&SystemRandom)?;
    block_on(transmitter.publish(&event, name, now))?;
    Ok(())
}

fn shortest(work: impl Fn() -> Outcome<()>) -> Outcome<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = processor_time();
        work()?;
        best = best.min(processor_time() - begin);
    }
    Ok(best)
}

/// What this thread has used of the processor; the time of day where that is not known.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
        Duration::from_nanos,
    )
}
