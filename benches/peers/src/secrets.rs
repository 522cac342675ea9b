//! API keys among many clients, keys of pairs that are derived and forgotten, and secrets that rotate; each
//! beside ring's HMAC over the bytes that are hashed.

use std::hint::black_box;
use std::sync::Arc;

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyTable, PairRoot, Parties, PeerFloors,
    PepperVersion, Ring, RootVersion, SecretName, SecretVersion, SharedSecret,
};
use m2m_types::{Live, ServiceId, Timestamp};
use ring::hmac::{HMAC_SHA256, Key};

use crate::contender::{Contender, Recipe};
use crate::fixture::Fixture;
use crate::ours::token::now;

/// As long as a canonical request that is signed.
const MESSAGE: [u8; 200] = [7; 200];
/// From one to the next, so that memory is waited for and no prefetcher helps.
const STRIDE: usize = 7_919;

/// Each group begins with ring.
pub fn recipes() -> Vec<Recipe> {
    let recipe = |id: &'static str, prepare: fn(&Fixture) -> Operation| {
        Recipe::new(id, move |id, fixture| Contender::new(id, prepare(fixture)))
    };
    vec![
        recipe("api-key/check/one/ring", |fixture| {
            api_key_ring(&presented(fixture), 0)
        }),
        recipe("api-key/check/one/m2m", |fixture| api_key(fixture, 0)),
        recipe("api-key/check/all/ring", |fixture| {
            api_key_ring(&presented(fixture), STRIDE)
        }),
        recipe("api-key/check/all/m2m", |fixture| api_key(fixture, STRIDE)),
        recipe("api-key/refuse/malformed/ring", |fixture| {
            api_key_ring(&presented(fixture), 0)
        }),
        recipe("api-key/refuse/malformed/m2m", |fixture| {
            // Another character than the one that stands there.
            refused(fixture, |key| {
                key[30] = if key[30] == b'0' { b'1' } else { b'0' }
            })
        }),
        recipe("api-key/refuse/malformed/m2m-cut-short", |fixture| {
            refused(fixture, |key| key.truncate(key.len() - 1))
        }),
        recipe("pair-key/verify/hmac/ring", |_| hmac(1, 0)),
        recipe("pair-key/verify/hmac/m2m-kept", |_| pair(true)),
        recipe("pair-key/verify/hmac/m2m", |_| pair(false)),
        recipe("secret/verify/one/ring", |_| hmac(1, 0)),
        recipe("secret/verify/one/m2m", |fixture| {
            by_key_id(1, 0, now(fixture))
        }),
        recipe("secret/verify/all/ring", |fixture| {
            hmac(fixture.secrets, STRIDE)
        }),
        recipe("secret/verify/all/m2m", |fixture| {
            by_key_id(fixture.secrets, STRIDE, now(fixture))
        }),
    ]
}

type Operation = Box<dyn FnMut() -> bool>;

fn secret() -> SharedSecret {
    SharedSecret::generate(&SystemRandom).expect("the system has randomness")
}

/// Keys of as many clients as the fixture says, and what they present.
struct Clients {
    table: Live<KeyTable>,
    presented: Vec<String>,
}

impl Clients {
    fn new(fixture: &Fixture) -> Self {
        let now = now(fixture);
        let format = KeyFormat::new("acme", "live").expect("two labels");
        let version = PepperVersion::new(1).expect("not zero");
        let hasher = KeyHasher::new(format, version, &secret()).expect("a pepper");
        let hasher = Arc::new(hasher);
        let issue = |number| {
            let owner: ServiceId = format!("spiffe://example.org/client/{number}")
                .parse()
                .expect("a name");
            let issued = ClientKeys::issue(owner, &hasher, &SystemRandom, now);
            let (client, issued) = issued.expect("the system has randomness");
            (client, issued.key().expose_secret().to_owned())
        };
        let (clients, presented): (Vec<_>, _) = (0..fixture.secrets).map(issue).unzip();
        let table = KeyTable::build(hasher, &clients, &SystemRandom, now).expect("a table");
        Self {
            table: Live::new(table),
            presented,
        }
    }
}

/// As many keys as clients present, for who only hashes them.
fn presented(fixture: &Fixture) -> Vec<String> {
    let key = |number| format!("acme_live_{number:0>50}");
    (0..fixture.secrets).map(key).collect()
}

/// What a check cannot spare: the HMAC of id, `_` and secret.
fn api_key_ring(presented: &[String], stride: usize) -> Operation {
    let key = Key::new(HMAC_SHA256, &[7; 32]);
    let bodies: Vec<[u8; 44]> = presented
        .iter()
        .map(|key| key.as_bytes()[10..54].try_into().expect("44 characters"))
        .collect();
    let tags: Vec<[u8; 32]> = bodies
        .iter()
        .map(|body| {
            let tag = ring::hmac::sign(&key, body);
            tag.as_ref().try_into().expect("32 bytes")
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + stride) % bodies.len();
        ring::hmac::verify(&key, black_box(&bodies[at]), &tags[at]).is_ok()
    })
}

fn api_key(fixture: &Fixture, stride: usize) -> Operation {
    let now = now(fixture);
    let Clients { table, presented } = Clients::new(fixture);
    let mut at = 0;
    Box::new(move || {
        at = (at + stride) % presented.len();
        let table = table.load();
        table
            .check(black_box(presented[at].as_bytes()), now)
            .is_ok()
    })
}

fn refused(fixture: &Fixture, spoil: fn(&mut Vec<u8>)) -> Operation {
    let now = now(fixture);
    let Clients { table, presented } = Clients::new(fixture);
    let mut key = presented[0].clone().into_bytes();
    spoil(&mut key);
    Box::new(move || table.load().check(black_box(&key), now).is_err())
}

/// With `count` keys, of which each is used in its turn.
fn hmac(count: usize, stride: usize) -> Operation {
    let keys: Vec<(Key, [u8; 32])> = (0..count)
        .map(|number| {
            let key = Key::new(HMAC_SHA256, &number.to_be_bytes().repeat(4));
            let tag = ring::hmac::sign(&key, &MESSAGE);
            (key, tag.as_ref().try_into().expect("32 bytes"))
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + stride) % keys.len();
        let (key, tag) = &keys[at];
        ring::hmac::verify(key, black_box(&MESSAGE), tag).is_ok()
    })
}

/// The key of a pair is derived for this one message and forgotten, or was kept.
fn pair(is_kept: bool) -> Operation {
    let root = PairRoot::new(&secret(), RootVersion(1));
    let billing: ServiceId = "spiffe://example.org/billing".parse().expect("a name");
    let ledger: ServiceId = "spiffe://example.org/ledger".parse().expect("a name");
    let parties = Parties::pair(&billing, &ledger).expect("two");
    let kept = root.key(&parties, Generation::FIRST);
    let tag = root.sign(&parties, Generation::FIRST, &MESSAGE);
    if is_kept {
        return Box::new(move || kept.verify(black_box(&MESSAGE), &tag).is_ok());
    }
    let floors = PeerFloors::new(&SystemRandom).expect("the system has randomness");
    Box::new(move || {
        let parties = Parties::pair(black_box(&billing), &ledger).expect("two");
        let message = black_box(&MESSAGE);
        root.verify(&parties, Generation::FIRST, &floors, message, &tag)
            .is_ok()
    })
}

/// `count` secrets with two versions each, of which the older is asked for: the snapshot is loaded, the
/// version found, and its use counted.
fn by_key_id(count: usize, stride: usize, now: Timestamp) -> Operation {
    let second = SecretVersion::new(2).expect("not zero");
    let rings: Vec<(Live<Ring>, String, [u8; 32])> = (0..count)
        .map(|number| {
            let name = SecretName::new(&format!("tenant-{number}")).expect("a name");
            let (one, other) = (secret(), secret());
            let versions = [(SecretVersion::FIRST, &one), (second, &other)];
            let first = Ring::fixed(&name, versions, SecretVersion::FIRST, now);
            let ring = Ring::fixed(&name, versions, second, now).expect("two versions");
            let mut tag = [0; 32];
            let signer = first.expect("two versions");
            let signed = signer.sign(&MESSAGE, &mut tag, now).expect("32 bytes");
            let key_id = signed.key_id().as_str().to_owned();
            (Live::new(ring), key_id, tag)
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + stride) % rings.len();
        let (ring, key_id, tag) = &rings[at];
        let ring = ring.load();
        ring.verify(key_id, black_box(&MESSAGE), tag, now).is_ok()
    })
}
