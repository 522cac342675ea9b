//! Ed25519 edge cases: JWT-023 and the vectors of C2SP/CCTV.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use m2m_crypto::{Algorithm, KeyError, KeyKind, SecretBytes, SigningKey, VerifyingKey};
use m2m_testkit::vectors;
use serde_json::Value;
use support::{base64url, sign, unhex, verifies};

fn load(x: &[u8]) -> Result<VerifyingKey, KeyError> {
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, base64url(x));
    VerifyingKey::from_jwk(&m2m_crypto::Jwk::from_json(jwk.as_bytes())?)
}

#[test]
fn jwt_023_keys_of_small_order_and_keys_not_in_canonical_form_are_refused() {
    let error = KeyError::PointInvalid {
        kind: KeyKind::Ed25519,
    };
    // The eight points of small order and their other encodings, as CCTV's README lists them.
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // p, p + 1 and above
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        assert_eq!(load(&unhex(point)).unwrap_err(), error, "{point}");
    }
    for length in [0, 31, 33] {
        let error = KeyError::MemberLength {
            member: "x",
            expected: 32,
            found: length,
        };
        assert_eq!(load(&vec![9; length]).unwrap_err(), error);
    }
}

#[test]
fn jwt_023_a_signature_with_the_group_order_added_to_s_is_refused() {
    // RFC 8032 §5.1.7: 0 <= s < L.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let key = support::signing_key(Algorithm::Ed25519);
    let mut signature = sign(&key, b"message");
    assert!(verifies(key.verifying_key(), b"message", &signature));
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!verifies(key.verifying_key(), b"message", &signature));
}

#[test]
fn ed25519_is_deterministic_and_as_rfc_8032_says() {
    // RFC 8032 §7.1, test 2.
    let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let x = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = unhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    let jwk = format!(
        r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","d":"{}"}}"#,
        base64url(&x),
        base64url(&seed)
    );
    let key = SigningKey::from_jwk(&SecretBytes::new(jwk.into_bytes())).unwrap();
    for backend in support::backends() {
        assert_eq!(
            sign(&key.with_backend(backend).unwrap(), &[0x72]),
            signature
        );
    }
    assert!(verifies(&load(&x).unwrap(), &[0x72], &signature));
}

/// The 914 vectors of C2SP/CCTV, and our answer by their flags, on every library.
///
/// On keys we are as strict as ed25519-dalek's `verify_strict`: none of small order, none that is not
/// canonical. On the rest we are what most of the world is (Go, OpenSSL, dalek): RFC 8032 without the
/// cofactor, so R may be of small order, but must be canonical, and no residue of small order is
/// forgiven.
#[test]
fn jwt_023_our_answer_to_each_kind_of_edge_case_is_pinned() {
    let Some(cases) = edge_cases() else {
        return;
    };
    let mut answers = BTreeMap::new();
    for case in cases.as_array().unwrap() {
        let text = |member: &str| case[member].as_str().unwrap();
        let has = |flag: &str| {
            case["flags"]
                .as_array()
                .is_some_and(|all| all.contains(&flag.into()))
        };
        let answer = match load(&unhex(text("key"))) {
            Err(_) => "key refused",
            Ok(key) => match verifies(&key, text("msg").as_bytes(), &unhex(text("sig"))) {
                false => "signature refused",
                true => "accepted",
            },
        };
        let expected = match () {
            () if has("low_order_A") || has("non_canonical_A") => "key refused",
            () if has("low_order_residue") || has("non_canonical_R") => "signature refused",
            () => "accepted",
        };
        assert_eq!(answer, expected, "{}", case["flags"]);
        *answers.entry(answer).or_insert(0) += 1;
    }
    let expected = [
        ("accepted", 86),
        ("key refused", 526),
        ("signature refused", 302),
    ];
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), expected);
}

fn edge_cases() -> Option<Value> {
    let archive = vectors::root()?.join("assurance/cctv-ed25519.tgz");
    let member = "ed25519/ed25519vectors.json";
    let output = Command::new("tar")
        .arg("-xzOf")
        .arg(archive)
        .arg(member)
        .output();
    match output.ok().filter(|output| output.status.success()) {
        Some(output) => Some(serde_json::from_slice(&output.stdout).unwrap()),
        None => {
            eprintln!("SKIPPED: {member} or tar is missing");
            None
        }
    }
}
