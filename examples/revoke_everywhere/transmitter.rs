//! The identity provider: revokes sessions, and tells whoever wants to know.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::TransmitterMetadata;
use caep_stream::transmitter::{
    Answer, Caller, Published, Pusher, Transmitter, TransmitterOptions, unauthorized,
};
use http::{HeaderValue, Request, Response, StatusCode};
use m2m_crypto::SystemRandom;
use m2m_store::{IdempotencyKey, Store};
use m2m_testkit::http::{Loopback, Server};
use m2m_testkit::wait;
use m2m_token::SigningKeyRing;
use m2m_types::{Clock, SystemClock, Timestamp};
use pollster::block_on;

use crate::Outcome;
use crate::edge::{bearer, status};
use crate::lent::{lent, lent_response};
use crate::network::{ISSUER, Network, PROVIDER, SERVICES, audience};
use crate::store;

/// How long one push may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for something new before it looks at what is to be tried again.
const PAUSE: Duration = Duration::from_millis(100);

struct Provider {
    transmitter: Arc<Transmitter>,
    keys: Arc<SigningKeyRing>,
    clock: SystemClock,
    /// Tokens that services manage their streams with, and whose they are.
    callers: Vec<(String, Caller)>,
    names: Loopback,
}

/// Until it is killed.
pub(crate) fn run(directory: &Path, network: Network) -> Outcome<()> {
    let keys = store::signing_keys(directory)?;
    let store: Arc<dyn Store> = store::open(directory, PROVIDER)?;
    // One second between attempts, so that the example ends soon. The default doubles it each time.
    let second = Duration::from_secs(1);
    let options = TransmitterOptions::default().with_retries(second, second);
    let transmitter = Transmitter::new(
        store,
        PROVIDER,
        metadata()?,
        &format!("{ISSUER}/ssf/poll"),
        Arc::clone(&keys),
        [SessionRevoked::URI],
        options,
    )?;
    let caller = |service: &&str| -> Outcome<_> {
        let token = store::secret(directory, service, "manage")?;
        Ok((token, Caller::new(service, &audience(service))?))
    };
    let provider = Arc::new(Provider {
        transmitter: Arc::new(transmitter),
        keys,
        clock: SystemClock::new(),
        callers: SERVICES.iter().map(caller).collect::<Outcome<_>>()?,
        names: network.names()?,
    });
    let answering = Arc::clone(&provider);
    let answer = move |request: Request<Vec<u8>>| {
        let answer = answering.answer(&request);
        answer.unwrap_or_else(|error| {
            println!("{PROVIDER}: {error}");
            status(StatusCode::SERVICE_UNAVAILABLE)
        })
    };
    let _server = Server::start_on(network.port_of(PROVIDER)?, answer)?;
    provider.push()
}

fn metadata() -> Outcome<TransmitterMetadata> {
    let at = |name: &str| format!("{ISSUER}/ssf/{name}");
    let metadata = TransmitterMetadata::new(ISSUER, &format!("{ISSUER}/jwks.json"))?;
    Ok(metadata.with_endpoints(
        &at("streams"),
        &at("status"),
        &at("add-subject"),
        &at("remove-subject"),
        &at("verify"),
    )?)
}

impl Provider {
    fn now(&self) -> Outcome<Timestamp> {
        Ok(self.clock.now()?)
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Outcome<Response<Vec<u8>>> {
        let request = lent(request);
        match request.uri().path() {
            "/jwks.json" => {
                let mut response = Response::new(self.keys.jwk_set().to_json().into_bytes());
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert("content-type", json);
                return Ok(response);
            }
            // What an administrator's console calls. Whoever can reach it may.
            "/sessions/revoke" => return self.revoke(std::str::from_utf8(request.body())?),
            _ => {}
        }
        if let Some(response) = self.transmitter.metadata(&request) {
            return Ok(response);
        }
        let token = bearer(&request);
        let mut callers = self.callers.iter();
        let Some((_, caller)) = callers.find(|(known, _)| Some(known.as_str()) == token) else {
            return Ok(unauthorized(HeaderValue::from_static("Bearer")));
        };
        let mut answer =
            block_on(
                self.transmitter
                    .handle(&request, caller, self.now()?, &SystemRandom),
            )?;
        loop {
            let poll = match answer {
                Answer::Ready(response) => return Ok(response),
                Answer::Waiting(poll) => poll,
            };
            let left = poll.until().checked_since(self.now()?).unwrap_or_default();
            // Something new, or nothing in this time: it looks either way.
            let _ = wait::at_most(left, self.transmitter.changed(&poll));
            answer = block_on(self.transmitter.resume(poll, self.now()?, &SystemRandom))?;
        }
    }

    /// Ends a session, once, however often it is asked: the event is named after it. 200 says that it
    /// survives.
    fn revoke(&self, session: &str) -> Outcome<Response<Vec<u8>>> {
        let subject = SubjectId::complex([
            ("user", SubjectId::issuer_subject(ISSUER, "alice")?),
            ("session", SubjectId::opaque(session)?),
        ])?;
        let event = SecurityEvent::new(subject, SessionRevoked::new()).with_transaction(session);
        let name = m2m_crypto::sha256(session.as_bytes());
        let (name, _) = name
            .split_first_chunk::<16>()
            .ok_or("a hash has 32 bytes")?;
        let name = IdempotencyKey::from_bytes(*name);
        let published = block_on(self.transmitter.publish(&event, name, self.now()?))?;
        Ok(status(match published {
            Published::Now => StatusCode::CREATED,
            Published::Before => StatusCode::OK,
        }))
    }

    /// Pushes what is to be pushed, one after the other. With many receivers, send side by side.
    fn push(&self) -> Outcome<()> {
        let mut pusher = Pusher::new(Arc::clone(&self.transmitter));
        loop {
            let next = block_on(pusher.poll_delivery(self.now()?, &SystemRandom))?;
            let Some(delivery) = next else {
                let _ = wait::at_most(PAUSE, pusher.changed());
                continue;
            };
            let sent = self.names.call(delivery.request(), PATIENCE);
            let (id, now) = (delivery.id(), self.now()?);
            match sent {
                Ok(response) => {
                    let response = lent_response(&response);
                    block_on(pusher.handle_response(id, &response, now, &SystemRandom))?;
                }
                Err(_) => drop(block_on(pusher.handle_failure(id, now, &SystemRandom))?),
            }
        }
    }
}
