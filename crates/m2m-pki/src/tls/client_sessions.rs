//! Sessions that a client can resume, for as long as every server they are of would still pass.
//!
//! rustls does not tell whose a session is. All sessions of one [`Connector`](super::Connector) are of
//! servers that showed it their keys, and those it remembers. If one of them would no longer pass, no
//! session of the connector is used any more, and the connector begins anew with full handshakes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use m2m_types::Timestamp;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls_pki_types::ServerName;

use super::judge::{Known, KnownKey};
use super::shared::Shared;

/// The sessions of one connector and one epoch.
pub(super) struct ClientSessions {
    shared: Arc<Shared>,
    epoch: u64,
    keeps_any: bool,
    is_over: AtomicBool,
    sessions: ClientSessionMemoryCache,
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    known: HashMap<KnownKey, Arc<Known>>,
    /// Up to when, and with which version of the material, all of them pass.
    judged: Option<(u64, Timestamp)>,
}

/// Replicas of one service. With more, sessions begin anew.
const MAX_SERVERS: usize = 1024;

impl ClientSessions {
    pub(super) fn new(shared: Arc<Shared>, epoch: u64, limit: usize) -> Self {
        Self {
            shared,
            epoch,
            keeps_any: limit > 0,
            is_over: AtomicBool::new(false),
            sessions: ClientSessionMemoryCache::new(limit),
            servers: Mutex::default(),
        }
    }

    /// Whether the connector has to begin anew.
    pub(super) fn are_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire) || self.shared.epoch() != self.epoch
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// A server that has shown its key, before it can send a ticket.
    pub(super) fn shown(&self, known: Arc<Known>) {
        if !self.keeps_any {
            return;
        }
        let mut servers = self.servers();
        if servers.known.len() >= MAX_SERVERS {
            self.end();
            return;
        }
        let old = servers.known.insert(known.key(), Arc::clone(&known));
        if !old.is_some_and(|old| Arc::ptr_eq(&old, &known)) {
            servers.judged = None;
        }
    }

    /// Whether every server would still pass. Judges again only after something changed.
    pub(super) fn may_resume(&self) -> bool {
        if self.are_over() {
            return false;
        }
        let Ok(now) = self.shared.now() else {
            return false;
        };
        // Before the material itself: it may be newer than that, and never older.
        let version = self.shared.material.version();
        let mut servers = self.servers();
        if servers
            .judged
            .is_some_and(|(judged, until)| judged == version && now <= until)
        {
            return true;
        }
        let mut until = Timestamp::MAX;
        for known in servers.known.values() {
            match self.shared.may_resume(known, now) {
                Ok(good_until) => until = until.min(good_until),
                Err(error) => {
                    self.end();
                    self.shared.not_resumed(known.role(), &error);
                    return false;
                }
            }
        }
        servers.judged = Some((version, until));
        true
    }

    /// Nothing that is done under this lock can panic half way.
    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if !self.are_over() {
            self.sessions.insert_tls13_ticket(name, value);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let session = self.sessions.take_tls13_ticket(name)?;
        self.may_resume().then_some(session)
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSessions")
            .field("epoch", &self.epoch)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
