//! Secrets by key id, API keys and the keys of pairs: each beside the one HMAC of ring that cannot be
//! spared.

use std::hint::black_box;
use std::sync::Arc;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyTable, PairRoot, Parties, PeerFloors,
    PepperVersion, Ring, RootVersion, SecretName, SecretVersion, SharedSecret,
};
use m2m_types::{Live, ServiceId, Timestamp};
use ring::hmac::{HMAC_SHA256, Key};

use crate::contender::{Contender, Recipe};

/// How many secrets, and how many API keys.
const MANY: usize = 100_000;
/// How many when instructions are counted: their number does not change the count, and valgrind is slow.
const FEWER: usize = 1_000;
/// Far enough that what is found is in no cache, and without a common divisor with [`MANY`].
const STRIDE: usize = 7_919;
/// A canonical request, as it is signed.
const MESSAGE: [u8; 200] = [7; 200];

type Operation = Box<dyn FnMut() -> bool>;

/// Each group begins with ring: one prepared key and the same bytes.
pub fn recipes() -> Vec<Recipe> {
    let recipe = |id: &str, make: fn(usize, Timestamp) -> Operation| {
        Recipe::new(id, move |id, fixture| {
            let many = match fixture.revoked < 1_000_000 {
                true => FEWER,
                false => MANY,
            };
            Contender::new(id, make(many, at(fixture.now)))
        })
    };
    vec![
        recipe("secret/verify/key-id/ring", |_, _| hmac_of_ring(&MESSAGE)),
        recipe("secret/verify/key-id/m2m", |_, now| by_key_id(1, now)),
        recipe("secret/verify/key-id-100000-in-turn/ring", |many, _| {
            hmac_of_ring_among(many)
        }),
        recipe("secret/verify/key-id-100000-in-turn/m2m", |many, now| {
            by_key_id(many, now)
        }),
        recipe("secret/api-key/check/ring", |_, _| {
            hmac_of_ring(&[b'k'; 44])
        }),
        recipe("secret/api-key/check/m2m-100000", |many, now| {
            api_key(many, 1, now)
        }),
        recipe("secret/api-key/check/m2m-100000-in-turn", |many, now| {
            api_key(many, STRIDE, now)
        }),
        recipe("secret/pair/derive-and-verify/ring", |_, _| {
            hmac_of_ring(&MESSAGE)
        }),
        recipe("secret/pair/derive-and-verify/m2m", |_, _| pair()),
    ]
}

fn hmac_of_ring(message: &'static [u8]) -> Operation {
    let key = Key::new(HMAC_SHA256, &[7; 32]);
    let tag = ring::hmac::sign(&key, message);
    Box::new(move || ring::hmac::verify(&key, black_box(message), tag.as_ref()).is_ok())
}

/// As many prepared keys, one after the other: memory is waited for here, too.
fn hmac_of_ring_among(count: usize) -> Operation {
    let keys: Vec<(Key, [u8; 32])> = (0..count as u64)
        .map(|number| {
            let key = Key::new(HMAC_SHA256, &secret_of(number));
            let tag = tag_of(&secret_of(number));
            (key, tag)
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + STRIDE) % keys.len();
        let (key, tag) = &keys[at];
        ring::hmac::verify(key, black_box(&MESSAGE), tag).is_ok()
    })
}

/// From the key id to the verdict, the snapshot, the count and the time of the last use included.
fn by_key_id(count: usize, now: Timestamp) -> Operation {
    let rings: Vec<(Live<Ring>, String, [u8; 32])> = (0..count as u64)
        .map(|number| {
            let bytes = SecretBytes::from(&secret_of(number)[..]);
            let secret = SharedSecret::new(bytes).expect("32 bytes");
            let name = SecretName::new(&format!("secret-{number}")).expect("a name");
            let versions = [(SecretVersion::FIRST, &secret)];
            let ring = Ring::fixed(&name, versions, SecretVersion::FIRST, now).expect("a ring");
            let key_id = format!("{name}.{}", SecretVersion::FIRST);
            (Live::new(ring), key_id, tag_of(&secret_of(number)))
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + STRIDE) % rings.len();
        let (live, key_id, tag) = &rings[at];
        let ring = live.load();
        ring.verify(black_box(key_id), black_box(&MESSAGE), tag, now)
            .is_ok()
    })
}

fn secret_of(number: u64) -> [u8; 32] {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    secret
}

fn tag_of(secret: &[u8; 32]) -> [u8; 32] {
    let tag = ring::hmac::sign(&Key::new(HMAC_SHA256, secret), &MESSAGE);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// One of as many keys, `stride` further each time.
fn api_key(many: usize, stride: usize, now: Timestamp) -> Operation {
    let pepper = SharedSecret::generate(&SystemRandom).expect("randomness");
    let format = KeyFormat::new("acme", "live").expect("two labels");
    let version = PepperVersion::new(1).expect("not zero");
    let hasher = Arc::new(KeyHasher::new(format, version, &pepper).expect("a pepper"));
    let (clients, issued): (Vec<ClientKeys>, Vec<Vec<u8>>) = (0..many)
        .map(|number| {
            let owner = service(&format!("client/{number}"));
            let (client, issued) =
                ClientKeys::issue(owner, &hasher, &SystemRandom, now).expect("randomness");
            let key = issued.key().expose_secret().as_bytes().to_vec();
            (client, key)
        })
        .unzip();
    let table = KeyTable::build(hasher, &clients, &SystemRandom, now).expect("a table");
    let table = Live::new(table);
    // In the order of their use, side by side: what a request brings along was just received.
    let length = issued[0].len();
    let order = (0..many).map(|number| number * stride % many);
    let presented: Vec<u8> = order.flat_map(|number| issued[number].clone()).collect();
    let mut presented_in_turn = 0;
    Box::new(move || {
        if stride > 1 {
            presented_in_turn = (presented_in_turn + 1) % many;
        }
        let key = &presented[presented_in_turn * length..][..length];
        table.load().check(black_box(key), now).is_ok()
    })
}

fn pair() -> Operation {
    let secret = SharedSecret::generate(&SystemRandom).expect("randomness");
    let root = PairRoot::new(&secret, RootVersion(1));
    let (client, ledger) = (service("client/99999"), service("ledger"));
    let mut floors = PeerFloors::new(&SystemRandom).expect("randomness");
    for number in 0..100 {
        let revoked = service(&format!("revoked/{number}"));
        floors
            .raise(&revoked, Generation::NEVER)
            .expect("there is room");
    }
    let parties = Parties::directed(&client, &ledger).expect("two");
    let tag = root.sign(&parties, Generation::FIRST, &MESSAGE);
    Box::new(move || {
        let parties = Parties::directed(&client, &ledger).expect("two");
        root.verify(
            &parties,
            Generation::FIRST,
            &floors,
            black_box(&MESSAGE),
            &tag,
        )
        .is_ok()
    })
}

fn service(path: &str) -> ServiceId {
    format!("spiffe://example.org/{path}")
        .parse()
        .expect("a name")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).expect("before the year 9999")
}
