//! `Connector`: connections to one expected peer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use m2m_types::Live;
use rustls::{ClientConfig, ClientConnection};

use super::client_sessions::ClientSessions;
use super::config::Settings;
use super::connections::OpenConnection;
use super::judge::Judge;
use super::live::UpdateError;
use super::peer::{Peer, PeerError};
use super::shared::Shared;
use crate::ExpectedPeer;

/// Connects to one expected peer. Keep one for each service that is called: it keeps the sessions that
/// make the next connection cheap. Cloning copies a pointer.
#[derive(Clone)]
pub struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    expected: ExpectedPeer,
    servers: Arc<Judge>,
    current: Live<Current>,
    writer: Mutex<()>,
}

/// A configuration and the sessions it resumes.
struct Current {
    config: Arc<ClientConfig>,
    sessions: Arc<ClientSessions>,
}

impl Connector {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        expected: ExpectedPeer,
    ) -> Result<Self, UpdateError> {
        let servers = Arc::new(settings.judge_of_servers(expected.clone()));
        let current = Current::new(&shared, &settings, &servers)?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                settings,
                expected,
                servers,
                current: Live::new(current),
                writer: Mutex::default(),
            }),
        })
    }

    /// The configuration for the next connection: TLS 1.3, no early data. Take it anew for each: it
    /// costs two loads, unless sessions have to begin anew.
    ///
    /// The name that rustls wants with it is where to connect, and is sent as SNI. Who must answer was
    /// said when the connector was made.
    pub fn config(&self) -> Arc<ClientConfig> {
        let Inner {
            shared,
            settings,
            servers,
            current,
            writer,
            ..
        } = &*self.inner;
        let held = current.load();
        // Asked now, and not only when a session is taken: so the full handshake that follows already
        // keeps its session.
        if held.sessions.may_resume() {
            return Arc::clone(&held.config);
        }
        // Guards no data: one makes the new one, and the others find it.
        let _turn = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let held = current.load();
        if !held.sessions.may_resume()
            && let Ok(new) = Current::new(shared, settings, servers)
        {
            let config = Arc::clone(&new.config);
            current.store(new);
            return config;
        }
        // Made by another thread; or, which cannot be, of a provider that forgot TLS 1.3: what is
        // held resumes nothing and verifies by the newest material.
        Arc::clone(&held.config)
    }

    /// Who is at the other end of `connection`, whose handshake is complete: whoever is expected,
    /// judged by what is trusted and revoked now. That the session was resumed makes no difference.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; close the connection then. The next begins with a full handshake.
    pub fn peer(&self, connection: &ClientConnection) -> Result<Peer, PeerError> {
        let Inner {
            shared,
            servers,
            current,
            ..
        } = &*self.inner;
        let peer = shared.peer(servers, connection);
        if peer
            .as_ref()
            .is_err_and(|error| *error != PeerError::Handshaking)
        {
            current.load().sessions.end();
        }
        peer
    }

    /// As [`LiveTls::watch`](super::LiveTls::watch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn watch(
        &self,
        peer: &Peer,
        hook: impl FnOnce(&PeerError) + Send + 'static,
    ) -> Result<OpenConnection, PeerError> {
        self.inner.shared.watch(peer, Box::new(hook))
    }

    /// Who must answer.
    pub fn expected(&self) -> &ExpectedPeer {
        &self.inner.expected
    }
}

impl Current {
    fn new(
        shared: &Arc<Shared>,
        settings: &Settings,
        servers: &Arc<Judge>,
    ) -> Result<Self, UpdateError> {
        let sessions = ClientSessions::new(Arc::clone(shared), shared.epoch(), settings.sessions);
        let sessions = Arc::new(sessions);
        let config = settings.client_config(shared, servers, &sessions)?;
        Ok(Self { config, sessions })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("expected", &self.inner.expected)
            .finish_non_exhaustive()
    }
}
