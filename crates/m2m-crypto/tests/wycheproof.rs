//! The primitives against Project Wycheproof, on every library of the build.
//!
//! Where our answer differs from theirs, the difference is listed with its reason, and a difference
//! that is listed but does not happen fails too.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{
    AeadAlgorithm, AeadKey, Algorithm, Hkdf, HkdfHash, KeyError, MacKey, SecretBytes, VerifyingKey,
    ecdsa_der_to_fixed,
};
use support::{backends, is_supported, verifies};
use wycheproof::TestResult;

fn spki(algorithm: Algorithm, der: &[u8]) -> VerifyingKey {
    VerifyingKey::from_spki_der(algorithm, der).unwrap()
}

#[test]
fn ecdsa_in_fixed_form() {
    use wycheproof::ecdsa::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256),
        (TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384),
        (TestName::EcdsaSecp521r1Sha512P1363, Algorithm::Es512),
    ] {
        if !is_supported(algorithm) {
            continue;
        }
        for group in TestSet::load(name).unwrap().test_groups {
            let key = spki(algorithm, &group.der);
            for test in group.tests {
                let valid = verifies(&key, &test.msg, &test.sig);
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {test:?}");
            }
        }
    }
}

#[test]
fn ecdsa_in_der_as_key_services_give_it() {
    use wycheproof::ecdsa::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::EcdsaSecp256r1Sha256, Algorithm::Es256),
        (TestName::EcdsaSecp384r1Sha384, Algorithm::Es384),
        (TestName::EcdsaSecp521r1Sha512, Algorithm::Es512),
    ] {
        if !is_supported(algorithm) {
            continue;
        }
        for group in TestSet::load(name).unwrap().test_groups {
            let key = spki(algorithm, &group.der);
            for test in group.tests {
                let mut fixed = vec![0; key.signature_bytes()];
                let valid = ecdsa_der_to_fixed(algorithm, &test.sig, &mut fixed)
                    .is_ok_and(|length| verifies(&key, &test.msg, &fixed[..length]));
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {test:?}");
            }
        }
    }
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};

    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = spki(Algorithm::Ed25519, &group.der);
        for test in group.tests {
            let valid = verifies(&key, &test.msg, &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{test:?}");
        }
    }
}

#[test]
fn jwt_024_jwt_025_rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestFlag, TestName, TestSet};

    for (name, algorithm) in [
        (TestName::Rsa2048Sha256, Algorithm::Rs256),
        (TestName::Rsa2048Sha384, Algorithm::Rs384),
        (TestName::Rsa2048Sha512, Algorithm::Rs512),
        (TestName::Rsa3072Sha256, Algorithm::Rs256),
        (TestName::Rsa3072Sha384, Algorithm::Rs384),
        (TestName::Rsa3072Sha512, Algorithm::Rs512),
        (TestName::Rsa4096Sha256, Algorithm::Rs256),
        (TestName::Rsa4096Sha384, Algorithm::Rs384),
        (TestName::Rsa4096Sha512, Algorithm::Rs512),
        (TestName::Rsa8192Sha256, Algorithm::Rs256),
        (TestName::Rsa8192Sha384, Algorithm::Rs384),
        (TestName::Rsa8192Sha512, Algorithm::Rs512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = spki(algorithm, &group.der);
            for test in group.tests {
                let valid = verifies(&key, &test.msg, &test.sig);
                let expected = match test.result {
                    TestResult::Valid => true,
                    TestResult::Invalid => false,
                    // "Acceptable" is what lacks the NULL; RFC 8017 §9.2 wants it.
                    TestResult::Acceptable => {
                        assert_eq!(test.flags, [TestFlag::MissingNull]);
                        false
                    }
                };
                assert_eq!(valid, expected, "{name:?} {test:?}");
            }
        }
    }
}

#[test]
fn jwt_025_rsa_pss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = spki(algorithm, &group.der);
            for test in group.tests {
                let valid = verifies(&key, &test.msg, &test.sig);
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {test:?}");
            }
        }
    }
}

#[test]
fn an_rsa_pss_signature_with_another_salt_length_is_refused() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};

    // RFC 7518 §3.5: the salt is as long as the hash. These are valid with another salt.
    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = spki(algorithm, &group.der);
            let valid = |test: &wycheproof::rsa_pss_verify::Test| test.result == TestResult::Valid;
            for test in group.tests.into_iter().filter(valid) {
                assert!(!verifies(&key, &test.msg, &test.sig), "{name:?} {test:?}");
            }
        }
    }
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn ml_dsa() {
    use wycheproof::mldsa_verify::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::MlDsa44Verify, Algorithm::MlDsa44),
        (TestName::MlDsa65Verify, Algorithm::MlDsa65),
        (TestName::MlDsa87Verify, Algorithm::MlDsa87),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_spki_der(algorithm, &group.der);
            for test in group.tests {
                // RFC 9964 §4: the context is the empty string.
                let has_context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
                let valid = key
                    .as_ref()
                    .is_ok_and(|key| verifies(key, &test.msg, &test.sig));
                let expected = test.result == TestResult::Valid && !has_context;
                assert_eq!(valid, expected, "{name:?} {}", test.tc_id);
            }
        }
    }
}

#[test]
fn jwt_026_hmac() {
    use wycheproof::mac::{TestName, TestSet};

    for (name, algorithm, hash_bytes) in [
        (TestName::HmacSha256, Algorithm::Hs256, 32),
        (TestName::HmacSha384, Algorithm::Hs384, 48),
        (TestName::HmacSha512, Algorithm::Hs512, 64),
    ] {
        let (mut valid_tags, mut short_keys) = (0, 0);
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for backend in backends() {
                    let secret = SecretBytes::from(test.key.as_slice());
                    let key = match MacKey::new_with_backend(algorithm, secret, backend) {
                        Ok(key) => key,
                        // RFC 7518 §3.2: keys shorter than the hash are refused.
                        Err(KeyError::SecretLength { needed, found }) => {
                            assert_eq!((needed, found), (hash_bytes, test.key.len()));
                            assert!(found < needed);
                            short_keys += 1;
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    // Tags cut short are valid in their eyes; for JWS there are none.
                    let whole = test.tag.len() == hash_bytes;
                    let valid = key.verify(&test.msg, &test.tag).is_ok();
                    assert_eq!(valid, test.result == TestResult::Valid && whole, "{test:?}");
                    valid_tags += usize::from(valid);
                }
            }
        }
        assert!(
            valid_tags > 20 && short_keys > 0,
            "{valid_tags} {short_keys}"
        );
    }
}

#[test]
fn hkdf() {
    use wycheproof::hkdf::{TestName, TestSet};

    for (name, hash) in [
        (TestName::HkdfSha256, HkdfHash::Sha256),
        (TestName::HkdfSha384, HkdfHash::Sha384),
        (TestName::HkdfSha512, HkdfHash::Sha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let hkdf = Hkdf::extract(hash, &test.salt, &SecretBytes::from(test.ikm.as_slice()));
                let derived = hkdf.expand(&[&test.info], test.size);
                let equal = derived.is_ok_and(|derived| derived.ct_eq(&test.okm));
                assert_eq!(equal, test.result == TestResult::Valid, "{name:?} {test:?}");
            }
        }
    }
}

#[test]
fn aead() {
    use wycheproof::aead::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::AesGcm, AeadAlgorithm::Aes256Gcm),
        (TestName::ChaCha20Poly1305, AeadAlgorithm::ChaCha20Poly1305),
    ] {
        let mut opened = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            // Ours have a key of 256, a nonce of 96 and a tag of 128 bits.
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let key = AeadKey::new(algorithm, SecretBytes::from(test.key.as_slice())).unwrap();
                let sealed = [test.nonce.as_slice(), &test.ct, &test.tag].concat();
                let open = key.open(&sealed, &test.aad);
                let valid = open.is_ok_and(|plain| plain.ct_eq(&test.pt));
                assert_eq!(valid, test.result == TestResult::Valid, "{name:?} {test:?}");
                opened += usize::from(valid);
            }
        }
        assert!(opened > 20, "{name:?}: {opened}");
    }
}
