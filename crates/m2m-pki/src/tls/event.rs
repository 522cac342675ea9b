//! `TlsEvent`: what operators want to know, and peers do not learn.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::live::UpdateError;
use super::peer::PeerError;
use crate::PeerRole;

/// Something that operators want to know.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TlsEvent<'a> {
    /// A peer was refused in the handshake, or right behind it.
    PeerRefused {
        /// What the peer was to be.
        role: PeerRole,
        /// Why.
        error: &'a PeerError,
    },
    /// A session was not resumed; a full handshake follows.
    NotResumed {
        /// What the peer was to be.
        role: PeerRole,
        /// Why.
        error: &'a PeerError,
    },
    /// New material was refused, and the old stays.
    UpdateRefused {
        /// Why.
        error: &'a UpdateError,
    },
    /// Connections were closed because trust in their peers ended.
    Closed {
        /// How many.
        connections: usize,
    },
}

/// Who is told. Called from within handshakes and updates: it should not block. If it panics, nothing else
/// happens: whom it was told of stays refused, and an update stays whole.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Arc<Observe>>);

type Observe = dyn Fn(&TlsEvent<'_>) + Send + Sync;

impl Observer {
    pub(super) fn new(observe: impl Fn(&TlsEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    pub(super) fn tell(&self, event: &TlsEvent<'_>) {
        if let Some(observe) = &self.0 {
            let told = AssertUnwindSafe(|| observe(event));
            let _ = catch_unwind(told);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
