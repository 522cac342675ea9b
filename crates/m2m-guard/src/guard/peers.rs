//! Peers: asked again at each call whether they are still trusted.

use m2m_types::Timestamp;

use super::Guard;
use super::hook::{self, catching};
use crate::presented::Credential;
use crate::refusal::{Refusal, RefusalReason};

impl Guard {
    pub(super) fn check_peer(
        &self,
        peer: &m2m_pki::VerifiedPeer,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if peer.role() != m2m_pki::PeerRole::Client {
            return Err(RefusalReason::PeerRole.into());
        }
        // That peers are taken was seen before; without trust nobody is.
        let peers = self.peers.as_ref().ok_or(RefusalReason::NotTaken {
            credential: Credential::Certificate,
        })?;
        catching(hook::TRUST, || peers.trust.recheck(peer, now))?
            .map_err(|error| RefusalReason::Peer(error).into())
    }
}
