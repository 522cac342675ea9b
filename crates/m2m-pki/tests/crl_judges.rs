//! Other people's CRLs, and other people's opinion of ours.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic, and a skipped one must be heard of"
)]

mod crl_support;

use std::process::Command;
use std::sync::Arc;

use crl_support::*;
use m2m_pki::*;

/// What refuses each CRL of webpki's corpus; those that are not here are read.
fn expected(name: &str) -> Option<CrlError> {
    Some(match name {
        "crl.entry.empty.ext.seq.der" => CrlError::Der(DerError::Truncated),
        "crl.entry.invalid.reason.der" => CrlError::Reason,
        "crl.entry.issuer.ext.der" | "crl.idp.indirect_crl.der" => CrlError::Indirect,
        "crl.entry.unknown.crit.ext.der" | "crl.unknown.crit.ext.der" => {
            CrlError::UnknownCriticalExtension
        }
        "crl.idp.only_attribute_certs.der" => CrlError::AttributeCertificates,
        "crl.idp.only_some_reasons.der" => CrlError::SomeReasonsOnly,
        "crl.idp.name_relative_to_issuer.der" => CrlError::RelativeName,
        "crl.idp.invalid.bool.der" => CrlError::Der(DerError::Boolean),
        "crl.mismatched.sigalg.der" => CrlError::AlgorithmMismatch,
        "crl.missing.exts.der" => CrlError::NumberMissing,
        "crl.wrong.version.der" => CrlError::Version,
        _ => return None,
    })
}

/// Refused, whatever the word for it.
const REFUSED: &[&str] = &[
    "crl.delta.der", // its indicator is not critical
    "crl.idp.invalid.name.der",
    "crl.idp.unknown.tag.der",
    "crl.invalid.this.update.time.der",
    "crl.negative.crl.number.der",
    "crl.negative.serial.der", // webpki takes it; RFC 5280 §4.1.2.2 does not allow it
    "crl.too.long.crl.number.der",
];

#[test]
fn webpkis_corpus_gets_the_right_verdicts() {
    let Some(root) = m2m_testkit::vectors::root().map(|root| root.join("pki/webpki")) else {
        eprintln!("SKIPPED: no test vectors (set M2M_VECTORS to their folder)");
        return;
    };
    let mut seen = 0;
    for file in std::fs::read_dir(root.join("crls")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let der = std::fs::read(&path).unwrap();
        let found = parse(&der).err();
        match (expected(name), REFUSED.contains(&name)) {
            (Some(error), _) => assert_eq!(found, Some(error), "{name}"),
            (None, refused) => assert_eq!(found.is_some(), refused, "{name}: {found:?}"),
        }
        seen += 1;
    }
    assert!(seen >= 31);
    for name in ["r2m02.crl", "r2m03.crl"] {
        let der = std::fs::read(root.join(name)).unwrap();
        assert!(parse(&der).is_ok(), "{name}: {:?}", parse(&der).err());
    }
}

#[test]
fn pki_043_webpki_reads_ours_and_agrees() {
    let ca = Ca::new("CA");
    let point = "http://a/1.crl";
    let leaf = ca.leaf(&[point]);
    let anchor = webpki::anchor_from_trusted_cert(ca.certificate.der()).unwrap();
    let subject = RevocationSubject::new(&leaf, &ca.issuer).unwrap();
    let uri = CrlUri::parse(point).unwrap();
    for scope in [Scope::everything(), Scope::distribution_point(uri)] {
        for listed in [&[1, 2, 3][..], &[1, SERIAL, 3]] {
            let der = ca.crl_of(RevocationList::new(scope.clone()), listed, 1);
            let theirs = webpki::OwnedCertRevocationList::from_der(&der).unwrap();
            let theirs = webpki::CertRevocationList::from(theirs);
            let crls = [&theirs];
            let options = webpki::RevocationOptionsBuilder::new(&crls)
                .unwrap()
                .with_status_policy(webpki::UnknownStatusPolicy::Deny)
                .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
                .build();
            let end_entity = webpki::EndEntityCert::try_from(leaf.der()).unwrap();
            let now = std::time::Duration::from_secs(NOW + 1);
            let verdict = end_entity.verify_for_usage(
                &[webpki::ring::ECDSA_P256_SHA256],
                std::slice::from_ref(&anchor),
                &[],
                rustls_pki_types::UnixTime::since_unix_epoch(now),
                webpki::KeyUsage::client_auth(),
                Some(options),
                None,
            );
            let set = CrlSet::new().with(Arc::new(ca.index_of(&der))).unwrap();
            let ours = set.check(&subject, time(NOW + 1)).into_result();
            match verdict {
                Ok(_) => assert!(ours.is_ok()),
                Err(error) => {
                    assert_eq!(error, webpki::Error::CertRevoked);
                    assert!(matches!(ours, Err(RevocationError::Revoked(_))));
                }
            }
            assert_eq!(ours.is_err(), listed.contains(&SERIAL));
        }
    }
}

#[test]
fn pki_043_openssl_reads_and_verifies_ours() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: no openssl");
        return;
    }
    let ca = Ca::new("CA");
    let folder = std::env::temp_dir().join(format!("m2m-pki-crl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (crl, certificate) = (folder.join("crl.der"), folder.join("ca.pem"));
    std::fs::write(&certificate, ca.certificate.to_pem()).unwrap();
    let uri = CrlUri::parse("http://a/1.crl").unwrap();
    let mut list = RevocationList::new(Scope::distribution_point(uri));
    list.revoke(&revocation(0x1234).with_invalid_since(time(NOW - DAY)))
        .unwrap();
    let base = ca.sign(list.prepare(&ca.signer, ca.number(1), times()).unwrap());
    list.revoke(&revocation(0x5678)).unwrap();
    let delta = list.prepare_delta(&ca.signer, ca.number(2), times());
    for (der, words) in [
        (
            base,
            &[
                "1234",
                "Key Compromise",
                "Invalidity Date",
                "http://a/1.crl",
            ][..],
        ),
        (
            ca.sign(delta.unwrap()),
            &["5678", "Delta CRL Indicator: critical"],
        ),
        (ca.crl(&[], 3), &["No Revoked Certificates"]),
    ] {
        std::fs::write(&crl, der).unwrap();
        let output = Command::new("openssl")
            .args(["crl", "-text", "-verify", "-noout", "-inform", "der", "-in"])
            .arg(&crl)
            .arg("-CAfile")
            .arg(&certificate)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.success() && text.contains("verify OK"),
            "{text}"
        );
        for word in words {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
