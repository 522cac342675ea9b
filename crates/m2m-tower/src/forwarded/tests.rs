//! Leaves that are forwarded alone, and those who issued them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, ChainError, ChainVerifier, CrlIndex, CrlIssuer, CrlLimits,
    CrlPublisher, CrlSet, CrlSigner, CsrBuilder, ExpectedPeer, Ledger, Operator, Profile,
    RevocationReason, RevocationRule, Revoker, Subject, TrustBundle, TrustBundles, UnverifiedCrl,
};
use m2m_store::MemoryStore;
use m2m_types::{Live, ServiceId, Timestamp};
use pollster::block_on;

use super::{ForwardedForm, MAX_CERTIFICATES, TrustedProxies};
use crate::Refused;
use crate::headers::{CLIENT_CERT, CLIENT_CERT_CHAIN};

const DAY: Duration = Duration::from_secs(86_400);
const BILLING: &str = "spiffe://example.org/billing";

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600).expect("2026")
}

fn service(name: &str) -> ServiceId {
    name.parse().expect("a SPIFFE ID")
}

/// An authority, and its key once more to sign CRLs with.
struct Ca(Authority, SigningKey);

impl Ca {
    fn new(certificate: Certificate, key: SigningKey) -> Self {
        let der = key.to_pkcs8_der();
        let again = SigningKey::from_pkcs8_der(Algorithm::Es256, der.expose_secret());
        let authority = Authority::load(certificate, again.expect("a key"));
        Self(authority.expect("an authority"), key)
    }

    fn crl(&self, ledger: &Ledger) -> Arc<CrlIndex> {
        let issuer = CrlIssuer::from_certificate(self.0.certificate()).expect("an issuer");
        let signer = CrlSigner::new(issuer.clone(), self.1.verifying_key()).expect("its key");
        let crls = CrlPublisher::open(ledger.clone(), signer, None, DAY);
        let mut crls = block_on(crls).expect("a store in memory");
        let crl = block_on(crls.publish(0, &self.1, now(), &SystemRandom)).expect("a CRL");
        let read = UnverifiedCrl::parse(crl.der(), &CrlLimits::default()).expect("ours");
        let read = read.verify(&issuer).expect("its signature");
        Arc::new(CrlIndex::build(&read).expect("an index"))
    }
}

struct World {
    ledger: Ledger,
    root: Ca,
    issuing: Ca,
    leaf: Certificate,
}

impl World {
    fn new() -> Self {
        let key = || SigningKey::generate(Algorithm::Es256, &SystemRandom).expect("a key");
        let subject = |name| Subject::new(name).expect("a name");
        let domain = || "example.org".parse().expect("a trust domain");
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let root = Profile::root("root", domain(), subject("Root"), 365 * DAY).expect("a profile");
        let (root_key, holder) = (key(), service("spiffe://example.org/ca"));
        let issued =
            Authority::create_root(&root, &holder, &root_key, 365 * DAY, now(), &SystemRandom);
        let issued = issued.expect("a root");
        let root = Ca::new(block_on(ledger.record(issued)).expect("recorded"), root_key);
        let issue = |ca: &Ca, profile: &Profile, name: &str, key: &SigningKey| {
            let csr = CsrBuilder::new().sign(key).expect("a request");
            let csr = csr.verify().expect("its signature");
            let approved = profile
                .approve(csr, &service(name), DAY)
                .expect("as it may");
            let issued = ca.0.issue(approved, now(), &SystemRandom).expect("issued");
            block_on(ledger.record(issued)).expect("recorded")
        };
        let profile = Profile::intermediate("issuing", domain(), subject("Issuing"), 0, DAY);
        let own = key();
        let profile = profile.expect("a profile");
        let issuing = issue(&root, &profile, "spiffe://example.org/ca", &own);
        let issuing = Ca::new(issuing, own);
        let profile = Profile::workload("workload", domain(), DAY).expect("a profile");
        let leaf = issue(&issuing, &profile, BILLING, &key());
        Self {
            ledger,
            root,
            issuing,
            leaf,
        }
    }

    /// Who trusts the root, and knows the CRLs of both.
    fn proxies(&self) -> TrustedProxies {
        let domain = "example.org".parse().expect("a trust domain");
        let verifier =
            ChainVerifier::new(ExpectedPeer::member_of(domain), RevocationRule::strict());
        let domain = "example.org".parse().expect("a trust domain");
        let bundle = TrustBundle::new(domain, [self.root.0.certificate().clone()]);
        let bundles = Arc::new(Live::new(TrustBundles::new().with(bundle)));
        let crls = [&self.root, &self.issuing]
            .iter()
            .fold(CrlSet::new(), |set, ca| {
                set.with(ca.crl(&self.ledger)).expect("newer")
            });
        let crls = Arc::new(Live::new(crls));
        TrustedProxies::new(ForwardedForm::ClientCert, verifier, bundles, crls)
    }

    fn ask(&self, proxies: &TrustedProxies, chain: &[&Certificate]) -> Result<ServiceId, Refused> {
        let encode = |one: &&Certificate| format!(":{}:", STANDARD.encode(one.der()));
        let value = |text: String| HeaderValue::try_from(text).expect("fit for a header");
        let mut headers = HeaderMap::new();
        headers.insert(CLIENT_CERT, value(encode(&&self.leaf)));
        if !chain.is_empty() {
            let chain: Vec<_> = chain.iter().map(encode).collect();
            headers.insert(CLIENT_CERT_CHAIN, value(chain.join(", ")));
        }
        let peer = proxies.forwarded(&headers, now())?.expect("one is there");
        Ok(peer.service_id().expect("it has a name").clone())
    }
}

fn knowing(proxies: TrustedProxies, known: Vec<Certificate>) -> TrustedProxies {
    proxies.with_intermediates(Arc::new(Live::new(known)))
}

#[test]
fn a_leaf_that_comes_alone_needs_who_issued_it() {
    let world = World::new();
    let issuing = world.issuing.0.certificate();
    let no_path = |answer: Result<ServiceId, Refused>| {
        matches!(answer, Err(Refused::Forwarded(ChainError::NoPath { .. })))
    };
    let plain = world.proxies();
    assert!(no_path(world.ask(&plain, &[])));
    assert_eq!(world.ask(&plain, &[issuing]), Ok(service(BILLING)));

    let told = knowing(world.proxies(), vec![issuing.clone()]);
    assert_eq!(world.ask(&told, &[]), Ok(service(BILLING)));
    assert_eq!(world.ask(&told, &[issuing]), Ok(service(BILLING)));
    // Who did not issue it does not help, and what is known is not trusted.
    let stranger = World::new().issuing.0.certificate().clone();
    let wrong = knowing(world.proxies(), vec![stranger]);
    assert!(world.ask(&wrong, &[]).is_err());
    assert!(no_path(world.ask(&knowing(world.proxies(), vec![]), &[])));
}

#[test]
fn what_is_known_is_as_revocable_as_what_comes() {
    let world = World::new();
    let issuing = world.issuing.0.certificate();
    let id = issuing.id().expect("an id");
    let operator = Operator::danger_vouched_for("tester").expect("a name");
    let (reason, by) = (RevocationReason::CaCompromise, Revoker::Operator(&operator));
    block_on(world.ledger.revoke(&id, reason, by, now())).expect("revoked");
    let told = knowing(world.proxies(), vec![issuing.clone()]);
    let answer = world.ask(&told, &[]);
    let is_revoked = matches!(
        answer,
        Err(Refused::Forwarded(ChainError::Revocation { .. }))
    );
    assert!(is_revoked, "{answer:?}");
}

#[test]
fn what_is_known_beyond_ten_certificates_does_not_push_out_what_came() {
    let world = World::new();
    let issuing = world.issuing.0.certificate();
    // As many as may come, and more that are known than fit besides.
    let many = vec![issuing.clone(); 3 * MAX_CERTIFICATES];
    let told = knowing(world.proxies(), many);
    assert_eq!(world.ask(&told, &[]), Ok(service(BILLING)));
    let full = vec![issuing; MAX_CERTIFICATES - 1];
    let others = (0..20)
        .map(|_| world.root.0.certificate().clone())
        .collect();
    let told = knowing(world.proxies(), others);
    assert_eq!(world.ask(&told, &full), Ok(service(BILLING)));
}
