//! [`Runtime`]: everything put together, with state in one directory and strict defaults.
//!
//! ```text
//!             ┌─ as_issuer ── Issuer: authority, signing keys, CRL, JWK set, trust bundle
//!  builder ───┤                  │ certificate, tokens, CRL: in this process, or over HTTP
//!             └─ joining(_by) ───▼
//!               service: guard ── authenticate() ── your router
//!                 │  tls(), revocations(), api_keys(), signals(), transmitter(), store()
//!                 └─ serve(), or run() or tasks() beside a server of your own; health()
//! ```
//!
//! # What holds if nothing is said
//!
//! - **Whom it takes**: machines of its own trust domain by their certificates, in TLS 1.3 with both sides shown;
//!   and tokens of its issuer, bound to the certificate that is shown with them. Nobody may do anything that
//!   [`RuntimeBuilder::allow`] does not name.
//! - **Where state is**: one directory, 0700, of one process. The store in it is sealed; the key that opens it is
//!   a file beside it, 0600, or one of your own ([`RuntimeBuilder::with_outer_key`]). Whoever can read the
//!   directory can read the state: with a key of your own they cannot.
//! - **What survives**: revocations, signing keys, the authority with what it signed and the numbers of its CRLs,
//!   our own certificate, API keys, and events that are on their way. What was acknowledged is there after a
//!   power cut.
//! - **What is checked**: revocation at each call, on each connection and in each handshake; a CRL that is too
//!   old refuses.
//! - **What is refused** is told to [`RuntimeBuilder::with_log`] alone, and the caller hears one word.
//!
//! # Background work
//!
//! There is none that the application does not run: [`Runtime::serve`] drives all of it beside the server,
//! [`Runtime::run`] without one, and [`Runtime::tasks`] gives it out piece by piece. What each piece did and when it is due next is in
//! [`Runtime::health`]. Each is named by [`TaskName`]; without it nothing is renewed, and what expires is refused.
//!
//! # Ways out
//!
//! All parts are those of the other crates and can be had, used and replaced one by one. For a fleet that
//! shares its state in PostgreSQL, put the parts together yourself: a runtime is one process.

mod api_keys;
mod authority;
mod builder;
mod endpoints;
mod error;
mod files;
mod invitation;
mod issuer;
mod log;
mod membership;
mod records;
mod remote;
mod report;
mod signing_keys;
mod state;
mod tasks;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use caep_stream::transmitter::Transmitter;
use http::{Request, Response};
use http_body::Body;
use m2m_crypto::SystemRandom;
use m2m_guard::Guard;
use m2m_pki::tls::LiveTls;
use m2m_pki::{CertificateId, Operator, RevocationReason};
use m2m_revoke::{StoredRevocations, Target};
use m2m_store::{EmbeddedStore, Reason, Revision};
use m2m_tower::ssf::{DeliveryEvent, SignalReceiver};
use m2m_tower::{
    Acceptor, Authenticate, Drained, HttpSender, ServeError, ServeLimits, ServedBody, Server,
};
use m2m_types::{Clock, ServiceId, Timestamp};
use tokio::net::TcpListener;
use tower_service::Service;

pub use api_keys::ApiKeys;
pub use authority::CertificateAuthority;
pub use builder::RuntimeBuilder;
pub use endpoints::IssuerEndpoints;
pub use error::{RuntimeError, StartError};
pub use invitation::{Invitation, IssuerUrls};
pub use issuer::Issuer;
pub use log::LogEvent;
pub use records::RecordsError;
pub use report::{Health, TaskReport};
pub use state::StateError;
pub use tasks::{Task, TaskName};

use membership::Membership;
use report::Board;

/// A service with all it needs, put together. Cloning copies a pointer.
///
/// The [module](self) says what holds if nothing is said.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    service: ServiceId,
    store: Arc<EmbeddedStore>,
    clock: Arc<dyn Clock>,
    log: log::Log,
    revocations: Arc<StoredRevocations>,
    is_issuer: bool,
    membership: Membership,
    guard: Arc<Guard>,
    api_keys: Option<ApiKeys>,
    signals: Option<SignalReceiver>,
    transmitting: Option<(Arc<Transmitter>, HttpSender)>,
    board: Board,
    /// How far the store had come when it was last pruned.
    pruned: tokio::sync::Mutex<Option<Revision>>,
}

impl Runtime {
    /// A runtime for the machine called `service`, a SPIFFE ID, that keeps its state in `directory`. The
    /// directory is made if it is not there; its parent must be.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # let parent = tempfile::tempdir()?;
    /// # let state = parent.path().join("state");
    /// use m2m::Runtime;
    /// use m2m::guard::{Grant, Resources};
    ///
    /// let runtime = Runtime::builder("spiffe://example.org/orders", state)
    ///     .as_issuer("https://issuer.example")
    ///     .allow("spiffe://example.org/billing", Grant::new("GET", Resources::under("/orders")?))
    ///     .with_log(|event| eprintln!("{event}"))
    ///     .start()
    ///     .await?;
    /// let layer = runtime.authenticate(); // for a router of axum, or what else speaks tower
    /// # let _ = layer;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn builder(service: &str, directory: impl Into<PathBuf>) -> RuntimeBuilder {
        RuntimeBuilder::new(service, directory.into())
    }

    /// Who we are.
    pub fn service_id(&self) -> &ServiceId {
        &self.inner.service
    }

    /// The store, for whatever else is to be kept: use spaces whose names do not begin with `runtime-`.
    pub fn store(&self) -> &Arc<EmbeddedStore> {
        &self.inner.store
    }

    /// The clock that all parts read.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// What decides about each call, for protocols of your own.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.inner.guard
    }

    /// The layer that asks the guard before anything behind it runs.
    pub fn authenticate(&self) -> Authenticate {
        let inner = &self.inner;
        let layer = Authenticate::new(Arc::clone(&inner.guard), Arc::clone(&inner.clock))
            .with_observer(inner.observer());
        match inner.api_keys {
            Some(_) => layer.with_api_key_header(http::HeaderName::from_static("x-api-key")),
            None => layer,
        }
    }

    /// TLS on both sides, by our certificate, whom we trust and what is revoked, as it is now.
    pub fn tls(&self) -> &LiveTls {
        self.inner.membership.tls()
    }

    /// Accepts TLS connections and knows who came.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::new(self.tls().clone())
    }

    /// What is void, durably. What is revoked by this is refused from the next call on; certificates are on
    /// the next CRL within a minute. [`Runtime::revoke_service`] waits for that.
    pub fn revocations(&self) -> &Arc<StoredRevocations> {
        &self.inner.revocations
    }

    /// The issuer: ours, or that of this process that we joined. [`None`] if it is in another process.
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        self.inner.membership.issuer()
    }

    /// What an issuer answers over HTTP, for machines of other processes: a service for a router, such as
    /// `.route_service("/m2m/{what}", …)`. [`None`] if we do not issue. It asks by itself who calls: put it
    /// outside of [`Runtime::authenticate`], and reach all but `join` by mutual TLS.
    pub fn issuer_endpoints(&self) -> Option<IssuerEndpoints> {
        let inner = &self.inner;
        let issuer = self.issuer().filter(|_| inner.is_issuer)?;
        Some(IssuerEndpoints::new(
            Arc::clone(issuer),
            Arc::clone(&inner.revocations),
            Arc::clone(&inner.clock),
            inner.log.clone(),
        ))
    }

    /// API keys of clients that have no certificates, with [`RuntimeBuilder::with_api_keys`].
    pub fn api_keys(&self) -> Option<&ApiKeys> {
        self.inner.api_keys.as_ref()
    }

    /// What takes events in, with [`RuntimeBuilder::receiving`]: its endpoint for pushes, and what polls.
    pub fn signals(&self) -> Option<&SignalReceiver> {
        self.inner.signals.as_ref()
    }

    /// The transmitter of events, with [`RuntimeBuilder::transmitting`]: what is published by it, the task
    /// `events-sent` delivers. Its endpoints are made of it by [`m2m_tower::ssf`].
    pub fn transmitter(&self) -> Option<&Arc<Transmitter>> {
        let (transmitter, _) = self.inner.transmitting.as_ref()?;
        Some(transmitter)
    }

    /// A token by which we may call `audience`, bound to the certificate that we show there. It lives for
    /// minutes: ask for one for each call. One of an issuer elsewhere is asked for once in its life.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`].
    pub async fn token_for(&self, audience: &ServiceId) -> Result<Arc<str>, RuntimeError> {
        self.inner.membership.token(audience, &SystemRandom).await
    }

    /// Takes trust in a machine back, for all time: every credential that names it is void, and its
    /// certificates are on the CRL, when this returns. Connections that it has are closed.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`]: **ask again**, some of it may not be revoked.
    pub async fn revoke_service(&self, service: &ServiceId) -> Result<(), RuntimeError> {
        let target = Target::Service(service.as_ref());
        let revoked = self.inner.revocations.revoke(target, Timestamp::MAX).await;
        revoked.map_err(RuntimeError::revocations)?;
        let now = self.inner.clock.now()?;
        self.inner.step(TaskName::Crl, now).await.map(drop)
    }

    /// Revokes one certificate that our own authority signed, for `by`, whom you have authenticated. It is
    /// on the CRL, and connections by it are closed, when this returns.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`]: **ask again**, it may not be revoked.
    pub async fn revoke_certificate(
        &self,
        id: &CertificateId,
        reason: RevocationReason,
        by: &Operator,
    ) -> Result<(), RuntimeError> {
        let now = self.inner.clock.now()?;
        let issuer = self.own_issuer()?;
        let revoked = issuer
            .authority()
            .revoke(id, reason, by, now, &SystemRandom);
        revoked.await?;
        self.inner.step(TaskName::Crl, now).await.map(drop)
    }

    /// Makes a certificate and a key for the machine called `service` and writes both, and whom to trust,
    /// into `directory`: `cert.pem`, `key.pem`, `ca.pem`. For tools that make no requests of their own,
    /// curl among them; a service joins instead, and its key never leaves it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`].
    pub async fn issue_files(
        &self,
        service: &str,
        directory: impl AsRef<Path>,
    ) -> Result<(), RuntimeError> {
        let now = self.inner.clock.now()?;
        files::issue(
            self.own_issuer()?,
            service,
            directory.as_ref(),
            now,
            &SystemRandom,
        )
        .await
    }

    fn own_issuer(&self) -> Result<&Arc<Issuer>, RuntimeError> {
        let issuer = self.issuer().filter(|_| self.inner.is_issuer);
        issuer.ok_or_else(|| RuntimeError::Issuer {
            reason: Reason::new("it is another process or runtime; ask there"),
        })
    }

    /// What the background work did, and when it is due next.
    pub fn health(&self) -> Health {
        self.inner.board.health()
    }

    /// The background work that nobody has taken yet, to be spawned piece by piece.
    pub fn tasks(&self) -> Vec<Task> {
        let names = self.inner.board.names().into_iter();
        names
            .filter_map(|name| Task::take(&self.inner, name))
            .collect()
    }

    /// A server for clients that [`Runtime::tls`] takes, with limits that suit most; make your own with
    /// [`Runtime::acceptor`] for others.
    pub fn server(&self) -> Server {
        Server::mutual_tls(self.acceptor(), ServeLimits::new())
    }

    /// Serves `service`, a router of axum say, to who connects to `listener` over mutual TLS, and does the
    /// background work meanwhile. Dropped, it stops both; [`Runtime::serve_until`] ends what is under way.
    ///
    /// # Errors
    ///
    /// [`ServeError`], before anything was accepted.
    pub async fn serve<S, R>(&self, listener: TcpListener, service: S) -> Result<(), ServeError>
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let forever = std::future::pending();
        self.serve_until(listener, service, forever).await.map(drop)
    }

    /// As [`Runtime::serve`], until `until` is ready. What is under way then is finished, within a limit,
    /// and then the background work is stopped.
    ///
    /// # Errors
    ///
    /// [`ServeError`], before anything was accepted.
    pub async fn serve_until<S, R>(
        &self,
        listener: TcpListener,
        service: S,
        until: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.run(self.server().serve(listener, service, until))
            .await
    }

    /// Does all the background work that nobody has taken, until `shutdown` is ready, and gives what that
    /// gave. Dropped, it stops: nothing is half done. Needs a runtime of tokio.
    pub async fn run<T>(&self, shutdown: impl Future<Output = T>) -> T {
        let mut running = tokio::task::JoinSet::new();
        for task in self.tasks() {
            running.spawn(task);
        }
        let outcome = shutdown.await;
        running.shutdown().await;
        outcome
    }
}

impl Inner {
    /// Takes away what marks deleted records, up to where the store was an hour ago.
    async fn prune(&self) -> Result<(), RuntimeError> {
        let mut pruned = self.pruned.lock().await;
        let head = self.store.head().revision();
        if let Some(until) = pruned.replace(head) {
            let done = self.store.prune_tombstones(until).await;
            done.map_err(|error| RuntimeError::Records(error.into()))?;
        }
        Ok(())
    }

    /// What delivering events came to.
    fn delivered(&self, name: TaskName, event: &DeliveryEvent) {
        let now = self.clock.now().unwrap_or(Timestamp::MIN);
        let failed = |why: String| {
            self.log.tell(&LogEvent::TaskFailed {
                task: name,
                why: &why,
            });
            self.board.failed(name, now, &why);
        };
        let not_delivered = |why, is_dead| self.log.tell(&LogEvent::NotDelivered { why, is_dead });
        match event {
            DeliveryEvent::Failed(error) => failed(error.to_string()),
            DeliveryEvent::Clock(error) => failed(error.to_string()),
            // One receiver that does not answer is not ours to be well without.
            DeliveryEvent::Retried { why, .. } => not_delivered(why, false),
            DeliveryEvent::Dead { why, .. } => not_delivered(why, true),
            _ => {
                let soon = now.saturating_add(Duration::from_secs(60));
                self.board.succeeded(name, now, soon);
            }
        }
    }

    /// Acts upon what was received, until nothing is left.
    async fn act(&self, now: Timestamp) -> Result<Timestamp, RuntimeError> {
        if let Some(signals) = &self.signals {
            signals.act().await.map_err(RuntimeError::events)?;
            let forgotten = signals.receiver().forget(now, &SystemRandom).await;
            forgotten.map_err(RuntimeError::events)?;
        }
        Ok(now.saturating_add(Duration::from_secs(60)))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("service", &self.inner.service)
            .field("store", &self.inner.store)
            .finish_non_exhaustive()
    }
}
