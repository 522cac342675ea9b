//! The revocation set beside a hash set of the same ids.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use m2m_revoke::{
    PreparedIssuer, Revocation, RevocationReader, RevocationSnapshot, Revocations, Target,
    TokenFacts,
};
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
                    let mut reader = RevocationReader::new(Arc::new(set));
                    let revoked = move |jti: &str| is_revoked(&mut reader, &issuer, jti, now);
                    lookup(id, asked, fixture.revoked, revoked)
                }),
            ]
        })
}

/// Asks for one id after the other.
fn lookup(
    id: &str,
    asked: Asked,
    entries: u64,
    mut ask: impl FnMut(&str) -> bool + 'static,
) -> Contender {
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

/// How much longer a look-up takes while another thread writes to the set that is asked and swaps
/// its table over and over, than while it does so to a set that the reader has nothing to do with.
///
/// A table that was swapped in is in no cache of the reader's, and whoever merges tables keeps the
/// memory busy. Neither is waiting for a writer, so both are the same in both cases: in the second
/// one the reader asks a set of its own, alone, and replaces it by each snapshot the writer makes,
/// which is the same bytes, as new as they are to the first one. What is left is what it costs to
/// share a set with who writes to it: the words they both use, and taking the new table.
pub fn lookup_beside_writer(now: u64) -> f64 {
    const ENTRIES: u64 = 1_000_000;
    const ROUNDS: usize = 60;
    const SLICE: Duration = Duration::from_millis(40);
    let now = Timestamp::from_unix_seconds(now).expect("the clock is right");
    let written = Arc::new(revocations(ENTRIES, now));
    let mut questions = Questions::about(Asked::Unrevoked, ENTRIES);
    let mut fresh = 10 * ENTRIES;
    median((0..ROUNDS).map(|round| {
        // First the one, then the other, so that a machine that slows down favours neither.
        let mut order = [Sharing::Set, Sharing::Bytes];
        order.rotate_left(round % 2);
        let mut rates = order.map(|sharing| {
            fresh += 1_000_000;
            beside(&written, fresh, now, |exchange| {
                rate(&written, sharing, exchange, &mut questions, now, SLICE)
            })
        });
        rates.rotate_left(round % 2);
        let [set, bytes] = rates;
        bytes / set
    }))
}

/// What a reader and a writer have in common.
#[derive(Clone, Copy)]
enum Sharing {
    /// The set.
    Set,
    /// The bytes of tables that nobody writes to any more.
    Bytes,
}

/// What goes between a reader and a writer in either case.
#[derive(Default)]
struct Exchange {
    /// The newest snapshot, for a reader that has a set of its own.
    newest: Mutex<Option<RevocationSnapshot>>,
    /// Sets it is done with, so that the writer frees tables in either case.
    done_with: Mutex<Vec<RevocationReader>>,
}

/// Does `work` while another thread writes to `set` and has it swap its table, over and over.
fn beside<R>(set: &Revocations, from: u64, now: Timestamp, work: impl FnOnce(&Exchange) -> R) -> R {
    let done = AtomicBool::new(false);
    let exchange = Exchange::default();
    let (result, swaps) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                let id = token_id(from + swaps);
                set.revoke(target(text(&id)), expiry(now))
                    .expect("there is room");
                let snapshot = set.snapshot().expect("the set can be copied");
                *locked(&exchange.newest) = Some(snapshot);
                locked(&exchange.done_with).clear();
                swaps += 1;
            }
            swaps
        });
        let result = work(&exchange);
        done.store(true, Ordering::Relaxed);
        (result, writer.join().expect("the writer does not panic"))
    });
    assert!(swaps > 0, "nothing was swapped");
    result
}

/// Look-ups a second.
fn rate(
    set: &Arc<Revocations>,
    sharing: Sharing,
    exchange: &Exchange,
    questions: &mut Questions,
    now: Timestamp,
    slice: Duration,
) -> f64 {
    let issuer = set.prepare_issuer(ISSUER);
    let mut reader = match sharing {
        Sharing::Set => RevocationReader::new(Arc::clone(set)),
        Sharing::Bytes => reader_of(set.snapshot().expect("the set can be copied")),
    };
    let start = processor_time();
    let elapsed = || processor_time().saturating_sub(start);
    let mut asked = 0;
    while elapsed() < slice {
        for _ in 0..4096 {
            assert!(!is_revoked(&mut reader, &issuer, questions.next(), now));
        }
        asked += 4096;
        let newest = locked(&exchange.newest).take();
        if let (Sharing::Bytes, Some(newest)) = (sharing, newest) {
            let old = mem::replace(&mut reader, reader_of(newest));
            locked(&exchange.done_with).push(old);
        }
    }
    f64::from(asked) / elapsed().as_secs_f64()
}

fn reader_of(snapshot: RevocationSnapshot) -> RevocationReader {
    RevocationReader::new(Arc::new(Revocations::from_snapshot(snapshot)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// Asks as a verifier does, which knows beforehand whose tokens it takes.
fn is_revoked(
    reader: &mut RevocationReader,
    issuer: &PreparedIssuer,
    jti: &str,
    now: Timestamp,
) -> bool {
    let facts = TokenFacts {
        issuer: ISSUER,
        jti: Some(jti),
        subject: None,
        session: None,
        key: None,
        issued_at: Some(now),
    };
    reader.check_token_of(issuer, &facts, now).is_err()
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
