//! `Judge`: who is taken, and the memory of who was.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use m2m_crypto::CertificateThumbprint;
use m2m_types::{ServiceId, Timestamp};
use rustls_pki_types::CertificateDer;

use super::material::Material;
use crate::{Certificate, ChainError, ChainVerifier, PeerRole, VerifiedPeer};

/// Decides about the peers of one side: the clients of a server, or the servers of one connector.
///
/// A leaf whose chain held is remembered, and when it comes again only what can change is asked:
/// validity, bundle, revocation. Signatures stay good.
pub(super) struct Judge {
    verifier: ChainVerifier,
    role: PeerRole,
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    peers: HashMap<Leaf, (u64, Arc<Known>)>,
    /// In the order they came; those that came anew are named twice.
    order: VecDeque<(u64, Leaf)>,
    next: u64,
}

/// A peer whose chain held.
pub(super) struct Known {
    verified: VerifiedPeer,
    /// When it last showed that it has the key, in seconds; zero if it has not.
    shown: AtomicU64,
}

/// Which peer: its certificate, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KnownKey {
    thumbprint: CertificateThumbprint,
    is_client: bool,
}

/// A certificate that is found by its bytes.
#[derive(Clone, PartialEq, Eq)]
struct Leaf(Certificate);

impl Judge {
    pub(super) fn new(verifier: ChainVerifier, role: PeerRole, limit: usize) -> Self {
        Self {
            verifier,
            role,
            limit: limit.max(1),
            table: Mutex::default(),
        }
    }

    pub(super) fn role(&self) -> PeerRole {
        self.role
    }

    /// Whether the chain of `leaf` and `others` holds under `material`.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        material: &Material,
        now: Timestamp,
    ) -> Result<Arc<Known>, ChainError> {
        if let Some(known) = self.known(leaf)
            && known.recheck(material, now).is_ok()
        {
            return Ok(known);
        }
        // Not known, or no longer good by the path that was; there may be another by now.
        let chain = [leaf].into_iter().chain(others);
        let chain: Vec<_> = chain.map(|der| CertificateDer::from(&**der)).collect();
        let (bundles, crls) = (material.bundles(), material.crls());
        let verified = self
            .verifier
            .verify(&chain, self.role, bundles, crls, now)?;
        let known = Arc::new(Known {
            verified,
            shown: AtomicU64::new(0),
        });
        self.table().remember(&known, self.limit);
        Ok(known)
    }

    pub(super) fn known(&self, leaf: &[u8]) -> Option<Arc<Known>> {
        let table = self.table();
        table.peers.get(leaf).map(|(_, known)| Arc::clone(known))
    }

    /// Nothing that is done under this lock can panic half way.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remember(&mut self, known: &Arc<Known>, limit: usize) {
        let leaf = Leaf(known.leaf().clone());
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, leaf.clone()));
        self.peers.insert(leaf, (number, Arc::clone(known)));
        while self.peers.len() > limit || self.order.len() > 2 * limit {
            let Some((number, leaf)) = self.order.pop_front() else {
                break;
            };
            if self.peers.get(&leaf).is_some_and(|(n, _)| *n == number) {
                self.peers.remove(&leaf);
            }
        }
    }
}

impl Known {
    pub(super) fn key(&self) -> KnownKey {
        KnownKey {
            thumbprint: *self.leaf().thumbprint(),
            is_client: self.role() == PeerRole::Client,
        }
    }

    pub(super) fn role(&self) -> PeerRole {
        self.verified.role()
    }

    pub(super) fn service_id(&self) -> Option<&ServiceId> {
        self.verified.service_id()
    }

    pub(super) fn leaf(&self) -> &Certificate {
        self.verified.certificate()
    }

    pub(super) fn verified(&self) -> &VerifiedPeer {
        &self.verified
    }

    /// Asks again what can change: to when it is good if nothing does.
    pub(super) fn recheck(
        &self,
        material: &Material,
        now: Timestamp,
    ) -> Result<Timestamp, ChainError> {
        let (bundles, crls) = (material.bundles(), material.crls());
        self.verified.good_until(bundles, crls, now)
    }

    /// It has shown its key.
    pub(super) fn set_shown(&self, now: Timestamp) {
        self.shown.fetch_max(now.unix_seconds(), Ordering::Release);
    }

    /// When it last showed its key; [`None`] if it has not.
    pub(super) fn shown(&self) -> Option<Timestamp> {
        let seconds = self.shown.load(Ordering::Acquire);
        let shown = Timestamp::from_unix_seconds(seconds).ok();
        shown.filter(|_| seconds > 0)
    }
}

impl Borrow<[u8]> for Leaf {
    fn borrow(&self) -> &[u8] {
        self.0.der()
    }
}

impl Hash for Leaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `[u8]` does it.
        Borrow::<[u8]>::borrow(self).hash(state);
    }
}
