//! `LiveTlsBuilder`: what can be said before a `LiveTls` starts, and what holds if nothing is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use m2m_types::{Clock, Live};
use rustls::crypto::{CryptoProvider, ring};

use super::config::Settings;
use super::connections::Connections;
use super::event::{Observer, TlsEvent};
use super::live::{LiveTls, UpdateError};
use super::material::Material;
use super::shared::Shared;
use crate::{ChainLimits, ExpectedPeer, PeerRole, RevocationRule, VerifiedIntermediates};

/// What [`LiveTls::builder`] returns.
#[must_use]
pub struct LiveTlsBuilder {
    material: Material,
    clock: Arc<dyn Clock>,
    provider: Option<Arc<CryptoProvider>>,
    settings: Settings,
    connections: usize,
    observer: Observer,
    resumption: Duration,
}

impl LiveTlsBuilder {
    /// For how long a session may be resumed after its peer last showed its key: an hour. A full
    /// handshake an hour costs nothing, and whoever steals a session has it no longer.
    pub const RESUMPTION: Duration = Duration::from_secs(3600);
    /// How many sessions are kept for clients, and by each connector: about 2 KB each.
    pub const SESSIONS: usize = 8192;
    /// How many peers are remembered, by the server and by each connector: about 4 KB each. Only
    /// who showed a good chain is.
    pub const PEERS: usize = 8192;
    /// How many connections can be watched, at about 300 bytes and what their hooks hold.
    pub const CONNECTIONS: usize = 1 << 17;
    /// How many intermediates are remembered: those of a hundred authorities fit.
    const INTERMEDIATES: usize = 256;

    pub(super) fn new(
        material: Material,
        revocation: RevocationRule,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let own_domain = material.identity().service_id().trust_domain();
        let settings = Settings {
            revocation,
            limits: ChainLimits::default(),
            intermediates: Some(Arc::new(VerifiedIntermediates::new(Self::INTERMEDIATES))),
            clients: ExpectedPeer::member_of(own_domain),
            roles: vec![PeerRole::Client, PeerRole::Server],
            alpn_protocols: Vec::new(),
            sessions: Self::SESSIONS,
            peers: Self::PEERS,
        };
        Self {
            material,
            clock,
            provider: None,
            settings,
            connections: Self::CONNECTIONS,
            observer: Observer::default(),
            resumption: Self::RESUMPTION,
        }
    }

    /// Takes these clients. Without this: any machine of our own trust domain, and nobody of another
    /// one, whatever bundles there are.
    pub fn with_clients(mut self, expected: ExpectedPeer) -> Self {
        self.settings.clients = expected;
        self
    }

    /// Is only a client, or only a server. Without this it is both, and an identity whose certificate
    /// is not for both is refused.
    pub fn with_role(mut self, role: PeerRole) -> Self {
        self.settings.roles = vec![role];
        self
    }

    /// Offers and takes these application protocols (RFC 7301), the best first.
    pub fn with_alpn(mut self, protocols: &[&[u8]]) -> Self {
        let protocols = protocols.iter().map(|protocol| protocol.to_vec());
        self.settings.alpn_protocols = protocols.collect();
        self
    }

    /// Uses this cryptography for handshakes and records instead of *ring*.
    pub fn with_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Reads and checks no more of a peer's chain than this.
    pub fn with_limits(mut self, limits: ChainLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Remembers in `known` which intermediates' signatures were good, together with others.
    pub fn with_known(mut self, known: Arc<VerifiedIntermediates>) -> Self {
        self.settings.intermediates = Some(known);
        self
    }

    /// Resumes sessions for this long after the peer last showed its key. At most a day: servers keep
    /// rustls from telling clients anything longer.
    pub fn with_resumption(mut self, lifetime: Duration) -> Self {
        self.resumption = lifetime.min(Duration::from_secs(86_400));
        self
    }

    /// Resumes nothing: every handshake is a full one.
    pub fn without_resumption(mut self) -> Self {
        self.settings.sessions = 0;
        self
    }

    /// Keeps up to `limit` sessions for clients, and as many in each connector.
    pub fn with_session_limit(mut self, limit: usize) -> Self {
        self.settings.sessions = limit;
        self
    }

    /// Remembers up to `limit` peers whose chains held, on each side.
    pub fn with_peer_limit(mut self, limit: usize) -> Self {
        self.settings.peers = limit;
        self
    }

    /// Watches up to `limit` connections.
    pub fn with_connection_limit(mut self, limit: usize) -> Self {
        self.connections = limit;
        self
    }

    /// Tells `observe` why peers and updates were refused. It is called from within handshakes: it
    /// should not block. If it panics, all else is as if it had not.
    pub fn with_observer(
        mut self,
        observe: impl Fn(&TlsEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Observer::new(observe);
        self
    }

    /// Starts, if others would take our identity now.
    ///
    /// # Errors
    ///
    /// [`UpdateError`].
    pub fn build(self) -> Result<LiveTls, UpdateError> {
        let provider = self
            .provider
            .unwrap_or_else(|| Arc::new(ring::default_provider()));
        let shared = Arc::new(Shared {
            material: Live::new(self.material),
            epoch: AtomicU64::new(0),
            provider,
            clock: self.clock,
            connections: Connections::new(self.connections),
            observer: self.observer,
            resumption: self.resumption,
        });
        LiveTls::assemble(shared, self.settings)
    }
}

impl fmt::Debug for LiveTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTlsBuilder")
            .field("material", &self.material)
            .finish_non_exhaustive()
    }
}
