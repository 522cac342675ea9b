//! How many requests a second a service of axum answers with the guard and without it, in turn.
//!
//! Two servers of the same make on loopback, one with `Authenticate` in front of the router. Slices of load go
//! to one and then the other; what is printed is the median of the ratios of neighbours. Keep-alive
//! connections over HTTP/1.1, a token that is in the cache; by plain TCP with a bearer token, and by mutual
//! TLS with a token that is bound to the certificate.
//!
//! Beside requests a second stands the processor time of the server's threads for a request, which other
//! programs on the machine disturb less.
//!
//! ```text
//! cargo run --release -p m2m-tower --features axum,serve --example guard_load          # 20 turns of 300 ms
//! cargo run --release -p m2m-tower --features axum,serve --example guard_load -- 40 500
//! ```

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement that cannot be made ends"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Credential, Freshness, Grant, Guard, Resources};
use m2m_pki::Certificate;
use m2m_pki::tls::LiveTls;
use m2m_token::TokenRequest;
use m2m_tower::{Acceptor, Authenticate, ServeLimits, Server};
use m2m_types::{Clock, ClockError, ManualClock, SystemClock, Timestamp};
use support::pki::Pki;
use support::serving::tls;
use support::{BILLING, ORDERS, World, service};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Keep-alive connections to each server.
const CONNECTIONS: usize = 32;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|figure| figure.parse().unwrap());
    let turns = arguments.next().unwrap_or(20).max(10);
    let slice = Duration::from_millis(arguments.next().unwrap_or(300));
    println!("{turns} turns of {slice:?} for each, {CONNECTIONS} keep-alive connections");
    println!("load average: {}", load_average());
    println!("transport      threads  req/s off   req/s on  ratio   µs/req off  on     CPU ratio");
    for is_tls in [false, true] {
        for threads in [1, 2] {
            compare(is_tls, threads, turns, slice);
        }
    }
    println!("load average: {}", load_average());
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<_> = text.split(' ').take(3).collect();
    words.join(" ")
}

/// The time of the tests, at the price of reading the time of the system.
struct PricedClock(SystemClock, Arc<ManualClock>);

impl Clock for PricedClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        std::hint::black_box(self.0.now())?;
        self.1.now()
    }
}

/// A server in a runtime of its own, and connections to it that are warm.
struct Side {
    threads: &'static str,
    clients: Vec<Box<dyn Stream>>,
    _runtime: Runtime,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What one slice was.
struct Slice {
    a_second: f64,
    microseconds: f64,
}

fn compare(is_tls: bool, threads: usize, turns: u64, slice: Duration) {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let (billing, certificate) = pki.machine(BILLING);
    let machines = is_tls.then_some((&orders, &billing, &certificate));
    let request = request(&world, machines.map(|(_, _, certificate)| certificate));
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let layer = layer(&world, machines.map(|(orders, ..)| orders));
    let machines = machines.map(|(orders, billing, _)| (orders, billing));
    let mut off = Side::start("guard-off", threads, router(), machines, &client);
    let mut on = Side::start(
        "guard-on",
        threads,
        router().layer(layer),
        machines,
        &client,
    );
    for side in [&mut off, &mut on] {
        side.run(&client, &request, slice);
    }
    let (mut walls, mut costs, mut all) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for turn in 0..turns {
        // In turn who is first, so that what drifts favours none.
        let (without, with) = match turn % 2 {
            0 => {
                let without = off.run(&client, &request, slice);
                (without, on.run(&client, &request, slice))
            }
            _ => {
                let with = on.run(&client, &request, slice);
                (off.run(&client, &request, slice), with)
            }
        };
        walls.push(with.a_second / without.a_second);
        costs.push(without.microseconds / with.microseconds);
        all[0].push(without);
        all[1].push(with);
    }
    let [off, on] = all;
    let rate = |slices: &[Slice]| median(slices.iter().map(|slice| slice.a_second));
    let cost = |slices: &[Slice]| median(slices.iter().map(|slice| slice.microseconds));
    println!(
        "{:<14} {threads:>7} {:>10.0} {:>10.0}  {:.3}   {:>8.2} {:>8.2}  {:.3}",
        if is_tls { "mutual TLS" } else { "plain TCP" },
        rate(&off),
        rate(&on),
        median(walls.into_iter()),
        cost(&off),
        cost(&on),
        median(costs.into_iter()),
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

fn router() -> Router {
    Router::new().route(
        "/orders/{id}",
        get(|Path(id): Path<u32>| async move { format!("order {id}") }),
    )
}

fn layer(world: &World, orders: Option<&LiveTls>) -> Authenticate {
    let grant = Grant::new("GET", Resources::under("/orders").unwrap());
    let allowed = AllowList::new().allow(&service(BILLING), grant);
    let tokens = world.verifier().with_cache(1 << 20, &SystemRandom).unwrap();
    let guard = Guard::builder(allowed)
        .with_revocations(Arc::clone(&world.revocations), Freshness::in_process());
    let guard = match orders {
        Some(orders) => guard
            .with_bound_tokens(tokens, Freshness::in_process())
            .with_peers(orders.clone(), Freshness::in_process())
            .requiring(Credential::Token)
            .requiring(Credential::Certificate),
        None => guard.with_bearer_tokens(tokens, Freshness::in_process()),
    };
    let clock = PricedClock(SystemClock::new(), Arc::clone(&world.clock));
    Authenticate::new(Arc::new(guard.build().unwrap()), Arc::new(clock))
}

fn request(world: &World, bound: Option<&Certificate>) -> String {
    let token = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    let token = world.mint(&match bound {
        Some(certificate) => token.with_certificate_binding(*certificate.thumbprint()),
        None => token,
    });
    format!(
        "GET /orders/17 HTTP/1.1\r\nhost: orders.internal\r\nauthorization: Bearer {token}\r\n\r\n"
    )
}

impl Side {
    fn start(
        name: &'static str,
        threads: usize,
        router: Router,
        machines: Option<(&LiveTls, &LiveTls)>,
        client: &Runtime,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_all()
            .build()
            .unwrap();
        let limits = ServeLimits::new().without_limits_by_address();
        let server = match machines {
            Some((orders, _)) => Server::mutual_tls(Acceptor::new(orders.clone()), limits),
            None => Server::plain_on_loopback(limits),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            server.serve(listener, router, std::future::pending()).await
        });
        let machine = machines.map(|(_, billing)| billing);
        let clients = client.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(connect(address, machine).await);
            }
            clients
        });
        Self {
            threads: name,
            clients,
            _runtime: runtime,
        }
    }

    /// Asks on all connections, one request at a time on each, for about `length`.
    fn run(&mut self, client: &Runtime, request: &str, length: Duration) -> Slice {
        let cost = processor_time(self.threads);
        let begun = Instant::now();
        let clients = std::mem::take(&mut self.clients);
        let (clients, count) = client.block_on(async {
            let mut tasks = Vec::new();
            for mut stream in clients {
                let request = request.to_owned();
                tasks.push(tokio::spawn(async move {
                    let mut count = 0_u64;
                    while begun.elapsed() < length {
                        ask(&mut stream, &request).await;
                        count += 1;
                    }
                    (stream, count)
                }));
            }
            let (mut clients, mut all) = (Vec::new(), 0);
            for task in tasks {
                let (stream, count) = task.await.unwrap();
                clients.push(stream);
                all += count;
            }
            (clients, all)
        });
        self.clients = clients;
        let cost = processor_time(self.threads).saturating_sub(cost);
        Slice {
            a_second: count as f64 / begun.elapsed().as_secs_f64(),
            microseconds: cost.as_secs_f64() * 1e6 / count as f64,
        }
    }
}

async fn connect(address: SocketAddr, machine: Option<&LiveTls>) -> Box<dyn Stream> {
    match machine {
        Some(machine) => Box::new(tls(machine, address).await.unwrap()),
        None => {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Box::new(stream)
        }
    }
}

/// One request and its answer, which has to be the right one.
async fn ask(stream: &mut Box<dyn Stream>, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"\r\n\r\norder 17") {
        let count = stream.read(&mut answer[filled..]).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer[..filled]));
        filled += count;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// What the threads of that name used so far.
fn processor_time(name: &str) -> Duration {
    let mut all = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file));
        let (Ok(called), Ok(times)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        if called.trim() == name {
            let used = times.split(' ').next().unwrap();
            all += used.parse::<u64>().unwrap();
        }
    }
    Duration::from_nanos(all)
}
