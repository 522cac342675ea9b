//! `Remembered`: forwarded certificates whose chains held, so that their signatures are not checked for each
//! request.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use m2m_pki::VerifiedPeer;
use m2m_types::Live;

/// Clients that proxies forwarded and whose chains held, by what stood in the headers, to the byte.
///
/// What is remembered is that the signatures were good. Dates, revocation and the authority are asked anew
/// at each use, and what was remembered under other bundles counts for nothing. Who was refused is not
/// remembered: a proxy alone adds to this, and only what an authority issued. Readers take no lock.
pub(super) struct Remembered {
    capacity: usize,
    known: Live<Known>,
}

#[derive(Clone, Default)]
struct Known {
    peers: HashMap<Arc<[u8]>, (u64, Arc<VerifiedPeer>)>,
    /// Those of `peers`, in the order they came.
    order: VecDeque<Arc<[u8]>>,
}

impl Remembered {
    /// What is longer is verified each time: a leaf and two intermediates have half of this.
    const MAX_TEXT_BYTES: usize = 16 * 1024;

    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            known: Live::new(Known::default()),
        }
    }

    /// Who it is that `text` shows, if that was found out under the bundles of `generation`.
    pub(super) fn find(&self, text: &[u8], generation: u64) -> Option<Arc<VerifiedPeer>> {
        let known = self.known.load();
        let (at, peer) = known.peers.get(text)?;
        (*at == generation).then(|| Arc::clone(peer))
    }

    /// Two who do this at once may lose an entry, which costs a signature later.
    pub(super) fn remember(&self, text: &[u8], generation: u64, peer: &Arc<VerifiedPeer>) {
        if text.len() > Self::MAX_TEXT_BYTES || self.capacity == 0 {
            return;
        }
        let mut known = Known::clone(&self.known.load());
        // What was known under other bundles has no use any more.
        known.peers.retain(|_, (at, _)| *at == generation);
        let Known { peers, order } = &mut known;
        order.retain(|text| peers.contains_key(text));
        let text: Arc<[u8]> = text.into();
        let new = (generation, Arc::clone(peer));
        if peers.insert(Arc::clone(&text), new).is_none() {
            order.push_back(text);
        }
        while peers.len() > self.capacity {
            let Some(oldest) = order.pop_front() else {
                break;
            };
            peers.remove(&oldest);
        }
        self.known.store(known);
    }

    pub(super) fn len(&self) -> usize {
        self.known.load().peers.len()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}
