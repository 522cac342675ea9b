#![no_main]
//! Any bytes as the certificates that a peer presents: a byte for its role, then each with its length in
//! two bytes before it.

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::{check_message, pki};
use m2m_pki::{
    Certificate, ChainVerifier, CrlSet, ExpectedPeer, PeerRole, RevocationRule, TrustBundle,
    TrustBundles, VerifiedIntermediates,
};
use rustls_pki_types::CertificateDer;

static ROOT: LazyLock<Certificate> = LazyLock::new(|| pki::root().certificate().clone());

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let role = match first & 1 {
        0 => PeerRole::Client,
        _ => PeerRole::Server,
    };
    let chain = split(rest);
    for der in &chain {
        match Certificate::from_der(der) {
            Ok(read) => assert_eq!(read.der(), der),
            Err(error) => check_message(&error),
        }
    }
    let trust = TrustBundles::new();
    let trust = trust.with(TrustBundle::new(pki::domain(), [ROOT.clone()]));
    let name = ExpectedPeer::dns_name("example.org", pki::domain()).expect("a name");
    for expected in [
        ExpectedPeer::danger_any_service(),
        ExpectedPeer::danger_any_name(pki::domain()),
        name,
    ] {
        check(&expected, &chain, role, &trust);
    }
});

fn check(
    expected: &ExpectedPeer,
    chain: &[CertificateDer<'_>],
    role: PeerRole,
    trust: &TrustBundles,
) {
    let (crls, now) = (CrlSet::new(), pki::issued_at());
    let rule = RevocationRule::danger_accept_unknown();
    let verifier = ChainVerifier::new(expected.clone(), rule);
    let result = verifier.verify(chain, role, trust, &crls, now);
    let report = verifier.explain(chain, role, trust, &crls, now);
    assert_eq!(result.as_ref().err(), report.verdict().err());
    assert!(report.signatures_checked() <= 32);
    // What is known from before changes no answer.
    let known = Arc::new(VerifiedIntermediates::new(4));
    let knowing = verifier.clone().with_known(known);
    for _ in 0..2 {
        let again = knowing.verify(chain, role, trust, &crls, now);
        assert_eq!(again.as_ref().err(), result.as_ref().err());
    }
    match result {
        Ok(peer) => {
            assert_eq!(Some(peer.certificate().der()), chain.first());
            assert_eq!(peer.authority(), &*ROOT);
            assert_eq!(peer.recheck(trust, &crls, now), Ok(()));
            assert!(peer.recheck(&TrustBundles::new(), &crls, now).is_err());
            // Without revocation known, or without the authority, it is nobody.
            let strict = ChainVerifier::new(expected.clone(), RevocationRule::strict());
            assert!(strict.verify(chain, role, trust, &crls, now).is_err());
            let nobody = TrustBundle::new(pki::domain(), []);
            let nobody = TrustBundles::new().with(nobody);
            assert!(verifier.verify(chain, role, &nobody, &crls, now).is_err());
        }
        Err(error) => check_message(&error),
    }
}

fn split(mut rest: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut chain = Vec::new();
    while let Some(([high, low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (der, behind) = behind.split_at(length);
        chain.push(CertificateDer::from(der));
        rest = behind;
    }
    chain
}
