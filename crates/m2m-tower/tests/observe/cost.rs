//! What being watched costs a request that is admitted: no allocation.

use std::convert::Infallible;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Freshness, Grant, Guard, Resources};
use m2m_tower::{Authenticate, Metrics};
use tower::{Layer as _, Service as _, service_fn};
use tracing::Level;

use crate::support::*;
use crate::{capture, recorder};

async fn behind(_: Request<Empty<Bytes>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

/// What fifty requests allocate that are admitted, one after the other, with the token remembered.
fn spent(world: &World, layer: &Authenticate) -> AllocationInfo {
    let mut service = layer.layer(service_fn(behind));
    let token = world.token();
    let mut ask = |request| {
        let response = pollster::block_on(service.call(request)).unwrap();
        assert_eq!(response.status(), 200);
    };
    for _ in 0..3 {
        ask(with_token("/orders/17", &token));
    }
    let requests: Vec<_> = (0..50).map(|_| with_token("/orders/17", &token)).collect();
    measure(|| requests.into_iter().for_each(&mut ask))
}

fn layer(world: &World) -> Authenticate {
    let read = Grant::new("GET", Resources::under("/orders").unwrap());
    let guard = Guard::builder(AllowList::new().allow(&service(BILLING), read))
        .with_bearer_tokens(
            world.verifier().with_cache(1 << 16, &SystemRandom).unwrap(),
            Freshness::in_process(),
        )
        .with_revocations(Arc::clone(&world.revocations), Freshness::in_process());
    world.layer_of(guard)
}

#[test]
fn a_request_that_is_admitted_allocates_no_more_when_it_is_watched() {
    let world = World::new();
    let alone = spent(&world, &layer(&world));
    assert!(alone.count_total > 0, "it counts");

    let nobody = Metrics::recording_to(Arc::new(metrics::NoopRecorder));
    let unheard = layer(&world).with_metrics(&nobody).with_tracing();
    assert_eq!(spent(&world, &unheard).count_total, alone.count_total);

    let recording = recorder::Recording::new();
    let metrics = Metrics::recording_to(Arc::<recorder::Recording>::clone(&recording));
    let watched = layer(&world)
        .with_observer(|_, _| ())
        .with_metrics(&metrics)
        .with_tracing();
    let seen = capture(Level::INFO, || {
        let watched = spent(&world, &watched);
        assert_eq!(
            watched.count_total, alone.count_total,
            "{watched:?}, {alone:?}"
        );
        assert_eq!(watched.bytes_total, alone.bytes_total);
    });
    assert!(seen.events().is_empty());
    assert_eq!(recording.count("m2m_admitted_total"), 53);
}
