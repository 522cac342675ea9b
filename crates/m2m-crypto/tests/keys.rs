//! Which numbers make a key, and which files.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{
    Algorithm, Jwk, JwkError, KeyError, KeyFormat, SecretBytes, SigningKey, UnprovenKey,
    VerifyingKey,
};
use serde_json::{Value, json};
use support::{P256_D, RFC7515_A2, base64url, p256, secret, signing_key, unbase64url, with};

fn load(jwk: &Value) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::from_jwk(&Jwk::from_json(jwk.to_string().as_bytes())?)
}

fn refusal(jwk: &Value) -> KeyError {
    load(jwk).unwrap_err()
}

#[test]
fn jwt_010_a_point_in_spki_that_is_off_the_curve_or_compressed_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        if !support::is_supported(algorithm) {
            continue;
        }
        let key = signing_key(algorithm);
        let good = key.verifying_key().to_spki_der().to_vec();
        assert!(VerifyingKey::from_spki_der(algorithm, &good).is_ok());
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        let error = KeyError::PointInvalid {
            kind: algorithm.key_kind(),
        };
        assert_eq!(
            VerifyingKey::from_spki_der(algorithm, &bad).unwrap_err(),
            error
        );
        // The first byte of the point: hybrid form, infinity, a compressed point of full length.
        let at = good.len() - key.signature_bytes() - 1;
        for first in [0, 2, 3, 5, 6, 7] {
            bad.clone_from(&good);
            bad[at] = first;
            assert_eq!(
                VerifyingKey::from_spki_der(algorithm, &bad).unwrap_err(),
                error
            );
        }
    }
}

#[test]
fn pki_026_a_private_key_that_is_not_of_its_public_key_is_refused() {
    let good = with(p256(), "d", P256_D);
    assert!(SigningKey::from_jwk(&secret(&good.to_string())).is_ok());
    let mut other = unbase64url(P256_D);
    other[31] ^= 1;
    for (d, error) in [
        (other.clone(), KeyError::PartsMismatch),
        (vec![0; 32], KeyError::PartsMismatch),
        (vec![0xff; 32], KeyError::PartsMismatch),
        (
            other[1..].to_vec(),
            KeyError::MemberLength {
                member: "d",
                expected: 32,
                found: 31,
            },
        ),
        (
            [&[0], &other[..]].concat(),
            KeyError::MemberLength {
                member: "d",
                expected: 32,
                found: 33,
            },
        ),
    ] {
        let jwk = with(good.clone(), "d", base64url(&d)).to_string();
        assert_eq!(SigningKey::from_jwk(&secret(&jwk)).unwrap_err(), error);
    }
    let without = SigningKey::from_jwk(&secret(&p256().to_string()));
    assert_eq!(
        without.unwrap_err(),
        KeyError::MemberMissing { member: "d" }
    );

    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": base64url(&[7; 32])});
    let mismatch = SigningKey::from_jwk(&secret(&ed25519.to_string()));
    assert_eq!(mismatch.unwrap_err(), KeyError::PartsMismatch);
}

#[test]
fn pki_026_every_number_of_an_rsa_key_is_checked() {
    let good: Value = serde_json::from_str(RFC7515_A2).unwrap();
    for backend in support::backends() {
        let key = signing_key(Algorithm::Rs256);
        assert!(key.with_backend(backend).is_ok());
    }
    for member in ["n", "p", "q", "dp", "dq", "qi"] {
        let mut number = unbase64url(good[member].as_str().unwrap());
        let middle = number.len() / 2;
        number[middle] ^= 4;
        let jwk = with(good.clone(), member, base64url(&number)).to_string();
        let loaded = SigningKey::from_jwk_as(&secret(&jwk), Algorithm::Rs256);
        let error = loaded.unwrap_err();
        assert!(
            matches!(error, KeyError::PartsMismatch | KeyError::Rejected { .. }),
            "{member}: {error:?}"
        );
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(member);
        let loaded = SigningKey::from_jwk_as(&secret(&missing.to_string()), Algorithm::Rs256);
        assert_eq!(loaded.unwrap_err(), KeyError::MemberMissing { member });
    }
    let more = with(
        good.clone(),
        "oth",
        json!([{"r": "AA", "d": "AA", "t": "AA"}]),
    );
    let loaded = SigningKey::from_jwk_as(&secret(&more.to_string()), Algorithm::Rs256);
    assert_eq!(loaded.unwrap_err(), KeyError::MultiPrime);
}

#[test]
fn a_private_member_with_json_escapes_is_refused() {
    let escaped = with(p256(), "d", P256_D)
        .to_string()
        .replace("jpsQ", "\\u006apsQ");
    assert_eq!(
        SigningKey::from_jwk(&SecretBytes::new(escaped.into_bytes())).unwrap_err(),
        KeyError::Jwk(JwkError::Escaped { member: "d" })
    );
}

#[test]
fn the_numbers_of_an_rsa_public_key_are_bounded() {
    let n = unbase64url(
        serde_json::from_str::<Value>(RFC7515_A2).unwrap()["n"]
            .as_str()
            .unwrap(),
    );
    let rsa = |n: &[u8], e: &[u8]| {
        refusal(&json!({"kty": "RSA", "alg": "RS256", "n": base64url(n), "e": base64url(e)}))
    };
    let size = |bits| KeyError::ModulusSize {
        bits,
        min: 2048,
        max: 8192,
    };
    let e = [1, 0, 1];
    assert_eq!(rsa(&n[1..], &e), size(2040));
    let mut short = n.clone();
    short[0] = 0x7f;
    assert_eq!(rsa(&short, &e), size(2047));
    assert_eq!(rsa(&[0xff; 1025], &e), size(8200));
    let mut even = n.clone();
    even[255] &= 0xfe;
    assert_eq!(rsa(&even, &e), KeyError::ModulusEven);
    assert_eq!(rsa(&[], &e), KeyError::MemberNotMinimal { member: "n" });
    assert_eq!(
        rsa(&[&[0, 0], &n[..]].concat(), &e),
        KeyError::MemberNotMinimal { member: "n" }
    );
    for e in [
        &[1][..],
        &[2],
        &[0xff, 0xfe],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(rsa(&n, e), KeyError::ExponentInvalid, "{e:?}");
    }
    for e in [&[][..], &[0], &[0, 3]] {
        assert_eq!(
            rsa(&n, e),
            KeyError::MemberNotMinimal { member: "e" },
            "{e:?}"
        );
    }
    for e in [&[3][..], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
        let jwk = json!({"kty": "RSA", "alg": "RS256", "n": base64url(&n), "e": base64url(e)});
        let key = load(&jwk).unwrap();
        assert_eq!(
            support::on_every_backend(&key).len(),
            support::backends().len()
        );
    }
}

#[test]
fn one_sign_byte_before_an_rsa_modulus_is_no_other_key() {
    let jwk: Value = serde_json::from_str(RFC7515_A2).unwrap();
    let n = unbase64url(jwk["n"].as_str().unwrap());
    let signed = with(jwk.clone(), "n", base64url(&[&[0], &n[..]].concat()));
    let load_rsa = |jwk: &Value| {
        let jwk = Jwk::from_json(jwk.to_string().as_bytes()).unwrap();
        VerifyingKey::from_jwk_as(&jwk, Algorithm::Rs256).unwrap()
    };
    assert_eq!(load_rsa(&jwk).thumbprint(), load_rsa(&signed).thumbprint());
    assert_eq!(load_rsa(&signed).to_jwk().n(), Some(&n[..]));
}

#[test]
fn pem_must_have_exactly_one_key_of_the_right_sort() {
    let malformed = KeyError::Malformed {
        format: KeyFormat::Pem,
    };
    let key = signing_key(Algorithm::Es256);
    let public = key.verifying_key().to_pem();
    let private = key.to_pkcs8_pem();
    let private = String::from_utf8(private.expose_secret().to_vec()).unwrap();
    let verifying = |pem: &str| VerifyingKey::from_pem(Algorithm::Es256, pem.as_bytes());
    let signing = |pem: &str| SigningKey::from_pem(Algorithm::Es256, pem.as_bytes());

    assert!(verifying(&public).is_ok() && signing(&private).is_ok());
    assert!(verifying(&public.replace('\n', "\r\n")).is_ok());
    assert!(signing(&private.replace('\n', "\r\n")).is_ok());
    assert!(signing(private.trim_end()).is_ok());
    assert!(signing(&format!("{public}some words\n{private}")).is_ok());
    for pem in [
        "",
        "PUBLIC KEY",
        &private,
        &format!("{public}{public}"),
        &public[..100],
    ] {
        assert_eq!(verifying(pem).unwrap_err(), malformed, "{pem}");
    }
    for pem in [
        "",
        &public,
        &format!("{private}{private}"),
        &private[..100],
        &private.replace("END PRIVATE", "END PUBLIC"),
        &private.replacen('M', "!", 1),
        &private.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        let error = signing(pem).unwrap_err();
        let empty = KeyError::Malformed {
            format: KeyFormat::Pkcs8,
        };
        assert!(error == malformed || error == empty, "{pem}: {error:?}");
    }
}

#[test]
fn der_with_something_behind_it_or_cut_off_is_refused() {
    for algorithm in support::signing_algorithms() {
        let key = signing_key(algorithm);
        let public = key.verifying_key().to_spki_der().to_vec();
        let private = key.to_pkcs8_der().expose_secret().to_vec();
        assert!(VerifyingKey::from_spki_der(algorithm, &public).is_ok());
        assert!(SigningKey::from_pkcs8_der(algorithm, &private).is_ok());
        let longer = |der: &[u8]| [der, &[0]].concat();
        assert!(VerifyingKey::from_spki_der(algorithm, &longer(&public)).is_err());
        assert!(SigningKey::from_pkcs8_der(algorithm, &longer(&private)).is_err());
        for cut in [0, 1, 2, 10, 30, public.len() - 1] {
            assert!(VerifyingKey::from_spki_der(algorithm, &public[..cut]).is_err());
        }
        for cut in [0, 1, 2, 10, 30, private.len() - 1] {
            assert!(SigningKey::from_pkcs8_der(algorithm, &private[..cut]).is_err());
        }
    }
}

#[test]
fn pki_030_a_key_is_proven_by_its_own_signature_and_by_nothing_else() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let (holder, other) = (signing_key(algorithm), signing_key(algorithm));
        let spki = holder.verifying_key().to_spki_der().to_vec();
        let mut signature = vec![0; holder.signature_bytes()];
        holder.sign(b"mine", &mut signature).unwrap();
        let claimed = |spki: &[u8]| UnprovenKey::from_spki_der(algorithm, spki).unwrap();
        let proven = claimed(&spki).prove(b"mine", &signature).unwrap();
        assert_eq!(proven.thumbprint(), holder.verifying_key().thumbprint());
        assert!(proven.verify(b"mine", &signature).is_ok());
        assert!(claimed(&spki).prove(b"yours", &signature).is_err());
        let others = other.verifying_key().to_spki_der();
        assert!(claimed(&others).prove(b"mine", &signature).is_err());
        // A point off its curve may be taken, and is never proven.
        let mut bad = spki.clone();
        *bad.last_mut().unwrap() ^= 1;
        if let Ok(key) = UnprovenKey::from_spki_der(algorithm, &bad) {
            assert!(key.prove(b"mine", &signature).is_err());
        }
        assert!(UnprovenKey::from_spki_der(algorithm, &spki[1..]).is_err());
    }
}
