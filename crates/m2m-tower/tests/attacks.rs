//! Attacks on a server on loopback, by another process: good calls go on, memory stays within a bound, and
//! who attacks is dropped in time.
//!
//! With ten thousand connections each process needs as many descriptors. Where they cannot be had the attack
//! is smaller, and says so.
#![cfg(all(feature = "serve", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "figures, and what was scaled down")]

mod attacker;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attacker::{Attack, Attacker, Report};
use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use m2m_guard::Freshness;
use m2m_pki::tls::LiveTls;
use m2m_tower::{Acceptor, ServeCounts, ServeLimits, Server};
use support::pki::Pki;
use support::serving::*;
use support::*;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How many connections an attacker opens, if it has the descriptors.
const MANY: usize = 10_000;
/// Room for the good ones, and for what else is open.
const OTHERS: usize = 600;

/// One at a time: they measure the memory of the process.
static TURN: Mutex<()> = Mutex::const_new(());

/// As many as there are descriptors for.
fn many() -> usize {
    let count = attacker::descriptors().saturating_sub(OTHERS).min(MANY);
    if count < MANY {
        eprintln!("SCALED DOWN: {count} connections instead of {MANY}: too few descriptors");
    }
    count
}

/// What the process holds, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// What was the most during an attack.
#[derive(Default)]
struct Peak {
    resident: u64,
    open: usize,
    opening: usize,
}

/// Good clients: they ask on connections of theirs, and on new ones, until they are told to end.
struct Good {
    ended: Arc<AtomicBool>,
    kept: Arc<AtomicU64>,
    anew: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Good {
    /// `tls` connects by TLS.
    fn start(address: SocketAddr, tls: Option<LiveTls>) -> Self {
        let mut good = Self {
            ended: Arc::default(),
            kept: Arc::default(),
            anew: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..4 {
            let (ended, kept) = (Arc::clone(&good.ended), Arc::clone(&good.kept));
            let tls = tls.clone();
            good.tasks.push(tokio::spawn(async move {
                let mut stream = connect(address, tls.as_ref()).await;
                while !ended.load(Ordering::Relaxed) {
                    assert!(is_served(&mut stream).await, "a call was not answered");
                    kept.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }));
        }
        let (ended, anew) = (Arc::clone(&good.ended), Arc::clone(&good.anew));
        good.tasks.push(tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let mut stream = connect(address, tls.as_ref()).await;
                assert!(is_served(&mut stream).await, "a new client was not served");
                anew.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        good
    }

    /// How many calls were answered, on old connections and on new ones. No other was asked.
    async fn end(self) -> (u64, u64) {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
        }
        (
            self.kept.load(Ordering::Relaxed),
            self.anew.load(Ordering::Relaxed),
        )
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(address: SocketAddr, machine: Option<&LiveTls>) -> Box<dyn Stream> {
    match machine {
        Some(machine) => Box::new(tls(machine, address).await.unwrap()),
        None => Box::new(TcpStream::connect(address).await.unwrap()),
    }
}

/// What an attack did, and what good clients had of it.
struct Outcome {
    report: Report,
    before: ServeCounts,
    after: ServeCounts,
    peak: Peak,
    grown: u64,
    kept: u64,
    anew: u64,
}

/// Runs `attack` against `running` while good clients ask.
async fn run(running: &Running, tls: Option<LiveTls>, attack: Attack) -> Outcome {
    let good = Good::start(running.address, tls);
    let warm = || good.kept.load(Ordering::Relaxed) > 20 && good.anew.load(Ordering::Relaxed) > 2;
    while !warm() {
        assert!(good.tasks.iter().all(|task| !task.is_finished()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = running.server.counts();
    let (resident_before, begun) = (resident(), Instant::now());
    let (kept, anew) = (
        good.kept.load(Ordering::Relaxed),
        good.anew.load(Ordering::Relaxed),
    );
    let attacker = Attacker::start(&attack, running.address);
    let mut peak = Peak::default();
    while !attacker.is_over() {
        let counts = running.server.counts();
        peak.resident = peak.resident.max(resident());
        peak.open = peak.open.max(counts.open);
        peak.opening = peak.opening.max(counts.opening);
        assert!(
            begun.elapsed() < 3 * PATIENCE,
            "it does not end: {counts:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = attacker.report();
    let (kept_after, anew_after) = good.end().await;
    let outcome = Outcome {
        report,
        before,
        after: running.server.counts(),
        grown: peak.resident.saturating_sub(resident_before),
        peak,
        kept: kept_after - kept,
        anew: anew_after - anew,
    };
    eprintln!(
        "{:?} ×{}: {:?} in {:.1?}; memory +{} KiB at {} open; good calls {} + {} on new connections, 0 failed",
        attack.kind,
        attack.count,
        outcome.report,
        begun.elapsed(),
        outcome.grown / 1024,
        outcome.peak.open,
        outcome.kept,
        outcome.anew,
    );
    assert!(
        outcome.kept > 0 && outcome.anew > 0,
        "nobody asked meanwhile"
    );
    outcome
}

/// Limits under which all of them have room.
fn room_for(count: usize) -> ServeLimits {
    ServeLimits::new()
        .with_connections(count + OTHERS)
        .with_openings(count + OTHERS, usize::MAX)
        .with_connections_by_address(usize::MAX)
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "here" }))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/hangs", get(std::future::pending::<&'static str>))
}

/// A server that takes machines alone, and one of them.
async fn of_machines(limits: ServeLimits, handshake: Duration) -> (Running, LiveTls) {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let guard = m2m_guard::Guard::builder(|_: &m2m_guard::Proven<'_>, _: &m2m_guard::Call<'_>| {
        m2m_guard::Decision::Allow
    });
    let guard = guard
        .with_peers(orders.clone(), Freshness::in_process())
        .danger_without_revocations();
    let acceptor = Acceptor::new(orders).with_handshake_timeout(handshake);
    let server = Server::mutual_tls(acceptor, limits);
    let running = Running::start(server, router().layer(world.layer_of(guard))).await;
    (running, pki.machine(BILLING).0)
}

async fn of_anybody(limits: ServeLimits) -> Running {
    Running::start(Server::plain_on_loopback(limits), router()).await
}

/// How long a handshake may take here: until the last of ten thousand has come, the first has to be there.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How much later a busy machine may notice.
const LATE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_connections_starve_nobody() {
    let _turn = TURN.lock().await;
    let count = many();
    // No byte at all: a task of less than a kilobyte, and what tokio keeps of a socket.
    // Half a ClientHello: what rustls keeps of a handshake.
    for (kind, each) in [("silent", 4 << 10), ("half_hello", 24 << 10)] {
        let (running, machine) = of_machines(room_for(count), HANDSHAKE).await;
        let outcome = run(&running, Some(machine), Attack::new(kind, count)).await;
        // Some may be lost in a backlog that was full: the kernel told nobody but the attacker of those.
        let known = (outcome.after.slow_openings - outcome.before.slow_openings) as usize;
        assert_eq!(outcome.report.opened, count);
        assert!(known >= count - count / 20, "{known} of {count}");
        assert!(
            outcome.report.closed >= known,
            "{known}: {:?}",
            outcome.report
        );
        assert!(
            outcome.peak.opening >= known,
            "all at once: {}",
            outcome.peak.opening
        );
        let longest = Duration::from_millis(outcome.report.longest);
        assert!(longest < HANDSHAKE + LATE, "{longest:?}");
        let bound = count as u64 * each + (16 << 20);
        assert!(outcome.grown < bound, "{} of {bound}", outcome.grown);
        running
            .until("all are gone", |counts| counts.open == 0)
            .await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_of_one_address_is_reset_and_others_connect() {
    let _turn = TURN.lock().await;
    let count = many();
    let (running, machine) = of_machines(ServeLimits::new(), Duration::from_secs(3)).await;
    let attack = Attack::new("half_hello", count).of_one_address();
    let outcome = run(&running, Some(machine), attack).await;
    let refused = outcome.after.refused_by_address - outcome.before.refused_by_address;
    let slow = outcome.after.slow_openings - outcome.before.slow_openings;
    assert_eq!(refused + slow, count as u64, "{:?}", outcome.after);
    // By address: 128 at once; some left while others came.
    assert!(outcome.peak.opening <= 128 + OTHERS && refused > 0);
    assert!(outcome.grown < 32 << 20, "{}", outcome.grown);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_slow_bodies_starve_nobody() {
    let _turn = TURN.lock().await;
    let count = 2_000.min(many());
    let limit = Duration::from_secs(4);
    let limits = room_for(count)
        .with_head(8 << 10, limit)
        .with_body_pace(limit, 1 << 10);
    for (kind, each) in [("slow_head", 32 << 10), ("slow_body", 32 << 10)] {
        let running = of_anybody(limits.clone()).await;
        let outcome = run(&running, None, Attack::new(kind, count)).await;
        assert_eq!(outcome.report.closed, count);
        let dropped = match kind {
            "slow_head" => outcome.after.slow_heads - outcome.before.slow_heads,
            _ => outcome.after.slow_bodies - outcome.before.slow_bodies,
        };
        assert_eq!(dropped, count as u64, "{:?}", outcome.after);
        let longest = Duration::from_millis(outcome.report.longest);
        assert!(longest < limit + LATE, "{longest:?}");
        let bound = count as u64 * each + (16 << 20);
        assert!(outcome.grown < bound, "{} of {bound}", outcome.grown);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_headers_and_frames_starve_nobody() {
    let _turn = TURN.lock().await;
    for kind in [
        "many_fields",
        "huge_field",
        "rapid_reset",
        "reset_of_hanging",
        "continuations",
        "pings",
    ] {
        let limits = room_for(1_000).with_idle(Duration::from_secs(3));
        let running = of_anybody(limits.with_drain(Duration::from_secs(1))).await;
        let outcome = run(&running, None, Attack::new(kind, 50)).await;
        // Each was closed by the server, again and again.
        assert_eq!(outcome.report.opened, outcome.report.closed, "{kind}");
        assert!(outcome.report.opened >= 50, "{kind}");
        assert!(outcome.grown < 64 << 20, "{kind}: {}", outcome.grown);
        let requests = outcome.after.requests - outcome.before.requests;
        match kind {
            "many_fields" | "huge_field" | "continuations" | "pings" => {
                let good = outcome.kept + outcome.anew;
                assert!(requests <= good + 8, "{kind}: {requests} of {good}");
            }
            // Few of what was sent was ever begun on a connection: 100, and what came meanwhile.
            "reset_of_hanging" => {
                let cancelling = outcome.after.cancelling + outcome.after.broken;
                assert!(cancelling > 0, "{:?}", outcome.after);
            }
            _ => {}
        }
        running.until(kind, |counts| counts.open == 0).await;
        running.stop().await;
    }
}

/// Nothing is open but what is counted here: descriptors are those of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_goes_on_and_accepts_when_there_are_some() {
    let _turn = TURN.lock().await;
    let running = of_anybody(room_for(100)).await;
    let mut old = running.connect().await;
    assert!(is_served(&mut old).await);
    let before = attacker::descriptors();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    attacker::limit_descriptors(open + 10);
    let mut fillers = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        fillers.push(file);
    }
    // One for the client, and none for the server.
    fillers.pop();
    let mut waiting = running.connect().await;
    running
        .until("no descriptor", |counts| counts.accept_errors > 1)
        .await;
    assert!(is_served(&mut old).await);
    drop(fillers);
    attacker::limit_descriptors(before);
    assert!(is_served(&mut waiting).await && is_served(&mut old).await);
    assert!(is_served(&mut running.connect().await).await);
    running.stop().await;
}

#[test]
#[ignore = "the process of the attacker, which the other tests start"]
fn attacker() {
    attacker::main();
}
