//! `Tokens`: the tokens for one service that is called, ready to be attached.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;
use m2m_crypto::CertificateThumbprint;
use m2m_types::{Live, Timestamp};
use tokio::sync::{Notify, watch};

use super::not_sent::NotSent;
use super::source::FreshToken;

/// The tokens for one service that is called: a snapshot that a [`Refresher`](super::Refresher) keeps fresh.
/// Taking one out of it waits for nothing, takes no lock and allocates nothing. Cloning copies a pointer.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    held: Live<Held>,
    /// Wakes the refresher.
    wake: Notify,
    /// Whether a new token is wanted, and not only a look at the certificate.
    wanted: AtomicBool,
    changed: watch::Sender<()>,
}

/// The newest first. With bound tokens also those of certificates that open connections still show.
#[derive(Clone, Default)]
struct Held {
    ready: Vec<Ready>,
}

#[derive(Clone)]
struct Ready {
    header: HeaderValue,
    expires: Timestamp,
    certificate: Option<CertificateThumbprint>,
}

/// The tokens of a request that is on its way, for a client that knows which certificate its connections
/// show.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(crate) struct Attached(pub(crate) Tokens);

impl Tokens {
    /// How many certificates' tokens are held: the newest, and those before it that connections may have
    /// been opened with.
    const HELD: usize = 4;

    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                held: Live::new(Held::default()),
                wake: Notify::new(),
                wanted: AtomicBool::new(false),
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Waits until a token was there for the first time.
    pub async fn ready(&self) {
        self.wait_for(|held| !held.ready.is_empty()).await;
    }

    /// When the newest token ends, if there is one.
    pub fn expires(&self) -> Option<Timestamp> {
        let held = self.shared.held.load();
        held.ready.first().map(|ready| ready.expires)
    }

    /// Has the refresher ask for a new token soon, as when a service refused the one that is here. However
    /// often it is called, it asks once a second at most.
    pub fn refresh(&self) {
        self.shared.wanted.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Has the refresher look whether there is another certificate.
    #[cfg(feature = "tls")]
    pub(super) fn look(&self) {
        self.shared.wake.notify_one();
    }

    /// The newest token that has not expired, and whether it is bound to a certificate.
    pub(super) fn newest(&self, now: Timestamp) -> Result<(HeaderValue, bool), NotSent> {
        let held = self.shared.held.load();
        let ready = held.ready.first().ok_or(NotSent::NoToken)?;
        if now >= ready.expires {
            let expires = ready.expires;
            return Err(NotSent::Expired { expires, now });
        }
        Ok((ready.header.clone(), ready.certificate.is_some()))
    }

    /// The token that is bound to `certificate`, if there is one that has not expired.
    #[cfg(feature = "tls")]
    pub(super) fn bound_to(
        &self,
        certificate: &CertificateThumbprint,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let held = self.shared.held.load();
        let mut ready = held.ready.iter().filter(|ready| now < ready.expires);
        let found = ready.find(|ready| ready.certificate.as_ref() == Some(certificate));
        found.map(|ready| ready.header.clone())
    }

    /// Waits until there is a token that is bound to `certificate`.
    #[cfg(feature = "tls")]
    pub(super) async fn wait_bound_to(&self, certificate: &CertificateThumbprint) {
        self.look();
        let is_it = |ready: &Ready| ready.certificate.as_ref() == Some(certificate);
        self.wait_for(|held| held.ready.iter().any(is_it)).await;
    }

    async fn wait_for(&self, is_there: impl Fn(&Held) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        while !is_there(&self.shared.held.load()) {
            // The sender is here as long as we are.
            let _ = changes.changed().await;
        }
    }

    /// Waits until the refresher is to look, and says whether a new token is wanted.
    pub(super) async fn woken(&self) -> bool {
        self.shared.wake.notified().await;
        self.shared.wanted.swap(false, Ordering::AcqRel)
    }

    /// Only the refresher does this, and of that there is one.
    pub(super) fn publish(
        &self,
        token: &FreshToken,
        certificate: Option<CertificateThumbprint>,
        now: Timestamp,
    ) {
        let new = Ready {
            header: token.header.clone(),
            expires: token.expires,
            certificate,
        };
        let held = self.shared.held.load();
        let others = held.ready.iter();
        let others = others.filter(|old| old.certificate != certificate && now < old.expires);
        let ready = [new].into_iter().chain(others.cloned());
        let ready = ready.take(Self::HELD).collect();
        self.shared.held.store(Held { ready });
        self.shared.changed.send_replace(());
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}
