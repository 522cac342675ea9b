//! Good and bad calls to a guarded service, and what OpenTelemetry is told of them. Prints what was exported, and
//! fails if something is missing.

#![forbid(unsafe_code)]

mod bridge;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Freshness, Grant, Guard, LastConfirmed, Resources};
use m2m_revoke::{Revocations, Target};
use m2m_token::{Audience, Issuers, Minter, SigningKeyRing, TokenRequest, TokenType, Verifier};
use m2m_tower::{Authenticate, Metrics, Task, TaskReporter};
use m2m_types::{Clock, SystemClock, Timestamp};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing_subscriber::layer::SubscriberExt as _;

const ISSUER: &str = "https://issuer.example";
const BILLING: &str = "spiffe://example.org/billing";
const ORDERS: &str = "spiffe://example.org/orders";

fn main() -> Result<(), Box<dyn Error>> {
    // OpenTelemetry, with exporters to memory. An application has those of `opentelemetry-otlp` here.
    let (spans, numbers) = (
        InMemorySpanExporter::default(),
        InMemoryMetricExporter::default(),
    );
    let tracers = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let meters = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(numbers.clone()).build())
        .build();

    // The two facades, and behind them OpenTelemetry. Before anything is made that counts.
    metrics::set_global_recorder(bridge::Bridge::new(meters.meter("m2m")))?;
    let told = tracing_opentelemetry::layer().with_tracer(tracers.tracer("m2m"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(told))?;

    call()?;

    meters.force_flush()?;
    tracers.force_flush()?;
    let counted = series(&numbers)?;
    println!("metrics that are not zero:");
    for (name, value) in counted.iter().filter(|(_, value)| **value != 0.0) {
        println!("  {name} = {value}");
    }
    let spans = spans.get_finished_spans()?;
    println!("spans:");
    for span in &spans {
        println!("  {}", shown(span));
    }
    check(&counted, &spans)?;
    println!("all of it arrived");
    Ok(())
}

/// An issuer, a service behind a guard, and calls: four are good, and four are bad in four ways.
fn call() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(SystemClock::new());
    let now = clock.now()?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
    let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring))?;
    let revocations = Arc::new(Revocations::new([7; 16], now)); // from a random generator, in earnest
    // As if the keys were another process's, whom we asked just now.
    let confirmed = Arc::new(LastConfirmed::never());
    confirmed.confirm(now);
    let tokens = Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_cache(1 << 20, &SystemRandom)?;
    let read = Grant::new("GET", Resources::under("/orders")?);
    let guard = Guard::builder(AllowList::new().allow(&BILLING.parse()?, read))
        .with_bearer_tokens(
            tokens,
            Freshness::confirmed_within(Duration::from_secs(3600), confirmed),
        )
        .with_revocations(Arc::clone(&revocations), Freshness::in_process())
        .build()?;
    let guard = Arc::new(guard);

    let metrics = Metrics::new();
    let layer = Authenticate::new(Arc::clone(&guard), Arc::<SystemClock>::clone(&clock))
        .with_metrics(&metrics)
        .with_tracing();
    let service = layer.layer(service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let ask = |path: &str, token: Option<&str>, expected: u16| -> Result<(), Box<dyn Error>> {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::new())?;
        // A span of the application's: what the layer does stands in it.
        let span = tracing::info_span!("request", path);
        let answer = span.in_scope(|| pollster::block_on(service.clone().oneshot(request)))?;
        match answer.status().as_u16() == expected {
            true => Ok(()),
            false => Err(format!("{path}: {}, not {expected}", answer.status()).into()),
        }
    };
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    let token = minter.mint(&request, now, &SystemRandom)?;
    let taken_back = minter.mint(&request.with_token_id("leaked"), now, &SystemRandom)?;
    for _ in 0..4 {
        ask("/orders/17", Some(&token), 200)?;
    }
    ask("/orders/17", None, 401)?;
    ask("/orders/17", Some("not.a.token"), 401)?;
    ask("/customers", Some(&token), 403)?;
    let leaked = Target::Token {
        issuer: ISSUER,
        jti: "leaked",
    };
    revocations.revoke(leaked, Timestamp::MAX)?;
    ask("/orders/17", Some(&taken_back), 401)?;

    // What runs in the background says so by the same means.
    let fetches = TaskReporter::new(Task::CrlFetch)
        .with_metrics(&metrics)
        .with_tracing();
    let span = tracing::info_span!("background");
    span.in_scope(|| {
        fetches.done(now);
        fetches.failed(&"nobody answers");
    });
    metrics.record_guard(&guard, now);
    metrics.record_revocations(&revocations.stats());
    Ok(())
}

/// What was exported last, by name and attributes.
fn series(exporter: &InMemoryMetricExporter) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let exported = exporter.get_finished_metrics()?;
    let last = exported.last().ok_or("no metrics were exported")?;
    let mut found = BTreeMap::new();
    let mut keep = |name: &str, attributes: Vec<String>, value: f64| {
        let mut attributes = attributes;
        attributes.sort();
        found.insert(format!("{name} {}", attributes.join(" ")), value);
    };
    for metric in last.scope_metrics().flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                for point in sum.data_points() {
                    let attributes = point.attributes().map(of).collect();
                    keep(metric.name(), attributes, point.value() as f64);
                }
            }
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                for point in gauge.data_points() {
                    let attributes = point.attributes().map(of).collect();
                    keep(metric.name(), attributes, point.value());
                }
            }
            other => return Err(format!("{}: {other:?}", metric.name()).into()),
        }
    }
    Ok(found)
}

fn of(attribute: &opentelemetry::KeyValue) -> String {
    format!("{}={}", attribute.key, attribute.value)
}

/// Where in the source it stands, and how long it was at work, is not.
fn is_of_interest(attribute: &opentelemetry::KeyValue) -> bool {
    let key = attribute.key.as_str();
    let prefixes = ["code.", "thread.", "target", "busy_ns", "idle_ns"];
    !prefixes.iter().any(|prefix| key.starts_with(prefix))
}

fn shown(span: &SpanData) -> String {
    let mut text = span.name.to_string();
    for attribute in span.attributes.iter().filter(|it| is_of_interest(it)) {
        text += &format!(" {}", of(attribute));
    }
    for event in span.events.iter() {
        let attributes = event.attributes.iter().filter(|it| is_of_interest(it));
        let attributes: Vec<_> = attributes.map(of).collect();
        text += &format!("\n    ! {} {}", event.name, attributes.join(" "));
    }
    text
}

/// What must have arrived.
fn check(counted: &BTreeMap<String, f64>, spans: &[SpanData]) -> Result<(), Box<dyn Error>> {
    let expected = [
        ("m2m_admitted_total ", 4.0),
        ("m2m_refused_total detail= reason=nothing_presented", 1.0),
        ("m2m_refused_total detail= reason=denied", 1.0),
        ("m2m_refused_total detail=base64 reason=token", 1.0),
        ("m2m_refused_total detail=revoked reason=token", 1.0),
        ("m2m_refused_total detail=expired reason=token", 0.0),
        ("m2m_task_runs_total outcome=done task=crl_fetch", 1.0),
        ("m2m_task_runs_total outcome=failed task=crl_fetch", 1.0),
        ("m2m_revocations kind=token", 1.0),
        ("m2m_token_cache_taken ", 1.0),
    ];
    for (name, value) in expected {
        match counted.get(name) {
            Some(found) if *found == value => (),
            found => return Err(format!("{name:?} is {found:?}, not {value}").into()),
        }
    }
    let age = counted
        .get("m2m_age_seconds basis=keys")
        .ok_or("no age of keys")?;
    if !(0.0..3600.0).contains(age) {
        return Err(format!("keys are {age} s old").into());
    }
    let admissions: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "m2m.admission")
        .collect();
    let with = |key: &str, value: &str| {
        let has = |span: &&&SpanData| {
            let mut attributes = span.attributes.iter();
            attributes.any(|it| it.key.as_str() == key && it.value.as_str() == value)
        };
        admissions.iter().filter(has).count()
    };
    let requests: Vec<_> = spans.iter().filter(|span| span.name == "request").collect();
    let in_requests = admissions.iter().all(|admission| {
        let mut requests = requests.iter();
        requests.any(|request| request.span_context.span_id() == admission.parent_span_id)
    });
    let told = admissions
        .iter()
        .flat_map(|span| span.events.iter())
        .filter(|event| event.name == "m2m.refused")
        .count();
    let found = [
        admissions.len(),
        with("admitted", "true"),
        with("caller", BILLING),
        with("code", "denied"),
        told,
        usize::from(in_requests),
    ];
    match found == [8, 4, 5, 1, 4, 1] {
        true => Ok(()),
        false => Err(format!("of the spans: {found:?}").into()),
    }
}
