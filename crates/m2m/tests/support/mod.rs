//! What the tests share: a directory of its own for each, calls, and one round of the background work.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use m2m::Runtime;
use m2m::crypto::CertificateThumbprint;
use m2m::guard::{Call, Grant, GuardScratch, Presented, Refusal, Resources};
use m2m::runtime::RuntimeBuilder;
use m2m::types::{ManualClock, Timestamp};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const ORDERS: &str = "spiffe://example.org/orders";
pub(crate) const BILLING: &str = "spiffe://example.org/billing";

pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// The state of the service of that name.
    pub(crate) fn of(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// `orders`, which issues, and lets `billing` read orders.
pub(crate) fn orders(place: &Place) -> RuntimeBuilder {
    Runtime::builder(ORDERS, place.of("orders"))
        .as_issuer(ISSUER)
        .allow(BILLING, reading_orders())
}

pub(crate) fn reading_orders() -> Grant {
    Grant::new("GET", Resources::under("/orders").unwrap())
}

pub(crate) fn manual() -> Arc<ManualClock> {
    let now = Timestamp::from_unix_seconds(1_790_000_000).unwrap();
    Arc::new(ManualClock::new(now))
}

/// The name of who is admitted, or why nobody is.
pub(crate) fn call(
    to: &Runtime,
    token: &str,
    certificate: CertificateThumbprint,
) -> Result<String, Refusal> {
    let presented = Presented::nothing()
        .with_token(token)
        .with_certificate(certificate);
    let call = Call::new("GET", "/orders/17");
    let now = to.clock().now().unwrap();
    let mut scratch = GuardScratch::new();
    let admitted = to.guard().admit(&presented, &call, now, &mut scratch)?;
    Ok(admitted.name().to_owned())
}

pub(crate) fn thumbprint(of: &Runtime) -> CertificateThumbprint {
    *of.tls().material().identity().certificate().thumbprint()
}

/// Runs all background work until each piece has done what was due at this time.
pub(crate) async fn round(runtime: &Runtime) {
    let now = runtime.clock().now().unwrap();
    let done = async {
        loop {
            let health = runtime.health();
            let is_done = |at: Option<Timestamp>| at.is_some_and(|at| at >= now);
            if health
                .tasks()
                .iter()
                .all(|task| is_done(task.last_success()))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), done);
    let mut finished = false;
    runtime.run(async { finished = done.await.is_ok() }).await;
    assert!(finished, "{}", runtime.health());
}
