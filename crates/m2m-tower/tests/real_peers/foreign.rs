//! What a peer of another language does, whichever it is: it verifies our tokens by the keys that we publish,
//! calls our server by mutual TLS, and issues tokens of its own that our server takes by the keys that the
//! peer publishes.
//!
//! The peer is a script. It is told the world as JSON in a file; it says on which port it publishes its keys,
//! hears where the server is, and says what came of each case, a line of JSON for each.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::Algorithm;
use m2m_token::RemoteKeySet;
use m2m_tower::{AddressRule, FetchUrl, Fetcher, FollowEvent, KeyFollower, Resolve};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::process::{Running, say};
use crate::server::{Log, Server, ours, publish_keys};
use crate::world::{FOREIGN_ISSUER, ISSUER, ISSUER_NAME, ORDERS, World};

const GOOD: &str = "200 for spiffe://example.org/billing";
const INVALID: &str = "401 Bearer error=\"invalid_token\"";
const BAD: &str = "400 Bearer error=\"invalid_request\"";

/// Each case of both peers, and what must come of it.
const EXPECTED: &[(&str, &str)] = &[
    // It verifies our tokens, of before and behind a rotation, by the set that we publish.
    ("ours: of the older key", "accepted"),
    ("ours: of the newer key", "accepted"),
    ("ours: expired", "refused"),
    ("ours: of another audience", "refused"),
    ("ours: of another issuer", "refused"),
    ("ours: of another type", "refused"),
    ("ours: altered", "refused"),
    // It calls by mutual TLS, with tokens of ours.
    ("call: good", GOOD),
    ("call: no token", "401 Bearer"),
    ("call: no certificate", "alert certificate required"),
    ("call: an expired certificate", "alert certificate expired"),
    ("call: a revoked certificate", "alert certificate revoked"),
    ("call: another authority's certificate", "alert unknown ca"),
    (
        "call: another authority's of the same name",
        "alert decrypt error",
    ),
    ("call: another machine's certificate", INVALID),
    ("call: the same machine's next certificate", INVALID),
    ("call: an expired token", INVALID),
    ("call: a token of another audience", INVALID),
    ("call: a token that is not bound", INVALID),
    ("call: a token in the query", BAD),
    ("call: Basic", BAD),
    ("call: what it may not", "403 "),
    ("call: a server that it does not trust", "untrusted"),
    ("call: a server of another name", "untrusted"),
    // It issues tokens of its own, in each algorithm, and its keys are fetched from it.
    ("own: ES256", GOOD),
    ("own: EdDSA", GOOD),
    ("own: PS256", GOOD),
    ("own: RS256", GOOD),
    ("own: alg none", INVALID),
    ("own: alg None", INVALID),
    ("own: HS256 with the public key in PEM", INVALID),
    ("own: HS256 with the public key in DER", INVALID),
    ("own: HS256 with the public JWK", INVALID),
    ("own: RS256 by the key for PS256", INVALID),
    ("own: an unknown kid", INVALID),
    ("own: another key's kid", INVALID),
    ("own: an attacker's key under a known kid", INVALID),
    ("own: an attacker's key by jku", INVALID),
    ("own: an attacker's key by jwk", INVALID),
    ("own: expired", INVALID),
    ("own: not yet valid", INVALID),
    ("own: without exp", INVALID),
    ("own: of the type JWT", INVALID),
    ("own: without a type", INVALID),
    ("own: of another audience", INVALID),
    ("own: in the name of our issuer", INVALID),
    ("own: bound to another certificate", INVALID),
    ("own: bound to nothing", INVALID),
    ("own: with a critical parameter", INVALID),
    ("own: altered", INVALID),
    ("own: with its signature cut off", INVALID),
    // Nobody was made to fetch what a token named.
    ("fetched from it", "/jwks.json"),
];

/// What else a peer is told, is expected to say, and said.
pub(crate) struct Script<'s> {
    pub(crate) command: Command,
    /// Where its packages are, if it has to be told.
    pub(crate) packages: Option<&'s Path>,
    pub(crate) told: &'s [(&'s str, Value)],
    pub(crate) expected: &'s [(&'s str, &'s str)],
}

/// Runs the script with its world, and compares what comes of each case. What it made besides is returned,
/// with its keys as they were fetched.
pub(crate) async fn converse(world: &World, script: Script<'_>) -> (Map<String, Value>, Keys) {
    world.add_strangers();
    let older = world.token("billing");
    world.rotate(Algorithm::EdDsa);
    let newer = world.token("billing");
    world.rotate(Algorithm::Ed25519);
    let customers = "spiffe://example.org/customers";
    let mut told = json!({
        "directory": world.directory(),
        "keys": publish_keys(world).await,
        "issuer": ISSUER,
        "audience": ORDERS,
        "own_issuer": FOREIGN_ISSUER,
        "tokens": {
            "older": older,
            "newer": newer,
            "newest": world.token("billing"),
            "expired": world.expired_token(),
            "audience": world.token_of(customers, "billing", world.now()),
            "unbound": world.unbound_token(),
        },
    });
    for (name, value) in script.told {
        told[name] = value.clone();
    }
    world.write("world.json", told.to_string().as_bytes());

    let mut command = script.command;
    command.arg(world.path("world.json")).args(script.packages);
    let mut peer = Running::start(&mut command);
    let Some(first) = peer.line() else {
        let ended = peer.end();
        panic!("{command:?}: {:?}\n{}", ended.code, ended.stderr);
    };
    let port = serde_json::from_str::<Value>(&first).unwrap()["listening"].clone();

    let (follower, keys) = follow(world, port.as_u64().unwrap()).await;
    let issuers = ours(world).and(FOREIGN_ISSUER, Arc::clone(&keys));
    let server = Server::start_with(world, issuers, None).await;
    peer.tell(&format!("https://{}", server.address));
    let ended = tokio::task::spawn_blocking(move || peer.end())
        .await
        .unwrap();
    follower.abort();
    let told = format!("{:?}\n{}{}", ended.code, ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(0), "{told}");
    let said = judge(&ended.stdout, script.expected, &server.log);
    (said, keys)
}

/// Compares what was said of each case; what is no case is returned.
fn judge(stdout: &str, more: &[(&str, &str)], log: &Log) -> Map<String, Value> {
    let (mut outcomes, mut others) = (BTreeMap::new(), Map::new());
    for line in stdout.lines() {
        let Value::Object(mut line) = serde_json::from_str(line).unwrap() else {
            panic!("not an object: {line}");
        };
        match line.remove("case") {
            Some(case) => {
                let outcome = line["outcome"].as_str().unwrap().to_owned();
                let before = outcomes.insert(case.as_str().unwrap().to_owned(), outcome);
                assert_eq!(before, None, "{case} twice");
            }
            None => others.extend(line),
        }
    }
    let expected: BTreeMap<_, _> = EXPECTED
        .iter()
        .chain(more)
        .map(|(case, outcome)| ((*case).to_owned(), (*outcome).to_owned()))
        .collect();
    let log = log.take().join("\n");
    for (case, outcome) in &expected {
        assert_eq!(outcomes.get(case), Some(outcome), "{case}\n{log}");
    }
    assert_eq!(outcomes, expected);
    say(&format!(
        "real_peers: {}, {} cases",
        others["versions"].as_str().unwrap(),
        outcomes.len()
    ));
    others
}

pub(crate) type Keys = Arc<m2m_types::Live<m2m_token::KeySet>>;

/// Follows the peer's keys, which it publishes under a certificate of ours; returns when they are there.
async fn follow(world: &World, port: u64) -> (tokio::task::JoinHandle<()>, Keys) {
    let root = m2m_pki::Certificate::from_pem(world.read("root.pem").as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let loopback = AddressRule::public().allowing("127.0.0.0".parse().unwrap(), 8);
    let fetcher = Fetcher::new(Arc::new(tls))
        .with_addresses(loopback)
        .with_resolver(Arc::new(Loopback));
    let url = FetchUrl::parse(&format!("https://{ISSUER_NAME}:{port}/jwks.json")).unwrap();
    let (sender, mut events) = mpsc::unbounded_channel();
    let follower = KeyFollower::new(fetcher, url, RemoteKeySet::new(), world.clock())
        .with_observer(move |event| drop(sender.send(event.clone())));
    let keys = follower.keys();
    let task = tokio::spawn(async move {
        follower.run().await;
    });
    let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
    assert_eq!(event.unwrap(), Some(FollowEvent::Confirmed { keys: 4 }));
    (task, keys)
}

/// No name is asked of anybody.
struct Loopback;

impl Resolve for Loopback {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        assert_eq!(host, ISSUER_NAME);
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}
