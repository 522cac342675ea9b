//! What the peers are given: an authority with an intermediate, machines, CRLs and tokens, as PEM files in a
//! directory that goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::{Identity, LiveTls, Material, TlsEvent};
use m2m_pki::{
    Authority, Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlPublisher, CrlSet, CrlSigner,
    CsrBuilder, Ledger, Operator, Profile, RevocationReason, RevocationRule, Revoker, Subject,
    TrustBundle, TrustBundles, UnverifiedCrl, UnverifiedCsr,
};
use m2m_store::MemoryStore;
use m2m_token::{Minter, SigningKeyRing, TokenRequest, TokenType};
use m2m_types::{Clock, ServiceId, SystemClock, Timestamp, TrustDomain};
use pollster::block_on;
use tempfile::TempDir;

use crate::server::Log;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const FOREIGN_ISSUER: &str = "https://issuer.internal";
pub(crate) const ORDERS: &str = "spiffe://example.org/orders";
pub(crate) const BILLING: &str = "spiffe://example.org/billing";
pub(crate) const SHOP: &str = "spiffe://example.org/shop";
pub(crate) const PROXY: &str = "spiffe://example.org/proxy";
/// The names of those that listen in DNS, which no test asks.
pub(crate) const SERVER_NAME: &str = "orders.internal";
pub(crate) const PROXY_NAME: &str = "proxy.internal";
pub(crate) const ISSUER_NAME: &str = "issuer.internal";

const DAY: Duration = Duration::from_secs(86_400);
const MINUTES: Duration = Duration::from_secs(300);

/// An authority, and its key once more to sign CRLs with.
struct Ca {
    authority: Authority,
    key: SigningKey,
    crls: CrlPublisher,
}

/// Everything of one trust domain. Machines are known by the names of their files: `billing.pem` is a chain,
/// leaf first, and `billing.key` its key.
pub(crate) struct World {
    directory: TempDir,
    clock: Arc<SystemClock>,
    ledger: Ledger,
    root: Ca,
    issuing: Ca,
    crls: CrlSet,
    pub(crate) ring: Arc<SigningKeyRing>,
    minter: Minter,
}

impl World {
    /// With the machines that the tests are about.
    pub(crate) fn new() -> Self {
        Self::of("Example")
    }

    /// The same by authorities of that name.
    fn of(name: &str) -> Self {
        let mut world = Self::empty(name);
        for (file, name) in [
            ("orders", ORDERS),
            ("billing", BILLING),
            ("again", BILLING), // the same machine's next certificate
            ("revoked", BILLING),
            ("shop", SHOP),
            ("proxy", PROXY),
            ("issuer", "spiffe://example.org/issuer"),
        ] {
            world.join(file, name, world.now());
        }
        world.join("expired", BILLING, before(world.now(), 2 * DAY));
        world.revoke("revoked");
        world
    }

    fn empty(name: &str) -> Self {
        let clock = Arc::new(SystemClock::new());
        let directory = tempfile::Builder::new().prefix("m2m-peers-").tempdir();
        let directory = directory.unwrap();
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let founded = before(clock.now().unwrap(), 10 * DAY);
        let root = Ca::root(&ledger, name, founded);
        let issuing = Ca::issuing(&ledger, &root, name, founded);
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let ring = SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap();
        let ring = Arc::new(ring.with_propagation(Duration::ZERO));
        let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap();
        let mut world = Self {
            directory,
            clock,
            ledger,
            root,
            issuing,
            crls: CrlSet::new(),
            ring,
            minter,
        };
        world.write("root.pem", world.root.certificate().to_pem().as_bytes());
        world.write(
            "issuing.pem",
            world.issuing.certificate().to_pem().as_bytes(),
        );
        world.publish();
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().unwrap()
    }

    pub(crate) fn clock(&self) -> Arc<SystemClock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory().join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &[u8]) {
        fs::write(self.path(file), text).unwrap();
    }

    /// A machine makes a key and a request, and gets a certificate at `then`, for a day.
    fn join(&self, file: &str, name: &str, then: Timestamp) {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let request = CsrBuilder::new().sign(&key).unwrap().to_pem();
        let csr = UnverifiedCsr::from_pem(request.as_bytes()).unwrap();
        let mut profile = Profile::workload("workload", domain(), DAY).unwrap();
        let dns = match file {
            "orders" => Some(SERVER_NAME),
            "proxy" => Some(PROXY_NAME),
            "issuer" => Some(ISSUER_NAME),
            _ => None,
        };
        if let Some(dns) = dns {
            let loopback = "127.0.0.1".parse().unwrap();
            profile = profile.with_dns_name(dns).unwrap();
            profile = profile.with_ip_address(loopback).unwrap();
        }
        let approved = profile
            .approve(csr.verify().unwrap(), &service(name), DAY)
            .unwrap();
        let issued = self.issuing.authority.issue(approved, then, &SystemRandom);
        let leaf = block_on(self.ledger.record(issued.unwrap())).unwrap();
        let chain = [leaf.to_pem(), self.issuing.certificate().to_pem()].concat();
        self.write(&format!("{file}.pem"), chain.as_bytes());
        self.write(&format!("{file}.key"), key.to_pkcs8_pem().expose_secret());
    }

    /// Adds the files of machines of other authorities: `stranger`, of one with the same names and other
    /// keys, and `unknown`, of one with other names. The former is returned.
    pub(crate) fn add_strangers(&self) -> Self {
        let (stranger, unknown) = (Self::new(), Self::of("Other"));
        for (world, theirs, here) in [
            (&stranger, "billing.pem", "stranger.pem"),
            (&stranger, "billing.key", "stranger.key"),
            (&stranger, "root.pem", "stranger-root.pem"),
            (&stranger, "crls.pem", "stranger-crls.pem"),
            (&unknown, "billing.pem", "unknown.pem"),
            (&unknown, "billing.key", "unknown.key"),
        ] {
            self.write(here, world.read(theirs).as_bytes());
        }
        stranger
    }

    /// The machine's own certificate, as its file says.
    pub(crate) fn certificate(&self, file: &str) -> Certificate {
        let chain = self.read(&format!("{file}.pem"));
        let end = "-----END CERTIFICATE-----\n";
        let leaf = chain.split_inclusive(end).next().unwrap();
        Certificate::from_pem(leaf.as_bytes()).unwrap()
    }

    pub(crate) fn revoke(&mut self, file: &str) {
        let operator = Operator::danger_vouched_for("tester").unwrap();
        let id = self.certificate(file).id().unwrap();
        let (reason, by) = (
            RevocationReason::KeyCompromise,
            Revoker::Operator(&operator),
        );
        block_on(self.ledger.revoke(&id, reason, by, self.now())).unwrap();
        self.publish();
    }

    /// Publishes the CRLs of both authorities, as files and for verifiers.
    fn publish(&mut self) {
        let now = self.now();
        let (mut set, mut text) = (CrlSet::new(), String::new());
        for ca in [&mut self.root, &mut self.issuing] {
            let crl = block_on(ca.crls.publish(0, &ca.key, now, &SystemRandom)).unwrap();
            text.push_str(&crl.to_pem());
            let issuer = CrlIssuer::from_certificate(ca.authority.certificate()).unwrap();
            let read = UnverifiedCrl::parse(crl.der(), &CrlLimits::default()).unwrap();
            let index = CrlIndex::build(&read.verify(&issuer).unwrap()).unwrap();
            set = set.with(Arc::new(index)).unwrap();
        }
        self.crls = set;
        self.write("crls.pem", text.as_bytes());
    }

    pub(crate) fn crls(&self) -> CrlSet {
        self.crls.clone()
    }

    /// Trusts the root.
    pub(crate) fn bundles(&self) -> TrustBundles {
        let anchor = self.root.certificate().clone();
        TrustBundles::new().with(TrustBundle::new(domain(), [anchor]))
    }

    /// Who issues to machines.
    pub(crate) fn intermediates(&self) -> Vec<Certificate> {
        vec![self.issuing.certificate().clone()]
    }

    /// TLS by a machine's files; the log hears of peers that are refused.
    pub(crate) fn tls(&self, file: &str, log: &Log) -> LiveTls {
        let (chain, key) = (
            self.read(&format!("{file}.pem")),
            self.read(&format!("{file}.key")),
        );
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let material = Material::new(identity, self.bundles(), self.crls());
        let log = log.clone();
        let observe = move |event: &TlsEvent<'_>| {
            if let TlsEvent::PeerRefused { error, .. } = event {
                log.add(format!("tls: {error}"));
            }
        };
        LiveTls::builder(material, RevocationRule::strict(), self.clock())
            .with_observer(observe)
            .build()
            .unwrap()
    }

    /// The next tokens are signed with a new key; the keys of before stay published.
    pub(crate) fn rotate(&self, algorithm: Algorithm) {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let kid = self.ring.publish(key, self.now()).unwrap();
        self.ring.activate(&kid, self.now()).unwrap();
    }

    /// A token of billing's for `audience`, bound to the certificate of `file`, minted at `then`.
    pub(crate) fn token_of(&self, audience: &str, file: &str, then: Timestamp) -> String {
        let to = *self.certificate(file).thumbprint();
        let request = TokenRequest::new(BILLING, audience, MINUTES).with_certificate_binding(to);
        self.minter.mint(&request, then, &SystemRandom).unwrap()
    }

    /// A good token of billing's, bound to the certificate of `file`.
    pub(crate) fn token(&self, file: &str) -> String {
        self.token_of(ORDERS, file, self.now())
    }

    /// A token that expired a minute ago.
    pub(crate) fn expired_token(&self) -> String {
        let then = before(self.now(), MINUTES + Duration::from_secs(60));
        self.token_of(ORDERS, "billing", then)
    }

    /// A token that whoever has it may use.
    pub(crate) fn unbound_token(&self) -> String {
        let request = TokenRequest::new(BILLING, ORDERS, MINUTES);
        self.minter
            .mint(&request, self.now(), &SystemRandom)
            .unwrap()
    }
}

impl Ca {
    fn root(ledger: &Ledger, name: &str, then: Timestamp) -> Self {
        let subject = Subject::new(&format!("{name} Root")).unwrap();
        let profile = Profile::root("root", domain(), subject, 3650 * DAY).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let holder = service("spiffe://example.org/ca/root");
        let issued =
            Authority::create_root(&profile, &holder, &key, 3650 * DAY, then, &SystemRandom);
        let certificate = block_on(ledger.record(issued.unwrap())).unwrap();
        Self::new(ledger, certificate, key)
    }

    fn issuing(ledger: &Ledger, root: &Self, name: &str, then: Timestamp) -> Self {
        let subject = Subject::new(&format!("{name} Issuing")).unwrap();
        let profile = Profile::intermediate("issuing", domain(), subject, 0, 365 * DAY).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let holder = service("spiffe://example.org/ca/issuing");
        let approved = profile.approve(csr, &holder, 365 * DAY).unwrap();
        let issued = root.authority.issue(approved, then, &SystemRandom).unwrap();
        let certificate = block_on(ledger.record(issued)).unwrap();
        Self::new(ledger, certificate, key)
    }

    fn new(ledger: &Ledger, certificate: Certificate, key: SigningKey) -> Self {
        let der = key.to_pkcs8_der();
        let again = SigningKey::from_pkcs8_der(Algorithm::Es256, der.expose_secret()).unwrap();
        let issuer = CrlIssuer::from_certificate(&certificate).unwrap();
        let signer = CrlSigner::new(issuer, key.verifying_key()).unwrap();
        let crls = CrlPublisher::open(ledger.clone(), signer, None, DAY);
        Self {
            crls: block_on(crls).unwrap(),
            authority: Authority::load(certificate, again).unwrap(),
            key,
        }
    }

    fn certificate(&self) -> &Certificate {
        self.authority.certificate()
    }
}

pub(crate) fn service(name: &str) -> ServiceId {
    name.parse().unwrap()
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn before(now: Timestamp, past: Duration) -> Timestamp {
    Timestamp::from_unix_seconds(now.unix_seconds() - past.as_secs()).unwrap()
}
