//! What the tests of this crate share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, Backend, SecretBytes, SigningKey, SystemRandom, VerifyingKey};
use serde_json::{Value, json};

/// Whether this build has the second library.
pub const TWO_BACKENDS: bool = cfg!(feature = "aws-lc-rs");

/// Every library this build has.
pub fn backends() -> Vec<Backend> {
    vec![
        Backend::Ring,
        #[cfg(feature = "aws-lc-rs")]
        Backend::AwsLcRs,
    ]
}

/// Whether some library of this build knows the algorithm.
pub fn is_supported(algorithm: Algorithm) -> bool {
    TWO_BACKENDS || !beyond_ring(algorithm)
}

/// Whether only `aws-lc-rs` knows the algorithm.
pub fn beyond_ring(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Es512 | Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87
    )
}

pub fn is_rsa(algorithm: Algorithm) -> bool {
    algorithm.name().starts_with("RS") || algorithm.name().starts_with("PS")
}

/// The key as each library that takes it prepared it.
pub fn on_every_backend(key: &VerifyingKey) -> Vec<VerifyingKey> {
    let keys: Vec<_> = backends()
        .into_iter()
        .filter_map(|backend| key.with_backend(backend).ok())
        .collect();
    let expected = match beyond_ring(key.algorithm()) {
        true => 1,
        false => backends().len(),
    };
    assert_eq!(keys.len(), expected, "{key:?}");
    keys
}

/// Whether `signature` is valid; every library must say the same.
pub fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let verdicts: Vec<_> = on_every_backend(key)
        .iter()
        .map(|key| key.verify(message, signature).is_ok())
        .collect();
    let first = verdicts[0];
    assert!(
        verdicts.iter().all(|verdict| *verdict == first),
        "the libraries disagree over {key:?}: {verdicts:?}"
    );
    first
}

/// A key for `algorithm`: a new one, or for RSA the one of RFC 7515 appendix A.2.
pub fn signing_key(algorithm: Algorithm) -> SigningKey {
    if is_rsa(algorithm) {
        return SigningKey::from_jwk_as(&secret(RFC7515_A2), algorithm).unwrap();
    }
    SigningKey::generate(algorithm, &SystemRandom).unwrap()
}

/// Every algorithm for which [`signing_key`] has a key.
pub fn signing_algorithms() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL
        .iter()
        .copied()
        .filter(|algorithm| !algorithm.is_symmetric() && is_supported(*algorithm))
}

pub fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.signature_bytes()];
    let length = key.sign(message, &mut signature).unwrap();
    assert_eq!(length, signature.len());
    signature
}

pub fn secret(text: &str) -> SecretBytes {
    SecretBytes::from(text.as_bytes())
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len() % 2 == 0);
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unbase64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Splits a compact JWS into its header, what was signed, and the signature.
pub fn split(jws: &str) -> (Value, &[u8], Vec<u8>) {
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let header = serde_json::from_slice(&unbase64url(header)).unwrap();
    (header, signed.as_bytes(), unbase64url(signature))
}

/// The private key of RFC 7515 appendix A.2.
pub const RFC7515_A2: &str = r#"{"kty":"RSA",
"n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
"e":"AQAB",
"d":"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
"p":"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
"q":"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
"dp":"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
"dq":"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
"qi":"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;

/// A valid P-256 key (RFC 7515 appendix A.3).
pub fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

pub const P256_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";

pub fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}
