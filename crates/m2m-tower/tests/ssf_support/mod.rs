//! A transmitter and a receiver that talk by TLS over loopback, each with a guard of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use caep_set::{Profile, SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::receiver::{
    Discovery, Namespace, Receiver, Source, SourceKeys, StreamClient, Trust, TrustMatrix, TrustRule,
};
use caep_stream::transmitter::{Caller, Published as Done, Transmitter, TransmitterOptions};
use caep_stream::{
    Delivery, SecretHeader, StreamConfiguration, StreamRequest, TransmitterMetadata,
};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Freshness, Grant, Guard, Resources};
use m2m_pki::{Authority, CsrBuilder, Ledger, Profile as CertificateProfile, Subject};
use m2m_revoke::{Revocations, StoredOptions, StoredRevocations};
use m2m_store::{IdempotencyKey, MemoryStore, Store};
use m2m_token::{
    Audience, Issuers, Minter, RemoteKeySet, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use m2m_tower::ssf::{
    Deliverer, ManagementService, MetadataService, PushService, SignalReceiver, StreamManager,
    discover,
};
use m2m_tower::{AddressRule, Authenticate, Fetcher, HttpSender, Published, Resolve};
use m2m_types::{Clock, ServiceId, SystemClock, Timestamp};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower::Layer as _;

/// As long as anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const ORDERS: &str = "spiffe://example.org/orders";
pub(crate) const PUSH_SECRET: &str = "Bearer what the transmitter shows";

pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

pub(crate) fn now() -> Timestamp {
    SystemClock::new().now().unwrap()
}

/// Names that lead to loopback, and an authority that vouches for their servers.
pub(crate) struct Net {
    authority: Authority,
    ledger: Ledger,
    pub(crate) names: Arc<Names>,
}

/// Says what each name means now.
#[derive(Default)]
pub(crate) struct Names(Mutex<HashMap<String, IpAddr>>);

impl Names {
    pub(crate) fn tell(&self, name: &str, address: IpAddr) {
        self.0.lock().unwrap().insert(name.into(), address);
    }
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let found = self.0.lock().unwrap().get(host).copied();
        Box::pin(async move {
            found
                .map(|one| vec![one])
                .ok_or(io::ErrorKind::NotFound.into())
        })
    }
}

impl Net {
    pub(crate) fn new() -> Self {
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let domain = "example.org".parse().unwrap();
        let subject = Subject::new("Root").unwrap();
        let root = CertificateProfile::root("root", domain, subject, 3650 * DAY).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let ca = "spiffe://example.org/ca".parse().unwrap();
        let issued = Authority::create_root(&root, &ca, &key, 3650 * DAY, now(), &SystemRandom);
        let certificate = pollster::block_on(ledger.record(issued.unwrap())).unwrap();
        let names = Arc::<Names>::default();
        for name in ["tr.example", "rc.example", "other.example"] {
            names.tell(name, Ipv4Addr::LOCALHOST.into());
        }
        Self {
            authority: Authority::load(certificate, key).unwrap(),
            ledger,
            names,
        }
    }

    /// The TLS of a server that is called `name`.
    pub(crate) fn server(&self, name: &str) -> TlsAcceptor {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let domain = "example.org".parse().unwrap();
        let profile = CertificateProfile::workload("server", domain, DAY).unwrap();
        let profile = profile.with_no_revocation_below(2 * DAY);
        let profile = profile.with_dns_name(name).unwrap();
        let service: ServiceId = "spiffe://example.org/server".parse().unwrap();
        let approved = profile.approve(csr, &service, DAY).unwrap();
        let issued = self
            .authority
            .issue(approved, now(), &SystemRandom)
            .unwrap();
        let leaf = pollster::block_on(self.ledger.record(issued)).unwrap();
        let key = key.to_pkcs8_der();
        let key = PrivatePkcs8KeyDer::from(key.expose_secret().to_vec());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.certificate().der().clone())
            .unwrap();
        let config = ClientConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// Goes to public addresses alone, as everybody does who says nothing.
    pub(crate) fn strict_fetcher(&self) -> Fetcher {
        Fetcher::new(self.client()).with_resolver(Arc::<Names>::clone(&self.names))
    }

    pub(crate) fn sender(&self) -> HttpSender {
        let rule = AddressRule::public().allowing("127.0.0.0".parse().unwrap(), 8);
        HttpSender::new(self.strict_fetcher().with_addresses(rule))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves until it is dropped.
pub(crate) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn serve(listener: TcpListener, tls: TlsAcceptor, app: Router) -> Serving {
    Serving(tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, app) = (tls.clone(), app.clone());
            connections.spawn(async move {
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
                    .await;
            });
        }
    }))
}

/// The transmitter and its process.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) transmitter: Arc<Transmitter>,
    pub(crate) management: ManagementService,
    pub(crate) keys: Arc<SigningKeyRing>,
    pub(crate) address: SocketAddr,
    _serving: Serving,
}

impl Provider {
    pub(crate) async fn start(net: &Net, options: TransmitterOptions) -> Self {
        let (listener, _) = listen().await;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let keys = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
        Self::start_with(
            net,
            Arc::new(MemoryStore::new()),
            options,
            listener,
            keys,
            |it| it,
        )
    }

    pub(crate) fn start_with(
        net: &Net,
        store: Arc<dyn Store>,
        options: TransmitterOptions,
        listener: TcpListener,
        keys: Arc<SigningKeyRing>,
        configure: impl FnOnce(ManagementService) -> ManagementService,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let issuer = format!("https://tr.example:{}", address.port());
        let at = |path: &str| format!("{issuer}/{path}");
        let metadata = TransmitterMetadata::new(&issuer, &at("jwks.json")).unwrap();
        let metadata = metadata.with_endpoints(
            &at("ssf/streams"),
            &at("ssf/status"),
            &at("ssf/add"),
            &at("ssf/remove"),
            &at("ssf/verify"),
        );
        let transmitter = Transmitter::new(
            store,
            "main",
            metadata.unwrap(),
            &at("ssf/poll"),
            Arc::clone(&keys),
            [SessionRevoked::URI],
            options,
        );
        let transmitter = Arc::new(transmitter.unwrap());
        let management = ManagementService::new(Arc::clone(&transmitter), clock(), |caller| {
            let receiver = caller.service_id().as_str();
            // The one that may manage nothing.
            let is_known = !receiver.ends_with("/stranger");
            is_known.then(|| Caller::new(receiver, &audience(receiver)).unwrap())
        });
        let management = configure(management);
        let issuers = Issuers::one(&*issuer, keys.verifying_keys());
        let mut allowed = AllowList::new();
        for method in ["GET", "POST", "PATCH", "PUT", "DELETE"] {
            let grant = Grant::new(method, Resources::under("/ssf").unwrap());
            allowed = allowed.allow_members_of(&"example.org".parse().unwrap(), grant);
        }
        let verifier = Verifier::builder(
            issuers,
            Audience::exactly("https://tr.example"),
            TokenType::access_token(),
        );
        let guard = Guard::builder(allowed)
            .with_bearer_tokens(verifier, Freshness::in_process())
            .with_revocations(
                Arc::new(Revocations::new([7; 16], now())),
                Freshness::in_process(),
            )
            .build()
            .unwrap();
        let guard = Authenticate::new(Arc::new(guard), clock());
        let published = Published::jwk_set(&keys.jwk_set(), Duration::from_secs(300));
        let metadata = MetadataService::new(Arc::clone(&transmitter));
        let app = Router::new()
            .route_service("/ssf/{*rest}", guard.layer(management.clone()))
            .route_service("/.well-known/ssf-configuration", metadata)
            .route_service("/jwks.json", published);
        Self {
            issuer,
            transmitter,
            management,
            keys,
            address,
            _serving: serve(listener, net.server("tr.example"), app),
        }
    }

    /// A token for the management of streams.
    pub(crate) fn token(&self, service: &str) -> String {
        self.mint(service, "https://tr.example", None)
    }

    pub(crate) fn mint(&self, service: &str, audience: &str, session: Option<&str>) -> String {
        let minter = Minter::new(
            &self.issuer,
            TokenType::access_token(),
            Arc::clone(&self.keys),
        )
        .unwrap();
        let mut request = TokenRequest::new(service, audience, Duration::from_secs(300));
        if let Some(session) = session {
            request = request.with_session_id(session);
        }
        minter.mint(&request, now(), &SystemRandom).unwrap()
    }

    pub(crate) async fn publish(&self, session: &str) {
        publish(&self.transmitter, &self.issuer, session).await;
    }

    pub(crate) fn deliverer(&self, net: &Net) -> Deliverer {
        Deliverer::new(Arc::clone(&self.transmitter), net.sender(), clock())
    }
}

/// Tells that `session` is over.
pub(crate) async fn publish(transmitter: &Transmitter, issuer: &str, session: &str) {
    let subject = SubjectId::complex([
        ("user", SubjectId::issuer_subject(issuer, "alice").unwrap()),
        ("session", SubjectId::opaque(session).unwrap()),
    ]);
    let event = SecurityEvent::new(subject.unwrap(), SessionRevoked::new());
    let name = IdempotencyKey::generate(&SystemRandom).unwrap();
    let published = transmitter.publish(&event, name, now()).await.unwrap();
    assert_eq!(published, Done::Now);
}

/// How the SETs of a receiver are addressed.
pub(crate) fn audience(service: &str) -> String {
    format!("https://rc.example/{}", service.rsplit('/').next().unwrap())
}

/// The receiver and its process: a service behind a guard that hears what is void.
pub(crate) struct Consumer {
    pub(crate) signals: SignalReceiver,
    pub(crate) manager: StreamManager,
    pub(crate) address: SocketAddr,
    tls: Arc<ClientConfig>,
    _serving: Serving,
}

impl Consumer {
    pub(crate) async fn start(net: &Net, provider: &Provider) -> Self {
        Self::start_with(net, provider, Arc::new(MemoryStore::new()), |it| it).await
    }

    pub(crate) async fn start_with(
        net: &Net,
        provider: &Provider,
        store: Arc<dyn Store>,
        configure: impl FnOnce(PushService) -> PushService,
    ) -> Self {
        let issuer = &provider.issuer;
        let sender = net.sender();
        let mut discovery = Discovery::new(issuer).unwrap();
        let transmitter = discover(&mut discovery, &sender).await.unwrap();
        let keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
        let token = provider.token(ORDERS);
        let client = StreamClient::new(transmitter).with_audience([audience(ORDERS).as_str()]);
        let manager = StreamManager::new(client, sender.clone())
            .with_authorization(move || format!("Bearer {token}").parse().ok());
        let for_us = Audience::exactly(&audience(ORDERS));
        let source = Source::new(issuer, keys, for_us, Profile::ssf()).unwrap();
        let source = source.pushed_with(SecretHeader::new(PUSH_SECRET).unwrap());
        let rule = TrustRule::new(issuer, Trust::Act)
            .about(Namespace::own())
            .about(Namespace::issuer(issuer));
        let receiver = Receiver::open(Arc::clone(&store), "orders", vec![source], &SystemRandom);
        let receiver = receiver.await.unwrap();
        let receiver = receiver.with_trust(TrustMatrix::new().with(rule));
        let options = StoredOptions::default();
        let revocations = StoredRevocations::open(store, now(), &SystemRandom, options);
        let revocations = Arc::new(revocations.await.unwrap());
        let signals = SignalReceiver::new(Arc::new(receiver), Arc::clone(&revocations), clock());
        assert_eq!(signals.fetch_keys(&sender).await, (1, None));

        let domain = "example.org".parse().unwrap();
        let grant = Grant::new("GET", Resources::under("/orders").unwrap());
        let verifier = Verifier::builder(
            Issuers::one(&**issuer, provider.keys.verifying_keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        );
        let guard = Guard::builder(AllowList::new().allow_members_of(&domain, grant))
            .with_bearer_tokens(verifier, Freshness::in_process())
            .with_revocations(
                Arc::clone(revocations.revocations()),
                Freshness::in_process(),
            )
            .build()
            .unwrap();
        let guard = Authenticate::new(Arc::new(guard), clock());
        let app = Router::new()
            .route("/orders/17", get(|| async { "an order" }))
            .layer(guard)
            .route_service("/events", configure(signals.push_service()));
        let (listener, address) = listen().await;
        Self {
            signals,
            manager,
            address,
            tls: net.client(),
            _serving: serve(listener, net.server("rc.example"), app),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://rc.example:{}/events", self.address.port())
    }

    /// Makes a stream.
    pub(crate) async fn stream(&self, delivery: Delivery) -> StreamConfiguration {
        let wanted = StreamRequest::new()
            .requesting([SessionRevoked::URI])
            .delivered_by(delivery);
        let stream = self.manager.stream(&wanted).await.unwrap();
        assert!(self.signals.receiver().attach(&stream));
        stream
    }

    pub(crate) async fn pushed_stream(&self) -> StreamConfiguration {
        let secret = SecretHeader::new(PUSH_SECRET).unwrap();
        self.stream(Delivery::push(&self.endpoint(), Some(secret)))
            .await
    }

    /// What the service says to somebody with this token.
    pub(crate) async fn call(&self, net: &Net, token: &str) -> u16 {
        let url = format!("https://rc.example:{}/orders/17", self.address.port());
        let request = http::Request::get(url).header("authorization", format!("Bearer {token}"));
        let response = net.sender().send(&request.body(Vec::new()).unwrap()).await;
        response.unwrap().status().as_u16()
    }
}

/// Waits until `is` says so.
pub(crate) async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
