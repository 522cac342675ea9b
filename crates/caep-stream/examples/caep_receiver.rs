//! A receiver from the first request to the refused token, as `docs/guides/become-a-caep-receiver.md` tells
//! it, with a transmitter that is played by this program.
//!
//! `cargo run -p caep-stream --features store --example caep_receiver`
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::sync::Arc;
use std::time::Duration;

use caep_set::{Profile, SessionRevoked};
use caep_stream::receiver::{
    Answer, Ceiling, Discovery, Freshness, HeartbeatPolicy, Namespace, Outcome, Poller, Receiver,
    Source, SourceKeys, StreamClient, Trust, TrustMatrix, TrustRule, Waiting,
};
use caep_stream::{Delivery, SecretHeader, StreamRequest};
use m2m_crypto::{SecretBytes, SecureRandom, SystemRandom};
use m2m_revoke::{StoredOptions, StoredRevocations, TokenFacts};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Store};
use m2m_token::{Audience, RemoteKeySet};
use m2m_types::{Clock, SystemClock, Timestamp};

use played::Played;

const IDP: &str = "https://idp.example";
const US: &str = "https://orders.example";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Failure> {
    let random = &SystemRandom;
    let now = SystemClock::new().now()?;
    let played = Played::new()?;
    let send = |request: &http::Request<Vec<u8>>| played.answer(request, now);

    // 1. A store, and what is revoked.
    let directory = tempfile::tempdir()?;
    let outer = SecretBytes::random(LocalKey::BYTES, random)?; // from where your secrets are
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(outer)?));
    let path = directory.path().join("orders.store");
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open_or_create(path, &options)?);
    let revocations =
        StoredRevocations::open(Arc::clone(&store), now, random, StoredOptions::default()).await?;

    // 2. Who the transmitter is.
    let mut discovery = Discovery::new(IDP)?;
    let response = send(&discovery.request());
    let transmitter = discovery.read(&borrowed(&response))?;
    println!("keys are at {}", transmitter.jwks_uri());

    // 3. A stream.
    let client = StreamClient::new(transmitter.clone())
        .with_audience([US])
        .with_authorization("Bearer an-access-token".parse()?);
    let wanted = StreamRequest::new()
        .requesting([SessionRevoked::URI])
        .delivered_by(Delivery::poll());
    let call = client.create(&wanted)?;
    let stream = match call.read(&borrowed(&send(call.request())))? {
        Answer::Done(stream) => stream,
        // There is one from the last time: read it.
        Answer::Exists => {
            let call = client.read_all()?;
            let all = call.read(&borrowed(&send(call.request())))?.done();
            all.and_then(|mut all| all.pop()).ok_or("no stream")?
        }
        other => return Err(format!("no stream: {other:?}").into()),
    };
    println!("the stream is called {}", stream.stream_id);

    // 4. What it is believed.
    let keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
    let source = Source::new(IDP, keys, Audience::exactly(US), Profile::ssf())?
        .pushed_with(SecretHeader::new("Bearer a-secret-of-ours")?)
        .with_stream(&stream)
        .with_ceiling(Ceiling::per_minute(600, 3_000))
        .with_heartbeat(HeartbeatPolicy::new(
            Duration::from_secs(60),
            Duration::from_secs(180),
        ));
    let trust = TrustMatrix::new().with(
        TrustRule::new(IDP, Trust::Act)
            .for_events([SessionRevoked::URI])
            .about(Namespace::issuer(IDP))
            .about(Namespace::own()),
    );
    let receiver = Receiver::open(store, "orders", vec![source], random)
        .await?
        .with_trust(trust);

    // 5. Keys, and then SETs: polled,
    while let Some(fetch) = receiver.poll_keys(now) {
        receiver.handle_keys(&fetch, &borrowed(&send(fetch.request())), now)?;
    }
    let mut poller = Poller::new(&stream, Waiting::There)?;
    poller.set_authorization("Bearer an-access-token".parse()?);
    while let Some(request) = poller.poll_request(now) {
        let response = send(&request);
        let report = poller
            .handle_response(&receiver, &borrowed(&response), now, random)
            .await;
        for (name, received) in &report.received {
            println!("{name}: {received:?}");
        }
    }

    // or pushed.
    let request = played.pushes(now)?;
    let pushed = receiver
        .handle_push(&request.as_ref_body(), now, random)
        .await;
    println!("a push is answered {}", pushed.response.status());

    // 6. What they say is done.
    let report = receiver.act(&revocations, 100, now, random).await;
    for acted in &report.acted {
        println!("{acted}");
        match acted.outcome() {
            Outcome::NoMatch => println!("somebody must look: it names nobody we know"),
            Outcome::Held => println!("somebody must look: too much at once"),
            _ => {}
        }
    }
    if let Some(problem) = report.problem {
        return Err(problem.into());
    }

    // 7. The next call of the session is refused.
    let facts = token_of("7f3a", now);
    let refused = revocations.revocations().check_token(&facts, now);
    println!("a token of the session: {refused:?}");
    if refused.is_ok() {
        return Err("a token of a revoked session is accepted".into());
    }

    // 8. Whether the stream still speaks.
    if let Some(wanted) = receiver.poll_verification(IDP, now, random).await? {
        let call = client.verify(&wanted)?;
        let answer = call.read(&borrowed(&send(call.request())))?;
        receiver
            .handle_verification_answer(IDP, &answer, now, random)
            .await?;
    }
    poll_once(&mut poller, &receiver, &send, now, random).await;
    match receiver.freshness(IDP, now) {
        Some(Freshness::Fresh { as_of }) => println!("the stream worked at {as_of}"),
        other => return Err(format!("fail closed: {other:?}").into()),
    }
    receiver.forget(now, random).await?;
    Ok(())
}

async fn poll_once(
    poller: &mut Poller,
    receiver: &Receiver,
    send: &impl Fn(&http::Request<Vec<u8>>) -> http::Response<Vec<u8>>,
    now: Timestamp,
    random: &dyn SecureRandom,
) {
    // A second later: a transmitter that has nothing is not asked again at once.
    let now = now.saturating_add(Duration::from_secs(1));
    if let Some(request) = poller.poll_request(now) {
        let response = send(&request);
        poller
            .handle_response(receiver, &borrowed(&response), now, random)
            .await;
    }
}

/// HTTP clients give bodies that they own.
fn borrowed(response: &http::Response<Vec<u8>>) -> http::Response<&[u8]> {
    let mut borrowed = http::Response::new(response.body().as_slice());
    *borrowed.status_mut() = response.status();
    *borrowed.headers_mut() = response.headers().clone();
    borrowed
}

/// What a verifier knows of a token that it has verified.
fn token_of(sid: &str, now: Timestamp) -> TokenFacts<'_> {
    TokenFacts {
        issuer: IDP,
        jti: Some("t-1"),
        subject: Some("alice"),
        session: Some(sid),
        key: None,
        issued_at: Some(now),
    }
}

/// A transmitter, as far as this program needs one.
mod played {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::Duration;

    use caep_set::{Event, SecurityEvent, SessionRevoked, SetMinter, SubjectId, Verification};
    use caep_stream::VerificationRequest;
    use caep_stream::poll::{PollRequest, PollResponse};
    use http::{Request, Response};
    use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
    use m2m_token::SigningKeyRing;
    use m2m_types::Timestamp;

    use super::{Failure, IDP, US};

    pub(super) struct Played {
        ring: Arc<SigningKeyRing>,
        minter: SetMinter,
        /// Not acknowledged yet.
        queue: RefCell<Vec<(String, String)>>,
    }

    pub(super) struct Push(Request<Vec<u8>>);

    impl Push {
        pub(super) fn as_ref_body(&self) -> Request<&[u8]> {
            let mut request = Request::new(self.0.body().as_slice());
            *request.method_mut() = self.0.method().clone();
            *request.headers_mut() = self.0.headers().clone();
            request
        }
    }

    impl Played {
        pub(super) fn new() -> Result<Self, Failure> {
            let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
            let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
            Ok(Self {
                minter: SetMinter::new(IDP, Arc::clone(&ring))?,
                ring,
                queue: RefCell::default(),
            })
        }

        pub(super) fn answer(
            &self,
            request: &Request<Vec<u8>>,
            now: Timestamp,
        ) -> Response<Vec<u8>> {
            let answered = self.try_answer(request, now);
            answered.unwrap_or_else(|_| status(500, Vec::new()))
        }

        pub(super) fn pushes(&self, now: Timestamp) -> Result<Push, Failure> {
            let set = self.set(
                "p-1",
                SubjectId::opaque("other")?,
                SessionRevoked::new(),
                now,
            )?;
            let secret = http::HeaderValue::from_static("Bearer a-secret-of-ours");
            let request = caep_stream::push::request("/events".parse()?, Some(secret), &set);
            Ok(Push(request))
        }

        fn try_answer(
            &self,
            request: &Request<Vec<u8>>,
            now: Timestamp,
        ) -> Result<Response<Vec<u8>>, Failure> {
            Ok(match request.uri().path() {
                "/.well-known/ssf-configuration" => status(200, METADATA.into()),
                "/jwks" => status(200, self.ring.jwk_set().to_json().into_bytes()),
                "/streams" => {
                    let session = SubjectId::opaque("7f3a")?;
                    self.publish("s-1", session, SessionRevoked::new(), now)?;
                    status(201, STREAM.into())
                }
                "/verify" => {
                    let wanted = VerificationRequest::from_json(request.body())?;
                    let mut event = Verification::new();
                    event.state = wanted.state;
                    let stream = SubjectId::opaque(&wanted.stream_id)?;
                    self.publish("v-1", stream, event, now)?;
                    status(204, Vec::new())
                }
                "/poll" => {
                    let asked = PollRequest::from_json(request.body())?;
                    let mut queue = self.queue.borrow_mut();
                    let is_heard = |jti: &str| asked.acknowledged().any(|name| name == jti);
                    queue.retain(|(jti, _)| !is_heard(jti));
                    let sets = queue.iter().map(|(jti, set)| (&**jti, &**set));
                    status(200, serde_json::to_vec(&PollResponse::new(sets))?)
                }
                _ => status(404, Vec::new()),
            })
        }

        fn publish(
            &self,
            jti: &str,
            subject: SubjectId,
            event: impl Into<Event>,
            now: Timestamp,
        ) -> Result<(), Failure> {
            let set = self.set(jti, subject, event, now)?;
            self.queue.borrow_mut().push((jti.to_owned(), set));
            Ok(())
        }

        fn set(
            &self,
            jti: &str,
            subject: SubjectId,
            event: impl Into<Event>,
            now: Timestamp,
        ) -> Result<String, Failure> {
            let event = SecurityEvent::new(subject, event).with_transaction("4711");
            let template = self.minter.template(&event, now)?;
            Ok(self.minter.mint_named(&template, US, jti)?)
        }
    }

    fn status(status: u16, body: Vec<u8>) -> Response<Vec<u8>> {
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        response
    }

    const METADATA: &str = r#"{
        "issuer": "https://idp.example",
        "spec_version": "1_0",
        "jwks_uri": "https://idp.example/jwks",
        "configuration_endpoint": "https://idp.example/streams",
        "verification_endpoint": "https://idp.example/verify"
    }"#;

    const STREAM: &str = r#"{
        "stream_id": "s-42",
        "iss": "https://idp.example",
        "aud": "https://orders.example",
        "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://idp.example/poll"},
        "events_delivered": ["https://schemas.openid.net/secevent/caep/event-type/session-revoked"]
    }"#;
}
