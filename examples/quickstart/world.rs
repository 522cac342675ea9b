//! Who there is: an issuer and two services, each with a store of its own, all on this machine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Request;
use m2m_pki::{CsrBuilder, UnverifiedCsr};
use m2m_types::SystemClock;

use crate::authority::key_and_request;
use crate::issuer::Issuer;
use crate::load::answered;
use crate::net::Names;
use crate::service::{Service, open_store};
use crate::table::{Table, readable};
use crate::{Outcome, signals};

pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const ISSUER_NAME: &str = "spiffe://example.org/issuer";
pub(crate) const ISSUER_HOST: &str = "issuer.example";
pub(crate) const SERVICES: [&str; 2] = [ORDERS.name, BILLING.name];

/// A service, and the one that it calls.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) short: &'static str,
    pub(crate) name: &'static str,
    pub(crate) host: &'static str,
    pub(crate) other_name: &'static str,
    pub(crate) other_host: &'static str,
    /// Takes signed orders. The other one shows invoices.
    pub(crate) takes_orders: bool,
}

pub(crate) const ORDERS: Place = Place {
    short: "orders",
    name: "spiffe://example.org/orders",
    host: "orders.example",
    other_name: BILLING.name,
    other_host: BILLING.host,
    takes_orders: true,
};

pub(crate) const BILLING: Place = Place {
    short: "billing",
    name: "spiffe://example.org/billing",
    host: "billing.example",
    other_name: "spiffe://example.org/orders",
    other_host: "orders.example",
    takes_orders: false,
};

pub(crate) struct World {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) orders: Arc<Service>,
    pub(crate) billing: Arc<Service>,
    /// Where the stores are; deleted with it.
    _directory: tempfile::TempDir,
}

impl World {
    /// An issuer starts, two services join, and all of them listen.
    pub(crate) async fn start(table: &mut Table) -> Outcome<Self> {
        println!("\n2. An issuer and two services, by mutual TLS on loopback");
        let directory = tempfile::tempdir()?;
        let clock = Arc::new(SystemClock::new());
        let names = Arc::new(Names::default());
        let own = directory.path().join("issuer");
        std::fs::create_dir(&own)?;
        let store = open_store(&own)?;
        let issuer = Issuer::start(store, Arc::clone(&clock), Arc::clone(&names)).await?;
        let begun = Instant::now();
        let join = |place| {
            let (clock, names) = (Arc::clone(&clock), Arc::clone(&names));
            Service::join(place, &issuer, clock, names, directory.path())
        };
        let orders = join(ORDERS).await?;
        let billing = join(BILLING).await?;
        let joined = begun.elapsed() / 2;
        for service in [&orders, &billing] {
            let material = service.machine.tls.material();
            let serial = material.identity().certificate().serial();
            println!(
                "   {} joined with a request for its own key: certificate {serial}, recorded before it was released",
                service.place.short
            );
        }
        refuse_requests(&issuer).await?;
        // Each has said which keys, bundle, CRLs and version of the secret it goes by.
        issuer.wait_until_in_place().await?;
        issuer
            .wait_for(|all| all.values().all(|has| has.held.is_some()))
            .await?;
        for service in [&orders, &billing] {
            service.refresh_token().await?;
        }
        tokio::spawn(signals::push(Arc::clone(&issuer)));
        table.add(
            "services joined by CSR, recorded before released",
            2,
            format!("{} each", readable(joined)),
            "m2m-pki, m2m-store",
        );
        Ok(Self {
            issuer,
            orders,
            billing,
            _directory: directory,
        })
    }

    /// How many calls the guards of both services have let through.
    pub(crate) fn admitted(&self) -> u64 {
        let counts = [&self.orders, &self.billing].map(|one| one.admitted.load(Ordering::SeqCst));
        counts.iter().sum()
    }

    /// Calls in both directions, and what is refused and why.
    pub(crate) async fn show_calls(&self, table: &mut Table) -> Outcome<()> {
        let (orders, billing) = (&self.orders, &self.billing);
        for (caller, callee) in [(billing, orders), (orders, billing)] {
            let mut line = caller.open_line().await?;
            let answer = answered(caller, &mut line, 1).await?;
            let (caller, callee) = (caller.place.short, callee.place.short);
            println!("   {caller} → {callee}: 200 {answer}");
        }
        println!("   refused by orders (the caller reads one word), and what its operators read:");
        let own = billing.open_line().await?;
        let bearer = format!("Bearer {}", own.token());
        let post = || Request::post("/orders").header("authorization", &bearer);
        let unsigned = post().body(b"{}".to_vec())?;
        let bare = Request::post("/orders").body(Vec::new())?;
        let stolen = post().body(Vec::new())?;
        let beyond = Request::get("/customers").header("authorization", &bearer);
        let beyond = beyond.body(Vec::new())?;
        let (own, thief) = (&billing.machine, &self.issuer.machine);
        let cases = [
            ("an unsigned order", own, unsigned, 401, "signature"),
            ("a call without a token", own, bare, 401, "requires a token"),
            ("billing's token, stolen", thief, stolen, 401, "is bound by"),
            ("what was not allowed", own, beyond, 403, "may not do this"),
        ];
        table.add(
            "calls refused over the network, each for its own reason",
            cases.len(),
            "",
            "m2m-guard, m2m-tower, m2m-secrets",
        );
        for (what, caller, request, status, why) in cases {
            let response = caller.dial(ORDERS.host).await?.send(request).await?;
            let (found, said) = (response.status().as_u16(), orders.last_word());
            println!("     {found} {what:<24} {said}");
            if found != status || !said.contains(why) {
                return Err(format!("{what}: not {status}, or not because it {why}").into());
            }
        }
        Ok(())
    }
}

/// What an authority does not take.
async fn refuse_requests(issuer: &Issuer) -> Outcome<()> {
    let (key, csr) = key_and_request()?;
    // The last byte of a request is one of its signature.
    let mut forged = UnverifiedCsr::from_pem(csr.as_bytes())?.der().to_vec();
    forged.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
    let foreign = UnverifiedCsr::from_der(&forged)?.to_pem();
    let invitation = issuer.invite("spiffe://example.org/shop")?;
    let refused = issuer.join(&invitation, &foreign).await.err();
    let why = refused.ok_or("a request without proof of its key was taken")?;
    println!("   refused: a request that its key has not signed: {why}");
    let refused = issuer.join(&invitation, &csr).await.err();
    let why = refused.ok_or("an invitation was good twice")?;
    println!("   refused: an invitation for the second time: {why}");
    let invitation = issuer.invite("spiffe://example.org/shop")?;
    let csr = CsrBuilder::new()
        .with_service_id(&ORDERS.name.parse()?)
        .sign(&key)?
        .to_pem();
    let refused = issuer.join(&invitation, &csr).await.err();
    let why = refused.ok_or("somebody got another's name")?;
    println!("   refused: shop asks to be orders: {why}");
    Ok(())
}
