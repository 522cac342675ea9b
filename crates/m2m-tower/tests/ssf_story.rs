//! A session is revoked at a transmitter, and the receiver's service refuses the next call: by push, by poll, by
//! long poll.
#![cfg(all(feature = "ssf", feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod ssf_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use caep_stream::Delivery;
use caep_stream::receiver::{Poller, Waiting};
use caep_stream::transmitter::TransmitterOptions;
use m2m_tower::ssf::{DeliveryEvent, KeeperEvent, PollFollower, PollingEvent, StreamKeeper};
use ssf_support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_revoked_is_refused_when_the_push_is_acknowledged() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    consumer.pushed_stream().await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let (send, mut delivered) = tokio::sync::mpsc::unbounded_channel();
    let seen = Arc::clone(&events);
    let deliverer = provider.deliverer(&net).with_observer(move |event| {
        seen.lock().unwrap().push(format!("{event:?}"));
        if let DeliveryEvent::Delivered { id, .. } = event {
            let _ = send.send(id.clone());
        }
    });
    let delivering = tokio::spawn(deliverer.run());
    for session in ["session-1", "session-2"] {
        let token = provider.mint("spiffe://example.org/billing", ORDERS, Some(session));
        let other = provider.mint("spiffe://example.org/billing", ORDERS, Some("another"));
        assert_eq!(consumer.call(&net, &token).await, 200);
        provider.publish(session).await;
        let got = tokio::time::timeout(PATIENCE, delivered.recv()).await;
        assert!(got.is_ok(), "{:?}", events.lock().unwrap());
        // It was acknowledged, so it is refused already.
        assert_eq!(consumer.call(&net, &token).await, 401);
        assert_eq!(consumer.call(&net, &other).await, 200);
    }
    delivering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_revoked_is_refused_where_the_stream_is_polled() {
    for waiting in [
        Waiting::There,
        Waiting::Here {
            interval: Duration::from_secs(1),
        },
    ] {
        let net = Net::new();
        let provider = Provider::start(&net, TransmitterOptions::default()).await;
        let consumer = Consumer::start(&net, &provider).await;
        let stream = consumer.stream(Delivery::poll()).await;
        let poller = Poller::new(&stream, waiting).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let follower =
            PollFollower::new(consumer.signals.clone(), poller, consumer.manager.clone())
                .with_observer(move |event: &PollingEvent| {
                    seen.lock().unwrap().push(format!("{event:?}"));
                });
        let following = tokio::spawn(follower.run());
        if waiting == Waiting::There {
            // It waits at the transmitter before there is anything.
            until("nobody waits", async || {
                provider.management.waiting_polls() == 1
            })
            .await;
        }
        let token = provider.mint("spiffe://example.org/billing", ORDERS, Some("session-1"));
        assert_eq!(consumer.call(&net, &token).await, 200);
        provider.publish("session-1").await;
        until("it is not refused", async || {
            consumer.call(&net, &token).await == 401
        })
        .await;
        // What was acknowledged is gone.
        until("it is not acknowledged", async || {
            let lag = provider.transmitter.lag(now()).await.unwrap();
            lag.iter()
                .all(|one| one.depth == 0 && one.dead_letters == 0)
        })
        .await;
        following.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_asks_whether_the_stream_still_speaks() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    consumer.pushed_stream().await;
    let receiver = Arc::clone(consumer.signals.receiver());
    let is_fresh = || {
        receiver
            .freshness(&provider.issuer, now())
            .unwrap()
            .is_fresh()
    };
    assert!(!is_fresh());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let keeper = StreamKeeper::new(consumer.signals.clone(), consumer.manager.clone())
        .with_observer(move |event: &KeeperEvent| seen.lock().unwrap().push(format!("{event:?}")));
    let keeping = tokio::spawn(keeper.run());
    let delivering = tokio::spawn(provider.deliverer(&net).run());
    until("it is not fresh", async || is_fresh()).await;
    assert_eq!(*asked.lock().unwrap(), ["Asked(Done(()))"]);
    keeping.abort();
    delivering.abort();
}
