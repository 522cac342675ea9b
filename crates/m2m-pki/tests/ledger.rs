//! The ledger: recorded before released, keys with one owner, renewal and revocation by who may.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use std::sync::Arc;

use m2m_crypto::{Algorithm, SystemRandom};
use m2m_pki::{
    Authority, Certificate, Issued, Ledger, LedgerError, Operator, Profile, RecordError, Rejection,
    RenewError, RenewalRequest, RevocationReason, RevokeError, Revoker, VerifiedCsr,
};
use m2m_store::{
    Batch, Changes, Committed, Cursor, Failure, Key, MemoryStore, Page, Reason, Record, Scan,
    Space, Store, StoreError, StoreFuture,
};
use m2m_types::{ServiceId, Timestamp};
use pollster::block_on;
use support::{
    HOUR, after, csr, csr_of, intermediate_of, key, leaf, ledger, now, record, root_of, service,
    workload,
};

/// A store that never knows whether it wrote.
struct NeverSure(MemoryStore);

impl Store for NeverSure {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(async {
            let _ = self.0.commit(batch).await;
            Err(StoreError::OutcomeUnknown {
                reason: Reason::new("never sure"),
            })
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        self.0.scan(scan)
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        self.0.changes(space, since, limit)
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        self.0.changed(since)
    }
}

fn issue(root: &Authority, csr: VerifiedCsr, path: &str) -> Issued {
    let approved = workload().approve(csr, &service(path), HOUR).unwrap();
    root.issue(approved, now(), &SystemRandom).unwrap()
}

fn revoke(
    ledger: &Ledger,
    certificate: &Certificate,
    reason: RevocationReason,
    by: Revoker<'_>,
) -> Result<(), RevokeError> {
    let id = certificate.id().unwrap();
    block_on(ledger.revoke(&id, reason, by, now())).map(|_| ())
}

#[test]
fn pki_037_what_is_not_recorded_is_not_released() {
    let (store, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    store.fail_next(Failure::NotWritten);
    let error = block_on(ledger.record(issue(&root, csr(), "billing"))).unwrap_err();
    assert!(matches!(
        error,
        RecordError::Ledger(LedgerError::Store(StoreError::Unavailable { .. }))
    ));
    assert_eq!(error.rejection(), Rejection::Unavailable);
    let page = block_on(ledger.certificates_of(&service("billing"), None)).unwrap();
    assert!(page.entries().is_empty());

    // Not known is asked again, under the same name: written once, and released.
    for failure in [Failure::WrittenButUnknown, Failure::NotWrittenAndUnknown] {
        store.fail_next(failure);
        let certificate = record(&ledger, issue(&root, csr(), "billing"));
        let found = block_on(ledger.find(&certificate.id().unwrap()))
            .unwrap()
            .unwrap();
        assert_eq!(*found.certificate(), certificate);
    }
    let page = block_on(ledger.certificates_of(&service("billing"), None)).unwrap();
    assert_eq!(page.entries().len(), 2);
}

#[test]
fn pki_037_a_store_that_never_knows_releases_nothing() {
    let (_, sound) = ledger();
    let root = root_of(&sound, Algorithm::Es256);
    let ledger = Ledger::new(Arc::new(NeverSure(MemoryStore::new())));
    let error = block_on(ledger.record(issue(&root, csr(), "billing"))).unwrap_err();
    assert!(matches!(
        error,
        RecordError::Ledger(LedgerError::Store(StoreError::OutcomeUnknown { .. }))
    ));
}

#[test]
fn pki_016_a_number_is_issued_once() {
    struct Constant;
    impl m2m_crypto::SecureRandom for Constant {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), m2m_crypto::RandomError> {
            bytes.fill(7);
            Ok(())
        }
    }
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issue = || {
        let approved = workload()
            .approve(csr(), &service("billing"), HOUR)
            .unwrap();
        block_on(ledger.record(root.issue(approved, now(), &Constant).unwrap()))
    };
    assert!(issue().is_ok());
    assert!(matches!(issue(), Err(RecordError::SerialTaken { .. })));
}

#[test]
fn pki_034_a_key_has_one_owner() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let shared = key(Algorithm::Es256);
    record(&ledger, issue(&root, csr_of(&shared), "billing"));
    // The same owner again.
    record(&ledger, issue(&root, csr_of(&shared), "billing"));
    let error = block_on(ledger.record(issue(&root, csr_of(&shared), "reports"))).unwrap_err();
    assert!(matches!(error, RecordError::KeyBound { .. }));
    assert_eq!(error.rejection(), Rejection::Refused);
    // Nor does it become a CA's.
    let profile = support::intermediate_profile(0);
    let approved = profile
        .approve(csr_of(&shared), &service("billing"), HOUR)
        .unwrap();
    let issued = root.issue(approved, now(), &SystemRandom).unwrap();
    assert!(matches!(
        block_on(ledger.record(issued)),
        Err(RecordError::KeyBound { .. })
    ));
}

#[test]
fn pki_034_a_revoked_key_gets_no_certificate_any_more() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let own = key(Algorithm::Es256);
    let certificate = record(&ledger, issue(&root, csr_of(&own), "billing"));
    let billing = service("billing");
    let holder = Revoker::Holder(&billing);
    // Superseded says that the key is sound.
    revoke(&ledger, &certificate, RevocationReason::Superseded, holder).unwrap();
    record(&ledger, issue(&root, csr_of(&own), "billing"));
    // What turned out later counts too.
    revoke(
        &ledger,
        &certificate,
        RevocationReason::KeyCompromise,
        holder,
    )
    .unwrap();
    let error = block_on(ledger.record(issue(&root, csr_of(&own), "billing"))).unwrap_err();
    assert!(matches!(error, RecordError::KeyRevoked { .. }));
    // And is not taken back by a weaker reason.
    revoke(&ledger, &certificate, RevocationReason::Superseded, holder).unwrap();
    let id = certificate.id().unwrap();
    let revocation = block_on(ledger.revocation(&id)).unwrap().unwrap();
    assert_eq!(revocation.reason(), RevocationReason::KeyCompromise);
}

#[test]
fn what_a_revoked_issuer_signed_is_not_released() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issuing = intermediate_of(&ledger, &root, Algorithm::Es256);
    let issued = issue(&issuing, csr(), "billing");
    let holder = service("ca/issuing");
    let reason = RevocationReason::CaCompromise;
    revoke(
        &ledger,
        issuing.certificate(),
        reason,
        Revoker::Holder(&holder),
    )
    .unwrap();
    assert_eq!(
        block_on(ledger.record(issued)).unwrap_err(),
        RecordError::IssuerRevoked
    );
}

/// Renews `certificate` under `profile`, as `caller`, with `csr`.
fn renew(
    ledger: &Ledger,
    certificate: &Certificate,
    caller: &ServiceId,
    csr: VerifiedCsr,
    profile: &Profile,
    at: Timestamp,
) -> Result<(), RenewError> {
    let request = RenewalRequest::new(certificate, caller, csr, HOUR);
    block_on(ledger.renew(request, profile, at)).map(|_| ())
}

#[test]
fn pki_038_only_a_good_certificate_is_renewed_by_its_holder_as_it_is() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let certificate = leaf(&ledger, &root, "billing");
    let (billing, profile) = (service("billing"), workload());
    assert_eq!(
        renew(&ledger, &certificate, &billing, csr(), &profile, now()),
        Ok(())
    );

    // Expired, from the second after its last.
    let last = certificate.not_after();
    assert_eq!(
        renew(&ledger, &certificate, &billing, csr(), &profile, last),
        Ok(())
    );
    for at in [
        after(HOUR + HOUR / 3600),
        now().checked_sub(2 * HOUR).unwrap(),
    ] {
        let error = renew(&ledger, &certificate, &billing, csr(), &profile, at).unwrap_err();
        assert!(matches!(error, RenewError::NotCurrent { .. }));
    }
    // Another valid certificate of the same authority.
    let reports = service("reports");
    leaf(&ledger, &root, "reports");
    let error = renew(&ledger, &certificate, &reports, csr(), &profile, now()).unwrap_err();
    assert!(matches!(error, RenewError::NotHolder { .. }));
    assert_eq!(error.rejection(), Rejection::Refused);
    // Other names, in whatever way they come in.
    let more = m2m_pki::CsrBuilder::new()
        .with_dns_name("billing.internal")
        .unwrap();
    let more = || {
        more.clone()
            .sign(&key(Algorithm::Es256))
            .unwrap()
            .verify()
            .unwrap()
    };
    let error = renew(&ledger, &certificate, &billing, more(), &profile, now()).unwrap_err();
    assert!(matches!(error, RenewError::Approve(_)));
    let wide = workload().with_requested_names(|_, _| true).unwrap();
    let error = renew(&ledger, &certificate, &billing, more(), &wide, now()).unwrap_err();
    assert_eq!(error, RenewError::Names);
    // Another profile.
    let other = Profile::workload("other", support::domain(), HOUR).unwrap();
    let error = renew(&ledger, &certificate, &billing, csr(), &other, now()).unwrap_err();
    assert!(matches!(error, RenewError::Profile { .. }));
    // One that another authority with the same ledger never released.
    let (_, elsewhere) = support::ledger();
    let foreign = leaf(
        &elsewhere,
        &root_of(&elsewhere, Algorithm::Es256),
        "billing",
    );
    let error = renew(&ledger, &foreign, &billing, csr(), &profile, now()).unwrap_err();
    assert!(matches!(error, RenewError::Unknown { .. }));
    // Revoked.
    revoke(
        &ledger,
        &certificate,
        RevocationReason::Unspecified,
        Revoker::Holder(&billing),
    )
    .unwrap();
    let error = renew(&ledger, &certificate, &billing, csr(), &profile, now()).unwrap_err();
    assert!(matches!(error, RenewError::Revoked { .. }));
}

#[test]
fn pki_041_only_the_holder_and_operators_revoke() {
    let (store, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let certificate = leaf(&ledger, &root, "billing");
    let (billing, reports) = (service("billing"), service("reports"));
    let reason = RevocationReason::KeyCompromise;
    let denied = revoke(&ledger, &certificate, reason, Revoker::Holder(&reports)).unwrap_err();
    assert!(matches!(denied, RevokeError::NotHolder { .. }));
    let id = certificate.id().unwrap();
    assert_eq!(block_on(ledger.revocation(&id)).unwrap(), None);
    // Who may not revoke it does not learn whether it exists.
    let (_, elsewhere) = support::ledger();
    let unknown = leaf(
        &elsewhere,
        &root_of(&elsewhere, Algorithm::Es256),
        "billing",
    );
    let error = revoke(&ledger, &unknown, reason, Revoker::Holder(&reports)).unwrap_err();
    assert!(matches!(error, RevokeError::Unknown { .. }));
    assert_eq!(error.rejection(), denied.rejection());

    store.fail_next(Failure::NotWritten);
    assert!(revoke(&ledger, &certificate, reason, Revoker::Holder(&billing)).is_err());
    store.fail_next(Failure::WrittenButUnknown);
    revoke(&ledger, &certificate, reason, Revoker::Holder(&billing)).unwrap();
    let found = block_on(ledger.find(&id)).unwrap().unwrap();
    assert_eq!(
        found.revocation().unwrap().by(),
        "spiffe://example.org/billing"
    );

    let operator = Operator::danger_vouched_for("alice@example.org").unwrap();
    let other = leaf(&ledger, &root, "reports");
    revoke(&ledger, &other, reason, Revoker::Operator(&operator)).unwrap();
    let page = block_on(ledger.revocations_of(root.key_id(), None)).unwrap();
    assert_eq!(page.revocations().len(), 2);
    assert!(Operator::danger_vouched_for("a\"b").is_err());
    assert!(Operator::danger_vouched_for("").is_err());
}

#[test]
fn an_identitys_certificates_are_listed_page_by_page() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let own = key(Algorithm::Ed25519);
    for _ in 0..105 {
        record(&ledger, issue(&root, csr_of(&own), "billing"));
    }
    leaf(&ledger, &root, "billing2");
    let billing = service("billing");
    let first = block_on(ledger.certificates_of(&billing, None)).unwrap();
    assert_eq!(first.entries().len(), 100);
    let second = block_on(ledger.certificates_of(&billing, first.next())).unwrap();
    assert_eq!(second.entries().len(), 5);
    assert_eq!(second.next(), None);
    assert!(
        second
            .entries()
            .iter()
            .all(|entry| *entry.identity() == billing)
    );
}

#[test]
fn a_damaged_record_is_an_error_and_not_an_absence() {
    let (store, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let certificate = leaf(&ledger, &root, "billing");
    let spaces = ["pki-certificate", "pki-revocation", "pki-key"];
    let id = certificate.id().unwrap();
    let name = [&[20], id.issuer_key_id(), id.serial().as_bytes()].concat();
    let thumbprint = m2m_crypto::sha256(certificate.spki_der());
    for (space, id) in spaces.into_iter().zip([&name[..], &name, &thumbprint]) {
        let key = Key::new(&Space::new(space).unwrap(), id).unwrap();
        let random = m2m_store::IdempotencyKey::generate(&SystemRandom).unwrap();
        let batch = Batch::new(random).put(key, m2m_store::Expected::Anything, b"?".as_slice());
        block_on(store.commit(batch)).unwrap();
    }
    assert!(matches!(
        block_on(ledger.find(&id)),
        Err(LedgerError::Damaged { .. })
    ));
    assert!(matches!(
        block_on(ledger.revocation(&id)),
        Err(LedgerError::Damaged { .. })
    ));
}
