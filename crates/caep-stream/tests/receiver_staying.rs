//! How a receiver stays what it is: keys, heartbeats, names, restarts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use caep_set::{Profile, SessionRevoked, StreamStatus, StreamUpdated, SubjectId};
use caep_stream::receiver::{
    Answer, Discovery, Freshness, HeartbeatPolicy, Postponed, Pushed, Received, Receiver, Refusal,
    Source, SourceKeys,
};
use common::{A, B, NOW, RECEIVER, Transmitter, at, memory, open, push, stream};
use http::{Response, StatusCode};
use m2m_crypto::SystemRandom;
use m2m_store::{Failure, Store};
use m2m_token::{Audience, RemoteKeySet};
use m2m_types::Timestamp;
use pollster::block_on;

fn bring(receiver: &Receiver, set: &str, now: u64) -> Pushed {
    block_on(receiver.handle_push(&push(set, None), at(now), &SystemRandom))
}

fn received(receiver: &Receiver, set: &str, now: u64) -> Received {
    bring(receiver, set, now).received.unwrap()
}

fn source(a: &Transmitter) -> Source {
    let heartbeat = HeartbeatPolicy::new(Duration::from_secs(60), Duration::from_secs(180));
    a.source()
        .danger_pushed_by_anybody()
        .with_stream(&stream(A))
        .with_heartbeat(heartbeat)
}

fn ask(receiver: &Receiver, now: u64) -> Option<String> {
    let wanted = block_on(receiver.poll_verification(A, at(now), &SystemRandom)).unwrap();
    wanted.map(|wanted| {
        assert_eq!(&*wanted.stream_id, "s-1");
        wanted.state.unwrap().into()
    })
}

fn freshness(receiver: &Receiver, now: u64) -> Freshness {
    receiver.freshness(A, at(now)).unwrap()
}

const VERIFIED: Received = Received::Verified {
    was_asked_for: true,
};

#[test]
fn a_stream_is_fresh_while_it_answers_and_stale_before_and_after() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    let never = Freshness::Stale {
        since: Timestamp::MIN,
    };
    assert_eq!(freshness(&receiver, NOW), never, "fail closed");
    let state = ask(&receiver, NOW).unwrap();
    assert_eq!(state.len(), 32);
    assert_eq!(ask(&receiver, NOW + 59), None, "not so often");
    assert_eq!(receiver.poll_verification_timeout(A), at(NOW + 60));
    // The answer comes to another process.
    let receiver = open(&store, vec![source(&a)]);
    let set = a.verification("v1", Some(&state), NOW + 5);
    assert_eq!(received(&receiver, &set, NOW + 8), VERIFIED);
    assert_eq!(
        freshness(&receiver, NOW + 180),
        Freshness::Fresh { as_of: at(NOW) }
    );
    assert_eq!(
        freshness(&receiver, NOW + 181),
        Freshness::Stale { since: at(NOW) }
    );
    // It is said again, and a restart forgets nothing.
    assert_eq!(received(&receiver, &set, NOW + 9), Received::Repeated);
    let receiver = open(&store, vec![source(&a)]);
    assert_eq!(received(&receiver, &set, NOW + 9), Received::Repeated);
    assert!(freshness(&receiver, NOW + 100).is_fresh());
    assert!(
        block_on(receiver.inbox().pending(9)).unwrap().is_empty(),
        "nothing to act upon"
    );
    assert_eq!(receiver.freshness(B, at(NOW)), None);
}

#[test]
fn set_013_states_that_were_not_asked_for_change_nothing() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    let stale = freshness(&receiver, NOW);
    let state_of = |set: &str| received(&receiver, set, NOW + 2);
    let refused = Received::Refused(Refusal::State);
    assert_eq!(
        state_of(&a.verification("1", Some("x"), NOW)),
        refused,
        "before it was asked"
    );
    let state = ask(&receiver, NOW).unwrap();
    let wrong = state.replace(|c: char| c != '0', "0");
    assert_eq!(state_of(&a.verification("2", Some(&wrong), NOW)), refused);
    assert_eq!(state_of(&a.verification("3", Some(""), NOW)), refused);
    let long = "x".repeat(4000);
    assert_eq!(state_of(&a.verification("4", Some(&long), NOW)), refused);
    let pushed = bring(&receiver, &a.verification("5", Some(&wrong), NOW), NOW);
    assert_eq!(pushed.response.status(), 400);
    assert!(
        pushed
            .response
            .body()
            .starts_with(br#"{"err":"invalid_state""#)
    );
    // Of a megabyte it is not even read.
    let huge = "x".repeat(1 << 20);
    assert_eq!(
        bring(&receiver, &huge, NOW).response.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    // Of another stream.
    let mut event = caep_set::Verification::new();
    event.state = Some(state.clone().into());
    let other = a.set("6", SubjectId::opaque("s-2").unwrap(), event.clone());
    assert_eq!(state_of(&other), Received::Refused(Refusal::Stream));
    assert_eq!(freshness(&receiver, NOW + 2), stale);
    // The right one, once.
    assert_eq!(
        state_of(&a.verification("7", Some(&state), NOW + 1)),
        VERIFIED
    );
    assert_eq!(
        state_of(&a.verification("8", Some(&state), NOW + 1)),
        refused
    );
}

#[test]
fn a_verification_that_nobody_asked_for_is_as_fresh_as_it_was_made() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    // Kept back for an hour by somebody on the way.
    let unasked = Received::Verified {
        was_asked_for: false,
    };
    let late = a.verification("1", None, NOW - 3600);
    assert_eq!(received(&receiver, &late, NOW), unasked);
    assert_eq!(
        freshness(&receiver, NOW),
        Freshness::Stale {
            since: at(NOW - 3600)
        }
    );
    assert_eq!(
        received(&receiver, &a.verification("2", None, NOW), NOW),
        unasked
    );
    assert!(freshness(&receiver, NOW).is_fresh());
    // Other events say nothing: they may come from a queue.
    let event = a.set("3", SubjectId::opaque("x").unwrap(), SessionRevoked::new());
    received(&receiver, &event, NOW + 500);
    assert!(!freshness(&receiver, NOW + 500).is_fresh());
}

#[test]
fn a_transmitter_that_is_asked_too_often_is_asked_less() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let eager = HeartbeatPolicy::new(Duration::from_secs(1), Duration::from_secs(5));
    let receiver = open(&store, vec![source(&a).with_heartbeat(eager)]);
    ask(&receiver, NOW).unwrap();
    assert_eq!(ask(&receiver, NOW + 29), None, "min_verification_interval");
    let state = ask(&receiver, NOW + 30).unwrap();
    let too_often = Answer::Later {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(600),
    };
    let answered = receiver.handle_verification_answer(A, &too_often, at(NOW + 30), &SystemRandom);
    block_on(answered).unwrap();
    assert_eq!(receiver.poll_verification_timeout(A), at(NOW + 630));
    assert_eq!(ask(&receiver, NOW + 629), None);
    // If it was taken all the same, its answer is known.
    let set = a.verification("1", Some(&state), NOW + 31);
    assert_eq!(received(&receiver, &set, NOW + 31), VERIFIED);
    assert!(ask(&receiver, NOW + 630).is_some());
    // Before the stream is known there is nothing to ask.
    let receiver = open(&memory().1, vec![a.source()]);
    assert_eq!(ask(&receiver, NOW), None);
    assert!(receiver.attach(&stream(A)));
    assert!(!receiver.attach(&stream(B)));
    assert!(ask(&receiver, NOW).is_some());
}

#[test]
fn what_is_to_be_asked_is_recorded_before_it_is_asked() {
    let a = Transmitter::new(A);
    let (memory, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    memory.fail_next(Failure::NotWritten);
    let asked = block_on(receiver.poll_verification(A, at(NOW), &SystemRandom));
    assert!(asked.is_err());
    // And one that was taken in survives, or comes again.
    let state = ask(&receiver, NOW).unwrap();
    let set = a.verification("1", Some(&state), NOW);
    memory.fail_next(Failure::NotWritten);
    assert!(matches!(
        received(&receiver, &set, NOW + 1),
        Received::Later(Postponed::NotRecorded(_))
    ));
    assert!(!freshness(&receiver, NOW + 1).is_fresh());
    memory.fail_next(Failure::WrittenButUnknown);
    assert_eq!(received(&receiver, &set, NOW + 1), VERIFIED);
    assert!(freshness(&receiver, NOW + 1).is_fresh());
}

fn updated(a: &Transmitter, jti: &str, status: StreamStatus, made: u64) -> String {
    let stream_id = SubjectId::opaque("s-1").unwrap();
    a.set_at(jti, stream_id, StreamUpdated::new(status), made)
}

#[test]
fn set_022_a_stream_that_stopped_leaves_a_gap_until_somebody_has_reconciled_it() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    let state = ask(&receiver, NOW).unwrap();
    received(&receiver, &a.verification("v", Some(&state), NOW), NOW);
    let paused = updated(&a, "1", StreamStatus::Paused, NOW + 10);
    let what = received(&receiver, &paused, NOW + 11);
    assert_eq!(what, Received::StreamUpdated(StreamStatus::Paused));
    let stopped = Freshness::Stopped {
        since: at(NOW + 10),
    };
    assert_eq!(freshness(&receiver, NOW + 11), stopped);
    // An older word does not undo a newer one, and another stop does not move the first.
    received(
        &receiver,
        &updated(&a, "2", StreamStatus::Enabled, NOW + 5),
        NOW + 12,
    );
    received(
        &receiver,
        &updated(&a, "3", StreamStatus::Disabled, NOW + 13),
        NOW + 13,
    );
    assert_eq!(freshness(&receiver, NOW + 14), stopped);
    received(
        &receiver,
        &updated(&a, "4", StreamStatus::Enabled, NOW + 50),
        NOW + 50,
    );
    let gap = Freshness::Gap {
        since: at(NOW + 10),
        until: at(NOW + 50),
    };
    assert_eq!(freshness(&receiver, NOW + 50), gap);
    // A restart forgets neither, and a verification does not close it.
    let receiver = open(&store, vec![source(&a)]);
    let state = ask(&receiver, NOW + 60).unwrap();
    received(
        &receiver,
        &a.verification("v2", Some(&state), NOW + 60),
        NOW + 60,
    );
    assert_eq!(freshness(&receiver, NOW + 60), gap);
    block_on(receiver.reconciled(A, &SystemRandom)).unwrap();
    assert!(freshness(&receiver, NOW + 61).is_fresh());
    // Another process hears of it.
    let other = open(&store, vec![source(&a)]);
    received(
        &receiver,
        &updated(&a, "5", StreamStatus::Disabled, NOW + 70),
        NOW + 70,
    );
    assert!(freshness(&other, NOW + 70).is_fresh());
    block_on(other.catch_up()).unwrap();
    assert!(!freshness(&other, NOW + 70).is_fresh());
}

/// A transmitter whose keys are fetched.
fn remote(a: &Transmitter) -> Source {
    let body = br#"{"issuer": "https://a.example", "spec_version": "1_0", "jwks_uri": "https://a.example/jwks"}"#;
    let response = Response::builder().header("content-type", "application/json");
    let response = response.body(body.as_slice()).unwrap();
    let transmitter = Discovery::new(A).unwrap().read(&response).unwrap();
    let keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
    let source = Source::new(a.issuer, keys, Audience::exactly(RECEIVER), Profile::ssf());
    source.unwrap().danger_pushed_by_anybody()
}

fn jwks(a: &Transmitter) -> Vec<u8> {
    a.ring.jwk_set().to_json().into_bytes()
}

fn fetch(receiver: &Receiver, body: &[u8], now: u64) -> bool {
    let Some(fetch) = receiver.poll_keys(at(now)) else {
        return false;
    };
    assert_eq!(fetch.issuer(), A);
    assert_eq!(fetch.request().uri(), "https://a.example/jwks");
    receiver
        .handle_keys(&fetch, &Response::new(body), at(now))
        .unwrap();
    true
}

#[test]
fn set_023_a_set_with_a_new_key_waits_until_keys_were_fetched() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![remote(&a)]);
    let session = || SubjectId::opaque("s").unwrap();
    let set = a.set("1", session(), SessionRevoked::new());
    let later = Received::Later(Postponed::KeyUnknown);
    // Nothing was fetched yet.
    let pushed = bring(&receiver, &set, NOW);
    assert_eq!(pushed.received, Some(later.clone()));
    assert_eq!(pushed.response.status(), 503);
    assert!(pushed.response.headers().contains_key("retry-after"));
    assert!(pushed.response.body().is_empty());
    assert!(fetch(&receiver, &jwks(&a), NOW));
    assert_eq!(received(&receiver, &set, NOW), Received::New);
    // The transmitter rolls its key.
    let rolled = Transmitter::new(A);
    let set = rolled.set("2", session(), SessionRevoked::new());
    for _ in 0..50 {
        assert_eq!(received(&receiver, &set, NOW + 10), later);
        assert!(
            !fetch(&receiver, &jwks(&rolled), NOW + 10),
            "not again so soon"
        );
    }
    assert_eq!(receiver.poll_keys_timeout(), at(NOW + 30));
    assert!(fetch(&receiver, &jwks(&rolled), NOW + 30));
    assert_eq!(received(&receiver, &set, NOW + 31), Received::New);
    // One whose key nobody has waits for one fetch, and is refused then.
    let forged = Transmitter::new(A).set("3", session(), SessionRevoked::new());
    assert_eq!(received(&receiver, &forged, NOW + 70), later);
    // A fetch that fails is none.
    let failed = receiver.poll_keys(at(NOW + 70)).unwrap();
    receiver.handle_keys_failure(&failed, at(NOW + 70));
    assert_eq!(received(&receiver, &forged, NOW + 71), later);
    let failed = receiver.poll_keys(at(NOW + 80)).unwrap();
    let not_found = Response::builder()
        .status(404)
        .body(b"".as_slice())
        .unwrap();
    assert!(
        receiver
            .handle_keys(&failed, &not_found, at(NOW + 80))
            .is_err()
    );
    assert_eq!(received(&receiver, &forged, NOW + 81), later);
    assert!(fetch(&receiver, &jwks(&rolled), NOW + 120));
    let pushed = bring(&receiver, &forged, NOW + 121);
    assert!(matches!(
        pushed.received,
        Some(Received::Refused(Refusal::Set(_)))
    ));
    assert!(
        pushed
            .response
            .body()
            .starts_with(br#"{"err":"invalid_key""#)
    );
}

#[test]
fn keys_that_are_too_old_verify_nothing() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![remote(&a)]);
    fetch(&receiver, &jwks(&a), NOW);
    let set = a.set("1", SubjectId::opaque("s").unwrap(), SessionRevoked::new());
    let later = Received::Later(Postponed::KeyUnknown);
    assert_eq!(received(&receiver, &set, NOW + 7200), later);
    assert!(fetch(&receiver, &jwks(&a), NOW + 7200));
    assert_eq!(received(&receiver, &set, NOW + 7200), Received::New);
}

#[test]
fn names_are_remembered_for_two_retry_horizons_and_known_before_the_first_answer() {
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let horizon = Duration::from_secs(1000);
    let open = || open(&store, vec![source(&a)]).with_retry_horizon(horizon);
    let receiver = open();
    let set = |nth: u64| {
        let session = SubjectId::opaque("s").unwrap();
        a.set(&nth.to_string(), session, SessionRevoked::new())
    };
    for nth in 0..450 {
        assert_eq!(received(&receiver, &set(nth), NOW + nth), Received::New);
    }
    let restarted = open();
    assert_eq!(restarted.seen_count(), 450);
    assert_eq!(received(&restarted, &set(7), NOW + 500), Received::Repeated);
    let forget = |now: u64| {
        let mut count = 0;
        loop {
            let (forgotten, is_end) = block_on(restarted.forget(at(now), &SystemRandom)).unwrap();
            count += forgotten;
            if is_end {
                return count;
            }
        }
    };
    assert_eq!(forget(NOW + 2000), 0);
    assert_eq!(forget(NOW + 2100), 100);
    assert_eq!(restarted.seen_count(), 350);
    // The process that has not forgotten, and the store of the one that has, say the same of the rest.
    assert_eq!(
        received(&restarted, &set(100), NOW + 2100),
        Received::Repeated
    );
    assert_eq!(received(&restarted, &set(99), NOW + 2100), Received::New);
    // What one process recorded, the other hears from the store.
    assert_eq!(received(&receiver, &set(900), NOW + 2100), Received::New);
    assert_eq!(
        received(&restarted, &set(900), NOW + 2100),
        Received::Repeated
    );
}

#[test]
fn one_jti_of_two_transmitters_names_two_sets() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let sources = vec![source(&a), b.source().danger_pushed_by_anybody()];
    let receiver = open(&store, sources);
    let session = || SubjectId::opaque("s").unwrap();
    let of_a = a.set("1", session(), SessionRevoked::new());
    let of_b = b.set("1", session(), SessionRevoked::new());
    assert_eq!(received(&receiver, &of_a, NOW), Received::New);
    assert_eq!(received(&receiver, &of_b, NOW), Received::New);
    assert_eq!(received(&receiver, &of_b, NOW), Received::Repeated);
}

#[test]
fn a_receiver_survives_its_process_on_a_file() {
    let a = Transmitter::new(A);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let key = m2m_crypto::SecretBytes::new(vec![1; m2m_store::LocalKey::BYTES]);
    let key = Arc::new(m2m_store::LocalKey::new(key).unwrap());
    let options = m2m_store::EmbeddedOptions::new(key);
    m2m_store::EmbeddedStore::create(&path, &options)
        .unwrap()
        .close()
        .unwrap();
    let mut state = None;
    for round in 0..4 {
        let file = m2m_store::EmbeddedStore::open(&path, &options).unwrap();
        let store: Arc<dyn Store> = Arc::new(file);
        let receiver = open(&store, vec![source(&a)]);
        let set = a.set("1", SubjectId::opaque("s").unwrap(), SessionRevoked::new());
        let what = received(&receiver, &set, NOW + 100 * round);
        let revocations = common::revocations(&store);
        match round {
            0 => assert_eq!(what, Received::New),
            _ => assert_eq!(what, Received::Repeated),
        }
        match round {
            0 => state = ask(&receiver, NOW),
            1 => {
                let set = a.verification("v", state.as_deref(), NOW);
                assert_eq!(received(&receiver, &set, NOW + 100), VERIFIED);
                let acted = receiver.act(&revocations, 9, at(NOW), &SystemRandom);
                assert_eq!(block_on(acted).acted.len(), 1);
            }
            _ => {
                assert_eq!(
                    freshness(&receiver, NOW + 150),
                    Freshness::Fresh { as_of: at(NOW) }
                );
                let acted = receiver.act(&revocations, 9, at(NOW), &SystemRandom);
                assert!(block_on(acted).acted.is_empty());
                assert!(common::is_session_revoked(
                    revocations.revocations(),
                    A,
                    "s"
                ));
            }
        }
    }
}

/// Servers move what they wait for between threads.
#[test]
fn what_is_waited_for_may_move_to_another_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![source(&a)]);
    let revocations = common::revocations(&store);
    let set = a.verification("1", None, NOW);
    let request = push(&set, None);
    let response = Response::new(b"".as_slice());
    let waiting = caep_stream::receiver::Waiting::There;
    let mut poller = caep_stream::receiver::Poller::new(&stream(A), waiting).unwrap();
    let release = caep_stream::receiver::Release::Discard;
    assert_send(&receiver);
    assert_send(&receiver.handle_push(&request, at(NOW), &SystemRandom));
    assert_send(&poller.handle_response(&receiver, &response, at(NOW), &SystemRandom));
    assert_send(&receiver.act(&revocations, 9, at(NOW), &SystemRandom));
    assert_send(&receiver.poll_verification(A, at(NOW), &SystemRandom));
    assert_send(&receiver.forget(at(NOW), &SystemRandom));
    assert_send(&receiver.release(A, release, at(NOW), &SystemRandom));
    assert_send(&receiver.reconciled(A, &SystemRandom));
    assert_send(&Receiver::open(store, "test", Vec::new(), &SystemRandom));
}
