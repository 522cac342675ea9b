//! Floods, and observers that panic.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Empty;
use m2m_tower::{Metrics, Task, TaskReporter};
use tracing::Level;

use crate::support::*;
use crate::{Watched, capture, pair, recorder, subscriber};

/// A second of a hundred thousand refusals, and one more in the next.
#[test]
fn dos_006_a_flood_of_refusals_is_a_hundred_events_and_a_count_of_the_others() {
    const FLOOD: u64 = 100_000;
    let watched = Watched::new();
    let told = Arc::new(AtomicU64::new(0));
    let layer = {
        let told = Arc::clone(&told);
        watched.layer().with_observer(move |_, _| {
            told.fetch_add(1, Ordering::Relaxed);
        })
    };
    let request = get("/orders").body(Empty::new()).unwrap();
    let seen = capture(Level::INFO, || {
        for _ in 0..FLOOD {
            assert_eq!(send(&layer, request.clone()).status, 401);
        }
        watched.world.clock.advance(Duration::from_secs(1));
        send(&layer, request.clone());
    });
    let events = seen.events();
    assert_eq!(events.len(), 101);
    assert_eq!(told.load(Ordering::Relaxed), 101, "the same ones");
    let left_out = (FLOOD - 100).to_string();
    assert_eq!(events[100].field("left_out"), Some(left_out.as_str()));
    // Metrics count all of them.
    let recording = &watched.recording;
    assert_eq!(recording.count(&pair("nothing_presented", "")), FLOOD + 1);
    assert_eq!(recording.count("m2m_refusals_left_out_total"), FLOOD - 100);
    // A line is short, whatever was sent.
    let long = "x".repeat(8000);
    let seen = capture(Level::INFO, || {
        send(&layer, with_token(&format!("/orders/{long}/.."), &long));
        send(&layer, with_token("/orders", &long));
    });
    for event in seen.events() {
        assert!(event.field("reason").unwrap().len() <= 512, "{event:?}");
    }
}

/// Whatever panics where: who is admitted is admitted, and who is refused is refused, time and again.
#[test]
fn dos_005_observers_recorders_and_subscribers_that_panic_change_no_answer() {
    let world = World::new();
    let metrics = Metrics::recording_to(Arc::new(recorder::Broken));
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let answers: Vec<_> = subscriber::Broken::ALL
        .iter()
        .map(|broken| {
            let layer = world
                .layer()
                .with_observer(|_, _| panic!("a bug of an observer"))
                .with_metrics(&metrics)
                .with_tracing();
            let task = TaskReporter::new(Task::KeyFetch)
                .with_metrics(&metrics)
                .with_tracing();
            tracing::subscriber::with_default(*broken, || {
                let rounds = (0..3).map(|_| {
                    task.done(now());
                    task.failed(&"nobody answers");
                    metrics.store("state").records(1).failures(1);
                    metrics.record_revocations(&world.revocations.stats());
                    metrics.record_certificate("identity", now());
                    let good = send(&layer, with_token("/orders", &world.token()));
                    let bad = send(&layer, with_token("/orders", "a.b.c"));
                    let denied = send(&layer, with_token("/customers", &world.token()));
                    [good, bad, denied]
                        .map(|answer| (answer.status.as_u16(), answer.seen.is_some()))
                });
                rounds.collect::<Vec<_>>()
            })
        })
        .collect();
    panic::set_hook(hook);
    let expected = [(200, true), (401, false), (403, false)];
    assert_eq!(answers.len(), 5);
    for rounds in answers {
        assert_eq!(rounds, [expected; 3]);
    }
}

/// An observer that panics must not end the following: the keys would grow old, and everybody be refused.
#[cfg(feature = "fetch")]
#[tokio::test]
async fn dos_005_keys_are_followed_on_when_who_is_told_panics() {
    use m2m_token::RemoteKeySet;
    use m2m_tower::{FetchUrl, Fetcher, KeyFollower};
    use m2m_types::ManualClock;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let clock = Arc::new(ManualClock::new(now()));
    let times = Arc::new(AtomicU64::new(0));
    let recording = recorder::Recording::new();
    let metrics = Metrics::recording_to(Arc::<recorder::Recording>::clone(&recording));
    // An address that is not connected to: each fetch fails at once.
    let follower = KeyFollower::new(
        Fetcher::new(Arc::new(tls)),
        FetchUrl::parse("https://127.0.0.1/keys").unwrap(),
        RemoteKeySet::new(),
        Arc::<ManualClock>::clone(&clock),
    )
    .with_reporter(TaskReporter::new(Task::KeyFetch).with_metrics(&metrics))
    .with_observer({
        let times = Arc::clone(&times);
        move |_| {
            times.fetch_add(1, Ordering::SeqCst);
            panic!("a bug of an observer");
        }
    });
    let unknown = follower.unknown_keys();
    let running = tokio::spawn(follower.run());
    for round in 1..=3 {
        for _ in 0..3000 {
            if times.load(Ordering::SeqCst) >= round {
                break;
            }
            unknown.met_one();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!running.is_finished());
        assert!(times.load(Ordering::SeqCst) >= round, "round {round}");
        clock.advance(Duration::from_secs(600));
    }
    running.abort();
    let failed = "m2m_task_runs_total{task=\"key_fetch\",outcome=\"failed\"}";
    assert!(recording.count(failed) >= 2);
}
