//! `LiveTls`: TLS on both sides that follows material as it changes.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use m2m_types::{ClockError, Live, Timestamp, TrustDomain};
use rustls::{ServerConfig, ServerConnection};

use super::builder::LiveTlsBuilder;
use super::config::Settings;
use super::connections::OpenConnection;
use super::connector::Connector;
use super::event::TlsEvent;
use super::identity::IdentityError;
use super::judge::{Judge, Known};
use super::material::Material;
use super::peer::{Peer, PeerError};
use super::shared::Shared;
use crate::{CrlNumber, CrlSetError, ExpectedPeer, RevocationRule, TrustBundlesError};

/// TLS on both sides, by material that changes while connections come and go.
///
/// ```text
///               ┌─ server_config() ─▶ rustls ─▶ peer(connection) ─▶ watch(peer, hook)
/// update(|m| …) ┤                                                        ▲
///               └─ connector(expected) ─ config() ─▶ rustls ─▶ …         │ closes whom
///                  close_overdue() at next_deadline() ───────────────────┘ nobody trusts any more
/// ```
///
/// Take [`LiveTls::server_config`] anew for each connection: it costs two loads. Connections that are
/// open are not touched by an update, unless their peer is not trusted any more.
///
/// Cloning copies a pointer.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// # use m2m_pki::*;
/// # use m2m_types::Clock;
/// use m2m_pki::tls::{Identity, LiveTls, Material};
/// # pollster::block_on(async {
/// # let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
/// # let (day, clock) = (Duration::from_secs(86_400), Arc::new(m2m_types::SystemClock::new()));
/// # let now = clock.now()?;
/// # let root = Profile::root("root", "example.org".parse()?, Subject::new("Root")?, 3650 * day)?;
/// # let (key, ca) = (SigningKey::generate(Algorithm::Es256, &SystemRandom)?, "spiffe://example.org/ca".parse()?);
/// # let issued = Authority::create_root(&root, &ca, &key, 3650 * day, now, &SystemRandom)?;
/// # let authority = Authority::load(ledger.record(issued).await?, key)?;
/// # let own_key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// # let csr = CsrBuilder::new().sign(&own_key)?.verify()?;
/// # let profile = Profile::workload("workload", "example.org".parse()?, day)?.with_no_revocation_below(2 * day);
/// # let approved = profile.approve(csr, &"spiffe://example.org/billing".parse()?, day)?;
/// # let certificate = ledger.record(authority.issue(approved, now, &SystemRandom)?).await?;
/// # let trust_anchor = authority.certificate().clone();
/// let bundle = TrustBundle::new("example.org".parse()?, [trust_anchor]);
/// let identity = Identity::new(vec![certificate], own_key)?;
/// let material = Material::new(identity, TrustBundles::new().with(bundle), CrlSet::new());
/// // Certificates that live shorter than two days need no CRL (RFC 9608).
/// let rule = RevocationRule::strict().with_no_revocation_below(2 * day);
/// let tls = LiveTls::builder(material, rule, clock).build()?;
///
/// let server = rustls::ServerConnection::new(tls.server_config())?;
/// let mail = tls.connector(ExpectedPeer::service("spiffe://example.org/mail".parse()?))?;
/// let client = rustls::ClientConnection::new(mail.config(), "mail.internal".try_into()?)?;
/// # assert!(tls.peer(&server).is_err() && mail.peer(&client).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct LiveTls {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    clients: Arc<Judge>,
    server: Live<Server>,
    writer: Mutex<()>,
}

/// The configuration of an epoch.
struct Server(Arc<ServerConfig>);

/// Why material was not taken. What was in use stays in use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The identity cannot be used.
    #[error("identity: {0}")]
    Identity(IdentityError),
    /// A CRL was not taken.
    #[error("CRL: {0}")]
    Crls(CrlSetError),
    /// A bundle was not taken.
    #[error("bundle: {0}")]
    Bundles(TrustBundlesError),
    /// A CRL is older than one that was in use.
    #[error("CRL {offered} is older than {held}, which is in use")]
    CrlOlder {
        /// The number of the CRL that was offered.
        offered: CrlNumber,
        /// The number of the one that is in use.
        held: CrlNumber,
    },
    /// A bundle is older than one that was in use.
    #[error("the bundle of {trust_domain} is older than the one in use")]
    BundleOlder {
        /// Whose.
        trust_domain: TrustDomain,
    },
    /// What time it is is not known.
    #[error("the time is not known: {0}")]
    Clock(ClockError),
    /// The provider of cryptography does not do TLS 1.3.
    #[error("the provider of cryptography does not do TLS 1.3")]
    Provider,
}

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// How many connections were closed, since nobody trusts their peers any more.
    pub closed: usize,
    /// What others would say about our own identity, which did not change, by what is trusted and
    /// revoked now: that it has to be replaced. An update that takes trust back is not refused for it.
    pub own_fault: Option<IdentityError>,
}

impl LiveTls {
    /// Starts from `material`; a peer is taken only if none of its certificates is revoked by
    /// `revocation`. `clock` is read in each handshake: share one
    /// [`SystemClock`](m2m_types::SystemClock).
    pub fn builder(
        material: Material,
        revocation: RevocationRule,
        clock: Arc<dyn m2m_types::Clock>,
    ) -> LiveTlsBuilder {
        LiveTlsBuilder::new(material, revocation, clock)
    }

    pub(super) fn assemble(shared: Arc<Shared>, settings: Settings) -> Result<Self, UpdateError> {
        let clients = Arc::new(settings.judge_of_clients());
        let now = shared.clock.now().map_err(UpdateError::Clock)?;
        let material = shared.material.load_full();
        material.identity().prove(shared.algorithms())?;
        settings.check(&material, now)?;
        let server = settings.server_config(&shared, &clients, &material, shared.epoch())?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                settings: Arc::new(settings),
                clients,
                server: Live::new(Server(server)),
                writer: Mutex::default(),
            }),
        })
    }

    /// The configuration for the next connection that is accepted: TLS 1.3, no early data, a client's
    /// certificate demanded.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.server.load().0)
    }

    /// What connects to `expected`. Keep it: it keeps the sessions.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Provider`].
    pub fn connector(&self, expected: ExpectedPeer) -> Result<Connector, UpdateError> {
        let Inner {
            shared, settings, ..
        } = &*self.inner;
        Connector::new(Arc::clone(shared), Arc::clone(settings), expected)
    }

    /// Which client is at the other end of `connection`, whose handshake is complete. It is judged by
    /// what is trusted and revoked now; that the session was resumed makes no difference.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; close the connection then.
    pub fn peer(&self, connection: &ServerConnection) -> Result<Peer, PeerError> {
        self.inner.shared.peer(&self.inner.clients, connection)
    }

    /// Has `hook` called once, when nobody trusts `peer` any more, to close its connection: from the
    /// thread that updates or calls [`LiveTls::close_overdue`], so it should not block. Shutting the
    /// socket down is enough; see [`OpenConnection`] for other ways to notice.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if that is so already, or if too many connections are known; close the
    /// connection then.
    pub fn watch(
        &self,
        peer: &Peer,
        hook: impl FnOnce(&PeerError) + Send + 'static,
    ) -> Result<OpenConnection, PeerError> {
        self.inner.shared.watch(peer, Box::new(hook))
    }

    /// Changes the material: all of it or nothing. When this returns, the next handshake goes by the
    /// new material, and connections of peers that it does not trust are closed.
    ///
    /// A new identity is taken only if others would take it: its chain holds now, by the bundle of its
    /// own trust domain, in each role it is to play. No CRL and no bundle may be older than one in use.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; everything stays as it was.
    ///
    /// # Panics
    ///
    /// If a hook did, after all others were called.
    pub fn update(
        &self,
        change: impl FnOnce(&mut Material) -> Result<(), UpdateError>,
    ) -> Result<Updated, UpdateError> {
        let updated = self.try_update(change);
        if let Err(error) = &updated {
            let event = TlsEvent::UpdateRefused { error };
            self.inner.shared.observer.tell(&event);
        }
        updated
    }

    fn try_update(
        &self,
        change: impl FnOnce(&mut Material) -> Result<(), UpdateError>,
    ) -> Result<Updated, UpdateError> {
        let Inner {
            shared,
            settings,
            clients,
            server,
            writer,
        } = &*self.inner;
        // Guards no data: writers come one after the other.
        let turn = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = shared.clock.now().map_err(UpdateError::Clock)?;
        let held = shared.material.load_full();
        let mut material = Material::clone(&held);
        change(&mut material)?;
        material.check_not_before(&held)?;
        let is_new = !material.identity().is(held.identity());
        if is_new {
            material.identity().prove(shared.algorithms())?;
        }
        let own_fault = match settings.check(&material, now) {
            Err(error) if is_new => return Err(error.into()),
            checked => checked.err(),
        };
        if is_new || !material.trusts_the_same(&held) {
            let epoch = shared.epoch() + 1;
            let config = settings.server_config(shared, clients, &material, epoch)?;
            shared.material.store(material);
            // No handshake begins by the old material any more, and no session of before is resumed.
            shared.epoch.store(epoch, Ordering::Release);
            server.store(Server(config));
        } else {
            shared.material.store(material);
        }
        let closed = self.close(None, now);
        drop(turn);
        Ok(Updated { closed, own_fault })
    }

    /// Judges those that are due, or all, and closes the connections of those that do not pass.
    fn close(&self, due: Option<Timestamp>, now: Timestamp) -> usize {
        let shared = &self.inner.shared;
        let material = shared.material.load_full();
        let judge = |known: &Known| Ok(known.recheck(&material, now)?);
        let connections = match due {
            Some(now) => shared.connections.judge_due(now, judge),
            None => shared.connections.judge_all(judge),
        };
        if connections > 0 {
            shared.observer.tell(&TlsEvent::Closed { connections });
        }
        connections
    }

    /// When to call [`LiveTls::close_overdue`] next: the second after this one. [`None`] if no
    /// connection is watched.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.inner.shared.connections.next_deadline()
    }

    /// Closes the connections of those whose time is over, and says how many those were.
    ///
    /// # Errors
    ///
    /// [`ClockError`]; nothing was closed, though no request passes
    /// [`OpenConnection::check`] that should not.
    ///
    /// # Panics
    ///
    /// If a hook did, after all others were called.
    pub fn close_overdue(&self) -> Result<usize, ClockError> {
        let now = self.inner.shared.clock.now()?;
        Ok(self.close(Some(now), now))
    }

    /// How many connections are watched.
    pub fn connections(&self) -> usize {
        self.inner.shared.connections.len()
    }

    /// A copy of the material that is in use.
    pub fn material(&self) -> Material {
        Material::clone(&self.inner.shared.material.load())
    }
}

impl fmt::Debug for LiveTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTls")
            .field("identity", self.material().identity())
            .field("epoch", &self.inner.shared.epoch())
            .finish_non_exhaustive()
    }
}

impl From<IdentityError> for UpdateError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<CrlSetError> for UpdateError {
    fn from(error: CrlSetError) -> Self {
        Self::Crls(error)
    }
}

impl From<TrustBundlesError> for UpdateError {
    fn from(error: TrustBundlesError) -> Self {
        Self::Bundles(error)
    }
}
