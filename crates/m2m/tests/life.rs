//! A runtime over time: machines join, keys and certificates rotate, trust is taken back, and background work
//! reports.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use m2m::Runtime;
use m2m::guard::{Grant, Rejection, Resources};
use m2m::pki::{Operator, RevocationReason};
use m2m::runtime::{StartError, TaskName};
use m2m::types::ManualClock;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn both(place: &Place, clock: &Arc<ManualClock>) -> (Runtime, Runtime) {
    let orders = orders(place)
        .with_clock(Arc::<ManualClock>::clone(clock))
        .with_signing_keys_for(HOUR);
    let orders = orders.start().await.unwrap();
    let billing = Runtime::builder(BILLING, place.of("billing"))
        .joining(orders.issuer().unwrap())
        .with_clock(Arc::<ManualClock>::clone(clock));
    (orders, billing.start().await.unwrap())
}

#[tokio::test]
async fn a_service_that_joined_calls_with_a_token_that_only_its_own_certificate_makes_good() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    let token = billing.token_for(orders.service_id()).await.unwrap();
    assert_eq!(
        call(&orders, &token, thumbprint(&billing)).unwrap(),
        BILLING
    );

    let stolen = call(&orders, &token, thumbprint(&orders)).unwrap_err();
    assert_eq!(
        (stolen.code(), stolen.rejection()),
        ("token", Rejection::Unauthenticated)
    );
    // What is for somebody else is refused, and so is who was given nothing.
    let elsewhere = billing.token_for(billing.service_id()).await.unwrap();
    assert_eq!(
        call(&orders, &elsewhere, thumbprint(&billing))
            .unwrap_err()
            .code(),
        "token"
    );
    let own = orders.token_for(orders.service_id()).await.unwrap();
    assert_eq!(
        call(&orders, &own, thumbprint(&orders)).unwrap_err().code(),
        "denied"
    );
}

#[tokio::test]
async fn a_machine_whose_trust_is_taken_back_is_refused_at_once_and_is_on_the_crl() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    let token = billing.token_for(orders.service_id()).await.unwrap();
    assert!(call(&orders, &token, thumbprint(&billing)).is_ok());
    orders.revoke_service(billing.service_id()).await.unwrap();
    let refused = call(&orders, &token, thumbprint(&billing)).unwrap_err();
    assert_eq!(refused.rejection(), Rejection::Unauthenticated);
    assert!(refused.to_string().contains("revoked"), "{refused}");

    let certificate = billing.tls().material().identity().certificate().clone();
    let material = orders.tls().material();
    let crl = material.crls().crls().next().unwrap();
    assert!(crl.find(certificate.serial().as_bytes()).unwrap().is_some());
}

#[tokio::test]
async fn a_revoked_certificate_is_on_the_crl_of_those_who_joined_after_their_next_round() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    let before = billing
        .tls()
        .material()
        .crls()
        .crls()
        .next()
        .unwrap()
        .number();
    orders
        .issue_files("spiffe://example.org/curl", place.of("curl"))
        .await
        .unwrap();
    let pem = std::fs::read(place.of("curl").join("cert.pem")).unwrap();
    let certificate = m2m::pki::Certificate::from_pem(&pem).unwrap();
    let by = Operator::danger_vouched_for("test").unwrap();
    let reason = RevocationReason::KeyCompromise;
    orders
        .revoke_certificate(&certificate.id().unwrap(), reason, &by)
        .await
        .unwrap();
    round(&billing).await;
    let material = billing.tls().material();
    let newest = material.crls().crls().next().unwrap();
    assert!(newest.number() > before);
    assert!(
        newest
            .find(certificate.serial().as_bytes())
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn signing_keys_rotate_by_schedule_and_survive_each_restart_on_the_way() {
    let (place, clock) = (Place::new(), manual());
    let (mut orders, _) = both(&place, &clock).await;
    let mut kids = vec![active(&orders)];
    let first = orders.token_for(orders.service_id()).await.unwrap();
    // Published a quarter of an hour before its hour; active then; the one before goes five minutes later.
    for (minutes, published, is_next) in
        [(44, 1, false), (1, 2, false), (15, 2, true), (5, 1, false)]
    {
        clock.advance(Duration::from_secs(60 * minutes));
        round(&orders).await;
        for _ in 0..2 {
            assert_eq!(
                orders.issuer().unwrap().signing_keys().jwk_set().len(),
                published,
                "{minutes}"
            );
            match is_next && !kids.contains(&active(&orders)) {
                true => kids.push(active(&orders)),
                false => assert_eq!(Some(&active(&orders)), kids.last()),
            }
            drop(orders);
            orders = self::orders(&place)
                .with_clock(Arc::<ManualClock>::clone(&clock))
                .with_signing_keys_for(HOUR)
                .start()
                .await
                .unwrap();
        }
    }
    assert_eq!(kids.len(), 2);
    // Long expired; and its key is gone.
    let refused = call(&orders, &first, thumbprint(&orders)).unwrap_err();
    assert_eq!(refused.code(), "token");
}

#[tokio::test]
async fn a_token_is_good_across_a_rotation_and_a_restart() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    clock.advance(HOUR - Duration::from_secs(61));
    round(&orders).await;
    let token = billing.token_for(orders.service_id()).await.unwrap();
    let before = active(&orders);
    clock.advance(Duration::from_secs(61));
    // The key was published late: nobody was there to do it. It is used when everybody can know it.
    round(&orders).await;
    assert_eq!(active(&orders), before);
    assert!(call(&orders, &token, thumbprint(&billing)).is_ok());
    let shown = thumbprint(&billing);
    drop((orders, billing));
    let orders = self::orders(&place).with_clock(Arc::<ManualClock>::clone(&clock));
    let orders = orders.start().await.unwrap();
    assert!(call(&orders, &token, shown).is_ok());
    clock.advance(Duration::from_secs(240));
    assert!(call(&orders, &token, shown).is_err(), "expired");
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_kept_over_a_restart() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    let first = thumbprint(&billing);
    round(&billing).await;
    assert_eq!(thumbprint(&billing), first, "it is not time");
    drop(billing);
    let again = Runtime::builder(BILLING, place.of("billing"))
        .joining(orders.issuer().unwrap())
        .with_clock(Arc::<ManualClock>::clone(&clock));
    let billing = again.start().await.unwrap();
    assert_eq!(thumbprint(&billing), first, "it is kept");
    // Two thirds of a day, and a CRL for the rest of it.
    clock.advance(16 * HOUR);
    round(&orders).await;
    round(&billing).await;
    assert_ne!(thumbprint(&billing), first);
    let token = billing.token_for(orders.service_id()).await.unwrap();
    assert!(call(&orders, &token, thumbprint(&billing)).is_ok());
}

#[tokio::test]
async fn background_work_is_the_applications_and_says_what_it_did() {
    let (place, clock) = (Place::new(), manual());
    let (orders, billing) = both(&place, &clock).await;
    let health = orders.health();
    assert!(!health.is_well(), "nobody runs anything yet");
    let names: Vec<_> = health
        .tasks()
        .iter()
        .map(|task| task.name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "signing-keys",
            "crl",
            "certificate",
            "connections",
            "revocations",
            "store"
        ]
    );
    assert!(billing.health().task(TaskName::SigningKeys).is_none());

    // Each is there once, and again when it was dropped.
    let tasks = orders.tasks();
    assert_eq!(tasks.len(), names.len());
    assert!(orders.tasks().is_empty());
    drop(tasks);
    assert_eq!(orders.tasks().len(), names.len());

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let orders = orders.clone();
        async move { orders.run(async { drop(stopped.await) }).await }
    });
    let now = clock_now(&clock);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !orders.health().is_well()
        || orders
            .health()
            .tasks()
            .iter()
            .any(|task| task.last_success().is_none())
    {
        assert!(std::time::Instant::now() < deadline, "{}", orders.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in orders.health().tasks() {
        assert_eq!(task.last_success(), Some(now), "{task}");
        assert!(
            task.next_due() > Some(now) && task.last_error().is_none(),
            "{task}"
        );
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    assert!(
        orders
            .health()
            .tasks()
            .iter()
            .all(|task| !task.is_running())
    );
}

#[tokio::test]
async fn a_task_that_fails_says_why_and_is_tried_again() {
    let (place, clock) = (Place::new(), manual());
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lines = Arc::clone(&told);
    let orders = orders(&place)
        .with_clock(Arc::<ManualClock>::clone(&clock))
        .with_log(move |event| lines.lock().unwrap().push(event.to_string()))
        .start()
        .await
        .unwrap();
    // After its root has expired an authority issues nothing.
    clock.advance(Duration::from_secs(3700 * 86_400));
    let task = orders
        .tasks()
        .into_iter()
        .find(|task| task.name() == TaskName::Certificate);
    let _ = tokio::time::timeout(Duration::from_millis(300), task.unwrap()).await;
    let health = orders.health();
    let report = health.task(TaskName::Certificate).unwrap();
    assert!(report.failures() >= 1 && !health.is_well(), "{report}");
    let (_, why) = report.last_error().unwrap();
    assert!(why.starts_with("the authority:"), "{why}");
    assert!(report.next_due() > Some(clock_now(&clock)));
    let told = told.lock().unwrap();
    assert!(
        told.iter()
            .any(|line| line == &format!("certificate failed: {why}")),
        "{told:?}"
    );
}

#[tokio::test]
async fn api_keys_are_taken_until_they_are_revoked_also_after_a_restart() {
    use m2m::crypto::SystemRandom;
    use m2m::guard::{Call, GuardScratch, Presented};
    let (place, clock) = (Place::new(), manual());
    let start = || {
        orders(&place)
            .with_clock(Arc::<ManualClock>::clone(&clock))
            .with_api_keys("acme", "live")
            .start()
    };
    let orders = start().await.unwrap();
    let billing = BILLING.parse().unwrap();
    let keys = orders.api_keys().unwrap();
    let issued = keys
        .issue(billing, clock_now(&clock), &SystemRandom)
        .await
        .unwrap();
    let admits = |runtime: &Runtime| {
        let presented = Presented::nothing().with_api_key(issued.key().expose_secret().as_bytes());
        let call = Call::new("GET", "/orders/17");
        let mut scratch = GuardScratch::new();
        runtime
            .guard()
            .admit(&presented, &call, clock_now(&clock), &mut scratch)
            .is_ok()
    };
    assert!(admits(&orders));
    drop(orders);
    let orders = start().await.unwrap();
    assert!(admits(&orders));
    let billing = BILLING.parse().unwrap();
    let (now, id) = (clock_now(&clock), issued.key().id());
    orders
        .api_keys()
        .unwrap()
        .revoke(&billing, id, now, &SystemRandom)
        .await
        .unwrap();
    assert!(!admits(&orders));
    drop(orders);
    assert!(!admits(&start().await.unwrap()));
}

#[tokio::test]
async fn what_contradicts_itself_does_not_start() {
    let place = Place::new();
    let unsaid = Runtime::builder(ORDERS, place.of("orders")).start().await;
    assert_eq!(unsaid.unwrap_err(), StartError::IssuerUnsaid);
    let nobody = Runtime::builder("orders", place.of("orders"))
        .as_issuer(ISSUER)
        .start()
        .await;
    assert!(matches!(nobody, Err(StartError::Name { .. })));
    let everything = Grant::new("GET", Resources::all());
    let nobody = orders(&place).allow("billing", everything).start().await;
    assert!(matches!(nobody, Err(StartError::Name { .. })));
    assert!(!place.of("orders").exists(), "nothing was made");

    let issuer = orders(&place).start().await.unwrap();
    let foreign = Runtime::builder("spiffe://other.example/a", place.of("a"))
        .joining(issuer.issuer().unwrap());
    assert!(matches!(
        foreign.start().await,
        Err(StartError::Contradiction { .. })
    ));
}

fn clock_now(clock: &ManualClock) -> m2m::types::Timestamp {
    use m2m::types::Clock;
    clock.now().unwrap()
}

fn active(runtime: &Runtime) -> Box<str> {
    use m2m::token::SigningKeyState;
    let states = runtime.issuer().unwrap().signing_keys().states();
    let active = states
        .into_iter()
        .find(|(_, state)| *state == SigningKeyState::Active);
    active.unwrap().0
}

#[tokio::test]
async fn events_are_published_and_their_work_is_background_work_too() {
    use m2m::crypto::SystemRandom;
    use m2m::set::{SecurityEvent, SessionRevoked, SubjectId};
    use m2m::store::IdempotencyKey;
    use m2m::stream::receiver::TrustMatrix;
    use m2m::stream::transmitter::{Published, TransmitterOptions};
    use m2m::tower::{Fetcher, HttpSender};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    let (place, clock) = (Place::new(), manual());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let sender = HttpSender::new(Fetcher::new(Arc::new(config)));
    let with_events = |builder: m2m::runtime::RuntimeBuilder| {
        let options = TransmitterOptions::default();
        builder
            .with_clock(Arc::<ManualClock>::clone(&clock))
            .receiving(Vec::new(), TrustMatrix::new())
            .transmitting([SessionRevoked::URI], options, sender.clone())
    };
    let orders = with_events(orders(&place)).start().await.unwrap();
    assert!(orders.signals().is_some());
    let event = SecurityEvent::new(
        SubjectId::opaque("session-4711").unwrap(),
        SessionRevoked::new(),
    );
    let name = IdempotencyKey::generate(&SystemRandom).unwrap();
    let transmitter = orders.transmitter().unwrap();
    let now = clock_now(&clock);
    let first = transmitter.publish(&event, name, now).await.unwrap();
    assert_eq!(first, Published::Now);
    round(&orders).await;
    let health = orders.health();
    for name in [TaskName::EventsReceived, TaskName::EventsSent] {
        assert_eq!(
            health.task(name).unwrap().last_success(),
            Some(now),
            "{health}"
        );
    }

    // Whoever does not issue has no keys that others would know its events by.
    let member = with_events(
        Runtime::builder(BILLING, place.of("billing")).joining(orders.issuer().unwrap()),
    );
    assert!(matches!(
        member.start().await,
        Err(StartError::Contradiction { .. })
    ));
}
