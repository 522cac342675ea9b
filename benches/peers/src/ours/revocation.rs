//! The revocation set beside a hash set of the same ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use m2m_revoke::{PreparedIssuer, Revocation, Revocations, Target, TokenFacts};
use m2m_types::Timestamp;

use crate::contender::{Contender, Recipe};
use crate::fixture::ISSUER;
use crate::timing::{median, processor_time};

/// A token id: 22 characters of base64url are 128 bits, the size of a UUID.
type TokenId = [u8; 22];

/// How many ids a contender asks for, one after the other: more than any cache holds the places of.
const QUESTIONS: usize = 1 << 20;

/// Whether the ids that are asked for are revoked.
#[derive(Clone, Copy)]
enum Asked {
    Revoked,
    Unrevoked,
}

/// Looking up ids in random order among very many entries; nearly all tokens that are ever presented
/// are of the kind that is not found.
///
/// The peer has it easy: it holds the ids inline and hashes with foldhash, unkeyed against
/// strangers; it knows no issuer, no kind of credential, no dates and no writer.
pub(super) fn recipes() -> impl Iterator<Item = Recipe> {
    [(Asked::Unrevoked, "miss"), (Asked::Revoked, "hit")]
        .into_iter()
        .flat_map(|(asked, name)| {
            [
                Recipe::new(
                    format!("revoke/{name}/10m/hashbrown"),
                    move |id, fixture| {
                        let entries = fixture.revoked;
                        let mut set: HashSet<TokenId, RandomState> = HashSet::default();
                        set.extend((0..entries).map(token_id));
                        let contains = move |jti: &str| {
                            jti.as_bytes()
                                .try_into()
                                .is_ok_and(|id: &TokenId| set.contains(id))
                        };
                        lookup(id, asked, entries, contains)
                    },
                ),
                Recipe::new(format!("revoke/{name}/10m/m2m"), move |id, fixture| {
                    let now =
                        Timestamp::from_unix_seconds(fixture.now).expect("the clock is right");
                    let set = revocations(fixture.revoked, now);
                    let issuer = set.prepare_issuer(ISSUER);
                    let revoked = move |jti: &str| is_revoked(&set, &issuer, jti, now);
                    lookup(id, asked, fixture.revoked, revoked)
                }),
            ]
        })
}

/// Asks for one id after the other.
fn lookup(id: &str, asked: Asked, entries: u64, ask: impl Fn(&str) -> bool + 'static) -> Contender {
    let wanted = matches!(asked, Asked::Revoked);
    let mut questions = Questions::about(asked, entries);
    for _ in 0..QUESTIONS {
        let jti = questions.next();
        assert_eq!(ask(jti), wanted, "{id} is wrong about {jti}");
    }
    Contender::new(id, move || ask(questions.next()) == wanted)
}

/// Ids in random order.
struct Questions {
    ids: String,
    at: usize,
}

impl Questions {
    fn about(asked: Asked, entries: u64) -> Self {
        let first = match asked {
            Asked::Revoked => 0,
            Asked::Unrevoked => entries,
        };
        let ids = (0..QUESTIONS as u64).flat_map(|at| token_id(first + mix(at) % entries));
        Self {
            ids: ids.map(char::from).collect(),
            at: 0,
        }
    }

    fn next(&mut self) -> &str {
        let start = self.at * size_of::<TokenId>();
        self.at = (self.at + 1) % QUESTIONS;
        &self.ids[start..start + size_of::<TokenId>()]
    }
}

/// Bytes of the set per entry, with `entries` of them.
pub fn bytes_per_entry(entries: u64, now: u64) -> f64 {
    let now = Timestamp::from_unix_seconds(now).expect("the clock is right");
    let set = revocations(entries, now);
    set.snapshot().expect("the set can be copied");
    let stats = set.stats();
    assert_eq!(stats.entries(), entries);
    stats.bytes() as f64 / stats.entries() as f64
}

/// How much longer a look-up takes while another thread swaps the snapshots of the set that is
/// asked, than while it swaps those of a set that nobody asks.
///
/// So what the writer does to the machine (memory, caches, clock rate) is the same both times, and
/// what is left is what it does to the reader.
pub fn lookup_beside_writer(now: u64) -> f64 {
    const ENTRIES: u64 = 1_000_000;
    const ROUNDS: usize = 60;
    const SLICE: Duration = Duration::from_millis(40);
    let now = Timestamp::from_unix_seconds(now).expect("the clock is right");
    let asked = Arc::new(revocations(ENTRIES, now));
    let other = Arc::new(revocations(ENTRIES, now));
    let mut questions = Questions::about(Asked::Unrevoked, ENTRIES);
    let mut fresh = 10 * ENTRIES;
    median((0..ROUNDS).map(|_| {
        let [mine, theirs] = [&asked, &other].map(|written| {
            fresh += 1_000_000;
            beside(written, fresh, now, || {
                rate(&asked, &mut questions, now, SLICE)
            })
        });
        theirs / mine
    }))
}

/// Does `work` while another thread writes to `set` and has it swap its snapshot, over and over.
fn beside<R>(set: &Revocations, from: u64, now: Timestamp, work: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    let (result, swaps) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                let id = token_id(from + swaps);
                set.revoke(target(text(&id)), expiry(now))
                    .expect("there is room");
                set.snapshot().expect("the set can be copied");
                swaps += 1;
            }
            swaps
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, writer.join().expect("the writer does not panic"))
    });
    assert!(swaps > 0, "nothing was swapped");
    result
}

/// Look-ups a second.
fn rate(set: &Revocations, questions: &mut Questions, now: Timestamp, slice: Duration) -> f64 {
    let issuer = set.prepare_issuer(ISSUER);
    let start = processor_time();
    let elapsed = || processor_time().saturating_sub(start);
    let mut asked = 0;
    while elapsed() < slice {
        for _ in 0..4096 {
            assert!(!is_revoked(set, &issuer, questions.next(), now));
        }
        asked += 4096;
    }
    f64::from(asked) / elapsed().as_secs_f64()
}

/// Asks as a verifier does, which knows beforehand whose tokens it takes.
fn is_revoked(set: &Revocations, issuer: &PreparedIssuer, jti: &str, now: Timestamp) -> bool {
    let facts = TokenFacts {
        issuer: ISSUER,
        jti: Some(jti),
        subject: None,
        session: None,
        key: None,
        issued_at: Some(now),
    };
    set.check_token_of(issuer, &facts, now).is_err()
}

fn revocations(entries: u64, now: Timestamp) -> Revocations {
    let set = Revocations::new([7; 16], now);
    let ids: Vec<TokenId> = (0..entries).map(token_id).collect();
    set.revoke_many(
        ids.iter()
            .map(|id| Revocation::of(target(text(id)), expiry(now))),
    )
    .expect("there is room");
    set
}

fn expiry(now: Timestamp) -> Timestamp {
    now.saturating_add(Duration::from_secs(3600))
}

fn text(id: &TokenId) -> &str {
    std::str::from_utf8(id).expect("an id is ASCII")
}

fn target(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

fn token_id(index: u64) -> TokenId {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = u128::from(mix(index)) << 64 | u128::from(mix(!index));
    std::array::from_fn(|at| LETTERS[(bits >> (6 * at)) as usize & 63])
}

/// SplitMix64: scatters the numbers, none twice.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_are_about_what_they_say() {
        let revoked: HashSet<TokenId, RandomState> = (0..1000).map(token_id).collect();
        assert_eq!(revoked.len(), 1000);
        for (asked, wanted) in [(Asked::Revoked, true), (Asked::Unrevoked, false)] {
            let mut questions = Questions::about(asked, 1000);
            for _ in 0..1000 {
                let id = questions.next().as_bytes().try_into().expect("22 bytes");
                assert_eq!(revoked.contains::<TokenId>(id), wanted);
            }
        }
    }
}
