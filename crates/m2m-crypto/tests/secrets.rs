//! What may be a shared secret, what failing randomness does, and what formatting shows.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{
    AeadAlgorithm, AeadError, AeadKey, Algorithm, Hkdf, HkdfHash, KeyError, MacKey, PublicForm,
    RandomError, SecretBytes, SecureRandom, SigningKey, SystemRandom, constant_time_eq,
};
use support::{base64url, hex, secret, signing_key};

const HMACS: [(Algorithm, usize); 3] = [
    (Algorithm::Hs256, 32),
    (Algorithm::Hs384, 48),
    (Algorithm::Hs512, 64),
];

fn mac_key(algorithm: Algorithm, bytes: &[u8]) -> Result<MacKey, KeyError> {
    MacKey::new(algorithm, SecretBytes::from(bytes))
}

fn refused_as(bytes: &[u8]) -> Option<PublicForm> {
    // The smallest hash, so that no form is refused for its length.
    match mac_key(Algorithm::Hs256, bytes) {
        Err(KeyError::SecretIsPublic { form }) => Some(form),
        _ => None,
    }
}

#[test]
fn jwt_008_sec_002_a_short_empty_or_zero_secret_is_refused() {
    for (algorithm, needed) in HMACS {
        for found in [0, 1, 8, 31, needed - 1] {
            assert_eq!(
                mac_key(algorithm, &vec![7; found]).unwrap_err(),
                KeyError::SecretLength { needed, found }
            );
        }
        for length in [needed, needed + 1, 1000] {
            assert_eq!(
                mac_key(algorithm, &vec![0; length]).unwrap_err(),
                KeyError::SecretZero
            );
            assert!(mac_key(algorithm, &vec![7; length]).is_ok());
        }
        assert!(mac_key(algorithm, b"changeme").is_err());
    }
}

#[test]
fn jwt_003_public_key_text_is_no_hmac_secret() {
    for algorithm in support::signing_algorithms() {
        let key = signing_key(algorithm);
        let key = key.verifying_key();
        let pem = key.to_pem();
        for text in [
            pem.clone(),
            pem.trim_end().to_owned(),
            pem.replace('\n', "\r\n"),
            pem.replace("PUBLIC KEY", "CERTIFICATE"),
            format!("  some words {pem}"),
        ] {
            assert_eq!(
                refused_as(text.as_bytes()),
                Some(PublicForm::Pem),
                "{algorithm}"
            );
        }
        assert_eq!(
            refused_as(&key.to_spki_der()),
            Some(PublicForm::Der),
            "{algorithm}"
        );
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(
            refused_as(body.as_bytes()),
            Some(PublicForm::Der),
            "{algorithm}"
        );

        let jwk = key.to_jwk().to_json();
        for text in [
            jwk.clone(),
            format!("\n{jwk}\n"),
            format!(r#"{{"keys":[{jwk}]}}"#),
        ] {
            assert_eq!(
                refused_as(text.as_bytes()),
                Some(PublicForm::Jwk),
                "{algorithm}"
            );
        }
    }
    // PKCS#1, without the wrapper.
    let rsa = signing_key(Algorithm::Rs256)
        .verifying_key()
        .to_spki_der()
        .to_vec();
    assert_eq!(refused_as(&rsa[24..]), Some(PublicForm::Der));
}

#[test]
fn jwt_003_a_raw_point_is_no_hmac_secret() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        if !support::is_supported(algorithm) {
            continue;
        }
        let key = signing_key(algorithm);
        let spki = key.verifying_key().to_spki_der().to_vec();
        let point = &spki[spki.len() - key.signature_bytes() - 1..];
        assert_eq!(refused_as(point), Some(PublicForm::EcPoint), "{algorithm}");
    }
    // Of the same shape, but no point: a secret like any other.
    for length in [65, 97] {
        let mut bytes = vec![7; length];
        bytes[0] = 4;
        assert!(mac_key(Algorithm::Hs256, &bytes).is_ok());
    }
}

#[test]
fn jwt_003_ssh_keys_and_certificates_are_no_hmac_secrets() {
    for line in [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUblicKeyBytesAreNotASecretAtAll00000 me@example",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDPublic me@example",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAA me@example",
    ] {
        assert_eq!(refused_as(line.as_bytes()), Some(PublicForm::OpenSsh));
    }
    // The shape of X.509: SEQUENCE { SEQUENCE, AlgorithmIdentifier, BIT STRING }.
    let mut certificate = vec![0x30, 0x81, 0x8b, 0x30, 0x81, 0x80];
    certificate.extend([0x05, 0x00].repeat(64));
    certificate.extend([0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]);
    certificate[2] = 0x8b + 2;
    certificate.extend([0x03, 0x01, 0x00]);
    let length = certificate.len() - 3;
    certificate[2] = u8::try_from(length).unwrap();
    assert_eq!(refused_as(&certificate), Some(PublicForm::Certificate));
}

#[test]
fn random_secrets_are_not_refused_by_accident() {
    for _ in 0..20_000 {
        for length in [32, 48, 64, 65, 97] {
            let mut secret = [0; 97];
            SystemRandom.fill(&mut secret[..length]).unwrap();
            // What is likeliest to look like something.
            secret[0] = [4, 0x30, b'M', b'{'][usize::from(secret[1] & 3)];
            assert!(mac_key(Algorithm::Hs256, &secret[..length]).is_ok());
        }
    }
}

#[test]
fn jwt_026_a_tag_of_another_length_is_refused() {
    for (algorithm, bytes) in HMACS {
        for backend in support::backends() {
            let secret = SecretBytes::from(&[7; 64][..]);
            let key = MacKey::new_with_backend(algorithm, secret, backend).unwrap();
            let mut tag = [0; 65];
            assert_eq!(key.sign(b"message", &mut tag).unwrap(), bytes);
            assert!(key.verify(b"message", &tag[..bytes]).is_ok());
            assert!(key.verify(b"massage", &tag[..bytes]).is_err());
            for length in (0..=65).filter(|length| *length != bytes) {
                assert!(key.verify(b"message", &tag[..length]).is_err());
            }
            assert!(key.sign(b"message", &mut tag[..bytes - 1]).is_err());
        }
    }
}

#[test]
fn an_hmac_jwk_is_checked_like_any_secret() {
    let jwk = |alg: &str, k: &[u8], more: &str| {
        let k = base64url(k);
        secret(&format!(r#"{{"kty":"oct","alg":"{alg}","k":"{k}"{more}}}"#))
    };
    assert!(MacKey::from_jwk(&jwk("HS256", &[7; 32], "")).is_ok());
    assert!(MacKey::from_jwk(&jwk("HS512", &[7; 64], r#","use":"sig""#)).is_ok());
    for (json, error) in [
        (
            jwk("HS256", &[7; 31], ""),
            KeyError::SecretLength {
                needed: 32,
                found: 31,
            },
        ),
        (jwk("HS256", &[0; 32], ""), KeyError::SecretZero),
        (jwk("A256KW", &[7; 32], ""), KeyError::AlgorithmUnknown),
        (
            jwk("HS256", &[7; 32], r#","use":"enc""#),
            KeyError::UsageForbidden,
        ),
        (
            jwk("HS256", &[7; 32], r#","key_ops":["encrypt"]"#),
            KeyError::UsageForbidden,
        ),
        (
            secret(r#"{"kty":"oct","alg":"HS256"}"#),
            KeyError::MemberMissing { member: "k" },
        ),
    ] {
        assert_eq!(MacKey::from_jwk(&json).unwrap_err(), error);
    }
    let ec = secret(r#"{"kty":"EC","alg":"HS256","k":"AAAA"}"#);
    assert!(matches!(
        MacKey::from_jwk(&ec),
        Err(KeyError::AlgorithmMismatch { .. })
    ));
    assert!(matches!(
        MacKey::from_jwk_as(&jwk("HS256", &[7; 64], ""), Algorithm::Hs512),
        Err(KeyError::AlgorithmContradicts { .. })
    ));
    assert!(MacKey::new(Algorithm::Es256, secret(&"s".repeat(64))).is_err());
}

struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

/// Says it is done and writes nothing.
struct Forgetful;

impl SecureRandom for Forgetful {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Ok(())
    }
}

#[test]
fn jwt_103_sec_024_a_failing_source_of_randomness_makes_no_key() {
    for source in [&Broken as &dyn SecureRandom, &Forgetful] {
        let error = KeyError::Random(RandomError);
        for algorithm in support::signing_algorithms() {
            assert_eq!(
                SigningKey::generate(algorithm, source).unwrap_err(),
                error,
                "{algorithm}"
            );
        }
        for (algorithm, _) in HMACS {
            assert_eq!(MacKey::generate(algorithm, source).unwrap_err(), error);
        }
        let aead = AeadAlgorithm::Aes256Gcm;
        assert_eq!(AeadKey::generate(aead, source).unwrap_err(), error);
        let key = AeadKey::generate(aead, &SystemRandom).unwrap();
        assert_eq!(
            key.seal(b"", b"", source).unwrap_err(),
            AeadError::Random(RandomError)
        );
        assert!(SecretBytes::random(32, source).is_err());
    }
}

#[test]
fn sec_024_no_key_is_made_twice() {
    let mut thumbprints = std::collections::HashSet::new();
    for _ in 0..20 {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
            let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
            assert!(thumbprints.insert(key.verifying_key().thumbprint()));
        }
    }
}

#[test]
fn sec_016_no_secret_is_shown_by_any_formatting() {
    const CANARY: &[u8; 64] = b"canary: sixty-four bytes that no honest program has by accident!";
    let canary = || SecretBytes::from(&CANARY[..]);
    let mut shown = vec![
        format!("{:?} {:#?}", canary(), canary()),
        format!("{:?}", MacKey::new(Algorithm::Hs512, canary()).unwrap()),
        format!("{:?}", Hkdf::extract(HkdfHash::Sha256, b"", &canary())),
        format!("{:?}", Hkdf::from_uniform_key(HkdfHash::Sha256, &canary())),
    ];
    for algorithm in [AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305] {
        let key = AeadKey::new(algorithm, SecretBytes::from(&CANARY[..32])).unwrap();
        shown.push(format!("{key:?} {key:#?}"));
    }
    // Errors about secrets.
    shown.push(format!(
        "{:?}",
        AeadKey::new(AeadAlgorithm::Aes256Gcm, canary()).unwrap_err()
    ));
    let json = format!(
        r#"{{"kty":"oct","alg":"HS256","k":"{}="}}"#,
        base64url(CANARY)
    );
    let error = MacKey::from_jwk(&secret(&json)).unwrap_err();
    shown.push(format!("{error:?} {error}"));
    for text in shown {
        assert_shows_nothing_of(&text, CANARY);
    }

    for algorithm in support::signing_algorithms() {
        for backend in support::backends() {
            let Ok(key) = signing_key(algorithm).with_backend(backend) else {
                continue;
            };
            let text = format!("{key:?} {key:#?}");
            let der = key.to_pkcs8_der();
            // A thumbprint and a name are all there is to see.
            assert!(text.len() < 600, "{text}");
            for part in der.expose_secret()[16..]
                .chunks(8)
                .filter(|part| part.len() == 8)
            {
                assert_shows_nothing_of(&text, part);
            }
        }
    }
}

/// Raw, hexadecimal, base64, base64url, and as a list of decimal numbers.
fn assert_shows_nothing_of(text: &str, secret: &[u8]) {
    let lower = text.to_lowercase();
    for part in secret.windows(6) {
        let decimal = format!("{part:?}");
        let decimal = decimal.trim_matches(['[', ']']);
        assert!(
            !text.as_bytes().windows(6).any(|window| window == part),
            "{text}"
        );
        assert!(!lower.contains(&hex(part)), "{text}");
        assert!(!text.contains(&base64url(part)[..8]), "{text}");
        assert!(!text.contains(decimal), "{text}");
    }
}

#[test]
fn sec_001_the_constant_time_comparison_is_right_at_every_length_and_position() {
    let mut a = [0; 800];
    SystemRandom.fill(&mut a).unwrap();
    for length in 0..=200 {
        let a = &a[..length];
        let copy = a.to_vec();
        assert!(constant_time_eq(a, &copy));
        for at in 0..length {
            for flip in [1, 0x80] {
                let mut b = a.to_vec();
                b[at] ^= flip;
                assert!(!constant_time_eq(a, &b), "{length} {at}");
            }
        }
        assert!(length == 0 || !constant_time_eq(a, &a[1..]));
        assert!(length == 0 || !constant_time_eq(&a[..length - 1], a));
    }
    for at in 0..a.len() {
        let mut b = a;
        b[at] ^= 1;
        for offset in 0..32.min(at + 1) {
            assert!(!constant_time_eq(&a[offset..], &b[offset..]));
        }
    }
}

#[test]
fn hkdf_refuses_more_than_it_may_give() {
    let hkdf = Hkdf::extract(HkdfHash::Sha256, b"salt", &secret("secret"));
    assert_eq!(hkdf.expand(&[b"info"], 255 * 32).unwrap().len(), 255 * 32);
    let error = hkdf.expand(&[b"info"], 255 * 32 + 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "8161 bytes are more than the 8160 HKDF may give"
    );
    // The parts of `info` are joined.
    let joined = hkdf.expand(&[b"in", b"fo"], 16).unwrap();
    assert!(
        hkdf.expand(&[b"info"], 16)
            .unwrap()
            .ct_eq(joined.expose_secret())
    );
}

#[test]
fn what_was_sealed_opens_only_unchanged() {
    for algorithm in [AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305] {
        let key = AeadKey::generate(algorithm, &SystemRandom).unwrap();
        let sealed = key
            .seal(b"plaintext", b"associated", &SystemRandom)
            .unwrap();
        assert_eq!(sealed.len(), 9 + AeadKey::OVERHEAD_BYTES);
        assert!(
            key.open(&sealed, b"associated")
                .unwrap()
                .ct_eq(b"plaintext")
        );
        assert!(key.open(&sealed, b"").is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"associated").is_err());
            assert!(key.open(&sealed[..at], b"associated").is_err());
        }
        assert_ne!(
            sealed,
            key.seal(b"plaintext", b"associated", &SystemRandom)
                .unwrap()
        );
        let other = AeadKey::generate(algorithm, &SystemRandom).unwrap();
        assert!(other.open(&sealed, b"associated").is_err());
    }
}

#[test]
fn a_key_that_is_derived_and_forgotten_is_the_one_that_can_be_kept() {
    for hash in [HkdfHash::Sha256, HkdfHash::Sha384, HkdfHash::Sha512] {
        let hkdf = Hkdf::extract(hash, b"salt", &secret("secret"));
        let kept = MacKey::new(
            Algorithm::Hs256,
            hkdf.expand(&[b"peer", b" 1"], 32).unwrap(),
        );
        let (kept, mut tag) = (kept.unwrap(), [0; 32]);
        kept.sign(b"message", &mut tag).unwrap();
        assert_eq!(hkdf.sign_derived(&[b"peer 1"], b"message"), tag);
        assert_eq!(
            hkdf.verify_derived(&[b"peer", b" 1"], b"message", &tag),
            Ok(())
        );
        assert!(hkdf.verify_derived(&[b"peer 2"], b"message", &tag).is_err());
        assert!(hkdf.verify_derived(&[b"peer 1"], b"massage", &tag).is_err());
        assert!(
            hkdf.verify_derived(&[b"peer 1"], b"message", &tag[..31])
                .is_err()
        );
        assert!(hkdf.verify_derived(&[b"peer 1"], b"message", &[]).is_err());
    }
}
