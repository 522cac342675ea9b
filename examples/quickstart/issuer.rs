//! The issuer: certificate authority, tokens, the shared secret, and who is told what has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caep_stream::transmitter::Transmitter;
use m2m_crypto::{AeadKey, Algorithm, SecureRandom, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Freshness, Grant, Guard, Resources};
use m2m_pki::tls::Material;
use m2m_pki::{
    Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlSet, RevocationReason, TrustBundle,
    TrustBundles, UnverifiedCrl,
};
use m2m_revoke::Revocations;
use m2m_secrets::{MemberName, Role, SecretName};
use m2m_store::Store;
use m2m_token::{Minter, SigningKeyRing, TokenRequest, TokenType};
use m2m_tower::Published;
use m2m_types::{Clock, ServiceId, SystemClock, Timestamp, TrustDomain};
use tokio::sync::watch;

use crate::authority::Authorities;
use crate::follow::{InPlace, Offered};
use crate::net::{Machine, Names, PATIENCE};
use crate::secret::Keeper;
use crate::world::{DOMAIN, ISSUER, ISSUER_HOST, ISSUER_NAME, SERVICES};
use crate::{Outcome, issuer_http, signals};

/// How long a token lives.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// How long what is published may be kept by whoever fetched it.
const FRESH: Duration = Duration::from_secs(60);

pub(crate) struct Issuer {
    pub(crate) machine: Machine,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) keys: Arc<SigningKeyRing>,
    minter: Minter,
    pub(crate) authorities: tokio::sync::Mutex<Authorities>,
    pub(crate) secret: tokio::sync::Mutex<Keeper>,
    pub(crate) transmitter: Arc<Transmitter>,
    pub(crate) documents: Documents,
    revocations: Arc<Revocations>,
    /// Hashes of invitations that nobody has used, and whom each is for.
    invitations: Mutex<HashMap<[u8; 32], ServiceId>>,
    /// In which session each machine is signed in.
    sessions: Mutex<HashMap<ServiceId, String>>,
    /// What each service goes by, as it says itself.
    in_place: watch::Sender<BTreeMap<ServiceId, InPlace>>,
}

/// What everybody may read.
pub(crate) struct Documents {
    pub(crate) keys: Published,
    pub(crate) bundle: Published,
    /// By the name of who signed it.
    crls: Mutex<BTreeMap<String, Published>>,
    versions: Mutex<Offered>,
}

/// What a machine is given when it joins.
pub(crate) struct Welcome {
    pub(crate) certificate: Certificate,
    pub(crate) bundle: TrustBundle,
    pub(crate) crls: CrlSet,
}

impl Issuer {
    /// Makes all that an issuer needs, in `store`, and answers by mutual TLS.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        clock: Arc<SystemClock>,
        names: Arc<Names>,
    ) -> Outcome<Arc<Self>> {
        let now = clock.now()?;
        let domain: TrustDomain = DOMAIN.parse()?;
        let name: ServiceId = ISSUER_NAME.parse()?;
        let mut authorities =
            Authorities::create(Arc::clone(&store), &domain, Arc::clone(&clock)).await?;
        let identity = authorities.identity(&name).await?;
        let bundle = authorities.bundle().await?;
        let crls = crls_of(&authorities, &bundle)?;
        let material = Material::new(identity, TrustBundles::new().with(bundle.clone()), crls);
        let machine = Machine::new(name, material, Arc::clone(&clock), names)?;

        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let keys = Arc::new(SigningKeyRing::new(key, TOKEN_LIFE)?);
        let secret = SecretName::new("orders-billing")?;
        let keeper = Keeper::begin(Arc::clone(&store), &secret, Arc::clone(&clock)).await?;
        let mut seed = [0; 16];
        SystemRandom.fill(&mut seed)?;
        let issuer = Arc::new(Self {
            minter: Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&keys))?,
            transmitter: signals::transmitter(store, Arc::clone(&keys))?,
            documents: Documents {
                keys: Published::jwk_set(&keys.jwk_set(), FRESH),
                bundle: Published::trust_bundle(bundle.to_json(), FRESH),
                crls: Mutex::default(),
                versions: Mutex::default(),
            },
            machine,
            clock,
            keys,
            authorities: tokio::sync::Mutex::new(authorities),
            secret: tokio::sync::Mutex::new(keeper),
            revocations: Arc::new(Revocations::new(seed, now)),
            invitations: Mutex::default(),
            sessions: Mutex::default(),
            in_place: watch::Sender::default(),
        });
        issuer.publish().await?;
        let router = issuer_http::router(Arc::clone(&issuer))?;
        issuer.machine.listen(ISSUER_HOST, router).await?;
        Ok(issuer)
    }

    /// Takes machines by their certificates, and lets them do what machines do here.
    pub(crate) fn guard(&self) -> Outcome<Guard> {
        let mut allowed = AllowList::new();
        for service in SERVICES {
            let service = service.parse()?;
            for path in ["/token", "/renew", "/in-place"] {
                allowed = allowed.allow(&service, Grant::new("POST", Resources::exactly(path)));
            }
            for path in ["/jwks.json", "/bundle.json"] {
                allowed = allowed.allow(&service, Grant::new("GET", Resources::exactly(path)));
            }
            for path in ["/crl", "/.well-known/ssf-configuration", "/ssf"] {
                for method in ["GET", "POST"] {
                    allowed = allowed.allow(&service, Grant::new(method, Resources::under(path)?));
                }
            }
        }
        let revocations = Arc::clone(&self.revocations);
        Ok(Guard::builder(allowed)
            .with_peers(self.machine.tls.clone(), Freshness::in_process())
            .with_revocations(revocations, Freshness::in_process())
            .build()?)
    }

    /// What an operator gives to a machine that is to join as `service`, once.
    pub(crate) fn invite(&self, service: &str) -> Outcome<[u8; 32]> {
        let mut invitation = [0; 32];
        SystemRandom.fill(&mut invitation)?;
        let hash = m2m_crypto::sha256(&invitation);
        lock(&self.invitations).insert(hash, service.parse()?);
        Ok(invitation)
    }

    /// A machine joins: the invitation says who it is, and the request that it has a key. It has no
    /// certificate yet, so this does not go by mutual TLS; here it is a call within the process.
    pub(crate) async fn join(&self, invitation: &[u8; 32], csr: &str) -> Outcome<Welcome> {
        let hash = m2m_crypto::sha256(invitation);
        let service = lock(&self.invitations).remove(&hash);
        let service = service.ok_or("nobody was invited with that, or somebody has joined")?;
        let mut authorities = self.authorities.lock().await;
        let certificate = authorities.join(&service, csr).await?;
        let bundle = authorities.bundle().await?;
        let crls = crls_of(&authorities, &bundle)?;
        drop(authorities);
        self.sign_in(&service);
        Ok(Welcome {
            certificate,
            bundle,
            crls,
        })
    }

    /// `member` shares the secret of orders and billing.
    pub(crate) async fn share(
        &self,
        member: &MemberName,
        role: Role,
        key: Arc<AeadKey>,
    ) -> Outcome<()> {
        self.secret.lock().await.register(member, role, key).await
    }

    /// Begins a session for `service`; what was signed in before is left to whoever ends it.
    pub(crate) fn sign_in(&self, service: &ServiceId) {
        let mut sessions = lock(&self.sessions);
        let name = service.path().trim_start_matches('/');
        let nth = sessions
            .get(service)
            .and_then(|session| session.rsplit('-').next()?.parse::<u32>().ok())
            .map_or(1, |nth| nth + 1);
        sessions.insert(service.clone(), format!("{name}-{nth}"));
    }

    pub(crate) fn session(&self, service: &ServiceId) -> Outcome<String> {
        let session = lock(&self.sessions).get(service).cloned();
        Ok(session.ok_or("it is not signed in")?)
    }

    /// A token for `audience`, bound to the certificate that `service` has shown (RFC 8705 §3).
    pub(crate) fn token(
        &self,
        service: &ServiceId,
        shown: &Certificate,
        audience: &str,
    ) -> Outcome<String> {
        let session = self.session(service)?;
        let request = TokenRequest::new(service.as_str(), audience, TOKEN_LIFE)
            .with_session_id(&session)
            .with_certificate_binding(*shown.thumbprint());
        Ok(self
            .minter
            .mint(&request, self.clock.now()?, &SystemRandom)?)
    }

    /// Publishes what is in force now, and goes by it itself.
    pub(crate) async fn publish(&self) -> Outcome<()> {
        let authorities = self.authorities.lock().await;
        let bundle = authorities.bundle().await?;
        let held = crls_of(&authorities, &bundle)?;
        let mut documents = BTreeMap::new();
        let mut offered = Offered {
            keys: self.key_ids(),
            bundle: bundle.sequence().unwrap_or_default(),
            ..Offered::default()
        };
        for (name, crl) in authorities.crls() {
            offered.crls.insert(name.clone(), crl.number().to_string());
            documents.insert(name, Published::crl(crl.der().to_vec(), FRESH));
        }
        drop(authorities);
        self.documents.bundle.replace(bundle.to_json());
        self.documents.keys.replace_jwk_set(&self.keys.jwk_set());
        *lock(&self.documents.crls) = documents;
        *lock(&self.documents.versions) = offered;
        self.machine.update(|material| {
            material.set_bundle(bundle)?;
            held.crls()
                .try_for_each(|crl| material.set_crl(crl.clone()))
        })?;
        Ok(())
    }

    fn key_ids(&self) -> Vec<String> {
        let states = self.keys.states().into_iter();
        let mut names: Vec<String> = states.map(|(kid, _)| kid.into()).collect();
        names.sort();
        names
    }

    /// A service says what it goes by; it is told what there is.
    pub(crate) async fn follow(&self, service: &ServiceId, has: InPlace) -> Outcome<Offered> {
        let member = service.path().trim_start_matches('/');
        let held = has.held.as_deref();
        let reply = self.secret.lock().await.hear(member, held).await?;
        let before = self.in_place.borrow().get(service).map(|has| has.bundle);
        if before != Some(has.bundle) {
            let authorities = self.authorities.lock().await;
            authorities.acknowledged(service, has.bundle).await?;
        }
        self.in_place.send_modify(|all| {
            all.insert(service.clone(), has);
        });
        let mut offered = lock(&self.documents.versions).clone();
        (offered.ring, offered.grant) = (reply.ring, reply.grant);
        Ok(offered)
    }

    /// Waits until each service has said that it goes by what is published now.
    pub(crate) async fn wait_until_in_place(&self) -> Outcome<()> {
        let offered = lock(&self.documents.versions).clone();
        let all = |all: &BTreeMap<ServiceId, InPlace>| {
            all.len() == SERVICES.len() && all.values().all(|has| has.is(&offered))
        };
        self.wait_for(all).await
    }

    /// Waits until what the services say is as `is` wants it.
    pub(crate) async fn wait_for(
        &self,
        is: impl FnMut(&BTreeMap<ServiceId, InPlace>) -> bool,
    ) -> Outcome<()> {
        let mut told = self.in_place.subscribe();
        tokio::time::timeout(PATIENCE * 2, told.wait_for(is)).await??;
        Ok(())
    }

    /// Waits until a service has said something, whatever it is.
    pub(crate) async fn wait_for_word(&self) -> Outcome<()> {
        let mut told = self.in_place.subscribe();
        tokio::time::timeout(PATIENCE * 2, told.changed()).await??;
        Ok(())
    }

    /// `certificate` is void: in the ledger, in the CRLs, and here.
    pub(crate) async fn revoke(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
    ) -> Outcome<()> {
        let mut authorities = self.authorities.lock().await;
        authorities.revoke(certificate, reason).await?;
        authorities.publish_crls().await?;
        drop(authorities);
        self.revocations
            .revoke(certificate.revocation_target(), Timestamp::MAX)?;
        self.publish().await
    }
}

impl Documents {
    /// The newest CRL of who is called so.
    pub(crate) fn crl(&self, issuer: &str) -> Option<Published> {
        lock(&self.crls).get(issuer).cloned()
    }
}

/// The CRLs as everybody reads them: parsed, and with the signature of an authority of the bundle.
fn crls_of(authorities: &Authorities, bundle: &TrustBundle) -> Outcome<CrlSet> {
    let mut set = CrlSet::new();
    for (_, crl) in authorities.crls() {
        // That of a root which is in no bundle any more is of no use.
        if let Some(index) = read_crl(crl.der(), bundle)? {
            set = set.with(index)?;
        }
    }
    Ok(set)
}

/// A CRL that an authority of `bundle` has signed; [`None`] if none of them is its issuer.
pub(crate) fn read_crl(der: &[u8], bundle: &TrustBundle) -> Outcome<Option<Arc<CrlIndex>>> {
    let crl = UnverifiedCrl::parse(der, &CrlLimits::default())?;
    for authority in bundle.authorities() {
        let issuer = CrlIssuer::from_certificate(authority)?;
        if crl.issuer_der() == issuer.name_der() {
            return Ok(Some(Arc::new(CrlIndex::build(&crl.verify(&issuer)?)?)));
        }
    }
    Ok(None)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
