//! What goes out comes back in, on every library and across them.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{
    Algorithm, Jwk, MacKey, SecretBytes, SignError, SigningKey, VerifyingKey, ecdsa_der_to_fixed,
    ecdsa_fixed_to_der,
};
use proptest::prelude::*;
use support::{backends, on_every_backend, sign, signing_algorithms, signing_key};

#[test]
fn a_key_survives_every_format_and_keeps_its_thumbprint() {
    for algorithm in signing_algorithms() {
        let key = signing_key(algorithm);
        let public = key.verifying_key();
        let jwk = Jwk::from_json(public.to_jwk().to_json().as_bytes()).unwrap();
        assert_eq!(jwk.alg(), Some(algorithm.name()));
        assert_eq!(jwk.usage(), Some("sig"));
        let der = key.to_pkcs8_der();
        let again = SigningKey::from_pkcs8_der(algorithm, der.expose_secret()).unwrap();
        let pem = key.to_pkcs8_pem();
        assert!(
            pem.expose_secret()
                .ends_with(b"-----END PRIVATE KEY-----\n")
        );
        for copy in [
            VerifyingKey::from_jwk(&jwk).unwrap(),
            VerifyingKey::from_spki_der(algorithm, &public.to_spki_der()).unwrap(),
            VerifyingKey::from_pem(algorithm, public.to_pem().as_bytes()).unwrap(),
            again.verifying_key().clone(),
            SigningKey::from_pem(algorithm, pem.expose_secret())
                .unwrap()
                .verifying_key()
                .clone(),
        ] {
            assert_eq!(copy.thumbprint(), public.thumbprint(), "{algorithm}");
            assert_eq!(copy.to_spki_der(), public.to_spki_der(), "{algorithm}");
            assert_eq!(copy.to_jwk(), public.to_jwk(), "{algorithm}");
        }
        assert!(
            again.to_pkcs8_der().ct_eq(der.expose_secret()),
            "{algorithm}"
        );
        let named = public.to_jwk().with_kid("a name").unwrap();
        let named: Jwk = serde_json::from_str(&named.to_json()).unwrap();
        assert_eq!(named.kid(), Some("a name"));
        assert_eq!(
            VerifyingKey::from_jwk(&named).unwrap().thumbprint(),
            public.thumbprint()
        );
    }
}

#[test]
fn what_one_library_signs_every_library_verifies() {
    for algorithm in signing_algorithms() {
        let key = signing_key(algorithm);
        for backend in backends() {
            let Ok(signer) = key.with_backend(backend) else {
                assert!(support::beyond_ring(algorithm));
                continue;
            };
            assert_eq!(signer.backend(), backend);
            assert_eq!(signer.verifying_key().backend(), backend);
            let signature = sign(&signer, b"message");
            if let Some(bytes) = algorithm.signature_bytes() {
                assert_eq!(signature.len(), bytes);
            }
            assert!(signature.len() <= m2m_crypto::MAX_SIGNATURE_BYTES);
            for verifier in on_every_backend(key.verifying_key()) {
                assert!(verifier.verify(b"message", &signature).is_ok());
                assert!(verifier.verify(b"massage", &signature).is_err());
                assert!(verifier.verify(b"", &signature).is_err());
                for other in [&signature[1..], &[&signature[..], &[0]].concat(), &[]] {
                    assert!(verifier.verify(b"message", other).is_err());
                }
                for fill in [0, 1, 0xff] {
                    assert!(
                        verifier
                            .verify(b"message", &vec![fill; signature.len()])
                            .is_err()
                    );
                }
            }
            let mut short = vec![0; signature.len() - 1];
            let error = SignError::BufferTooShort {
                needed: signature.len(),
                found: short.len(),
            };
            assert_eq!(signer.sign(b"message", &mut short), Err(error));
        }
    }
}

#[test]
fn jwt_027_no_signature_survives_a_flipped_bit() {
    for algorithm in [Algorithm::Es256, Algorithm::Ed25519] {
        let key = signing_key(algorithm);
        let signature = sign(&key, b"message");
        for verifier in on_every_backend(key.verifying_key()) {
            for bit in 0..signature.len() * 8 {
                let mut changed = signature.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    verifier.verify(b"message", &changed).is_err(),
                    "{algorithm} {bit}"
                );
            }
        }
    }
}

#[test]
fn a_key_of_one_algorithm_refuses_the_signatures_of_another() {
    let message = b"message";
    let rsa = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    for made in rsa {
        let signature = sign(&signing_key(made), message);
        for checked in rsa {
            let key = signing_key(checked);
            for verifier in on_every_backend(key.verifying_key()) {
                assert_eq!(
                    verifier.verify(message, &signature).is_ok(),
                    made == checked
                );
            }
        }
    }
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn an_ec_key_without_its_public_key_is_completed() {
    // RFC 5915 makes the public key optional; cut it out of a key of ours.
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        let key = signing_key(algorithm);
        let scalar_bytes = key.signature_bytes() / 2;
        let pkcs8 = key.to_pkcs8_der();
        let der = pkcs8.expose_secret();
        // ECPrivateKey { 1, OCTET STRING scalar, [0] curve, … } with the curve put in.
        let marker = [&[2, 1, 1, 4, scalar_bytes as u8][..]].concat();
        let at = der.windows(5).position(|window| window == marker).unwrap();
        let scalar = &der[at + 5..at + 5 + scalar_bytes];
        let curve: &[u8] = match algorithm {
            Algorithm::Es256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Algorithm::Es384 => &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
            _ => &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
        };
        let mut sec1 = vec![0x30, 0, 2, 1, 1, 4, scalar_bytes as u8];
        sec1.extend(scalar);
        sec1.extend([0xa0, curve.len() as u8]);
        sec1.extend(curve);
        sec1[1] = (sec1.len() - 2) as u8;
        let body = {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(&sec1)
        };
        let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n");
        let again = SigningKey::from_pem(algorithm, pem.as_bytes()).unwrap();
        assert_eq!(
            again.verifying_key().thumbprint(),
            key.verifying_key().thumbprint()
        );
    }
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn rsa_keys_of_each_size_are_generated() {
    use m2m_crypto::{Backend, KeyError, KeyKind, RsaModulus, SystemRandom};

    for (size, bytes) in [(RsaModulus::Bits2048, 256), (RsaModulus::Bits3072, 384)] {
        let key = SigningKey::generate_rsa(Algorithm::Ps256, size, &SystemRandom).unwrap();
        assert_eq!(
            (key.signature_bytes(), key.backend()),
            (bytes, Backend::AwsLcRs)
        );
        let on_ring = key.with_backend(Backend::Ring).unwrap();
        assert!(support::verifies(
            key.verifying_key(),
            b"message",
            &sign(&on_ring, b"message")
        ));
    }
    let error = SigningKey::generate_rsa(Algorithm::Es256, RsaModulus::Bits2048, &SystemRandom);
    assert_eq!(
        error.unwrap_err(),
        KeyError::AlgorithmMismatch {
            algorithm: Algorithm::Es256,
            kind: KeyKind::Rsa
        }
    );
}

#[test]
#[cfg(not(feature = "aws-lc-rs"))]
fn what_ring_lacks_is_refused_with_the_name_of_the_feature() {
    use m2m_crypto::{Backend, KeyError, SystemRandom};

    for algorithm in [
        Algorithm::Es512,
        Algorithm::Rs256,
        Algorithm::Ps512,
        Algorithm::MlDsa65,
    ] {
        let error = SigningKey::generate(algorithm, &SystemRandom).unwrap_err();
        assert_eq!(
            error,
            KeyError::Unsupported {
                algorithm,
                backend: Backend::Ring
            }
        );
        assert!(error.to_string().contains("`aws-lc-rs`"), "{error}");
    }
}

#[test]
fn external_signatures_in_der_must_be_strict() {
    let mut fixed = [0; 96];
    let good = [0x30, 6, 2, 1, 5, 2, 1, 7];
    assert_eq!(
        ecdsa_der_to_fixed(Algorithm::Es384, &good, &mut fixed),
        Ok(96)
    );
    for bad in [
        &[][..],
        &[0x30, 6, 2, 1, 5, 2, 1],             // cut off
        &[0x30, 6, 2, 1, 5, 2, 1, 7, 0],       // something behind
        &[0x30, 7, 2, 1, 5, 2, 1, 7, 0],       // something inside
        &[0x30, 0x81, 6, 2, 1, 5, 2, 1, 7],    // BER length
        &[0x30, 7, 2, 2, 0, 5, 2, 1, 7],       // not minimal
        &[0x30, 6, 2, 1, 0x85, 2, 1, 7],       // negative
        &[0x31, 6, 2, 1, 5, 2, 1, 7],          // a set
        &[0x30, 3, 2, 1, 5],                   // one number
        &[0x30, 9, 2, 1, 5, 2, 1, 7, 2, 1, 9], // three
        &[&[0x30, 0x26, 2, 0x21, 1][..], &[0; 32], &[2, 1, 7]].concat(), // wider than the curve
    ] {
        assert!(
            ecdsa_der_to_fixed(Algorithm::Es256, bad, &mut fixed).is_err(),
            "{bad:?}"
        );
    }
    assert!(ecdsa_der_to_fixed(Algorithm::Es256, &good, &mut fixed[..63]).is_err());
    assert!(ecdsa_der_to_fixed(Algorithm::Rs256, &good, &mut fixed).is_err());
}

#[test]
fn only_signatures_of_the_curve_become_der() {
    assert!(ecdsa_fixed_to_der(Algorithm::Es256, &[1; 64]).is_ok());
    for length in [0, 32, 63, 65, 96, 128] {
        assert!(ecdsa_fixed_to_der(Algorithm::Es256, &vec![1; length]).is_err());
    }
    assert!(ecdsa_fixed_to_der(Algorithm::Ed25519, &[1; 64]).is_err());
}

proptest! {
    #[test]
    fn der_and_fixed_form_say_the_same(fixed in proptest::collection::vec(any::<u8>(), 96), zeroes in 0..48_usize) {
        let mut fixed = fixed;
        fixed[..zeroes].fill(0);
        let der = ecdsa_fixed_to_der(Algorithm::Es384, &fixed).unwrap();
        let mut again = [0; 96];
        prop_assert_eq!(ecdsa_der_to_fixed(Algorithm::Es384, &der, &mut again), Ok(96));
        prop_assert_eq!(&again[..], &fixed[..]);
    }

    #[test]
    fn signing_and_verifying_agree(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        for algorithm in [Algorithm::Es256, Algorithm::Ed25519] {
            let key = signing_key(algorithm);
            let signature = sign(&key, &message);
            prop_assert!(support::verifies(key.verifying_key(), &message, &signature));
        }
        let key = MacKey::new(Algorithm::Hs384, SecretBytes::from(&[7; 48][..])).unwrap();
        let mut tag = [0; 48];
        key.sign(&message, &mut tag).unwrap();
        prop_assert!(key.verify(&message, &tag).is_ok());
        tag[message.len() % 48] ^= 1;
        prop_assert!(key.verify(&message, &tag).is_err());
    }

    #[test]
    fn no_input_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Jwk::from_json(&bytes);
        let _ = ecdsa_der_to_fixed(Algorithm::Es256, &bytes, &mut [0; 64]);
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::Ed25519] {
            let _ = VerifyingKey::from_spki_der(algorithm, &bytes);
            let _ = VerifyingKey::from_pem(algorithm, &bytes);
            let _ = SigningKey::from_pkcs8_der(algorithm, &bytes);
            let _ = SigningKey::from_pem(algorithm, &bytes);
        }
        let _ = MacKey::new(Algorithm::Hs256, SecretBytes::new(bytes));
    }

    #[test]
    fn no_damage_to_a_key_makes_a_reader_panic(at in 0_usize..2000, byte in any::<u8>()) {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::Ed25519] {
            let key = signing_key(algorithm);
            let mut der = key.verifying_key().to_spki_der().to_vec();
            let length = der.len();
            der[at % length] = byte;
            if let Ok(key) = VerifyingKey::from_spki_der(algorithm, &der) {
                // What loads is written as it was read.
                prop_assert_eq!(&*key.to_spki_der(), &der[..]);
            }
            let mut der = key.to_pkcs8_der().expose_secret().to_vec();
            let length = der.len();
            der[at % length] = byte;
            let _ = SigningKey::from_pkcs8_der(algorithm, &der);
        }
    }
}
