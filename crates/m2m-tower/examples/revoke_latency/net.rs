//! Names, certificates and stores of both processes.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_pki::{Authority, CsrBuilder, Ledger, Profile, Subject};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, MemoryStore, Store};
use m2m_token::SigningKeyRing;
use m2m_tower::{AddressRule, Fetcher, HttpSender, Resolve};
use m2m_types::{ServiceId, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Outcome;

pub(crate) const ORDERS: &str = "spiffe://example.org/orders";
pub(crate) const TRANSMITTER: &str = "tr.example";
pub(crate) const RECEIVER: &str = "rc.example";
pub(crate) const AUDIENCE: &str = "https://rc.example";
const DAY: Duration = Duration::from_secs(86_400);

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All of it: one sealed file, synced at each commit.
    Embedded,
    /// Nothing. Says what the syncs cost.
    Memory,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Outcome<Self> {
        match name {
            "embedded" => Ok(Self::Embedded),
            "memory" => Ok(Self::Memory),
            _ => Err("the store is `embedded` or `memory`".into()),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Memory => "memory",
        }
    }
}

pub(crate) fn issuer(port: u16) -> String {
    format!("https://{TRANSMITTER}:{port}")
}

/// Makes an authority, a server's certificate for each of both, and the transmitter's signing key. A program would
/// have them from where its secrets are.
pub(crate) fn prepare(directory: &Path, now: Timestamp) -> Outcome<()> {
    let ledger = Ledger::new(Arc::new(MemoryStore::new()));
    let subject = Subject::new("Root")?;
    let root = Profile::root("root", "example.org".parse()?, subject, 365 * DAY)?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let ca: ServiceId = "spiffe://example.org/ca".parse()?;
    let issued = Authority::create_root(&root, &ca, &key, 365 * DAY, now, &SystemRandom)?;
    let authority = Authority::load(pollster::block_on(ledger.record(issued))?, key)?;
    std::fs::write(directory.join("root.der"), authority.certificate().der())?;
    for name in [TRANSMITTER, RECEIVER] {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let csr = CsrBuilder::new().sign(&key)?.verify()?;
        let profile = Profile::workload("server", "example.org".parse()?, DAY)?
            .with_no_revocation_below(2 * DAY)
            .with_dns_name(name)?;
        let approved = profile.approve(csr, &"spiffe://example.org/server".parse()?, DAY)?;
        let issued = authority.issue(approved, now, &SystemRandom)?;
        let leaf = pollster::block_on(ledger.record(issued))?;
        std::fs::write(directory.join(name).with_extension("crt"), leaf.der())?;
        let key = key.to_pkcs8_der();
        std::fs::write(
            directory.join(name).with_extension("key"),
            key.expose_secret(),
        )?;
        let outer = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
        std::fs::write(
            directory.join(name).with_extension("outer"),
            outer.expose_secret(),
        )?;
    }
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?.to_pkcs8_der();
    Ok(std::fs::write(
        directory.join("signing.key"),
        key.expose_secret(),
    )?)
}

/// What signs tokens and SETs.
pub(crate) fn signing_keys(directory: &Path) -> Outcome<Arc<SigningKeyRing>> {
    let key = std::fs::read(directory.join("signing.key"))?;
    let key = SigningKey::from_pkcs8_der(Algorithm::Es256, &key)?;
    Ok(Arc::new(SigningKeyRing::new(key, DAY)?))
}

/// Where a side keeps its state.
pub(crate) fn store(directory: &Path, name: &str, kind: Kind) -> Outcome<Arc<dyn Store>> {
    if kind == Kind::Memory {
        return Ok(Arc::new(MemoryStore::new()));
    }
    let outer = std::fs::read(directory.join(name).with_extension("outer"))?;
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(SecretBytes::new(outer))?));
    let file = directory.join(name).with_extension("m2m");
    Ok(Arc::new(EmbeddedStore::create(file, &options)?))
}

pub(crate) async fn serve(
    directory: &Path,
    name: &str,
    listener: TcpListener,
    app: Router,
) -> Outcome<()> {
    let leaf = std::fs::read(directory.join(name).with_extension("crt"))?;
    let key = std::fs::read(directory.join(name).with_extension("key"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(leaf)],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
        )?;
    let tls = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, app) = (tls.clone(), app.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
                    .await;
            });
        }
    });
    Ok(())
}

/// Goes to loopback, where both names lead, and believes the authority.
pub(crate) fn sender(directory: &Path) -> Outcome<HttpSender> {
    let mut roots = RootCertStore::empty();
    let root = std::fs::read(directory.join("root.der"))?;
    roots.add(CertificateDer::from(root))?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let rule = AddressRule::public().allowing(Ipv4Addr::LOCALHOST.into(), 32);
    let fetcher = Fetcher::new(Arc::new(config))
        .with_addresses(rule)
        .with_resolver(Arc::new(Here));
    Ok(HttpSender::new(fetcher))
}

/// All names lead here.
struct Here;

impl Resolve for Here {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}
