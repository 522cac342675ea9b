//! A transmitter of Shared Signals, and a receiver that polls it. What was published arrives, whoever is
//! killed when, and never under two names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::poll::{PollRequest, PollResponse};
use caep_stream::transmitter::{
    Answer, Caller, Published, Transmitter, TransmitterError, TransmitterOptions,
};
use caep_stream::{StatusUpdate, StreamConfiguration, StreamRequest, TransmitterMetadata};
use http::{Method, Request, Response, StatusCode};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_store::{Expected, IdempotencyKey, Key, Space, StoreError};
use m2m_token::{Scratch, SigningKeyRing, Unverified};

use super::{Actor, Outcome, World};

const ISSUER: &str = "https://tr.example";
/// How long something is tried while the store is away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Telling;

impl Actor for Telling {
    fn name(&self) -> &'static str {
        "told"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        let service = Service::open(world)?;
        for nth in 0_u64.. {
            let session = format!("{seed:x}-{nth}");
            match nth % 32 {
                0 => service.set_status("paused")?,
                8 => service.set_status("enabled")?,
                16 => {
                    let tidy = || service.transmitter.tidy(world.now, &SystemRandom);
                    service.again(tidy)?;
                }
                _ => {}
            }
            service.publish(&session)?;
            world.say(self, &session)?;
            if nth % 4 == 3 {
                service.receive()?;
            }
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        if told.is_empty() {
            return Ok(());
        }
        let service = Service::open(world)?;
        service.set_status("enabled")?;
        service.receive()?;
        for session in told {
            if world.get(&receipt(session)?)?.is_none() {
                return Err(format!("{session} was published and did not arrive").into());
            }
        }
        Ok(())
    }
}

/// A transmitter and the stream of its only receiver.
struct Service<'w> {
    world: &'w World,
    transmitter: Transmitter,
    caller: Caller,
    stream: String,
}

impl<'w> Service<'w> {
    fn open(world: &'w World) -> Outcome<Self> {
        // Each process has another key: what an earlier one has signed is signed anew.
        let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom)?;
        let keys = SigningKeyRing::new(key, Duration::from_secs(3600))?;
        let at = |path: &str| format!("{ISSUER}{path}");
        let metadata = TransmitterMetadata::new(ISSUER, &at("/jwks"))?.with_endpoints(
            &at("/streams"),
            &at("/status"),
            &at("/add"),
            &at("/remove"),
            &at("/verify"),
        )?;
        let transmitter = Transmitter::new(
            Arc::clone(&world.store),
            "survivor",
            metadata,
            &at("/poll"),
            Arc::new(keys),
            [SessionRevoked::URI],
            TransmitterOptions::default(),
        )?;
        let mut service = Self {
            world,
            transmitter,
            caller: Caller::new("receiver", "https://rc.example")?,
            stream: String::new(),
        };
        service.stream = service.find_stream()?;
        Ok(service)
    }

    /// The stream, made if there is none: another process may do the same.
    fn find_stream(&self) -> Outcome<String> {
        let made = self.ask(Method::POST, "/streams", &StreamRequest::new())?;
        if made.status() == StatusCode::CREATED {
            let stream = StreamConfiguration::from_json(ISSUER, made.body())?;
            return Ok(stream.stream_id.into());
        }
        let all = self.ask(Method::GET, "/streams", &())?;
        let all: Vec<serde_json::Value> = serde_json::from_slice(all.body())?;
        let stream = all
            .first()
            .and_then(|stream| stream.get("stream_id")?.as_str());
        Ok(stream
            .ok_or("there is no stream, and none can be made")?
            .to_owned())
    }

    fn publish(&self, session: &str) -> Outcome<()> {
        let event = SecurityEvent::new(SubjectId::opaque(session)?, SessionRevoked::new());
        let mut name = [0; 16];
        name.copy_from_slice(&m2m_crypto::sha256(session.as_bytes())[..16]);
        let name = IdempotencyKey::from_bytes(name);
        let publish = || self.transmitter.publish(&event, name, self.world.now);
        match self.again(publish)? {
            Published::Now | Published::Before => Ok(()),
        }
    }

    fn set_status(&self, status: &str) -> Outcome<()> {
        let update = StatusUpdate {
            stream_id: self.stream.as_str().into(),
            status: status.into(),
            reason: None,
        };
        match self.ask(Method::POST, "/status", &update)?.status() {
            StatusCode::OK => Ok(()),
            other => Err(format!("the status cannot be set: {other}").into()),
        }
    }

    /// Polls until there is nothing. What came is on record before it is acknowledged.
    fn receive(&self) -> Outcome<()> {
        let path = format!("/poll/{}", self.stream);
        let mut acks: Vec<String> = Vec::new();
        loop {
            let request = PollRequest::new()
                .with_max_events(20)
                .returning_immediately()
                .acknowledging(acks.iter().map(String::as_str));
            let response = self.ask(Method::POST, &path, &request)?;
            let response = PollResponse::from_json(response.body())?;
            for (name, set) in response.sets() {
                self.record(&session_of(set)?, name)?;
            }
            acks = response.sets().map(|(name, _)| name.to_owned()).collect();
            if acks.is_empty() {
                return Ok(());
            }
        }
    }

    fn record(&self, session: &str, name: &str) -> Outcome<()> {
        let key = receipt(session)?;
        let batch = self.world.batch()?;
        let batch = batch.put(key.clone(), Expected::Absent, name.as_bytes());
        match self.world.commit(&batch) {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict { .. }) => {
                let before = self.world.get(&key)?.ok_or("a receipt is gone")?;
                match before.value().as_bytes() == name.as_bytes() {
                    true => Ok(()),
                    false => Err(format!("{session} came under two names").into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Outcome<Response<Vec<u8>>> {
        let body = serde_json::to_vec(body)?;
        let request = Request::builder().method(method).uri(path);
        let request = request.body(body.as_slice())?;
        let ask = || {
            self.transmitter
                .handle(&request, &self.caller, self.world.now, &SystemRandom)
        };
        match self.again(ask)? {
            Answer::Ready(response) => Ok(response),
            Answer::Waiting(_) => Err("nobody asked it to wait".into()),
        }
    }

    /// Does it again and again while that may help.
    fn again<T, F>(&self, what: impl Fn() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, TransmitterError>>,
    {
        let begun = Instant::now();
        loop {
            match self.world.wait(what()) {
                Err(TransmitterError::Store(error))
                    if error.is_transient() && begun.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TransmitterError::Busy) if begun.elapsed() < PATIENCE => {}
                done => return Ok(done?),
            }
        }
    }
}

/// Where the receiver records what it was told.
fn receipt(session: &str) -> Outcome<Key> {
    Ok(Key::new(&Space::new("receipt")?, session.as_bytes())?)
}

/// The session that a SET is about. Its signature is not what is looked at here.
fn session_of(set: &str) -> Outcome<String> {
    let mut scratch = Scratch::new();
    let claims = Unverified::danger_decode(set, &mut scratch)?.danger_claims();
    let claims: serde_json::Value = serde_json::from_str(claims.json())?;
    let session = claims.pointer("/sub_id/id").and_then(|id| id.as_str());
    Ok(session.ok_or("a SET without a session")?.to_owned())
}
