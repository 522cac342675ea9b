//! `PeerTrust`: whether a peer whose chain was verified earlier is still trusted.

use std::sync::Arc;

use m2m_pki::{ChainError, CrlSet, TrustBundles, VerifiedPeer};
use m2m_types::{Live, Timestamp};

/// Says whether a peer is still trusted: its authority, its dates, its revocation. Asked for every call of
/// a connection that stays open (RFC 5280 §6.3; a handshake says what was true then).
pub trait PeerTrust: Send + Sync {
    /// Asks again.
    ///
    /// # Errors
    ///
    /// [`ChainError`] if it could not connect anew.
    fn recheck(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), ChainError>;
}

/// Trust that follows bundles and CRLs as they change.
#[derive(Clone, Debug)]
pub struct LiveTrust {
    bundles: Arc<Live<TrustBundles>>,
    crls: Arc<Live<CrlSet>>,
}

impl LiveTrust {
    /// By these bundles and CRLs, as they are at each call.
    pub const fn new(bundles: Arc<Live<TrustBundles>>, crls: Arc<Live<CrlSet>>) -> Self {
        Self { bundles, crls }
    }
}

impl PeerTrust for LiveTrust {
    fn recheck(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), ChainError> {
        peer.recheck(&self.bundles.load(), &self.crls.load(), now)
    }
}

/// By the material that its handshakes go by.
#[cfg(feature = "rustls")]
impl PeerTrust for m2m_pki::tls::LiveTls {
    fn recheck(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), ChainError> {
        let material = self.material();
        peer.recheck(material.bundles(), material.crls(), now)
    }
}
