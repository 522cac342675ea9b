//! What is asked for each request and each connection allocates nothing.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use tls_support::*;

/// How often `action` allocates, on this thread.
fn allocations(action: impl FnOnce()) -> u64 {
    allocation_counter::measure(action).count_total
}

#[test]
fn a_check_before_a_request_and_a_configuration_allocate_nothing() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (pair, shop, _) = meet(&connector, &server).unwrap();
    let open = server.watch(&shop, |_| ()).unwrap();
    let now = world.now();
    assert_eq!(allocations(|| drop(open.check(now))), 0);
    assert_eq!(allocations(|| drop(server.server_config())), 0);
    assert_eq!(allocations(|| drop(connector.config())), 0);
    // Who is at the other end is remembered, and judged anew.
    let judged = allocations(|| drop(server.peer(&pair.server).unwrap()));
    assert_eq!(judged, 0);
    assert!(allocations(|| drop(Box::new(1))) > 0, "it counts");
}
