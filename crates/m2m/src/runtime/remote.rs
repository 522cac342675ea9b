//! `RemoteIssuer`: an issuer in another process: joined by an invitation, then asked over mutual TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use m2m_crypto::SecureRandom;
use m2m_guard::LastConfirmed;
use m2m_pki::tls::LiveTls;
use m2m_pki::{Certificate, CrlIssuer, ExpectedPeer, TrustBundle};
use m2m_store::{Expected, Reason};
use m2m_token::{KeySet, RemoteKeySet};
use m2m_tower::{AddressRule, Fetcher, HttpSender};
use m2m_types::{Clock, Live, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;

use super::authority::{KeyAndChain, PublishedCrl, new_request, read_crl};
use super::endpoints::{Released, RenewRequest, TokenAsked, TokenGiven};
use super::error::RuntimeError;
use super::invitation::Invitation;
use super::membership::is_good_by;
use super::records::{Records, RecordsError};

const SPACE: &str = "runtime-joined";
/// For how long CRL and keys may be unconfirmed. The authority may be away for half a day.
pub(super) const UNCONFIRMED: Duration = Duration::from_secs(12 * 3600);

/// An issuer elsewhere.
pub(super) struct RemoteIssuer {
    facts: Facts,
    service: ServiceId,
    root: Certificate,
    crl_issuer: CrlIssuer,
    crl: watch::Sender<PublishedCrl>,
    crl_confirmed: Arc<LastConfirmed>,
    keys: Mutex<RemoteKeySet>,
    live_keys: Arc<Live<KeySet>>,
    keys_confirmed: Arc<LastConfirmed>,
    records: Records,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    service: Box<str>,
    iss: Box<str>,
    members: Box<str>,
    root: Box<str>,
}

impl RemoteIssuer {
    /// The issuer that we joined, if we did.
    pub(super) async fn open(records: &Records) -> Result<Option<Self>, RuntimeError> {
        let (facts, crl) = (
            records.read(SPACE, b"issuer").await?,
            records.read(SPACE, b"crl").await?,
        );
        let Some(facts) = facts else {
            return Ok(None);
        };
        let damaged = |id| RuntimeError::from(RecordsError::damaged(SPACE, id));
        let facts: Facts =
            serde_json::from_slice(facts.value().as_bytes()).map_err(|_| damaged("issuer"))?;
        let crl = crl.ok_or_else(|| damaged("crl"))?;
        Self::new(facts, crl.value().as_bytes(), records.clone()).map(Some)
    }

    /// Joins by `invitation`: what is answered is checked by its root, kept, and only then used.
    pub(super) async fn join(
        invitation: &Invitation,
        service: &ServiceId,
        (records, identity): (&Records, &m2m_store::Key),
        clock: &dyn Clock,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        if invitation.service_id() != service {
            return Err(RuntimeError::Issuer {
                reason: Reason::new("the invitation is for another service"),
            });
        }
        let (key, csr) = new_request(random)?;
        let body = serde_json::to_vec(&invitation.request(&csr)?).map_err(RuntimeError::issuer)?;
        let url = format!("{}/join", invitation.join_url());
        let sender = HttpSender::new(Fetcher::new(no_trust()?).with_addresses(anywhere()));
        // Nothing that is sent or taken needs the connection's protection; see `invitation`.
        let sender = sender.danger_with_plain();
        let answer = send(&sender, Method::POST, &url, body).await?;
        let not_released = || RuntimeError::Issuer {
            reason: Reason::new("what was answered is no certificate of the invitation's root"),
        };
        let (chain, crl) = Released::read(answer.body()).ok_or_else(not_released)?;
        let facts = Facts {
            service: invitation.issuer().as_str().into(),
            iss: invitation.iss().into(),
            members: invitation.members_url().into(),
            root: BASE64URL.encode(invitation.root().der()).into(),
        };
        let value = serde_json::to_vec(&facts).map_err(RecordsError::made)?;
        let joined = Self::new(facts, &crl, records.clone()).map_err(|_| not_released())?;
        let own = KeyAndChain { key, chain };
        let (now, root) = (clock.now()?, invitation.root());
        if !is_good_by(&own, service, (root, &joined.crl.borrow()), now) {
            return Err(not_released());
        }
        // Whoever joins again has nothing there that is good.
        let batch = Records::batch(random)?
            .put(Records::key(SPACE, b"issuer")?, Expected::Anything, value)
            .put(Records::key(SPACE, b"crl")?, Expected::Anything, crl)
            .put(identity.clone(), Expected::Anything, own.to_value());
        records.commit(batch).await?;
        Ok(joined)
    }

    fn new(facts: Facts, crl: &[u8], records: Records) -> Result<Self, RuntimeError> {
        let damaged = || RuntimeError::from(RecordsError::damaged(SPACE, "issuer"));
        let root = BASE64URL
            .decode(facts.root.as_bytes())
            .map_err(|_| damaged())?;
        let root = Certificate::from_der(&root).map_err(|_| damaged())?;
        let crl_issuer = CrlIssuer::from_certificate(&root).map_err(RuntimeError::issuer)?;
        let index = read_crl(crl, &crl_issuer)?;
        let crl_confirmed = Arc::new(LastConfirmed::never());
        crl_confirmed.confirm(index.this_update());
        let crl = PublishedCrl {
            der: crl.into(),
            index,
        };
        let keys = RemoteKeySet::new();
        Ok(Self {
            service: facts.service.parse().map_err(|_| damaged())?,
            crl: watch::Sender::new(crl),
            crl_confirmed,
            live_keys: keys.keys(),
            keys: Mutex::new(keys),
            keys_confirmed: Arc::new(LastConfirmed::never()),
            facts,
            root,
            crl_issuer,
            records,
        })
    }

    pub(super) fn iss(&self) -> &str {
        &self.facts.iss
    }

    pub(super) fn service_id(&self) -> &ServiceId {
        &self.service
    }

    pub(super) fn bundle(&self) -> TrustBundle {
        TrustBundle::new(self.service.trust_domain(), [self.root.clone()])
    }

    pub(super) fn root(&self) -> &Certificate {
        &self.root
    }

    pub(super) fn crl(&self) -> &watch::Sender<PublishedCrl> {
        &self.crl
    }

    pub(super) fn crl_confirmed(&self) -> Arc<LastConfirmed> {
        Arc::clone(&self.crl_confirmed)
    }

    pub(super) fn keys(&self) -> Arc<Live<KeySet>> {
        Arc::clone(&self.live_keys)
    }

    pub(super) fn keys_confirmed(&self) -> Arc<LastConfirmed> {
        Arc::clone(&self.keys_confirmed)
    }

    /// Gets another certificate by the one that `tls` has.
    pub(super) async fn renew(
        &self,
        tls: &LiveTls,
        random: &dyn SecureRandom,
    ) -> Result<KeyAndChain, RuntimeError> {
        let (key, csr) = new_request(random)?;
        let body = serde_json::to_vec(&RenewRequest::new(&csr)).map_err(RuntimeError::issuer)?;
        let answer = self.ask(tls, Method::POST, "renew", body).await?;
        let released = Released::read(answer.body()).ok_or_else(|| RuntimeError::Issuer {
            reason: Reason::new("what was answered is no certificate"),
        });
        // That it is ours, and holds, is asked when TLS is to go by it.
        Ok(KeyAndChain {
            key,
            chain: released?.0,
        })
    }

    /// A token for `audience`, bound to the certificate that `tls` has, and for how long it is good.
    pub(super) async fn token(
        &self,
        tls: &LiveTls,
        audience: &ServiceId,
    ) -> Result<(String, Duration), RuntimeError> {
        let asked = TokenAsked {
            audience: audience.as_str().into(),
        };
        let body = serde_json::to_vec(&asked).map_err(RuntimeError::issuer)?;
        let answer = self.ask(tls, Method::POST, "token", body).await?;
        let given: TokenGiven =
            serde_json::from_slice(answer.body()).map_err(RuntimeError::issuer)?;
        let lifetime = Duration::from_secs(given.expires_in);
        Ok((given.access_token, lifetime))
    }

    /// Fetches the CRL, and keeps it if it is newer.
    pub(super) async fn fetch_crl(
        &self,
        tls: &LiveTls,
        clock: &dyn Clock,
        random: &dyn SecureRandom,
    ) -> Result<(), RuntimeError> {
        let answer = self.ask(tls, Method::GET, "crl", Vec::new()).await?;
        let der = answer.body();
        let index = read_crl(der, &self.crl_issuer)?;
        let now = clock.now()?;
        let held = self.crl.borrow().clone();
        if index.number() < held.index.number() {
            return Err(RuntimeError::Issuer {
                reason: Reason::new("the CRL is older than the one that is held"),
            });
        }
        if index.number() > held.index.number() {
            let key = Records::key(SPACE, b"crl")?;
            let batch = Records::batch(random)?.put(key, Expected::Present, der.as_slice());
            self.records.commit(batch).await?;
            self.crl.send_replace(PublishedCrl {
                der: der.as_slice().into(),
                index,
            });
        }
        self.crl_confirmed.confirm(now);
        Ok(())
    }

    /// Fetches the JWK set if it is time to, and says when the next time is.
    pub(super) async fn fetch_keys(
        &self,
        tls: &LiveTls,
        clock: &dyn Clock,
    ) -> Result<Timestamp, RuntimeError> {
        let wanted = self.lock_keys().poll_fetch(clock.now()?);
        if let Some(fetch) = wanted {
            let answer = self.ask(tls, Method::GET, "jwks.json", Vec::new()).await;
            let now = clock.now()?;
            let mut keys = self.lock_keys();
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    keys.handle_failure(fetch.id(), now);
                    return Err(error);
                }
            };
            let response = m2m_token::Response::new(answer.body())
                .with_max_age(Duration::from_secs(300))
                .with_generated_at(now);
            let taken = keys.handle_response(fetch.id(), &response, now);
            taken.map_err(RuntimeError::issuer)?;
            self.keys_confirmed.confirm(now);
        }
        Ok(self.lock_keys().poll_timeout())
    }

    fn lock_keys(&self) -> std::sync::MutexGuard<'_, RemoteKeySet> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the issuer, and nobody else: by its name in its certificate, and not by that of its host.
    async fn ask(
        &self,
        tls: &LiveTls,
        method: Method,
        what: &str,
        body: Vec<u8>,
    ) -> Result<Response<Vec<u8>>, RuntimeError> {
        let connector = tls.connector(ExpectedPeer::service(self.service.clone()));
        let mut config = ClientConfig::clone(&*connector.map_err(RuntimeError::tls)?.config());
        // What the sender speaks.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let sender = HttpSender::new(Fetcher::new(Arc::new(config)).with_addresses(anywhere()));
        let url = format!("{}/{what}", self.facts.members);
        send(&sender, method, &url, body).await
    }
}

async fn send(
    sender: &HttpSender,
    method: Method,
    url: &str,
    body: Vec<u8>,
) -> Result<Response<Vec<u8>>, RuntimeError> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(RuntimeError::issuer)?;
    let answer = sender.send(&request).await.map_err(RuntimeError::issuer)?;
    match answer.status() {
        StatusCode::OK => Ok(answer),
        other => Err(RuntimeError::Refused {
            status: other.as_u16(),
        }),
    }
}

/// An operator said where the issuer is, in an invitation: no stranger leads us anywhere by it.
fn anywhere() -> AddressRule {
    AddressRule::public()
        .allowing(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
        .allowing(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)
}

/// TLS to whom nobody vouches for: it connects to nobody. Joining by `https` goes by the root of the
/// invitation, which names no host; so it goes by `http`, or by a proxy on this machine.
fn no_trust() -> Result<Arc<ClientConfig>, RuntimeError> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RuntimeError::tls)?
        .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Arc::new(config))
}
