//! What operators see: each request counted once, refusals told of with their reason and within bounds, and
//! nothing that whoever is told does wrong changes an answer.
#![cfg(all(feature = "metrics", feature = "tracing"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod cost;
mod harm;
#[cfg(all(feature = "secrets", feature = "tls"))]
mod page;
mod recorder;
mod subscriber;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use m2m_guard::{AllowList, Freshness, Guard, LastConfirmed};
use m2m_revoke::Target;
use m2m_token::TokenRequest;
use m2m_tower::{Authenticate, Metrics, Task, TaskReporter};
use m2m_types::Timestamp;
use recorder::Recording;
use subscriber::Capture;
use support::*;
use tracing::Level;

/// A layer that is watched, and what is seen of it.
struct Watched {
    world: World,
    recording: Arc<Recording>,
    metrics: Metrics,
}

impl Watched {
    fn new() -> Self {
        let recording = Recording::new();
        Self {
            world: World::new(),
            metrics: Metrics::recording_to(Arc::<Recording>::clone(&recording)),
            recording,
        }
    }

    fn layer(&self) -> Authenticate {
        self.watch(self.world.layer())
    }

    fn watch(&self, layer: Authenticate) -> Authenticate {
        layer.with_metrics(&self.metrics).with_tracing()
    }

    fn refused(&self) -> BTreeMap<String, u64> {
        self.recording.counted("m2m_refused_total")
    }
}

/// What is seen while `run` runs, up to `most`.
fn capture(most: Level, run: impl FnOnce()) -> Arc<Capture> {
    let capture = Arc::new(Capture::new(most));
    let dispatch = tracing::Dispatch::from(Arc::<Capture>::clone(&capture));
    tracing::dispatcher::with_default(&dispatch, run);
    capture
}

fn pair(reason: &str, detail: &str) -> String {
    format!("m2m_refused_total{{reason={reason:?},detail={detail:?}}}")
}

#[test]
fn each_request_is_counted_once_by_what_became_of_it() {
    let watched = Watched::new();
    let layer = watched.layer();
    let world = &watched.world;
    for _ in 0..3 {
        assert_eq!(
            send(&layer, with_token("/orders", &world.token())).status,
            200
        );
    }
    send(&layer, get("/orders").body(Empty::new()).unwrap());
    send(&layer, with_token("/orders", "a.b.c"));
    send(&layer, with_token("/orders", &World::new().token()));
    send(&layer, with_token("/customers", &world.token()));
    send(&layer, with_token("/orders//x", &world.token()));
    send(&layer, with_token("/orders?access_token=x", &world.token()));
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    let revoked = world.mint(&request.with_token_id("r"));
    let target = Target::Token {
        issuer: ISSUER,
        jti: "r",
    };
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    send(&layer, with_token("/orders", &revoked));
    world.clock.advance(Duration::from_secs(3000));
    send(&layer, with_token("/orders", &world.token()));

    assert_eq!(watched.recording.count("m2m_admitted_total"), 3);
    let expected = [
        ("nothing_presented", ""),
        ("token", "base64"),
        ("token", "key_unknown"),
        ("denied", ""),
        ("path", ""),
        ("token_in_query", ""),
        ("token", "revoked"),
        ("token", "expired"),
    ];
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(reason, detail)| (pair(reason, detail), 1))
        .collect();
    assert_eq!(watched.refused(), expected);
    // Clones, and what other layers make of the same metrics, count together.
    send(
        &watched.watch(world.layer()),
        get("/orders").body(Empty::new()).unwrap(),
    );
    let nothing = pair("nothing_presented", "");
    assert_eq!(watched.recording.count(&nothing), 2);
}

#[test]
fn what_strangers_send_makes_no_series() {
    let watched = Watched::new();
    let layer = watched.layer();
    let before = watched.recording.names();
    for n in 0..300 {
        let path = format!("/orders/{n}%2f{n}?x-{n}");
        send(&layer, with_token(&path, &format!("{n}.{n}.{n}")));
        let request = get(&format!("/{n}")).header("authorization", format!("X-{n} {n}"));
        send(&layer, request.body(Empty::new()).unwrap());
    }
    assert_eq!(watched.recording.names(), before);
    assert!(before.len() < 250, "{}", before.len());
    assert_eq!(watched.refused().values().sum::<u64>(), 600);
}

#[test]
fn a_refusal_is_an_event_with_its_reason_and_without_the_token() {
    let watched = Watched::new();
    let layer = watched.layer();
    let token = watched.world.token();
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    let bound = watched
        .world
        .mint(&request.with_certificate_binding(certificate(1)));
    let seen = capture(Level::INFO, || {
        send(&layer, with_token("/customers", &token));
        send(&layer, with_token("/orders", &bound));
        send(
            &layer,
            with_token(&format!("/orders?access_token={token}"), &token),
        );
        send(&layer, with_token("/orders", &token));
    });
    let events = seen.events();
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            let words = ["code", "detail", "check", "credential", "caller", "told"];
            words.map(|word| event.field(word).unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        said,
        [
            ["denied", "", "decision", "-", BILLING, "forbidden"],
            [
                "token",
                "binding_missing",
                "token",
                "token",
                "-",
                "unauthenticated"
            ],
            ["token_in_query", "", "-", "-", "-", "invalid_request"],
        ]
    );
    for event in &events {
        assert_eq!((event.name, event.level), ("m2m.refused", Level::WARN));
        assert_eq!(event.field("left_out"), Some("0"));
        for token in [&token, &bound] {
            let shown = format!("{event:?}");
            assert!(
                token.split('.').all(|part| !shown.contains(part)),
                "{shown}"
            );
        }
    }
    // Below the level, no span is made.
    assert!(seen.spans().is_empty());
}

#[test]
fn a_span_says_who_was_admitted_and_refusals_stand_in_theirs() {
    let watched = Watched::new();
    let layer = watched.layer();
    let token = watched.world.token();
    let seen = capture(Level::DEBUG, || {
        send(&layer, with_token("/orders", &token));
        send(&layer, with_token("/customers", &token));
    });
    let spans = seen.spans();
    let [(_, admitted), (id, refused)] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert!(admitted.is_closed && refused.is_closed);
    assert_eq!(admitted.name, "m2m.admission");
    assert_eq!(admitted.field("admitted"), Some("true"));
    assert_eq!(admitted.field("caller"), Some(BILLING));
    assert_eq!(admitted.field("code"), None);
    assert_eq!(refused.field("admitted"), Some("false"));
    assert_eq!(refused.field("code"), Some("denied"));
    assert_eq!(refused.field("caller"), Some(BILLING));
    assert_eq!(seen.events()[0].parent, Some(*id));
}

#[test]
fn ages_are_gauges_and_what_nobody_confirmed_is_older_than_any_limit() {
    let watched = Watched::new();
    let world = &watched.world;
    let (keys, revocations) = (
        Arc::new(LastConfirmed::never()),
        Arc::new(LastConfirmed::never()),
    );
    keys.confirm(now());
    let hour = Duration::from_secs(3600);
    let guard = Guard::builder(AllowList::new())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::confirmed_within(hour, Arc::clone(&keys)),
        )
        .with_revocations(
            Arc::clone(&world.revocations),
            Freshness::confirmed_within(hour, Arc::clone(&revocations)),
        );
    let layer = watched.watch(world.layer_of(guard));
    let age = |basis: &str| {
        watched
            .recording
            .gauge(&format!("m2m_age_seconds{{basis={basis:?}}}"))
    };
    world.clock.advance(Duration::from_secs(7));
    let seen = capture(Level::INFO, || {
        let answer = send(&layer, with_token("/orders", &world.token()));
        assert_eq!(answer.status, 503);
    });
    assert_eq!(age("revocations"), f64::INFINITY);
    let events = seen.events();
    assert_eq!(events[0].level, Level::ERROR, "it wakes somebody");
    assert_eq!(events[0].field("code"), Some("stale"));
    assert_eq!(events[0].field("detail"), Some("revocations"));
    assert_eq!(
        events[0].field("revocations_age_seconds"),
        Some(u64::MAX.to_string().as_str())
    );
    revocations.confirm(now());
    world.clock.advance(Duration::from_secs(5));
    send(&layer, with_token("/orders", &world.token()));
    assert_eq!((age("keys"), age("revocations")), (12.0, 12.0));
    // Without requests, by whoever asks.
    let guard = Guard::builder(AllowList::new())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::within(hour, |_| panic!("a bug")),
        )
        .danger_without_revocations()
        .build()
        .unwrap();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    watched.metrics.record_guard(&guard, now());
    std::panic::set_hook(hook);
    assert_eq!(age("keys"), f64::INFINITY);
}

#[test]
fn who_only_annotates_counts_whom_it_let_through() {
    let watched = Watched::new();
    let layer = watched.watch(world_layer(&watched)).only_annotating();
    let seen = capture(Level::INFO, || {
        send(&layer, with_token("/orders", "a.b.c"));
        send(&layer, with_token("/orders//x", "a.b.c"));
    });
    assert_eq!(watched.recording.count("m2m_let_through_total"), 1);
    assert_eq!(watched.refused().values().sum::<u64>(), 2);
    let through: Vec<_> = seen
        .events()
        .iter()
        .map(|event| event.field("is_let_through").unwrap().to_owned())
        .collect();
    assert_eq!(through, ["true", "false"]);
}

fn world_layer(watched: &Watched) -> Authenticate {
    watched.world.layer()
}

#[test]
fn tasks_tell_how_their_runs_end() {
    let watched = Watched::new();
    let reporter = TaskReporter::new(Task::SetDelivery)
        .with_metrics(&watched.metrics)
        .with_tracing();
    assert!(
        !watched
            .recording
            .names()
            .iter()
            .any(|name| name.contains("set_poll"))
    );
    let seen = capture(Level::DEBUG, || {
        reporter.done(now());
        for _ in 0..1000 {
            reporter.failed(&"nobody answers");
        }
        reporter.refused(&"not a SET");
    });
    let runs = |outcome: &str| {
        let name = format!("m2m_task_runs_total{{task=\"set_delivery\",outcome={outcome:?}}}");
        watched.recording.count(&name)
    };
    assert_eq!(
        (runs("done"), runs("failed"), runs("refused")),
        (1, 1000, 1)
    );
    let last = "m2m_task_last_success_timestamp_seconds{task=\"set_delivery\"}";
    assert_eq!(watched.recording.gauge(last), now().unix_seconds() as f64);
    let events = seen.events();
    assert_eq!(events[0].level, Level::DEBUG);
    assert_eq!(events[1].field("reason"), Some("nobody answers"));
    assert_eq!(events[1].field("outcome"), Some("failed"));
    // A hundred a second, and the test may last for some.
    assert!((101..1000).contains(&events.len()), "{}", events.len());
}
