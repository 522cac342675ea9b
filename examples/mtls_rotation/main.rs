//! Two services talk by mutual TLS over TCP while everything they go by is replaced again and again:
//! certificates and keys, the intermediate, the root, the CRLs. No handshake may fail. Then one of
//! them is revoked: its open connection closes, and its session opens no other.
//!
//! ```text
//! cargo run --release -p m2m-examples --example mtls_rotation            # 10,000 handshakes
//! cargo run --release -p m2m-examples --example mtls_rotation -- 500     # so many
//! ```

#![expect(clippy::print_stdout, reason = "a program for people")]

mod authorities;
mod endpoints;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use m2m_pki::tls::{Connector, LiveTls, Material, UpdateError};
use m2m_pki::{ExpectedPeer, RevocationRule};
use m2m_types::{ServiceId, SystemClock};

use authorities::Authorities;
use endpoints::{Call, Seen, serve};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CALLERS: usize = 2;
/// Between two steps of the rotation.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let handshakes = match arguments.as_slice() {
        [] => 10_000,
        [handshakes] => handshakes.parse()?,
        _ => return Err("usage: mtls_rotation [HANDSHAKES]".into()),
    };
    let mut world = World::start()?;
    let failures = world.rotate(handshakes)?;
    world.revoke()?;
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} handshakes failed").into()),
    }
}

struct World {
    clock: Arc<SystemClock>,
    authorities: Authorities,
    billing: LiveTls,
    shop: LiveTls,
    connector: Connector,
    address: SocketAddr,
    seen: Arc<Seen>,
    closed: Receiver<Instant>,
}

/// What the callers count.
#[derive(Default)]
struct Counts {
    /// Handshakes that may still begin.
    left: AtomicUsize,
    full: AtomicUsize,
    resumed: AtomicUsize,
    failed: AtomicUsize,
    callers: [Caller; CALLERS],
}

/// How far a caller is.
#[derive(Default)]
struct Caller {
    ended: AtomicUsize,
    is_done: AtomicBool,
}

impl World {
    fn start() -> Outcome<Self> {
        let clock = Arc::new(SystemClock::new());
        let mut authorities = Authorities::new(Arc::clone(&clock))?;
        let mut start = |path: &str| -> Outcome<LiveTls> {
            let service: ServiceId = format!("spiffe://example.org/{path}").parse()?;
            let material = authorities.material(&service)?;
            let clock = Arc::clone(&clock);
            Ok(LiveTls::builder(material, RevocationRule::strict(), clock).build()?)
        };
        let (billing, shop) = (start("billing")?, start("shop")?);
        let expected = ExpectedPeer::service("spiffe://example.org/billing".parse()?);
        let connector = shop.connector(expected)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let (tell, closed) = channel();
        std::thread::spawn({
            let (billing, seen) = (billing.clone(), Arc::clone(&seen));
            move || serve(billing, listener, seen, tell)
        });
        Ok(Self {
            clock,
            authorities,
            billing,
            shop,
            connector,
            address,
            seen,
            closed,
        })
    }

    /// Lets the callers call, and replaces everything meanwhile. How many handshakes failed.
    fn rotate(&mut self, handshakes: usize) -> Outcome<usize> {
        println!("{handshakes} handshakes, while everything is replaced:\n");
        let counts = Counts {
            left: AtomicUsize::new(handshakes),
            ..Counts::default()
        };
        let (connector, address) = (self.connector.clone(), self.address);
        let begun = Instant::now();
        let replaced = std::thread::scope(|scope| {
            for caller in &counts.callers {
                let (connector, counts) = (&connector, &counts);
                scope.spawn(move || call(connector, address, counts, caller));
            }
            let mut replaced = Replaced::default();
            loop {
                let result = self.replace_once(&mut replaced, &counts);
                if result.is_err() {
                    // The callers come to an end too.
                    counts.left.store(0, Ordering::Relaxed);
                }
                result?;
                if counts.left.load(Ordering::Relaxed) == 0 {
                    return Outcome::Ok(replaced);
                }
            }
        });
        let replaced = replaced?;
        let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let failures = count(&counts.failed) + count(&self.seen.failures);
        println!(
            "  replaced: {} × certificate and key, {} × intermediate, {} × root (A, A+B, B), {} × CRL",
            replaced.leaves, replaced.intermediates, replaced.roots, replaced.crls
        );
        println!(
            "  handshakes: {} full, {} resumed, in {:.1} s",
            count(&counts.full),
            count(&counts.resumed),
            begun.elapsed().as_secs_f64()
        );
        println!("  failed: {failures}\n");
        Ok(failures)
    }

    /// Every kind of replacement, one after the other.
    fn replace_once(&mut self, replaced: &mut Replaced, counts: &Counts) -> Outcome<()> {
        self.replace_leaves(replaced)?;
        self.replace_crl(replaced)?;
        self.replace_leaves(replaced)?;

        self.authorities.replace_issuing()?;
        self.replace_crl(replaced)?;
        self.replace_leaves(replaced)?;
        replaced.intermediates += 1;

        // A, A+B, B: known to all before it is used, and used by all before the old one is forgotten.
        let mut next = self.authorities.next_root()?;
        let crls = next.crls(&self.clock)?;
        let bundles = self.authorities.bundles();
        self.update(|material| {
            material.set_bundles(bundles.clone());
            crls.iter()
                .try_for_each(|crl| material.set_crl(Arc::clone(crl)))
        })?;
        self.authorities.use_root(next);
        self.replace_leaves(replaced)?;
        // Calls that began with certificates of the old root have to end before it is forgotten; in
        // a fleet that takes as long as those certificates live.
        counts.wait_for_calls_that_run();
        self.authorities.forget_old_roots();
        let bundles = self.authorities.bundles();
        self.update(|material| {
            material.set_bundles(bundles.clone());
            Ok(())
        })?;
        replaced.roots += 1;
        if replaced.roots % 10 == 1 {
            println!(
                "  {:>6} handshakes: root {} is in use, the one before is forgotten",
                counts.ended().iter().sum::<usize>(),
                replaced.roots
            );
        }
        Ok(())
    }

    fn replace_leaves(&mut self, replaced: &mut Replaced) -> Outcome<()> {
        for live in [&self.billing, &self.shop] {
            let service = live.material().identity().service_id().clone();
            let identity = self.authorities.identity(&service)?;
            let updated = live.update(|material| {
                material.set_identity(identity);
                Ok(())
            })?;
            if let Some(fault) = updated.own_fault {
                return Err(fault.into());
            }
            replaced.leaves += 1;
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn replace_crl(&mut self, replaced: &mut Replaced) -> Outcome<()> {
        let crl = self.authorities.crl()?;
        self.update(|material| material.set_crl(Arc::clone(&crl)))?;
        replaced.crls += 1;
        Ok(())
    }

    fn update(
        &self,
        change: impl Fn(&mut Material) -> Result<(), UpdateError>,
    ) -> Result<(), UpdateError> {
        for live in [&self.billing, &self.shop] {
            live.update(&change)?;
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    /// Revokes the caller while it has a connection open, and a session to resume.
    fn revoke(&mut self) -> Outcome<()> {
        let mut call = Call::new(&self.connector, self.address)?;
        let again = Call::new(&self.connector, self.address)?;
        if !again.is_resumed() {
            return Err("there was a session, and it was not resumed".into());
        }
        again.close();
        call.ask()?;
        println!(
            "shop has a connection open, and a session that was just resumed. It is revoked:\n"
        );

        let own = self.shop.material().identity().certificate().clone();
        self.authorities.revoke(&own)?;
        let crl = self.authorities.crl()?;
        // Only the server knows, so that the client tries what it can.
        let known = Instant::now();
        let updated = self.billing.update(|material| material.set_crl(crl))?;
        let closed = loop {
            // Others may have been closed when the last root was forgotten.
            let closed = self.closed.recv_timeout(Duration::from_secs(60))?;
            if closed >= known {
                break closed;
            }
        };
        let noticed = call.wait_for_end();
        println!("  connections closed: {}", updated.closed);
        println!(
            "  the server's thread knows after {:?}",
            closed.duration_since(known)
        );
        println!(
            "  the client sees the end after   {:?}",
            noticed.duration_since(known)
        );
        for attempt in 1..=3 {
            match Call::new(&self.connector, self.address) {
                Ok(call) => {
                    let how = if call.is_resumed() { "resumed" } else { "anew" };
                    return Err(format!("a revoked peer got in, {how}").into());
                }
                Err(error) => println!("  attempt {attempt} with its session: {error}"),
            }
        }
        println!("\nno handshake failed that should not, and none succeeded that should not");
        Ok(())
    }
}

#[derive(Default)]
struct Replaced {
    leaves: usize,
    intermediates: usize,
    roots: usize,
    crls: usize,
}

impl Counts {
    /// Until each caller has ended two more calls, of which the second began after this was called.
    fn wait_for_calls_that_run(&self) {
        let before = self.ended();
        for (caller, before) in self.callers.iter().zip(before) {
            while caller.ended.load(Ordering::Acquire) < before + 2
                && !caller.is_done.load(Ordering::Acquire)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// How many calls each caller has ended.
    fn ended(&self) -> Vec<usize> {
        let ended = |caller: &Caller| caller.ended.load(Ordering::Acquire);
        self.callers.iter().map(ended).collect()
    }
}

/// Calls until enough have been made.
fn call(connector: &Connector, address: SocketAddr, counts: &Counts, caller: &Caller) {
    let take = |left: usize| left.checked_sub(1);
    let (order, read) = (Ordering::Relaxed, Ordering::Relaxed);
    while counts.left.fetch_update(order, read, take).is_ok() {
        let counter = match Call::new(connector, address) {
            Ok(call) => {
                let is_resumed = call.is_resumed();
                call.close();
                match is_resumed {
                    true => &counts.resumed,
                    false => &counts.full,
                }
            }
            Err(error) => {
                report("the client", &*error);
                &counts.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        caller.ended.fetch_add(1, Ordering::Release);
    }
    caller.is_done.store(true, Ordering::Release);
}

/// Says what went wrong.
pub(crate) fn report(who: &str, error: &(dyn Error + Send + Sync)) {
    println!("  {who}: {error}");
}
