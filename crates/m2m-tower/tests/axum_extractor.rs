//! The caller as an argument of a handler of axum.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt as _;
use m2m_tower::{Authenticate, Identified};
use support::{World, with_token};
use tower::ServiceExt as _;

async fn who(Identified(caller): Identified) -> String {
    caller.service_id().as_str().to_owned()
}

async fn maybe(caller: Option<Identified>) -> String {
    let name = caller.map(|Identified(caller)| caller.service_id().as_str().to_owned());
    name.unwrap_or_else(|| "nobody".to_owned())
}

fn router(layer: Option<Authenticate>) -> Router {
    let router = Router::new()
        .route("/orders", get(who))
        .route("/orders/maybe", get(maybe));
    match layer {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

fn ask(router: Router, path: &str, token: Option<&str>) -> (u16, String) {
    let request = match token {
        Some(token) => with_token(path, token).map(|_| Body::empty()),
        None => Request::get(path).body(Body::empty()).unwrap(),
    };
    pollster::block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn a_handler_is_given_the_caller_or_is_not_reached() {
    let world = World::new();
    let token = world.token();
    let router_of = |layer| router(Some(layer));
    let billing = (200, support::BILLING.to_owned());
    assert_eq!(
        ask(router_of(world.layer()), "/orders", Some(&token)),
        billing
    );
    assert_eq!(ask(router_of(world.layer()), "/orders", None).0, 401);
    // Annotated: the handler is as strict as the layer would have been, unless it asks for less.
    let annotating = || router_of(world.layer().only_annotating());
    assert_eq!(ask(annotating(), "/orders", None).0, 401);
    assert_eq!(ask(annotating(), "/orders", Some("a.b.c")).0, 401);
    assert_eq!(
        ask(annotating(), "/orders/maybe", Some("a.b.c")),
        (200, "nobody".into())
    );
    assert_eq!(ask(annotating(), "/orders/maybe", Some(&token)), billing);
    // Nobody asked anybody: nobody is known.
    assert_eq!(ask(router(None), "/orders", Some(&token)).0, 503);
}
