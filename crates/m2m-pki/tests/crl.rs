//! CRLs written, read, indexed and asked, by the ids of the abuse cases.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod crl_support;

use std::sync::Arc;

use crl_support::*;
use m2m_pki::*;

#[test]
fn pki_050_another_key_another_name_and_a_flipped_bit_are_refused() {
    let (ours, other) = (Ca::new("CA"), Ca::new("CA"));
    let der = ours.crl(&[1, 2], 1);
    assert!(parse(&der).unwrap().verify(&ours.issuer).is_ok());
    let error = |ca: &Ca, der: &[u8]| parse(der).unwrap().verify(&ca.issuer).unwrap_err();
    assert_eq!(error(&other, &der), CrlError::Signature);
    assert_eq!(error(&Ca::new("Other"), &der), CrlError::Issuer);
    for at in 0..der.len() {
        for bit in [1, 0x80] {
            let mut bent = der.clone();
            bent[at] ^= bit;
            let taken = parse(&bent).and_then(|crl| crl.verify(&ours.issuer).map(|_| ()));
            assert!(taken.is_err(), "byte {at}");
        }
    }
    for length in 0..der.len() {
        assert!(parse(&der[..length]).is_err());
    }
    assert!(parse(&[&der[..], &[0]].concat()).is_err());
    assert_eq!(
        CrlIssuer::from_certificate(&certificate("CA", "CA", &[], false, true)).unwrap_err(),
        CrlIssuerError::NotAuthority
    );
    assert_eq!(
        CrlIssuer::from_certificate(&certificate("CA", "CA", &[], true, false)).unwrap_err(),
        CrlIssuerError::CrlSignMissing
    );
}

#[test]
fn pki_054_a_crl_that_is_stale_or_from_the_future_proves_nothing() {
    let ca = Ca::new("CA");
    let leaf = certificate("CA", "leaf", &[], false, false);
    let set = CrlSet::new().with(Arc::new(ca.index(&[1], 1))).unwrap();
    let subject = RevocationSubject::new(&leaf, &ca.issuer).unwrap();
    let at = |seconds| set.check(&subject, time(seconds));
    assert!(matches!(at(NOW), RevocationStatus::NotRevoked(_)));
    assert!(matches!(at(NOW + DAY - 1), RevocationStatus::NotRevoked(_)));
    assert!(matches!(
        at(NOW + DAY),
        RevocationStatus::Unknown(UnknownRevocation::Stale { .. })
    ));
    assert!(matches!(
        at(NOW - 1),
        RevocationStatus::Unknown(UnknownRevocation::FromTheFuture { .. })
    ));
    let skewed = set
        .clone()
        .with_clock_skew(std::time::Duration::from_secs(1));
    assert!(skewed.check(&subject, time(NOW - 1)).into_result().is_ok());
}

#[test]
fn pki_055_an_older_crl_is_refused_after_a_newer_one() {
    let ca = Ca::new("CA");
    let set = CrlSet::new().with(Arc::new(ca.index(&[1], 7))).unwrap();
    let older = Arc::new(ca.index(&[], 6));
    let (offered, held) = (CrlNumber::from(6), CrlNumber::from(7));
    let error = set.with(older.clone()).unwrap_err();
    assert_eq!(error, CrlSetError::Older { offered, held });
    assert!(
        set.with(Arc::new(ca.index(&[], 7))).is_err(),
        "numbers repeat"
    );
    assert!(set.with(Arc::new(ca.index(&[1, 2], 8))).is_ok());
    // Nor after a restart that remembers the number.
    let fresh = CrlSet::new().with_floor(ca.issuer.id(), &Scope::everything(), held);
    assert!(fresh.with(older).is_err());
    assert!(fresh.with(Arc::new(ca.index(&[], 7))).is_ok());
}

#[test]
fn pki_056_no_crl_is_never_a_permission() {
    let ca = Ca::new("CA");
    let leaf = certificate("CA", "leaf", &["http://a/1.crl"], false, false);
    let subject = RevocationSubject::new(&leaf, &ca.issuer).unwrap();
    assert!(matches!(
        CrlSet::new().check(&subject, time(NOW)),
        RevocationStatus::Unknown(UnknownRevocation::NoCrl { .. })
    ));
    let of_another_key = Ca::new("CA");
    let set = CrlSet::new()
        .with(Arc::new(of_another_key.index(&[], 1)))
        .unwrap();
    assert!(set.check(&subject, time(NOW)).into_result().is_err());
    // A shard of somebody else, and one for authorities.
    for scope in [
        Scope::distribution_point(CrlUri::parse("http://a/2.crl").unwrap()),
        Scope::everything().with_kinds(CertificateKinds::Authorities),
    ] {
        let der = ca.crl_of(RevocationList::new(scope), &[], 1);
        let set = CrlSet::new().with(Arc::new(ca.index_of(&der))).unwrap();
        assert_eq!(
            set.check(&subject, time(NOW)),
            RevocationStatus::Unknown(UnknownRevocation::NotAuthoritative)
        );
    }
    let scope = Scope::distribution_point(CrlUri::parse("http://a/1.crl").unwrap());
    let der = ca.crl_of(RevocationList::new(scope), &[], 1);
    let set = CrlSet::new().with(Arc::new(ca.index_of(&der))).unwrap();
    assert!(set.check(&subject, time(NOW)).into_result().is_ok());
    assert!(parse(b"").is_err() && CrlIndex::open(Vec::new()).is_err());
}

/// The same CRL with other bytes in it, signed anew.
fn forged(ca: &Ca, der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    // Both headers have four octets: 0x30, 0x82 and a length; or one of less.
    let header = |der: &[u8]| match der[1] {
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        0x81 => (3, usize::from(der[2])),
        length => (2, usize::from(length)),
    };
    let tbs = &der[header(der).0..];
    let (start, length) = header(tbs);
    let (tbs, rest) = tbs.split_at(start + length);
    let mut tbs = tbs.to_vec();
    let at = tbs.windows(from.len()).position(|bytes| bytes == from);
    let at = at.expect("it is there");
    tbs[at..at + to.len()].copy_from_slice(to);
    let mut fixed = [0; 64];
    ca.key.sign(&tbs, &mut fixed).unwrap();
    let signature = m2m_crypto::ecdsa_fixed_to_der(m2m_crypto::Algorithm::Es256, &fixed).unwrap();
    let algorithm = &rest[..2 + usize::from(rest[1])];
    let bits = [&[3, signature.len() as u8 + 1, 0][..], &signature].concat();
    let content = [&tbs, algorithm, &bits].concat();
    let length = u8::try_from(content.len()).ok();
    let header = match length {
        Some(length @ 0x80..) => vec![0x30, 0x81, length],
        Some(length) => vec![0x30, length],
        None => [&[0x30, 0x82][..], &(content.len() as u16).to_be_bytes()].concat(),
    };
    [header, content].concat()
}

#[test]
fn pki_057_a_crl_that_lists_a_serial_twice_is_refused() {
    let ca = Ca::new("CA");
    let der = ca.crl(&[0x41, 0x42, 0x43], 1);
    let built = |der: &[u8]| CrlIndex::build(&parse(der).unwrap().verify(&ca.issuer).unwrap());
    assert_eq!(
        built(&forged(&ca, &der, &[2, 1, 0x43], &[2, 1, 0x44]))
            .unwrap()
            .len(),
        3
    );
    let twice = forged(&ca, &der, &[2, 1, 0x43], &[2, 1, 0x41]);
    assert_eq!(built(&twice).unwrap_err(), CrlIndexError::ListedTwice);
}

#[test]
fn names_of_a_distribution_point_that_are_no_place_refuse_the_crl() {
    let ca = Ca::new("CA");
    let uri = CrlUri::parse("http://a/12345.crl").unwrap();
    let der = ca.crl_of(RevocationList::new(Scope::distribution_point(uri)), &[], 1);
    assert!(parse(&der).is_ok());
    // The same octets as two names: a URI, and a DNS name behind it.
    let names = b"\x86\x0ehttp://a/1.crl\x82\x02ab";
    let mixed = forged(&ca, &der, b"\x86\x12http://a/12345.crl", names);
    assert_eq!(parse(&mixed).unwrap_err(), CrlError::Uri);
}

#[test]
fn pki_057_removals_are_for_deltas() {
    let ca = Ca::new("CA");
    let mut list = RevocationList::new(Scope::everything());
    let hold =
        |n: u64| ListedRevocation::new(serial(n), time(NOW), RevocationReason::CertificateHold);
    list.revoke(&hold(1)).unwrap();
    list.revoke(&hold(2)).unwrap();
    assert!(list.revoke(&hold(2)).is_err());
    let base = ca.sign(list.prepare(&ca.signer, ca.number(1), times()).unwrap());
    list.release(&serial(1)).unwrap();
    list.revoke(&revocation(2)).unwrap();
    list.revoke(&revocation(3)).unwrap();
    assert!(list.release(&serial(3)).is_err());
    let (full, delta) = list
        .prepare_with_delta(&ca.signer, ca.number(2), times())
        .unwrap();
    let (full, delta) = (ca.sign(full), ca.sign(delta));

    let index = ca.index_of(&base);
    let delta = parse(&delta).unwrap().verify(&ca.issuer).unwrap();
    assert!(CrlIndex::build(&delta).is_err());
    assert_eq!(delta.entries().filter(|e| e.reason.is_none()).count(), 1);
    let both = index.with_delta(&delta).unwrap();
    let full = ca.index_of(&full);
    for n in 0..5 {
        let found = |index: &CrlIndex| index.find(serial(n).as_bytes()).unwrap();
        if n > 0 {
            assert_eq!(found(&both), found(&full), "{n}");
            assert_eq!(found(&full).is_some(), n == 2 || n == 3);
        }
    }
    assert_eq!((both.number(), both.len()), (full.number(), full.len()));
    assert!(matches!(
        both.with_delta(&delta),
        Err(DeltaError::NotNewer { .. })
    ));
    let other = Ca::new("CA").index(&[1], 1);
    assert_eq!(other.with_delta(&delta).unwrap_err(), DeltaError::Issuer);
    let older = ca.index(&[1], 0);
    assert!(matches!(
        older.with_delta(&delta),
        Err(DeltaError::BaseTooOld { .. })
    ));
}

#[test]
fn pki_058_bytes_and_entries_are_bounded_before_the_signature() {
    let ca = Ca::new("CA");
    let numbers: Vec<u64> = (1..=100).collect();
    let der = ca.crl(&numbers, 1);
    let limits = CrlLimits::default();
    let few = UnverifiedCrl::parse(&der, &limits.with_entries(99)).unwrap_err();
    assert_eq!(few, CrlError::TooManyEntries { limit: 99 });
    assert!(UnverifiedCrl::parse(&der, &limits.with_entries(100)).is_ok());
    let short = UnverifiedCrl::parse(&der, &limits.with_bytes(der.len() - 1));
    assert!(matches!(short, Err(CrlError::TooLong { .. })));
}

#[test]
fn pki_059_zero_padding_changes_no_answer() {
    let index = Ca::new("CA").index(&[0x80], 1);
    for listed in [&[0x80][..], &[0, 0x80], &[0, 0, 0, 0x80]] {
        assert!(index.find(listed).unwrap().is_some());
    }
    assert!(index.find(&[0x80, 0]).unwrap().is_none());
    assert_eq!(index.find(&[1; 21]), Err(CrlIndexError::Serial));
}

#[test]
fn pki_060_a_revoked_intermediate_takes_its_leaf_with_it() {
    let (root, issuing) = (Ca::new("Root"), Ca::new("Issuing"));
    let intermediate = certificate("Root", "Issuing", &[], true, true);
    let leaf = certificate("Issuing", "leaf", &[], false, false);
    let path = || {
        [
            RevocationSubject::new(&leaf, &issuing.issuer).unwrap(),
            RevocationSubject::new(&intermediate, &root.issuer).unwrap(),
        ]
    };
    let set = CrlSet::new().with(Arc::new(issuing.index(&[], 1))).unwrap();
    assert!(
        set.check_path(path(), time(NOW)).is_err(),
        "no CRL of the root"
    );
    let good = set.with(Arc::new(root.index(&[], 1))).unwrap();
    assert!(good.check_path(path(), time(NOW)).is_ok());
    let bad = set.with(Arc::new(root.index(&[SERIAL], 1))).unwrap();
    assert!(matches!(
        bad.check_path(path(), time(NOW)),
        Err(RevocationError::Revoked(_))
    ));
}

#[test]
fn a_signature_made_elsewhere_is_checked_when_it_is_attached() {
    let ca = Ca::new("CA");
    let prepare = |n| {
        let mut list = RevocationList::new(Scope::everything());
        list.prepare(&ca.signer, ca.number(n), times()).unwrap()
    };
    let prepared = prepare(1);
    let mut signature = [0; 64];
    ca.key.sign(prepared.message(), &mut signature).unwrap();
    let der = prepared.attach(&signature).unwrap().into_der();
    assert!(parse(&der).unwrap().verify(&ca.issuer).is_ok());
    assert_eq!(
        prepare(2).attach(&signature).unwrap_err(),
        CrlSignError::Signature
    );
    let other = Ca::new("CA");
    assert_eq!(
        prepare(2).sign(&other.key).unwrap_err(),
        CrlSignError::OtherKey
    );
}

#[test]
fn an_index_is_used_from_its_bytes_and_damage_never_makes_a_serial_good() {
    let ca = Ca::new("CA");
    let numbers: Vec<u64> = (1..=3000).collect();
    let index = ca.index(&numbers, 9);
    let bytes = index.as_bytes().to_vec();
    let opened = CrlIndex::open(bytes.clone()).unwrap();
    assert_eq!((opened.number(), opened.len()), (CrlNumber::from(9), 3000));
    for n in 1..=6000 {
        let found = opened.find(serial(n).as_bytes()).unwrap();
        assert_eq!(found.is_some(), n <= 3000);
        assert!(found.is_none_or(|listing| listing.at == Some(time(NOW))));
    }
    for at in (0..bytes.len()).step_by(7) {
        let mut bent = bytes.clone();
        bent[at] ^= 0x10;
        let Ok(index) = CrlIndex::open(bent) else {
            continue;
        };
        assert!(index.check_all().is_err(), "byte {at}");
        for n in [1, 1500, 3000] {
            assert!(
                !matches!(index.find(serial(n).as_bytes()), Ok(None)),
                "byte {at}"
            );
        }
    }
    for length in [0, 8, 100, bytes.len() - 1] {
        assert!(CrlIndex::open(bytes[..length].to_vec()).is_err());
    }
    let mut newer = bytes.clone();
    newer[8] = 3;
    let error = CrlIndex::open(newer).unwrap_err();
    assert_eq!(error, CrlIndexError::Version { found: 3, known: 2 });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_revoked_is_found_in_full_delta_and_shard(
        first in proptest::collection::btree_set(proptest::collection::vec(1_u8..127, 1..=20), 0..200),
        second in proptest::collection::btree_set(proptest::collection::vec(1_u8..127, 1..=20), 0..50),
        asked in proptest::collection::vec(proptest::collection::vec(1_u8..127, 1..=20), 50),
    ) {
        let ca = Ca::new("CA");
        let mut list = RevocationList::new(Scope::everything());
        let mut shards = RevocationLists::new(ShardPlan::new("http://a/", 2).unwrap());
        let listed = |bytes: &[u8]| revocation_of(Serial::from_bytes(bytes).unwrap());
        for bytes in &first {
            list.revoke(&listed(bytes)).unwrap();
            shards.revoke(&listed(bytes)).unwrap();
        }
        let base = ca.index_of(&ca.sign(list.prepare(&ca.signer, ca.number(1), times()).unwrap()));
        for bytes in second.difference(&first) {
            list.revoke(&listed(bytes)).unwrap();
            shards.revoke(&listed(bytes)).unwrap();
        }
        let delta = ca.sign(list.prepare_delta(&ca.signer, ca.number(2), times()).unwrap());
        let both = base.with_delta(&parse(&delta).unwrap().verify(&ca.issuer).unwrap()).unwrap();
        let shards: Vec<CrlIndex> = (0..4).map(|shard| {
            let prepared = shards.prepare(shard, &ca.signer, ca.number(3), times()).unwrap();
            ca.index_of(&ca.sign(prepared))
        }).collect();
        let plan = ShardPlan::new("http://a/", 2).unwrap();
        for bytes in first.iter().chain(&second).chain(&asked) {
            let shard = plan.shard_of(&Serial::from_bytes(bytes).unwrap());
            let is_first = first.contains(bytes);
            let is_any = is_first || second.contains(bytes);
            assert_eq!(base.find(bytes).unwrap().is_some(), is_first);
            assert_eq!(both.find(bytes).unwrap().is_some(), is_any);
            assert_eq!(shards[shard as usize].find(bytes).unwrap().is_some(), is_any);
        }
    }
}
