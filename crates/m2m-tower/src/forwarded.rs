//! `TrustedProxies`: who may say by a header which certificate its client showed.

mod remembered;
mod rfc9440;
#[cfg(test)]
mod tests;
mod xfcc;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use m2m_pki::{Certificate, ChainVerifier, CrlSet, PeerRole, TrustBundles, VerifiedPeer};
use m2m_types::{Live, ServiceId, Timestamp};

use self::remembered::Remembered;
use crate::credentials::{RequestProblem, only};
use crate::headers::{CLIENT_CERT, CLIENT_CERT_CHAIN, XFCC};
use crate::refused::Refused;

/// The most bytes of a header with certificates in it.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The most certificates that a proxy may forward: more are not read by chains either.
const MAX_CERTIFICATES: usize = 10;

/// The proxies that end TLS in front of this service, and how they forward what their clients showed.
///
/// A proxy is known **by its own certificate**, on its own connection to this service, and by nothing else:
/// not by its address, not by a header. What it forwards is believed as far as that the client holds the
/// key; the chain is verified here, against the bundles and CRLs of this service. From everybody else
/// such headers are taken away unread.
///
/// A proxy that forwards no certificate is not its client: the request then comes without one.
///
/// A chain that held is remembered, by the very bytes that were forwarded, so that its signatures are not
/// checked for each request. Dates, revocation and the authority are; and when the bundles are replaced
/// everything is forgotten.
pub struct TrustedProxies {
    proxies: HashSet<ServiceId>,
    form: ForwardedForm,
    verifier: ChainVerifier,
    bundles: Arc<Live<TrustBundles>>,
    crls: Arc<Live<CrlSet>>,
    intermediates: Option<Arc<Live<Vec<Certificate>>>>,
    remembered: Remembered,
}

/// How a proxy forwards what its client showed. It must remove the header if a client sends it, as every
/// proxy does that can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedForm {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// `X-Forwarded-Client-Cert` as Envoy writes it, with `Cert` or `Chain`, for one client: a proxy that
    /// sets it, and does not append to it (`SANITIZE_SET`).
    ForwardedClientCert,
}

impl TrustedProxies {
    /// How many clients are remembered: 4 KiB each, and a proxy seldom has more at once.
    pub const REMEMBERED: usize = 1024;

    /// No proxy yet. Clients are those that `verifier` takes, by `bundles` and `crls` as they are at each
    /// request.
    pub fn new(
        form: ForwardedForm,
        verifier: ChainVerifier,
        bundles: Arc<Live<TrustBundles>>,
        crls: Arc<Live<CrlSet>>,
    ) -> Self {
        Self {
            proxies: HashSet::new(),
            form,
            verifier,
            bundles,
            crls,
            intermediates: None,
            remembered: Remembered::new(Self::REMEMBERED),
        }
    }

    /// Remembers at most `clients`; with 0, every signature is checked for every request.
    #[must_use]
    pub fn with_remembered(mut self, clients: usize) -> Self {
        self.remembered = Remembered::new(clients);
        self
    }

    /// How many clients are remembered now.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// `proxy` may forward.
    #[must_use]
    pub fn with_proxy(mut self, proxy: ServiceId) -> Self {
        self.proxies.insert(proxy);
        self
    }

    /// Knows the certificates of those who issued to clients, for proxies that forward leaves alone, as
    /// nginx does: they are looked at as if the client had sent them, behind what was forwarded and up to
    /// ten certificates together. None is trusted by that: each still needs its issuer, its dates and its CRL.
    ///
    /// With [`ChainVerifier::with_known`] their signatures are checked once, and not for each request.
    #[must_use]
    pub fn with_intermediates(mut self, intermediates: Arc<Live<Vec<Certificate>>>) -> Self {
        self.intermediates = Some(intermediates);
        self
    }

    /// Whether this peer is one of the proxies.
    pub(crate) fn has(&self, peer: &VerifiedPeer) -> bool {
        peer.service_id()
            .is_some_and(|service| self.proxies.contains(service))
    }

    /// The client whose certificate is in the headers, if one is.
    pub(crate) fn forwarded(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<Arc<VerifiedPeer>>, Refused> {
        let (leaf, others) = match self.form {
            ForwardedForm::ClientCert => (
                header(headers, &CLIENT_CERT)?,
                header(headers, &CLIENT_CERT_CHAIN)?,
            ),
            ForwardedForm::ForwardedClientCert => (header(headers, &XFCC)?, None),
        };
        // A header has no line end in it, so no two pairs of headers have one text.
        let joined = others.map(|others| [leaf.unwrap_or_default(), b"\n", others].concat());
        let text = joined.as_deref().or(leaf).unwrap_or_default();
        // Before the bundles: what is stamped with it is forgotten too early rather than too late.
        let generation = self.bundles.version();
        let (bundles, crls) = (self.bundles.load(), self.crls.load());
        if let Some(known) = self.remembered.find(text, generation)
            && known.recheck(&bundles, &crls, now).is_ok()
        {
            return Ok(Some(known));
        }
        // Not known, or no longer good by the path that was; there may be another by now.
        let chain = match self.form {
            ForwardedForm::ClientCert => rfc9440::chain(leaf, others),
            ForwardedForm::ForwardedClientCert => xfcc::chain(leaf),
        };
        let mut chain = chain.map_err(RequestProblem::Forwarded)?;
        if chain.is_empty() {
            return Ok(None);
        }
        if let Some(intermediates) = &self.intermediates {
            for known in intermediates.load().iter().map(Certificate::der) {
                if chain.len() < MAX_CERTIFICATES && !chain.contains(known) {
                    chain.push(known.clone());
                }
            }
        }
        let verified = self
            .verifier
            .verify(&chain, PeerRole::Client, &bundles, &crls, now)
            .map_err(Refused::Forwarded)?;
        let verified = Arc::new(verified);
        self.remembered.remember(text, generation, &verified);
        Ok(Some(verified))
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedProxies")
            .field("proxies", &self.proxies)
            .field("form", &self.form)
            .field("remembered", &self.remembered)
            .finish_non_exhaustive()
    }
}

/// The one value of a header that a proxy wrote.
fn header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h [u8]>, RequestProblem> {
    let value = only(headers, name, |_| {
        RequestProblem::Forwarded("the header stands more than once")
    })?;
    match value {
        Some(value) if value.len() > MAX_HEADER_BYTES => {
            Err(RequestProblem::Forwarded("the header is too long"))
        }
        value => Ok(value),
    }
}
