//! The process whose calls are to be refused: an axum service behind a guard, the receiver, and the clock.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use caep_set::{Profile, SessionRevoked};
use caep_stream::receiver::{
    Ceiling, Discovery, Namespace, Receiver, Source, SourceKeys, StreamClient, Trust, TrustMatrix,
    TrustRule,
};
use caep_stream::{Delivery, SecretHeader, StreamRequest};
use http::Request;
use m2m_crypto::SystemRandom;
use m2m_guard::{
    AllowList, Call, Freshness, Grant, Guard, GuardScratch, Presented, Rejection, Resources,
};
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::Store;
use m2m_token::{Audience, Issuers, Minter, RemoteKeySet, TokenRequest, TokenType, Verifier};
use m2m_tower::ssf::{SignalReceiver, StreamManager, discover};
use m2m_tower::{Authenticate, HttpSender};
use m2m_types::{Clock, SystemClock};
use tokio::net::TcpListener;

use crate::Outcome;
use crate::net::{
    AUDIENCE, Kind, ORDERS, RECEIVER, issuer, prepare, sender, serve, signing_keys, store,
};

const SECRET: &str = "Bearer what the transmitter shows";
const BILLING: &str = "spiffe://example.org/billing";
/// How often the guard is asked.
const LOOK: Duration = Duration::from_micros(100);
/// How long one revocation may take before all is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The transmitter's process.
struct Told {
    child: Child,
    lines: ChildStdin,
}

impl Drop for Told {
    fn drop(&mut self) {
        // Who has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long each of `count` revocations took.
pub(crate) async fn run(count: usize, kind: Kind) -> Outcome<Vec<Duration>> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let clock = Arc::new(SystemClock::new());
    prepare(directory, clock.now()?)?;
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let issuer = issuer(port.port());
    let mut told = start(directory, port.port(), kind)?;
    let keys = signing_keys(directory)?;
    let tokens = Minter::new(&issuer, TokenType::access_token(), Arc::clone(&keys))?;
    let sender = sender(directory)?;

    // The service.
    let store: Arc<dyn Store> = store(directory, RECEIVER, kind)?;
    let options = StoredOptions::default();
    let revocations =
        StoredRevocations::open(Arc::clone(&store), clock.now()?, &SystemRandom, options);
    let revocations = Arc::new(revocations.await?);
    let trusted = Issuers::one(&issuer, keys.verifying_keys());
    let verifier = Verifier::builder(
        trusted,
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    );
    let reads = Grant::new("GET", Resources::under("/orders")?);
    let guard = Guard::builder(AllowList::new().allow(&BILLING.parse()?, reads))
        .with_bearer_tokens(
            verifier.with_cache(1 << 20, &SystemRandom)?,
            Freshness::in_process(),
        )
        .with_revocations(
            Arc::clone(revocations.revocations()),
            Freshness::in_process(),
        )
        .build()?;
    let guard = Arc::new(guard);
    let layer = Authenticate::new(Arc::clone(&guard), Arc::<SystemClock>::clone(&clock));

    // The receiver.
    let transmitter = discover(&mut Discovery::new(&issuer)?, &sender).await?;
    let source_keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
    let source = Source::new(
        &issuer,
        source_keys,
        Audience::exactly(AUDIENCE),
        Profile::ssf(),
    )?
    .pushed_with(SecretHeader::new(SECRET)?)
    // To revoke by the thousand is what this is about.
    .with_ceiling(Ceiling::per_minute(1_000_000, 1_000_000));
    let rule = TrustRule::new(&issuer, Trust::Act)
        .for_events([SessionRevoked::URI])
        .about(Namespace::own())
        .about(Namespace::issuer(&issuer));
    let receiver = Receiver::open(store, "orders", vec![source], &SystemRandom).await?;
    let receiver = receiver.with_trust(TrustMatrix::new().with(rule));
    let signals = SignalReceiver::new(
        Arc::new(receiver),
        revocations,
        Arc::<SystemClock>::clone(&clock),
    );
    if let (_, Some(problem)) = signals.fetch_keys(&sender).await {
        return Err(problem.into());
    }
    let app = Router::new()
        .route("/orders/17", get(|| async { "an order" }))
        .layer(layer)
        .route_service("/events", signals.push_service());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let here = format!("https://{RECEIVER}:{}", listener.local_addr()?.port());
    serve(directory, RECEIVER, listener, app).await?;

    // The stream.
    let life = Duration::from_secs(3600);
    let request = TokenRequest::new(ORDERS, &issuer, life);
    let token = tokens.mint(&request, clock.now()?, &SystemRandom)?;
    let client = StreamClient::new(transmitter)
        .with_authorization(format!("Bearer {token}").parse()?)
        .with_audience([AUDIENCE]);
    let delivery = Delivery::push(&format!("{here}/events"), Some(SecretHeader::new(SECRET)?));
    let wanted = StreamRequest::new()
        .requesting([SessionRevoked::URI])
        .delivered_by(delivery);
    let manager = StreamManager::new(client, sender.clone());
    let stream = manager.stream(&wanted).await?;
    signals.receiver().attach(&stream);

    let mut times = Vec::with_capacity(count);
    for nth in 0..count {
        let session = format!("session-{nth}");
        let request = TokenRequest::new(BILLING, ORDERS, life).with_session_id(&session);
        let token = tokens.mint(&request, clock.now()?, &SystemRandom)?;
        if call(&sender, &here, &token).await? != 200 {
            return Err("a token was refused before it was revoked".into());
        }
        let (guard, clock) = (Arc::clone(&guard), Arc::clone(&clock));
        let hammered = token.clone();
        let watching = tokio::task::spawn_blocking(move || {
            refused_at(&guard, &*clock, &hammered).map_err(|error| error.to_string())
        });
        let begun = Instant::now();
        writeln!(told.lines, "{session}")?;
        times.push(watching.await??.saturating_duration_since(begun));
        if call(&sender, &here, &token).await? != 401 {
            return Err("the service goes on to answer".into());
        }
    }
    Ok(times)
}

/// When the guard refuses `token`.
fn refused_at(guard: &Guard, clock: &dyn Clock, token: &str) -> Outcome<Instant> {
    let mut scratch = GuardScratch::new();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let presented = Presented::nothing().with_token(token);
        let call = Call::new("GET", "/orders/17");
        match guard.admit(&presented, &call, clock.now()?, &mut scratch) {
            Ok(_) => std::thread::sleep(LOOK),
            Err(refusal) if refusal.rejection() == Rejection::Unauthenticated => {
                return Ok(Instant::now());
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err("a session that was revoked goes on".into())
}

async fn call(sender: &HttpSender, here: &str, token: &str) -> Outcome<u16> {
    let request = Request::get(format!("{here}/orders/17"))
        .header("authorization", format!("Bearer {token}"))
        .body(Vec::new())?;
    Ok(sender.send(&request).await?.status().as_u16())
}

fn start(directory: &Path, port: u16, kind: Kind) -> Outcome<Told> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .arg(directory)
        .arg(port.to_string())
        .arg(kind.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = child.stdin.take().ok_or("no pipe")?;
    let said = child.stdout.take().ok_or("no pipe")?;
    let told = Told { child, lines };
    let mut said = BufReader::new(said).lines();
    if said.next().transpose()?.as_deref() != Some("ready") {
        return Err("the transmitter did not start".into());
    }
    // What else it says is for people.
    std::thread::spawn(move || {
        for line in said.map_while(Result::ok) {
            println!("{line}");
        }
    });
    Ok(told)
}
