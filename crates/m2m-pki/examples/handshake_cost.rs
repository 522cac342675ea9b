//! What handshakes by mutual TLS cost with a million revoked certificates, as ratios within one run,
//! and how long a revoked peer's connection stays open.
//!
//! `cargo run --release -p m2m-pki --features rustls --example handshake_cost [ENTRIES]`
//!
//! Both ends are in memory and in one thread, whose processor time counts (on Linux; elsewhere the
//! clock's). What is compared takes turns; the shortest round counts.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it ends where something is wrong"
)]

mod figures;
#[path = "../tests/tls_support/mod.rs"]
mod tls_support;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use figures::{Run, figure, take_turns};
use m2m_pki::tls::{Connector, LiveTls, Material};
use m2m_pki::*;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use tls_support::*;

const ROUNDS: usize = 12;
/// Handshakes a round: enough that the tick by which processor time is counted does not show.
const TURNS: usize = 480;

fn main() {
    let entries = std::env::args().nth(1);
    let entries: u64 = entries.map_or(1_000_000, |entries| entries.parse().unwrap());
    let mut world = World::new();
    world.issuing.revoke_strangers(entries);
    let lists = Lists::new(&mut world);
    let bytes = lists.issuing_der.len() as f64 / 1e6;
    println!(
        "{entries} revoked certificates, a CRL of {bytes:.1} MB; ring, P-256, leaf ← intermediate ← root\n"
    );
    full(&mut world, &lists);
    resumed(&mut world, &lists);
    closing(&mut world, &lists);
}

/// The CRLs of both authorities.
struct Lists {
    root_der: Vec<u8>,
    issuing_der: Vec<u8>,
    crls: Arc<CrlSet>,
}

impl Lists {
    fn new(world: &mut World) -> Self {
        let root_der = world.root.crl_der(start(), DAY);
        let issuing_der = world.issuing.crl_der(start(), DAY);
        let index = |ca: &Ca, der: &[u8]| {
            let issuer = CrlIssuer::from_certificate(ca.certificate()).unwrap();
            let crl = UnverifiedCrl::parse(der, &CrlLimits::default()).unwrap();
            Arc::new(CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap())
        };
        let crls = CrlSet::new().with(index(&world.root, &root_der)).unwrap();
        let crls = crls.with(index(&world.issuing, &issuing_der)).unwrap();
        Self {
            root_der,
            issuing_der,
            crls: Arc::new(crls),
        }
    }
}

fn full(world: &mut World, lists: &Lists) {
    let stock = Stock::new(world, &[]);
    let empty = Arc::new(CrlSet::new());
    let unchecked = Ours::new(world, &empty, RevocationRule::danger_accept_unknown(), 1);
    let checked = Ours::new(world, &lists.crls, RevocationRule::strict(), 1);
    let remembered = Ours::new(world, &lists.crls, RevocationRule::strict(), 1024);
    let mut runs = [
        Run::new("stock rustls, no CRL", |turn| stock.handshake(turn)),
        Run::new("ours, no revocation", |turn| unchecked.handshake(turn)),
        Run::new("ours, all CRLs, new leaves", |turn| checked.handshake(turn)),
        Run::new("ours, all CRLs, leaves seen before", |turn| {
            remembered.handshake(turn)
        }),
    ];
    take_turns(&mut runs, TURNS, ROUNDS);
    println!("full handshake, both sides                µs of processor");
    for Run { name, least, .. } in &runs {
        println!("  {name:<38} {least:>9.1}");
    }
    let [stock_cost, unchecked_cost, checked_cost, remembered_cost] = runs.map(|run| run.least);
    figure(
        "handshake_revocation_vs_none",
        checked_cost / unchecked_cost,
        "with revocation ÷ without",
        "≤ 1.03",
    );
    figure(
        "handshake_cached_vs_stock",
        checked_cost / stock_cost,
        "intermediates cached, with CRLs ÷ stock without",
        "≤ 0.90",
    );
    figure(
        "handshake_remembered_vs_stock",
        remembered_cost / stock_cost,
        "leaves seen before, with CRLs ÷ stock without",
        "",
    );

    let ders = [lists.root_der.clone(), lists.issuing_der.clone()];
    let stock_crl = Stock::new(world, &ders);
    let mut once = [Run::new("stock rustls, the same CRLs", |turn| {
        stock_crl.handshake(turn)
    })];
    take_turns(&mut once, 5, 3);
    let [
        Run {
            name, least: cost, ..
        },
    ] = once;
    println!("  {name:<38} {cost:>9.1}");
    figure(
        "handshake_stock_revocation_vs_none",
        cost / stock_cost,
        "stock with the CRLs ÷ stock without",
        "",
    );
    println!();
}

fn resumed(world: &mut World, lists: &Lists) {
    let empty = Arc::new(CrlSet::new());
    let unchecked = Ours::resuming(world, &empty, RevocationRule::danger_accept_unknown());
    let checked = Ours::resuming(world, &lists.crls, RevocationRule::strict());
    let stock = Stock::resuming(world);
    let mut runs = [
        Run::new("stock rustls, which asks nobody", |_| stock.resume()),
        Run::new("ours, no revocation", |_| unchecked.resume()),
        Run::new("ours, all CRLs", |_| checked.resume()),
    ];
    take_turns(&mut runs, 2 * TURNS, ROUNDS);
    println!("resumed handshake, both sides             µs of processor");
    for Run { name, least, .. } in &runs {
        println!("  {name:<38} {least:>9.1}");
    }
    let [stock_cost, unchecked_cost, checked_cost] = runs.map(|run| run.least);
    figure(
        "resumed_revocation_vs_none",
        checked_cost / unchecked_cost,
        "with revocation ÷ without",
        "≤ 1.03",
    );
    figure(
        "resumed_revocation_vs_stock",
        checked_cost / stock_cost,
        "with revocation ÷ stock",
        "",
    );
    println!();
}

/// How long it takes from a newer CRL to the last hook of the peer it revokes.
fn closing(world: &mut World, lists: &Lists) {
    println!("revoke one peer → its connections closed  wall clock");
    let mut slowest = Duration::ZERO;
    for (peers, each) in [(1, 1), (100, 100), (1000, 100)] {
        let server = live(
            world,
            "billing",
            &lists.crls,
            RevocationRule::strict(),
            4096,
            true,
        );
        let mut known = Vec::new();
        for number in 0..peers {
            let client = Arc::new(stranger(Some(&world.own(&format!("shop-{number}")))));
            let mut pair = Pair::new(client, server.server_config());
            pair.handshake().unwrap();
            known.push(server.peer(&pair.server).unwrap());
        }
        let (tell, heard) = channel();
        let open: Vec<_> = known
            .iter()
            .flat_map(|peer| (0..each).map(move |_| peer))
            .map(|peer| {
                let tell = tell.clone();
                let hook = move |_: &_| {
                    let _ = tell.send(Instant::now());
                };
                server.watch(peer, hook).unwrap()
            })
            .collect();
        world
            .issuing
            .revoke(known.last().unwrap().certificate(), start());
        let crl = world.issuing.crl(start(), DAY);
        let begun = Instant::now();
        let updated = server.update(|material| material.set_crl(crl)).unwrap();
        let returned = begun.elapsed();
        assert_eq!(updated.closed, each);
        let last = heard.try_iter().max().unwrap().duration_since(begun);
        println!(
            "  {:>6} connections of {peers:>4} peers: the last hook after {:>6.2} ms, update back after {:>6.2} ms",
            open.len(),
            last.as_secs_f64() * 1e3,
            returned.as_secs_f64() * 1e3
        );
        slowest = slowest.max(last);
    }
    figure(
        "revoke_to_closed_ms",
        slowest.as_secs_f64() * 1e3,
        "the slowest of these, in ms",
        "< 10",
    );
}

/// Two services that call two others, so that each sees another leaf than the time before.
struct Ours {
    servers: Vec<LiveTls>,
    connectors: Vec<Connector>,
}

fn live(
    world: &World,
    path: &str,
    crls: &Arc<CrlSet>,
    rule: RevocationRule,
    peers: usize,
    resumes: bool,
) -> LiveTls {
    let profile = world.profile().with_dns_name("service.internal").unwrap();
    let identity = world.own_by(&profile, path, HOUR).identity();
    let material = Material::new(identity, world.bundles(), Arc::clone(crls));
    let builder = LiveTls::builder(material, rule, world.clock.clone()).with_peer_limit(peers);
    match resumes {
        true => builder.build().unwrap(),
        false => builder.without_resumption().build().unwrap(),
    }
}

impl Ours {
    fn new(world: &World, crls: &Arc<CrlSet>, rule: RevocationRule, peers: usize) -> Self {
        let start = |path| live(world, path, crls, rule, peers, false);
        let expected = ExpectedPeer::member_of(world.domain.clone());
        let connect = |path| start(path).connector(expected.clone()).unwrap();
        Self {
            servers: vec![start("billing"), start("mail")],
            connectors: vec![connect("shop"), connect("desk")],
        }
    }

    fn resuming(world: &World, crls: &Arc<CrlSet>, rule: RevocationRule) -> Self {
        let start = |path| live(world, path, crls, rule, 1024, true);
        let connector = start("shop").connector(world.expect("billing")).unwrap();
        Self {
            servers: vec![start("billing")],
            connectors: vec![connector],
        }
    }

    fn handshake(&self, turn: usize) {
        let (connector, server) = (&self.connectors[turn % 2], &self.servers[turn / 2 % 2]);
        let (pair, _, _) = meet(connector, server).unwrap();
        assert!(!pair.is_resumed());
    }

    fn resume(&self) {
        let _ = meet(&self.connectors[0], &self.servers[0]).unwrap();
    }
}

/// rustls as it comes, with webpki on both sides.
struct Stock {
    servers: Vec<Arc<ServerConfig>>,
    clients: Vec<Arc<ClientConfig>>,
}

impl Stock {
    fn new(world: &World, crls: &[Vec<u8>]) -> Self {
        let both = |path| Self::configs(world, crls, path);
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for path in ["billing", "mail"] {
            let (mut server, mut client) = both(path);
            server.session_storage = Arc::new(NoServerSessionStorage {});
            client.resumption = Resumption::disabled();
            servers.push(Arc::new(server));
            clients.push(Arc::new(client));
        }
        Self { servers, clients }
    }

    fn resuming(world: &World) -> Self {
        let (server, client) = Self::configs(world, &[], "billing");
        Self {
            servers: vec![Arc::new(server)],
            clients: vec![Arc::new(client)],
        }
    }

    fn configs(world: &World, crls: &[Vec<u8>], path: &str) -> (ServerConfig, ClientConfig) {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(world.root.certificate().der().clone()).unwrap();
        let roots = Arc::new(roots);
        let crls: Vec<_> = crls
            .iter()
            .map(|der| CertificateRevocationListDer::from(der.clone()))
            .collect();
        let profile = world.profile().with_dns_name("service.internal").unwrap();
        let owned = || world.own_by(&profile, path, HOUR);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let clients = clients.with_crls(crls.clone()).build().unwrap();
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        let servers = servers.with_crls(crls).build().unwrap();
        let own = owned();
        let mut server = ServerConfig::builder_with_details(provider.clone(), Arc::new(AtStart))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(own.ders(), pkcs8(&own.key).into())
            .unwrap();
        server.send_tls13_tickets = 1;
        let own = owned();
        let client = ClientConfig::builder_with_details(provider, Arc::new(AtStart))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_webpki_verifier(servers)
            .with_client_auth_cert(own.ders(), pkcs8(&own.key).into())
            .unwrap();
        (server, client)
    }

    fn handshake(&self, turn: usize) {
        let (client, server) = (&self.clients[turn % 2], &self.servers[turn / 2 % 2]);
        let mut pair = Pair::new(client.clone(), server.clone());
        pair.handshake().unwrap();
        assert!(!pair.is_resumed());
    }

    fn resume(&self) {
        Pair::new(self.clients[0].clone(), self.servers[0].clone())
            .handshake()
            .unwrap();
    }
}

/// The time at which everything here happens.
#[derive(Debug)]
struct AtStart;

impl TimeProvider for AtStart {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = start().unix_seconds();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
