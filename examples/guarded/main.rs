//! A service behind the guard, on loopback: mutual TLS, tokens that are bound to certificates, and what
//! everybody is told who does it wrong.
//!
//! ```text
//! cargo run --release -p m2m-examples --example guarded
//! ```

#![expect(clippy::print_stdout, reason = "a program for people")]

mod machines;
mod server;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use m2m_crypto::{Algorithm, SecureRandom, SigningKey, SystemRandom};
use m2m_pki::ExpectedPeer;
use m2m_pki::tls::LiveTls;
use m2m_revoke::{Revocations, Target};
use m2m_token::{Minter, SigningKeyRing, TokenRequest, TokenType};
use m2m_types::{Clock, SystemClock, Timestamp};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use machines::Machines;
use server::Orders;

const ISSUER: &str = "https://issuer.example";
const ORDERS: &str = "spiffe://example.org/orders";
const BILLING: &str = "spiffe://example.org/billing";
const SHOP: &str = "spiffe://example.org/shop";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let clock: Arc<SystemClock> = Arc::new(SystemClock::new());
    let now = clock.now()?;
    let machines = Machines::new(Arc::<SystemClock>::clone(&clock)).await?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
    let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring))?;
    let mut seed = [0; 16];
    SystemRandom.fill(&mut seed)?;
    let revocations = Arc::new(Revocations::new(seed, now));

    let (orders, _) = machines.join(ORDERS).await?;
    let server = Orders::start(orders.clone(), &ring, &revocations, clock.clone()).await?;
    println!("orders listens on {}\n", server.address);

    let (billing, own) = machines.join(BILLING).await?;
    let (shop, shops) = machines.join(SHOP).await?;
    let mint = |subject: &str, to: Option<&m2m_pki::Certificate>| -> Outcome<String> {
        let request =
            TokenRequest::new(subject, ORDERS, Duration::from_secs(300)).with_token_id("t-1");
        let request = match to {
            Some(certificate) => request.with_certificate_binding(*certificate.thumbprint()),
            None => request,
        };
        Ok(minter.mint(&request, clock.now()?, &SystemRandom)?)
    };
    let token = mint(BILLING, Some(&own))?;

    let mut calls = Calls::to(&server);
    calls
        .of(&billing)
        .expect(
            "a bound token and its certificate",
            "/orders/17",
            &[&token],
            200,
        )
        .await?;
    calls
        .of(&billing)
        .expect("no token", "/orders/17", &[], 401)
        .await?;
    calls
        .of(&shop)
        .expect("a stolen token", "/orders/17", &[&token], 401)
        .await?;
    calls
        .of(&billing)
        .expect(
            "a token that is not bound",
            "/orders/17",
            &[&mint(BILLING, None)?],
            401,
        )
        .await?;
    let others = mint(BILLING, Some(&shops))?;
    calls
        .of(&shop)
        .expect(
            "one's own certificate, another's name",
            "/orders/17",
            &[&others],
            401,
        )
        .await?;
    calls
        .of(&billing)
        .expect("two tokens", "/orders/17", &[&token, &token], 400)
        .await?;
    calls
        .of(&billing)
        .expect(
            "a path with two meanings",
            "/orders/../customers",
            &[&token],
            400,
        )
        .await?;
    calls
        .of(&billing)
        .expect("what was not allowed", "/customers", &[&token], 403)
        .await?;
    let target = Target::Token {
        issuer: ISSUER,
        jti: "t-1",
    };
    revocations.revoke(target, Timestamp::MAX)?;
    calls
        .of(&billing)
        .expect("a revoked token", "/orders/17", &[&token], 401)
        .await?;

    // A certificate is revoked while its connection is open.
    let mut open = connect(&billing, &server).await?;
    open.send_request(request("/orders/17", &[])?).await?; // the server knows it by now
    let closed = orders
        .update(|material| material.set_crl(machines.revoke(&own)))?
        .closed;
    let gone = open
        .send_request(request("/orders/17", &[])?)
        .await
        .is_err()
        || open.is_closed();
    let again = match connect(&billing, &server).await {
        Err(_) => true,
        Ok(mut again) => again
            .send_request(request("/orders/17", &[])?)
            .await
            .is_err(),
    };
    println!("\nrevoked certificate: {closed} connections closed, refused anew: {again}");
    if !(gone && again) || closed == 0 {
        return Err("a revoked certificate was still good for something".into());
    }
    calls.all_as_expected(&server)
}

/// Makes calls and compares what comes of them.
struct Calls<'a> {
    server: &'a Orders,
    tls: Option<LiveTls>,
    count: usize,
    wrong: usize,
}

impl<'a> Calls<'a> {
    fn to(server: &'a Orders) -> Self {
        let (count, wrong) = (0, 0);
        Self {
            server,
            tls: None,
            count,
            wrong,
        }
    }

    fn of(&mut self, tls: &LiveTls) -> &mut Self {
        self.tls = Some(tls.clone());
        self
    }

    async fn expect(
        &mut self,
        what: &str,
        path: &str,
        tokens: &[&str],
        status: u16,
    ) -> Outcome<()> {
        let tls = self.tls.as_ref().ok_or("nobody calls")?;
        let mut client = connect(tls, self.server).await?;
        let response = client.send_request(request(path, tokens)?).await?;
        let (found, body) = (response.status().as_u16(), response.into_body());
        let body = body.collect().await?.to_bytes();
        let said = String::from_utf8_lossy(&body);
        println!("{found} {what}: {}", said.trim());
        if let Some(line) = self.server.log.lock().ok().and_then(|mut log| log.pop()) {
            println!("    log: {line}");
        } else if status != 200 {
            self.wrong += 1;
        }
        self.count += 1;
        self.wrong += usize::from(found != status);
        Ok(())
    }

    fn all_as_expected(&self, server: &Orders) -> Outcome<()> {
        println!(
            "{} calls, {} not answered as they should be",
            self.count, self.wrong
        );
        let unread = server.log.lock().map(|log| log.len()).unwrap_or(1);
        match self.wrong {
            0 => Ok(()),
            wrong => Err(format!("{wrong} calls went wrong; {unread} lines unread").into()),
        }
    }
}

fn request(path: &str, tokens: &[&str]) -> Outcome<Request<Empty<bytes::Bytes>>> {
    let mut request = Request::get(path).header("host", "orders.internal");
    for token in tokens {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    Ok(request.body(Empty::new())?)
}

type Client = hyper::client::conn::http1::SendRequest<Empty<bytes::Bytes>>;

async fn connect(tls: &LiveTls, server: &Orders) -> Outcome<Client> {
    let connector = tls.connector(ExpectedPeer::service(ORDERS.parse()?))?;
    let stream = TcpStream::connect(server.address).await?;
    let name = "orders.internal".try_into()?;
    let stream = TlsConnector::from(connector.config())
        .connect(name, stream)
        .await?;
    let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}
