//! `Shared`: what configurations, sessions and connections of one `LiveTls` have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2m_types::{Clock, Live, Timestamp};
use rustls::CommonState;
use rustls::HandshakeKind;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use super::connections::{Connections, OpenConnection};
use super::event::{Observer, TlsEvent};
use super::judge::{Judge, Known};
use super::material::Material;
use super::peer::{Peer, PeerError};
use crate::PeerRole;

/// Holds no configuration, since configurations hold it.
pub(super) struct Shared {
    pub(super) material: Live<Material>,
    pub(super) epoch: AtomicU64,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) connections: Arc<Connections>,
    pub(super) observer: Observer,
    pub(super) resumption: Duration,
}

impl Shared {
    pub(super) fn now(&self) -> Result<Timestamp, PeerError> {
        Ok(self.clock.now()?)
    }

    /// How often the identity or whom we trust has changed.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(self.material.load().identity().certified_key())
    }

    /// Whether the chain holds now, with what is trusted and revoked now.
    pub(super) fn verify(
        &self,
        judge: &Judge,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Arc<Known>, PeerError> {
        let material = self.material.load();
        Ok(judge.verify(leaf, others, &material, now)?)
    }

    /// The holder of `leaf` has just shown its key.
    pub(super) fn shown(&self, judge: &Judge, leaf: &CertificateDer<'_>) -> Option<Arc<Known>> {
        let (known, now) = (judge.known(leaf)?, self.now().ok()?);
        known.set_shown(now);
        Some(known)
    }

    /// Whether a session of `known` may be resumed at `now`, and up to when if nothing changes.
    pub(super) fn may_resume(&self, known: &Known, now: Timestamp) -> Result<Timestamp, PeerError> {
        let shown = known.shown().ok_or(PeerError::Handshaking)?;
        let until = shown.saturating_add(self.resumption);
        if now > until {
            return Err(PeerError::SessionTooOld { shown, until });
        }
        let good_until = known.recheck(&self.material.load(), now)?;
        Ok(until.min(good_until))
    }

    /// Who is at the other end of a connection, asked after the handshake.
    pub(super) fn peer(&self, judge: &Judge, connection: &CommonState) -> Result<Peer, PeerError> {
        let peer = self.identify(judge, connection);
        if let Err(error) = &peer
            && *error != PeerError::Handshaking
        {
            let role = judge.role();
            self.observer.tell(&TlsEvent::PeerRefused { role, error });
        }
        peer
    }

    fn identify(&self, judge: &Judge, connection: &CommonState) -> Result<Peer, PeerError> {
        if connection.is_handshaking() {
            return Err(PeerError::Handshaking);
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let (leaf, others) = chain.split_first().ok_or(PeerError::NoCertificate)?;
        let now = self.now()?;
        let known = self.verify(judge, leaf, others, now)?;
        Ok(Peer {
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            known,
        })
    }

    /// Knows the connection of `peer` from now on.
    pub(super) fn watch(
        &self,
        peer: &Peer,
        hook: Box<dyn FnOnce(&PeerError) + Send>,
    ) -> Result<OpenConnection, PeerError> {
        let known = Arc::clone(&peer.known);
        let not_after = known.verified().not_after();
        let open = self.connections.open(known, not_after, hook)?;
        // What changed since `peer` was made finds the connection, or is seen here.
        let good_until = peer.known.recheck(&self.material.load(), self.now()?)?;
        open.set_good_until(good_until);
        Ok(open)
    }

    pub(super) fn refused(&self, role: PeerRole, error: &PeerError) -> rustls::Error {
        self.observer.tell(&TlsEvent::PeerRefused { role, error });
        error.to_rustls()
    }

    pub(super) fn not_resumed(&self, role: PeerRole, error: &PeerError) {
        self.observer.tell(&TlsEvent::NotResumed { role, error });
    }
}
