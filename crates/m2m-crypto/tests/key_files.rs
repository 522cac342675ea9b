//! Private keys in files: PKCS#8, PKCS#1 and SEC 1, each spoiled in every way that others have got wrong.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{Algorithm, KeyError, SigningKey, SystemRandom};
use support::{RFC7515_A2, secret};

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn load(algorithm: Algorithm, label: &str, der: &[u8]) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(algorithm, pem(label, der).as_bytes())
}

/// Tag, length and content, for contents of less than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// The content of the first element, and what stands behind it.
fn split(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, header) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
    };
    der[header..].split_at(length)
}

/// The contents of all elements in a SEQUENCE.
fn fields(der: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, _) = split(der);
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (content, behind) = split(rest);
        fields.push(content.to_vec());
        rest = behind;
    }
    fields
}

/// `PrivateKeyInfo`'s `privateKey`.
fn inner(key: &SigningKey) -> Vec<u8> {
    let pkcs8 = key.to_pkcs8_der();
    fields(pkcs8.expose_secret())[2].clone()
}

/// Nothing shorter is a key, and nothing longer.
fn is_exact(algorithm: Algorithm, label: &str, der: &[u8]) {
    load(algorithm, label, der).unwrap();
    let step = (der.len() / 150).max(1);
    for end in (0..der.len()).step_by(step) {
        assert!(
            load(algorithm, label, &der[..end]).is_err(),
            "{label} of {end} bytes"
        );
    }
    for more in [&[0][..], &[5, 0], der] {
        let longer = [der, more].concat();
        assert!(load(algorithm, label, &longer).is_err(), "{label} and more");
    }
}

#[test]
fn pki_026_an_rsa_file_without_all_its_numbers_is_refused() {
    let key = SigningKey::from_jwk_as(&secret(RFC7515_A2), Algorithm::Rs256).unwrap();
    let der = inner(&key);
    is_exact(Algorithm::Rs256, "RSA PRIVATE KEY", &der);
    is_exact(
        Algorithm::Rs256,
        "PRIVATE KEY",
        key.to_pkcs8_der().expose_secret(),
    );
    let numbers = fields(&der);
    assert_eq!(numbers.len(), 9);
    let write = |numbers: &[Vec<u8>]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| element(2, n)).collect();
        element(0x30, &numbers)
    };
    assert_eq!(write(&numbers), der);
    let refused = |numbers: &[Vec<u8>], what: &str| {
        for load in [
            load(Algorithm::Rs256, "RSA PRIVATE KEY", &write(numbers)),
            load(Algorithm::Ps384, "RSA PRIVATE KEY", &write(numbers)),
        ] {
            assert!(load.is_err(), "{what}");
        }
    };
    for (place, name) in ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"]
        .into_iter()
        .enumerate()
    {
        let mut missing = numbers.clone();
        missing.remove(place);
        refused(&missing, &format!("without {name}"));
        for (wrong, how) in [
            (vec![], "empty"),
            (vec![0], "zero"),
            (vec![1], "one"),
            (vec![0x80; 129], "negative"),
        ] {
            // The version is zero, as it should be.
            if wrong == numbers[place] {
                continue;
            }
            let mut changed = numbers.clone();
            changed[place] = wrong;
            refused(&changed, &format!("{name} is {how}"));
        }
        let mut long = numbers.clone();
        long[place].insert(0, 0);
        refused(&long, &format!("{name} is not in its shortest form"));
    }
    // `d` is not looked at where the others say all, so it is not in this list.
    for (place, name) in [
        (1, "n"),
        (4, "p"),
        (5, "q"),
        (6, "dp"),
        (7, "dq"),
        (8, "qi"),
    ] {
        let mut changed = numbers.clone();
        let middle = changed[place].len() / 2;
        changed[place][middle] ^= 4;
        refused(&changed, &format!("another {name}"));
    }
    let mut more = numbers.clone();
    more[0] = vec![1];
    refused(&more, "several primes");
}

#[test]
fn pki_026_an_ec_file_of_another_curve_or_another_key_is_refused() {
    const P384: [u8; 9] = [0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 0x22];
    const P256: [u8; 12] = [0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let make = || SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let (key, other) = (make(), make());
    let scalar = |key: &SigningKey| fields(&inner(key))[1].clone();
    let point = |key: &SigningKey| {
        let spki = key.verifying_key().to_spki_der();
        element(
            0xa1,
            &element(3, &[&[0], &spki[spki.len() - 65..]].concat()),
        )
    };
    let sec1 = |scalar: &[u8], curve: &[u8], point: &[u8]| {
        element(
            0x30,
            &[&[2, 1, 1][..], &element(4, scalar), curve, point].concat(),
        )
    };
    let good = sec1(&scalar(&key), &P256, &point(&key));
    is_exact(Algorithm::Es256, "EC PRIVATE KEY", &good);
    is_exact(
        Algorithm::Es256,
        "PRIVATE KEY",
        key.to_pkcs8_der().expose_secret(),
    );
    let longer = [&[0], &scalar(&key)[..]].concat();
    for (what, der) in [
        ("another curve", sec1(&scalar(&key), &P384, &point(&key))),
        ("no curve", sec1(&scalar(&key), &[], &point(&key))),
        (
            "another's point",
            sec1(&scalar(&key), &P256, &point(&other)),
        ),
        (
            "another's number",
            sec1(&scalar(&other), &P256, &point(&key)),
        ),
        ("zero", sec1(&[0; 32], &P256, &[])),
        ("beyond the order", sec1(&[0xff; 32], &P256, &[])),
        (
            "a short number",
            sec1(&scalar(&key)[1..], &P256, &point(&key)),
        ),
        ("a long number", sec1(&longer, &P256, &point(&key))),
    ] {
        assert!(
            load(Algorithm::Es256, "EC PRIVATE KEY", &der).is_err(),
            "{what}"
        );
    }
    for algorithm in [Algorithm::Es384, Algorithm::Ed25519, Algorithm::Rs256] {
        assert!(load(algorithm, "EC PRIVATE KEY", &good).is_err());
        let pkcs8 = key.to_pkcs8_der();
        assert!(load(algorithm, "PRIVATE KEY", pkcs8.expose_secret()).is_err());
    }
}

#[test]
fn pki_026_an_ed25519_file_that_is_cut_or_of_another_key_is_refused() {
    let make = || SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
    let (key, other) = (make(), make());
    let (pkcs8, others) = (key.to_pkcs8_der(), other.to_pkcs8_der());
    let der = pkcs8.expose_secret();
    is_exact(Algorithm::Ed25519, "PRIVATE KEY", der);
    // Version 2 of PKCS#8 (RFC 5958) has the public key as well.
    let body = split(der).0[3..].to_vec();
    let head = &body[..body.len().min(7 + 36)];
    let with_public = |key: &SigningKey| {
        let spki = key.verifying_key().to_spki_der();
        let public = element(0x81, &[&[0], &spki[spki.len() - 32..]].concat());
        element(0x30, &[&[2, 1, 1][..], head, &public].concat())
    };
    assert!(load(Algorithm::Ed25519, "PRIVATE KEY", &with_public(&key)).is_ok());
    assert!(load(Algorithm::Ed25519, "PRIVATE KEY", &with_public(&other)).is_err());
    assert_ne!(der, others.expose_secret());
}
