//! What the tests share: a directory of its own for each, calls, and one round of the background work.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use m2m::Runtime;
use m2m::crypto::CertificateThumbprint;
use m2m::guard::{Call, Grant, GuardScratch, Presented, Refusal, Resources};
use m2m::runtime::RuntimeBuilder;
use m2m::types::{Clock, ManualClock, Timestamp};

pub const ISSUER: &str = "https://issuer.example";
pub const ORDERS: &str = "spiffe://example.org/orders";
pub const BILLING: &str = "spiffe://example.org/billing";

pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// The state of the service of that name.
    pub fn of(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// `orders`, which issues, and lets `billing` read orders.
pub fn orders(place: &Place) -> RuntimeBuilder {
    Runtime::builder(ORDERS, place.of("orders"))
        .as_issuer(ISSUER)
        .allow(BILLING, reading_orders())
}

pub fn reading_orders() -> Grant {
    Grant::new("GET", Resources::under("/orders").unwrap())
}

pub fn manual() -> Arc<ManualClock> {
    let now = Timestamp::from_unix_seconds(1_790_000_000).unwrap();
    Arc::new(ManualClock::new(now))
}

/// The name of who is admitted, or why nobody is.
pub fn call(
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

pub fn thumbprint(of: &Runtime) -> CertificateThumbprint {
    *of.tls().material().identity().certificate().thumbprint()
}

/// Runs all background work until each piece has done what was due at this time.
pub async fn round(runtime: &Runtime) {
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
