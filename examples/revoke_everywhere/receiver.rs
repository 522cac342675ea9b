//! A service: takes calls with access tokens, and hears which sessions are over.

use std::path::Path;
use std::sync::mpsc::{Receiver as Woken, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use caep_set::{Profile, SessionRevoked};
use caep_stream::receiver::{
    Answer, Call, Ceiling, Discovery, Namespace, Outcome as Done, Poller, Receiver, Source,
    SourceKeys, StreamClient, Trust, TrustMatrix, TrustRule, Waiting,
};
use caep_stream::{Delivery, SecretHeader, StreamConfiguration, StreamRequest};
use http::{Request, Response, StatusCode};
use m2m_crypto::{SecureRandom, SystemRandom};
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::{Batch, Expected, Key, Store};
use m2m_testkit::http::{Loopback, Server};
use m2m_token::{Audience, Issuers, RemoteKeySet, Scratch, TokenType, Verifier};
use m2m_types::{Clock, SystemClock, Timestamp};
use pollster::block_on;

use crate::Outcome;
use crate::edge::{bearer, status};
use crate::lent::{lent, lent_response};
use crate::network::{ISSUER, Network, audience, is_pushed_to};
use crate::store;

/// How long a call may take; a poll waits for half a minute at the other side.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait while the provider does not answer.
const PAUSE: Duration = Duration::from_millis(50);

struct Service {
    verifier: Verifier,
    revocations: StoredRevocations,
    /// There once the provider was found.
    receiver: OnceLock<Receiver>,
    store: Arc<dyn Store>,
    clock: SystemClock,
    names: Loopback,
    /// Wakes up who acts.
    wake: SyncSender<()>,
}

/// Until it is killed.
pub(crate) fn run(name: &str, directory: &Path, network: Network) -> Outcome<()> {
    let store: Arc<dyn Store> = store::open(directory, name)?;
    let clock = SystemClock::new();
    let options = StoredOptions::default();
    let revocations =
        StoredRevocations::open(Arc::clone(&store), clock.now()?, &SystemRandom, options);
    let revocations = block_on(revocations)?;
    // For access tokens they are in a file. Those for SETs are fetched, below.
    let issuers = Issuers::one(ISSUER, store::public_keys(directory)?);
    let audience = Audience::exactly(&audience(name));
    let verifier = Verifier::builder(issuers, audience, TokenType::access_token())
        .with_revocations(Arc::clone(revocations.revocations()))
        .build()?;
    let (wake, woken) = sync_channel(1);
    let service = Arc::new(Service {
        verifier,
        revocations,
        receiver: OnceLock::new(),
        store,
        clock,
        names: network.names()?,
        wake,
    });
    // Calls are answered from the first moment on: what was revoked is in the store.
    let answering = Arc::clone(&service);
    let server = move |request: Request<Vec<u8>>| answering.answer(&request);
    let _server = Server::start_on(network.port_of(name)?, server)?;
    let (client, mut receiver) = service.join(name, directory)?;
    let stream = service.stream(name, directory, &client)?;
    receiver.attach(&stream);
    receiver = receiver.with_trust(trust());
    if service.receiver.set(receiver).is_err() {
        return Err("it has joined twice".into());
    }
    let acting = Arc::clone(&service);
    let actor = std::thread::spawn(move || acting.act(&woken).map_err(|error| error.to_string()));
    if !is_pushed_to(name) {
        let mut poller = Poller::new(&stream, Waiting::There)?;
        let token = store::secret(directory, name, "manage")?;
        poller.set_authorization(format!("Bearer {token}").parse()?);
        service.poll(poller)?;
    }
    actor.join().map_err(|_| "it panicked")??;
    Ok(())
}

/// The provider may end sessions of its own users, and nothing else.
fn trust() -> TrustMatrix {
    let rule = TrustRule::new(ISSUER, Trust::Act)
        .for_events([SessionRevoked::URI])
        .about(Namespace::own())
        .about(Namespace::issuer(ISSUER));
    TrustMatrix::new().with(rule)
}

impl Service {
    fn now(&self) -> Outcome<Timestamp> {
        Ok(self.clock.now()?)
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let answer = match request.uri().path() {
            "/events" => self.take_push(request),
            "/ready" => Ok(status(match self.receiver.get() {
                Some(_) => StatusCode::OK,
                None => StatusCode::SERVICE_UNAVAILABLE,
            })),
            _ => self.serve(request),
        };
        answer.unwrap_or_else(|_| status(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// What the service is there for.
    fn serve(&self, request: &Request<Vec<u8>>) -> Outcome<Response<Vec<u8>>> {
        let token = bearer(request).unwrap_or_default();
        let mut scratch = Scratch::new();
        let verified = self.verifier.verify(token, self.now()?, &mut scratch);
        Ok(status(match verified {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::UNAUTHORIZED,
        }))
    }

    fn take_push(&self, request: &Request<Vec<u8>>) -> Outcome<Response<Vec<u8>>> {
        let receiver = self.receiver.get().ok_or("not yet")?;
        let request = lent(request);
        let pushed = block_on(receiver.handle_push(&request, self.now()?, &SystemRandom));
        self.wake_up();
        Ok(pushed.response)
    }

    fn wake_up(&self) {
        // If it is full, it will wake up.
        let _ = self.wake.try_send(());
    }

    /// Finds the provider, and its keys.
    fn join(&self, name: &str, directory: &Path) -> Outcome<(StreamClient, Receiver)> {
        let mut discovery = Discovery::new(ISSUER)?;
        let metadata = self.insist(&discovery.request());
        let transmitter = discovery.read(&lent_response(&metadata))?;
        let keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
        let client = StreamClient::new(transmitter);
        let token = store::secret(directory, name, "manage")?;
        let client = client
            .with_authorization(format!("Bearer {token}").parse()?)
            .with_audience([audience(name).as_str()]);
        let mut source = Source::new(
            ISSUER,
            keys,
            Audience::exactly(&audience(name)),
            Profile::ssf(),
        )?
        // One who revokes by the thousand is what this example is about.
        .with_ceiling(Ceiling::per_minute(1_000_000, 1_000_000));
        if is_pushed_to(name) {
            source = source.pushed_with(SecretHeader::new(&push_secret(name, directory)?)?);
        }
        let store = Arc::clone(&self.store);
        let receiver = block_on(Receiver::open(store, name, vec![source], &SystemRandom))?;
        while let Some(fetch) = receiver.poll_keys(self.now()?) {
            let keys = self.insist(fetch.request());
            receiver.handle_keys(&fetch, &lent_response(&keys), self.now()?)?;
        }
        Ok((client, receiver))
    }

    /// The stream that there is, or else a new one.
    fn stream(
        &self,
        name: &str,
        directory: &Path,
        client: &StreamClient,
    ) -> Outcome<StreamConfiguration> {
        let delivery = || -> Outcome<Delivery> {
            Ok(match is_pushed_to(name) {
                true => {
                    let secret = SecretHeader::new(&push_secret(name, directory)?)?;
                    Delivery::push(&format!("{}/events", audience(name)), Some(secret))
                }
                false => Delivery::poll(),
            })
        };
        loop {
            let all = self.manage(&client.read_all()?)?.done();
            if let Some(stream) = all.and_then(|streams| streams.into_iter().next()) {
                return Ok(stream);
            }
            let wish = StreamRequest::new()
                .requesting([SessionRevoked::URI])
                .delivered_by(delivery()?);
            match self.manage(&client.create(&wish)?)? {
                Answer::Done(stream) => return Ok(stream),
                // We made one, and were killed before we heard of it.
                Answer::Exists => {}
                Answer::Later { .. } => std::thread::sleep(PAUSE),
                other => return Err(format!("no stream can be made: {other:?}").into()),
            }
        }
    }

    fn manage<T>(&self, call: &Call<T>) -> Outcome<Answer<T>> {
        Ok(call.read(&lent_response(&self.insist(call.request())))?)
    }

    /// Asks until somebody answers.
    fn insist(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        loop {
            match self.names.call(request, PATIENCE) {
                Ok(response) if !response.status().is_server_error() => return response,
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    fn poll(&self, mut poller: Poller) -> Outcome<()> {
        let receiver = self.receiver.get().ok_or("not joined")?;
        loop {
            let Some(request) = poller.poll_request(self.now()?) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            match self.names.call(&request, PATIENCE) {
                Ok(response) => {
                    let (response, now) = (lent_response(&response), self.now()?);
                    let report =
                        block_on(poller.handle_response(receiver, &response, now, &SystemRandom));
                    if !report.received.is_empty() {
                        self.wake_up();
                    }
                }
                Err(_) => poller.handle_failure(self.now()?, &SystemRandom),
            }
        }
    }

    /// Acts upon what was recorded: at once when something came, and after a start upon what was left.
    /// That it did is written in the commit that finishes the SET, to be counted in the end.
    fn act(&self, woken: &Woken<()>) -> Outcome<()> {
        let receiver = self.receiver.get().ok_or("not joined")?;
        let acted = store::acted()?;
        loop {
            let write = |set: &caep_stream::PendingSet, done: &Done, batch: Batch| {
                let mut id = [0; 16];
                let drawn = SystemRandom.fill(&mut id);
                let transaction = set.token().transaction().unwrap_or_default();
                let key = Key::new(&acted, &id);
                match (key, drawn, done) {
                    (Ok(key), Ok(()), Done::Voided(_)) => {
                        batch.put(key, Expected::Absent, transaction.as_bytes())
                    }
                    // It will be missed.
                    _ => batch,
                }
            };
            let report = block_on(receiver.act_with(
                &self.revocations,
                write,
                100,
                self.now()?,
                &SystemRandom,
            ));
            if let Some(problem) = report.problem {
                return Err(problem.into());
            }
            if report.acted.is_empty() {
                let _ = woken.recv_timeout(Duration::from_secs(1));
            }
        }
    }
}

/// The value of `Authorization` that the provider pushes with.
fn push_secret(name: &str, directory: &Path) -> Outcome<String> {
    Ok(format!(
        "Bearer {}",
        store::secret(directory, name, "push")?
    ))
}
