//! Real endpoints of rustls, joined in memory or by TCP, and the authorities they trust.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::*;
use m2m_pki::*;
use m2m_types::{Clock, ManualClock, ServiceId, Timestamp, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, ServerConfig,
    ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// 2026-01-01T00:00:00Z.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600).unwrap()
}

pub(crate) fn service(path: &str) -> ServiceId {
    format!("spiffe://example.org/{path}").parse().unwrap()
}

/// A certificate and the key of it.
pub(crate) struct Owned {
    pub(crate) chain: Vec<Certificate>,
    pub(crate) key: SigningKey,
}

impl Owned {
    pub(crate) fn leaf(&self) -> Certificate {
        self.chain[0].clone()
    }

    pub(crate) fn identity(self) -> Identity {
        Identity::new(self.chain, self.key).unwrap()
    }

    pub(crate) fn ders(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(|one| one.der().clone()).collect()
    }

    pub(crate) fn pem(&self) -> (String, String) {
        let chain = self.chain.iter().map(Certificate::to_pem).collect();
        let key = self.key.to_pkcs8_pem();
        (
            chain,
            String::from_utf8(key.expose_secret().to_vec()).unwrap(),
        )
    }
}

/// A CA that keeps its own list of revoked certificates.
pub(crate) struct Ca {
    pub(crate) authority: Authority,
    key: SigningKey,
    list: RevocationList,
    numbers: CrlNumbers,
}

impl Ca {
    fn new(certificate: Certificate, key: SigningKey) -> Self {
        let copy = copy_of(&key);
        Self {
            authority: Authority::load(certificate, copy).unwrap(),
            key,
            list: RevocationList::new(Scope::everything()),
            numbers: CrlNumbers::first(),
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        self.authority.certificate()
    }

    pub(crate) fn revoke(&mut self, certificate: &Certificate, now: Timestamp) {
        let reason = RevocationReason::KeyCompromise;
        let entry = ListedRevocation::new(certificate.serial().clone(), now, reason);
        self.list.revoke(&entry).unwrap();
    }

    /// So many more that nobody asks about.
    pub(crate) fn revoke_strangers(&mut self, count: u64) {
        let reason = RevocationReason::Unspecified;
        for number in 1..=count {
            let serial = m2m_crypto::sha256(&number.to_be_bytes());
            let serial = Serial::from_bytes(&[&[1], &serial[..15]].concat()).unwrap();
            let entry = ListedRevocation::new(serial, start(), reason);
            self.list.revoke(&entry).unwrap();
        }
    }

    pub(crate) fn crl_der(&mut self, now: Timestamp, life: Duration) -> Vec<u8> {
        let issuer = CrlIssuer::from_certificate(self.certificate()).unwrap();
        let signer = CrlSigner::new(issuer, self.key.verifying_key()).unwrap();
        let times = UpdateTimes::new(now, now.checked_add(life).unwrap()).unwrap();
        let number = self.numbers.claim().unwrap();
        let prepared = self.list.prepare(&signer, number, times).unwrap();
        prepared.sign(&self.key).unwrap().into_der()
    }

    /// A fresh CRL that holds for `life`.
    pub(crate) fn crl(&mut self, now: Timestamp, life: Duration) -> Arc<CrlIndex> {
        let issuer = CrlIssuer::from_certificate(self.certificate()).unwrap();
        let der = self.crl_der(now, life);
        let limits = CrlLimits::default();
        let crl = UnverifiedCrl::parse(&der, &limits).unwrap();
        Arc::new(CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap())
    }
}

/// A trust domain: a root, an intermediate below it, and the time.
pub(crate) struct World {
    pub(crate) domain: TrustDomain,
    pub(crate) ledger: Ledger,
    pub(crate) root: Ca,
    pub(crate) issuing: Ca,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of("example.org")
    }

    pub(crate) fn of(domain: &str) -> Self {
        let domain: TrustDomain = domain.parse().unwrap();
        let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
        let clock = Arc::new(ManualClock::new(start()));
        let root = new_root(&ledger, &domain, "Root");
        let issuing = new_issuing(&ledger, &domain, &root);
        Self {
            domain,
            ledger,
            root,
            issuing,
            clock,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().unwrap()
    }

    pub(crate) fn service(&self, path: &str) -> ServiceId {
        format!("spiffe://{}/{path}", self.domain).parse().unwrap()
    }

    pub(crate) fn profile(&self) -> Profile {
        Profile::workload("workload", self.domain.clone(), DAY).unwrap()
    }

    /// A machine's certificate, valid for an hour from now.
    pub(crate) fn own(&self, path: &str) -> Owned {
        self.own_by(&self.profile(), path, HOUR)
    }

    pub(crate) fn own_by(&self, profile: &Profile, path: &str, lifetime: Duration) -> Owned {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let approved = profile.approve(csr, &self.service(path), lifetime).unwrap();
        let authority = &self.issuing.authority;
        let issued = authority
            .issue(approved, self.now(), &SystemRandom)
            .unwrap();
        let leaf = pollster::block_on(self.ledger.record(issued)).unwrap();
        let chain = vec![leaf, self.issuing.certificate().clone()];
        Owned { chain, key }
    }

    pub(crate) fn identity(&self, path: &str) -> Identity {
        self.own(path).identity()
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        bundle_of(&self.domain, [self.root.certificate().clone()])
    }

    pub(crate) fn bundles(&self) -> TrustBundles {
        bundles_of([self.bundle()])
    }

    /// The CRLs of both CAs, fresh for a day.
    pub(crate) fn crls(&mut self) -> CrlSet {
        let now = self.now();
        let root = self.root.crl(now, DAY);
        let issuing = self.issuing.crl(now, DAY);
        CrlSet::new().with(root).unwrap().with(issuing).unwrap()
    }

    pub(crate) fn material(&mut self, path: &str) -> Material {
        Material::new(self.identity(path), self.bundles(), self.crls())
    }

    pub(crate) fn builder(&mut self, path: &str) -> LiveTlsBuilder {
        let material = self.material(path);
        LiveTls::builder(material, RevocationRule::strict(), self.clock.clone())
    }

    pub(crate) fn live(&mut self, path: &str) -> LiveTls {
        self.builder(path).build().unwrap()
    }

    pub(crate) fn expect(&self, path: &str) -> ExpectedPeer {
        ExpectedPeer::service(self.service(path))
    }

    /// Revokes a leaf, and has everybody know.
    pub(crate) fn revoke(&mut self, leaf: &Certificate, who: &[&LiveTls]) {
        let now = self.now();
        self.issuing.revoke(leaf, now);
        self.publish(who);
    }

    /// A newer CRL of the issuing CA, for everybody.
    pub(crate) fn publish(&mut self, who: &[&LiveTls]) {
        let crl = self.issuing.crl(self.now(), DAY);
        for live in who {
            live.update(|material| material.set_crl(crl.clone()))
                .unwrap();
        }
    }
}

pub(crate) fn bundle_of(
    domain: &TrustDomain,
    authorities: impl IntoIterator<Item = Certificate>,
) -> TrustBundle {
    TrustBundle::new(domain.clone(), authorities)
}

pub(crate) fn bundles_of(bundles: impl IntoIterator<Item = TrustBundle>) -> TrustBundles {
    bundles
        .into_iter()
        .fold(TrustBundles::new(), |all, one| all.with(one))
}

pub(crate) fn copy_of(key: &SigningKey) -> SigningKey {
    let der = key.to_pkcs8_der();
    SigningKey::from_pkcs8_der(key.algorithm(), der.expose_secret()).unwrap()
}

pub(crate) fn new_root(ledger: &Ledger, domain: &TrustDomain, name: &str) -> Ca {
    let subject = Subject::new(name).unwrap();
    let profile = Profile::root("root", domain.clone(), subject, 3650 * DAY).unwrap();
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let holder = format!("spiffe://{domain}/ca/{}", name.to_lowercase());
    let holder = holder.replace(' ', "-").parse().unwrap();
    let issued =
        Authority::create_root(&profile, &holder, &key, 3650 * DAY, start(), &SystemRandom);
    let certificate = pollster::block_on(ledger.record(issued.unwrap())).unwrap();
    Ca::new(certificate, key)
}

pub(crate) fn new_issuing(ledger: &Ledger, domain: &TrustDomain, root: &Ca) -> Ca {
    let subject = Subject::new("Issuing").unwrap();
    let profile = Profile::intermediate("issuing", domain.clone(), subject, 0, 365 * DAY).unwrap();
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
    let holder = format!("spiffe://{domain}/ca/issuing").parse().unwrap();
    let approved = profile.approve(csr, &holder, 365 * DAY).unwrap();
    let issued = root.authority.issue(approved, start(), &SystemRandom);
    let certificate = pollster::block_on(ledger.record(issued.unwrap())).unwrap();
    Ca::new(certificate, key)
}

/// What an observer was told, in words.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn observe(&self) -> impl Fn(&TlsEvent<'_>) + Send + Sync + 'static {
        let notes = self.0.clone();
        move |event| notes.lock().unwrap().push(format!("{event:?}"))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.all().iter().any(|note| note.contains(text))
    }
}

/// Two endpoints in memory.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// Which side failed first, and why.
#[derive(Debug, PartialEq)]
pub(crate) enum Failed {
    Client(rustls::Error),
    Server(rustls::Error),
}

impl Pair {
    pub(crate) fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        Self::named(client, server, "service.internal")
    }

    pub(crate) fn named(client: Arc<ClientConfig>, server: Arc<ServerConfig>, sni: &str) -> Self {
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        Self {
            client: ClientConnection::new(client, name).unwrap(),
            server: ServerConnection::new(server).unwrap(),
        }
    }

    /// Carries bytes until nobody has any.
    pub(crate) fn drive(&mut self) -> Result<(), Failed> {
        loop {
            let sent = carry(&mut self.client, &mut self.server).map_err(Failed::Server)?;
            let answered = carry(&mut self.server, &mut self.client).map_err(Failed::Client)?;
            if !sent && !answered {
                return Ok(());
            }
        }
    }

    /// Completes the handshake, and carries what the client is told if that fails.
    pub(crate) fn handshake(&mut self) -> Result<(), Failed> {
        let result = self.drive();
        match &result {
            Err(Failed::Server(_)) => {
                let _ = carry(&mut self.server, &mut self.client);
            }
            Err(Failed::Client(_)) => {
                let _ = carry(&mut self.client, &mut self.server);
            }
            Ok(()) => {
                assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
            }
        }
        result
    }

    pub(crate) fn is_resumed(&self) -> bool {
        let resumed = Some(rustls::HandshakeKind::Resumed);
        let (client, server) = (self.client.handshake_kind(), self.server.handshake_kind());
        assert_eq!(client, server);
        server == resumed
    }
}

/// Takes what `from` has to say to `to`; whether it had anything.
pub(crate) fn carry<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, rustls::Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    feed(to, &bytes)?;
    Ok(!bytes.is_empty())
}

/// Gives `bytes` to `to`.
pub(crate) fn feed<B: rustls::SideData>(
    to: &mut ConnectionCommon<B>,
    bytes: &[u8],
) -> Result<(), rustls::Error> {
    let mut rest = bytes;
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A full or resumed handshake between two, each of whom then looks at the other.
pub(crate) fn meet(
    connector: &Connector,
    server: &LiveTls,
) -> Result<(Pair, Peer, Peer), Box<dyn Debug>> {
    let mut pair = Pair::new(connector.config(), server.server_config());
    pair.handshake()
        .map_err(|e| Box::new(e) as Box<dyn Debug>)?;
    let client = server.peer(&pair.server).map_err(|e| Box::new(e) as _)?;
    let service = connector.peer(&pair.client).map_err(|e| Box::new(e) as _)?;
    Ok((pair, client, service))
}

/// A client that takes any server and shows any chain: what strangers are.
pub(crate) fn stranger(chain: Option<&Owned>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny(Arc::new(ring::default_provider()))));
    match chain {
        Some(owned) => builder
            .with_client_auth_cert(owned.ders(), pkcs8(&owned.key).into())
            .unwrap(),
        None => builder.with_no_client_auth(),
    }
}

pub(crate) fn pkcs8(key: &SigningKey) -> PrivatePkcs8KeyDer<'static> {
    key.to_pkcs8_der().expose_secret().to_vec().into()
}

#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
