//! Keys that are fetched: when, how often at most, and what bad answers can do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey};
use m2m_token::{
    Audience, FetchError, FetchId, Issuers, JwkSet, JwkSetError, RemoteKeySet, Response, Scratch,
    TokenType, Verifier, VerifyError,
};
use m2m_types::Timestamp;
use serde_json::json;
use support::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn body(keys: &[(&str, &SigningKey)]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(kid, key)| {
            key.verifying_key()
                .to_jwk()
                .with_kid(kid)
                .unwrap()
                .to_json()
        })
        .collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

fn token(kid: &str, key: &SigningKey) -> String {
    let header = with(&header(key.algorithm()), "kid", kid.into());
    let claims = with(&claims(), "exp", json!(START + 1_000_000));
    sign(header.to_string(), claims.to_string(), key)
}

/// A remote set, a verifier on it, and the loop that an application writes around the two.
struct World {
    remote: RemoteKeySet,
    verifier: Verifier,
    key: SigningKey,
    fetches: usize,
}

impl World {
    fn new(remote: RemoteKeySet) -> Self {
        let verifier = Verifier::builder(
            Issuers::one(ISSUER, remote.keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        );
        Self {
            verifier: verifier.build().unwrap(),
            remote,
            key: key(Algorithm::Es256),
            fetches: 0,
        }
    }

    fn fetched() -> Self {
        let mut world = Self::new(RemoteKeySet::new());
        let answer = body(&[("k1", &world.key)]);
        assert_eq!(world.answer(&answer, at(0)), Ok(1));
        world
    }

    /// Begins a fetch, which must be due.
    #[track_caller]
    fn begin(&mut self, now: Timestamp) -> FetchId {
        self.fetches += 1;
        self.remote.poll_fetch(now).expect("a fetch is due").id()
    }

    /// Fetches, and gets this answer.
    #[track_caller]
    fn answer(&mut self, body: &str, now: Timestamp) -> Result<usize, FetchError> {
        let id = self.begin(now);
        self.remote
            .handle_response(id, &Response::new(body.as_bytes()), now)
            .map(|set| set.len())
    }

    /// Verifies, and tells the remote set about unknown keys, as applications do.
    fn verify(&mut self, token: &str, now: Timestamp) -> Result<(), VerifyError> {
        let result = self
            .verifier
            .verify(token, now, &mut Scratch::new())
            .map(|_| ());
        if let Err(VerifyError::KeyUnknown { .. }) = result {
            self.remote.handle_unknown_key();
        }
        result
    }

    #[track_caller]
    fn assert_good(&mut self, now: Timestamp) {
        let good = token("k1", &self.key);
        assert_eq!(self.verify(&good, now), Ok(()));
    }
}

#[test]
fn nothing_verifies_before_the_first_answer() {
    let mut world = World::new(RemoteKeySet::new());
    let good = token("k1", &world.key);
    assert_eq!(
        world.verify(&good, at(0)).unwrap_err().code(),
        "key_unknown"
    );
    let answer = body(&[("k1", &world.key)]);
    assert_eq!(world.answer(&answer, at(0)), Ok(1));
    world.assert_good(at(0));
}

#[test]
fn one_fetch_is_under_way_at_most() {
    let mut world = World::new(RemoteKeySet::new());
    let first = world.begin(at(0));
    for offset in 0..30 {
        assert_eq!(world.remote.poll_fetch(at(offset)), None);
        assert_eq!(world.remote.poll_timeout(), at(30));
    }
    // One that takes for ever is given up, and what it brings in the end is nobody's.
    assert_eq!(
        world.remote.poll_fetch(at(30)),
        None,
        "a pause after the failure"
    );
    let second = world.begin(at(35));
    assert_ne!(first, second);
    world.remote.handle_unknown_key();
    assert_eq!(world.remote.poll_fetch(at(36)), None);
    let answer = body(&[("k1", &world.key)]);
    let late = world
        .remote
        .handle_response(first, &Response::new(answer.as_bytes()), at(36));
    assert_eq!(late.map(|_| ()), Err(FetchError::NotUnderWay));
    world.remote.handle_failure(first, at(36));
    assert_eq!(
        world.remote.poll_fetch(at(36)),
        None,
        "the second is still under way"
    );
    let answer = Response::new(answer.as_bytes());
    assert!(
        world
            .remote
            .handle_response(second, &answer, at(37))
            .is_ok()
    );
    let again = world.remote.handle_response(second, &answer, at(38));
    assert_eq!(again.map(|_| ()), Err(FetchError::NotUnderWay));
    world.assert_good(at(38));
}

#[test]
fn jwt_088_tokens_with_unknown_keys_cause_one_fetch_in_a_cooldown_and_lock_nobody_out() {
    let mut world = World::fetched();
    let stranger = key(Algorithm::Es256);
    let answer = body(&[("k1", &world.key)]);
    // Ten thousand in each of ten minutes.
    let mut fetches = Vec::new();
    for offset in 0..600 {
        for number in 0..10 {
            let kid = format!("random-{offset}-{number}");
            let random = token(&kid, &stranger);
            for _ in 0..2 {
                assert!(world.verify(&random, at(offset)).is_err());
            }
        }
        for _ in 0..1_000 {
            world.remote.handle_unknown_key();
        }
        if let Some(fetch) = world.remote.poll_fetch(at(offset)) {
            fetches.push(offset);
            let response = Response::new(answer.as_bytes());
            assert!(
                world
                    .remote
                    .handle_response(fetch.id(), &response, at(offset))
                    .is_ok()
            );
        }
        assert_eq!(world.remote.poll_fetch(at(offset)), None);
        world.assert_good(at(offset));
    }
    assert!(fetches.len() <= 600 / 30, "{fetches:?}");
    assert!(
        fetches.windows(2).all(|pair| pair[1] - pair[0] >= 30),
        "{fetches:?}"
    );
    // And yet an honest newcomer waits for no longer than that, in the middle of the flood.
    let newcomer = key(Algorithm::Es256);
    let both = body(&[("k1", &world.key), ("k2", &newcomer)]);
    let new = token("k2", &newcomer);
    let mut waited = 0;
    for offset in 600..700 {
        for _ in 0..1_000 {
            world.remote.handle_unknown_key();
        }
        if let Some(fetch) = world.remote.poll_fetch(at(offset)) {
            let response = Response::new(both.as_bytes());
            assert!(
                world
                    .remote
                    .handle_response(fetch.id(), &response, at(offset))
                    .is_ok()
            );
        }
        if world.verify(&new, at(offset)).is_ok() {
            break;
        }
        waited += 1;
    }
    assert!(waited <= 30, "{waited}");
    world.assert_good(at(700));
}

#[test]
fn an_unknown_key_is_fetched_at_once_if_nothing_was_for_a_while() {
    let mut world = World::fetched();
    let newcomer = key(Algorithm::Es256);
    let new = token("k2", &newcomer);
    assert!(world.verify(&new, at(100)).is_err());
    assert_eq!(world.remote.poll_timeout(), at(30), "now");
    let both = body(&[("k1", &world.key), ("k2", &newcomer)]);
    assert_eq!(world.answer(&both, at(100)), Ok(2));
    assert_eq!(world.verify(&new, at(100)), Ok(()));
    // The question is answered: it is not asked again by itself.
    assert_eq!(world.remote.poll_timeout(), at(400));
}

#[test]
fn jwt_089_api_002_a_hostile_answer_changes_nothing_but_the_time_of_the_next_try() {
    let many = |count: usize| {
        let pair = key(Algorithm::Ed25519);
        let names: Vec<String> = (0..count).map(|at| format!("k{at}")).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), &pair)).collect();
        body(&keys)
    };
    let other = key(Algorithm::Es256);
    let other_body = body(&[("k1", &other)]);
    let bad_field = other_body.replace("\"P-256\"", "\"P-384\"");
    let one_bad = {
        let good = body(&[("k1", &other), ("k2", &key(Algorithm::Es256))]);
        let at = good.rfind("\"y\":\"").unwrap() + 5;
        format!("{}A{}", &good[..at], &good[at..])
    };
    let hostile = [
        String::new(),
        "<!DOCTYPE html><html><body>302 Found: http://169.254.169.254/</body></html>".into(),
        "{\"keys\":[]}".into(),
        "{\"keys\":null}".into(),
        "{}".into(),
        "\u{1f}\u{8b}\u{8}".into(),
        many(10_000),
        many(129),
        " ".repeat(100 << 20),
        "[".repeat(1 << 19),
        other_body[..other_body.len() - 1].to_owned(),
        bad_field,
        one_bad,
        body(&[("k1", &other), ("k1", &key(Algorithm::Es256))]),
        r#"{"keys":[{"kty":"oct","kid":"k1","k":"AAAA","alg":"HS256"}]}"#.into(),
    ];
    let mut world = World::fetched();
    let mut now = 300;
    for answer in &hostile {
        let shown = &answer[..answer.len().min(60)];
        let error = world.answer(answer, at(now)).unwrap_err();
        assert!(matches!(error, FetchError::Set(_)), "{shown}: {error:?}");
        assert!(error.to_string().len() <= 512);
        world.assert_good(at(now));
        let theirs = token("k1", &other);
        assert_eq!(
            world.verify(&theirs, at(now)),
            Err(VerifyError::Signature),
            "{shown}"
        );
        // It tries again soon, not at once, and a good answer ends it.
        assert_eq!(world.remote.poll_fetch(at(now)), None);
        now += 5;
        let good = body(&[("k1", &world.key)]);
        assert_eq!(world.answer(&good, at(now)), Ok(1), "{shown}");
        now += 300;
    }
    // A body longer than is read is refused for its length, before anything else.
    let long = " ".repeat(JwkSet::MAX_BYTES + 1);
    assert!(matches!(
        world.answer(&long, at(now)),
        Err(FetchError::Set(JwkSetError::TooLong { .. }))
    ));
}

#[test]
fn jwt_089_the_last_good_set_is_used_until_it_is_too_old_and_not_longer() {
    let mut world = World::new(RemoteKeySet::new().with_max_age(seconds(1_000)));
    let good = body(&[("k1", &world.key)]);
    assert_eq!(world.answer(&good, at(0)), Ok(1));
    let mut now = 300;
    let mut tries = 0;
    while now < 1_000 {
        let _ = world.answer("<html>", at(now));
        tries += 1;
        let next = world.remote.poll_timeout();
        assert!(next > at(now));
        now = (next.unix_seconds() - START) as i64;
        if now < 1_000 {
            world.assert_good(at(now));
        }
    }
    assert!((5..20).contains(&tries), "{tries}");
    world.assert_good(at(999));
    let token = token("k1", &world.key);
    for offset in [1_000, 1_001, 5_000] {
        let refused = world.verify(&token, at(offset)).unwrap_err();
        assert_eq!(refused.code(), "keys_stale", "{offset}");
    }
    // It has gone on trying, and the first good answer is enough.
    let next = world.remote.poll_timeout();
    assert_eq!(world.answer(&good, next), Ok(1));
    assert_eq!(world.verify(&token, next), Ok(()));
}

#[test]
fn failures_are_followed_by_growing_pauses_up_to_five_minutes() {
    let mut world = World::fetched();
    let mut now = 300;
    let mut pauses = Vec::new();
    for round in 0..12 {
        let id = world.begin(at(now));
        match round % 2 {
            0 => world.remote.handle_failure(id, at(now)),
            _ => {
                let answer = Response::new(b"{\"keys\":[]}");
                let _ = world.remote.handle_response(id, &answer, at(now));
            }
        }
        let next = (world.remote.poll_timeout().unix_seconds() - START) as i64;
        assert_eq!(world.remote.poll_fetch(at(next - 1)), None);
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses[..6], [5, 10, 20, 40, 80, 160]);
    assert!(
        pauses[6..].iter().all(|pause| (160..=300).contains(pause)),
        "{pauses:?}"
    );
    // A success resets them.
    let good = body(&[("k1", &world.key)]);
    assert_eq!(world.answer(&good, at(now)), Ok(1));
    let id = world.begin(at(now + 300));
    world.remote.handle_failure(id, at(now + 300));
    assert_eq!(world.remote.poll_timeout(), at(now + 305));
}

#[test]
fn unknown_keys_do_not_shorten_the_pauses_below_the_cooldown() {
    let mut world = World::fetched();
    let mut now = 300;
    let mut starts = Vec::new();
    // The issuer is down, and strangers ask for keys all the while.
    while now < 3_000 {
        world.remote.handle_unknown_key();
        if let Some(fetch) = world.remote.poll_fetch(at(now)) {
            starts.push(now);
            world.remote.handle_failure(fetch.id(), at(now));
        }
        now += 1;
    }
    assert!(
        starts.windows(2).all(|pair| pair[1] - pair[0] >= 5),
        "{starts:?}"
    );
    let late = starts
        .windows(2)
        .skip(4)
        .all(|pair| pair[1] - pair[0] >= 30);
    assert!(late, "{starts:?}");
}

#[test]
fn jwt_090_a_removed_key_is_refused_when_the_set_is_taken_and_after_max_age_at_the_latest() {
    let leaked = key(Algorithm::Es256);
    let mut world = World::new(RemoteKeySet::new().with_max_age(seconds(600)));
    let both = body(&[("k1", &world.key), ("leaked", &leaked)]);
    let one = body(&[("k1", &world.key)]);
    assert_eq!(world.answer(&both, at(0)), Ok(2));
    let theirs = token("leaked", &leaked);
    assert_eq!(world.verify(&theirs, at(299)), Ok(()));
    assert_eq!(world.answer(&one, at(300)), Ok(1));
    assert_eq!(
        world.verify(&theirs, at(300)).unwrap_err().code(),
        "key_unknown"
    );
    world.assert_good(at(300));

    // Where the issuer cannot be reached any more, the age of the answer is what ends it.
    let mut world = World::new(RemoteKeySet::new().with_max_age(seconds(600)));
    assert_eq!(world.answer(&both, at(0)), Ok(2));
    assert_eq!(world.verify(&theirs, at(599)), Ok(()));
    assert_eq!(
        world.verify(&theirs, at(600)).unwrap_err().code(),
        "keys_stale"
    );
}

#[test]
fn jwt_090_an_answer_older_than_the_set_in_use_brings_no_key_back() {
    let leaked = key(Algorithm::Es256);
    let mut world = World::fetched();
    let both = body(&[("k1", &world.key), ("leaked", &leaked)]);
    let one = body(&[("k1", &world.key)]);
    let mut answer = |text: &str, generated: i64, now| {
        let id = world.begin(at(now));
        let response = Response::new(text.as_bytes()).with_generated_at(at(generated));
        world
            .remote
            .handle_response(id, &response, at(now))
            .map(|set| set.len())
    };
    assert_eq!(answer(&both, 290, 300), Ok(2));
    assert_eq!(answer(&one, 590, 600), Ok(1));
    // A cache on the way still has the old one.
    for generated in [290, 589] {
        let now = 900 + generated;
        let refused = answer(&both, generated, now);
        assert_eq!(
            refused,
            Err(FetchError::Older {
                generated: at(generated),
                current: at(590)
            })
        );
    }
    let theirs = token("leaked", &leaked);
    assert_eq!(
        world.verify(&theirs, at(1_500)).unwrap_err().code(),
        "key_unknown"
    );
    world.assert_good(at(1_500));
}

#[test]
fn an_origin_whose_clock_runs_ahead_does_not_shut_itself_out() {
    let mut world = World::fetched();
    let good = body(&[("k1", &world.key)]);
    for (generated, now) in [(1_000_000, 300), (250, 600), (601, 900)] {
        let id = world.begin(at(now));
        let response = Response::new(good.as_bytes()).with_generated_at(at(generated));
        let result = world
            .remote
            .handle_response(id, &response, at(now))
            .map(|_| ());
        match generated {
            250 => assert!(matches!(result, Err(FetchError::Older { .. }))),
            _ => assert_eq!(result, Ok(()), "{generated}"),
        }
    }
}

#[test]
fn the_issuer_says_how_long_an_answer_is_fresh_within_bounds() {
    for (max_age, next) in [(0, 5), (1, 5), (60, 60), (1_800, 1_800), (1_000_000, 1_800)] {
        let mut world = World::new(RemoteKeySet::new());
        let good = body(&[("k1", &world.key)]);
        let id = world.begin(at(0));
        let response = Response::new(good.as_bytes()).with_max_age(seconds(max_age));
        assert!(world.remote.handle_response(id, &response, at(0)).is_ok());
        assert_eq!(world.remote.poll_timeout(), at(next), "{max_age}");
        assert_eq!(world.remote.poll_fetch(at(next - 1)), None);
        assert!(world.remote.poll_fetch(at(next)).is_some());
    }
}

#[test]
fn no_setting_makes_it_fetch_more_often_than_every_five_seconds() {
    let mut world = World::new(
        RemoteKeySet::new()
            .with_refresh(Duration::ZERO)
            .with_cooldown(Duration::ZERO)
            .with_max_age(Duration::ZERO),
    );
    let good = body(&[("k1", &world.key)]);
    let mut fetches = 0;
    for offset in 0..100 {
        world.remote.handle_unknown_key();
        while let Some(fetch) = world.remote.poll_fetch(at(offset)) {
            fetches += 1;
            let response = Response::new(good.as_bytes()).with_max_age(Duration::ZERO);
            let _ = world
                .remote
                .handle_response(fetch.id(), &response, at(offset));
        }
    }
    assert_eq!(fetches, 20);
    // Keys that may not be used at all are not used.
    let token = token("k1", &world.key);
    assert_eq!(
        world.verify(&token, at(100)).unwrap_err().code(),
        "keys_stale"
    );
}

#[test]
fn at_the_end_of_the_calendar_nothing_overflows() {
    let mut world = World::new(RemoteKeySet::new().with_max_age(Duration::MAX));
    let good = body(&[("k1", &world.key)]);
    let nearly = Timestamp::MAX.saturating_sub(seconds(1));
    assert_eq!(world.answer(&good, nearly), Ok(1));
    assert!(world.remote.poll_timeout() <= Timestamp::MAX);
    world.remote.handle_unknown_key();
    let _ = world.remote.poll_fetch(Timestamp::MAX);
    let _ = format!("{:?}", world.remote);
}

/// When an instance fetches that was started at `at(0)`, in seconds since then.
fn fetch_times(name: Option<&str>, fetches: usize, failing: bool) -> Vec<i64> {
    let remote = RemoteKeySet::new();
    let mut world = World::new(match name {
        Some(name) => remote.with_instance(name),
        None => remote,
    });
    let good = body(&[("k1", &world.key)]);
    let mut times = Vec::new();
    let mut now = at(0);
    for _ in 0..fetches {
        let id = world.begin(now);
        times.push(now.unix_seconds() as i64 - START as i64);
        match failing {
            true => world.remote.handle_failure(id, now),
            false => {
                let response = Response::new(good.as_bytes());
                assert!(world.remote.handle_response(id, &response, now).is_ok());
            }
        }
        let next = world.remote.poll_timeout();
        assert!(next >= now.saturating_add(RemoteKeySet::MIN_INTERVAL));
        assert_eq!(
            world.remote.poll_fetch(next.saturating_sub(seconds(1))),
            None
        );
        now = next;
    }
    times
}

#[test]
fn a_fleet_that_starts_together_does_not_fetch_together() {
    let fleet: Vec<String> = (0..100).map(|pod| format!("orders-7f9c-{pod}")).collect();
    let runs: Vec<Vec<i64>> = fleet
        .iter()
        .map(|name| fetch_times(Some(name), 10, false))
        .collect();
    for fetch in 1..10 {
        let mut times: Vec<i64> = runs.iter().map(|run| run[fetch]).collect();
        times.sort_unstable();
        // Waits of four to five minutes each: never later than without a name.
        let count = fetch as i64;
        assert!(times[0] >= 240 * count && times[99] <= 300 * count);
        assert!(times[99] - times[0] >= 40, "{times:?}");
        let together = times.chunk_by(|a, b| a == b).map(<[i64]>::len).max();
        assert!(together <= Some(10), "{times:?}");
    }
    // It is no accident: the same instance does the same again.
    assert_eq!(runs[7], fetch_times(Some(&fleet[7]), 10, false));
    let alike = fetch_times(None, 10, false);
    assert_eq!(alike, (0..10).map(|fetch| fetch * 300).collect::<Vec<_>>());
}

#[test]
fn a_fleet_whose_issuer_was_away_does_not_come_back_together() {
    let mut last: Vec<i64> = (0..100)
        .map(|pod| fetch_times(Some(&format!("pod {pod}")), 8, true)[7])
        .collect();
    last.sort_unstable();
    let alone = fetch_times(None, 8, true)[7];
    assert!(last[0] >= alone && last[99] <= alone + alone / 5);
    assert!(last[99] - last[0] >= 30, "{last:?}");
}
