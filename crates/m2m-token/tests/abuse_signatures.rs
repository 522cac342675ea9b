//! Abuse of signatures: shortened, lengthened, in other forms, out of range, one bit off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;

use m2m_crypto::{Algorithm, MacKey};
use m2m_token::{JwkSet, JwkSetError};
use serde_json::json;
use support::*;

/// The token with another signature.
fn resigned(token: &str, signature: impl AsRef<[u8]>) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", b64(signature))
}

fn signature(token: &str) -> Vec<u8> {
    unb64(token.rsplit_once('.').unwrap().1)
}

/// An INTEGER of DER.
fn der_integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap();
    let mut bytes = big_endian[start..].to_vec();
    if bytes[0] & 0x80 != 0 {
        bytes.insert(0, 0);
    }
    [&[2, bytes.len() as u8], &bytes[..]].concat()
}

#[test]
fn jwt_021_ecdsa_signatures_have_their_one_form() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        if !algorithms().contains(&algorithm) {
            continue;
        }
        let bench = Bench::new(algorithm);
        let token = bench.good();
        let good = signature(&token);
        assert_eq!(bench.code(&resigned(&token, &good)), "ok");
        let (r, s) = good.split_at(good.len() / 2);
        let body = [der_integer(r), der_integer(s)].concat();
        let der = [&[0x30, body.len() as u8], &body[..]].concat();
        let zero = vec![0; r.len()];
        let ones = vec![0xff; r.len()];
        let bad = [
            der,
            good[1..].to_vec(),
            good[..good.len() - 1].to_vec(),
            good[..r.len()].to_vec(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
            [&[0], r, &[0], s].concat(),
            [&good[..], &good[..]].concat(),
            [&zero[..], s].concat(),
            [r, &zero[..]].concat(),
            [&zero[..], &zero[..]].concat(),
            [&ones[..], s].concat(),
            [r, &ones[..]].concat(),
            [s, r].concat(),
        ];
        for bad in &bad {
            let token = resigned(&token, bad);
            assert_eq!(bench.code(&token), "signature", "{algorithm} {bad:?}");
        }
        assert_eq!(bench.code(&resigned(&token, [])), "parts");
        for length in 1..=2 * good.len() + 2 {
            if length != good.len() {
                let token = resigned(&token, vec![1; length]);
                assert_eq!(bench.code(&token), "signature", "{algorithm} {length}");
            }
        }
    }
    // A signature whose r begins with zero, written without that byte as some libraries do.
    let bench = Bench::es256();
    let token = loop {
        let token = bench.good();
        if signature(&token)[0] == 0 {
            break token;
        }
    };
    assert_eq!(bench.code(&token), "ok");
    assert_eq!(
        bench.code(&resigned(&token, &signature(&token)[1..])),
        "signature"
    );
}

/// The order of the group of Ed25519, little-endian (RFC 8032 §5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn jwt_023_ed25519_takes_one_signature_and_no_weak_key() {
    let bench = Bench::new(Algorithm::Ed25519);
    let token = bench.good();
    let good = signature(&token);
    // S + n·L is the same number to who does not look (RFC 8032 §5.1.7).
    let mut malleable = good.clone();
    let mut added = 0;
    loop {
        let mut carry = 0;
        for (byte, order) in malleable[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        if carry != 0 {
            break;
        }
        added += 1;
        assert_eq!(
            bench.code(&resigned(&token, &malleable)),
            "signature",
            "S + {added} L"
        );
    }
    assert!(added >= 14, "{added}");

    // Keys of small order verify signatures that nobody made; y ≥ p is a second name for a point.
    let weak = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for hex in weak {
        let x: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": b64(x)});
        let refused = JwkSet::parse(json!({"keys": [jwk]}).to_string().as_bytes());
        assert!(
            matches!(refused, Err(JwkSetError::Key { index: 0, .. })),
            "{hex}: {refused:?}"
        );
    }
    // R of small order or beyond p.
    for r in [[0; 32], [0xff; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let changed = [&r[..], &good[32..]].concat();
        assert_eq!(bench.code(&resigned(&token, changed)), "signature");
    }
}

/// n of the RSA key here, big-endian.
fn modulus() -> Vec<u8> {
    let jwk: serde_json::Value = serde_json::from_str(RSA_JWK).unwrap();
    unb64(jwk["n"].as_str().unwrap())
}

#[test]
fn jwt_025_rsa_signatures_out_of_range_are_refused() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ] {
        let bench = Bench::new(algorithm);
        let token = bench.good();
        let good = signature(&token);
        let n = modulus();
        assert_eq!(good.len(), n.len());
        let mut n_less_one = n.clone();
        *n_less_one.last_mut().unwrap() -= 1;
        let mut one = vec![0; n.len()];
        *one.last_mut().unwrap() = 1;
        // s + n, where that fits into as many bytes: the same number to who does not look.
        let mut carry = 0;
        let mut reducible: Vec<u8> = good
            .iter()
            .zip(&n)
            .rev()
            .map(|(a, b)| {
                let sum = u16::from(*a) + u16::from(*b) + carry;
                carry = sum >> 8;
                sum as u8
            })
            .collect();
        reducible.reverse();
        if carry != 0 {
            reducible.insert(0, 1);
        }
        let bad = [
            vec![0; n.len()],
            vec![0xff; n.len()],
            one,
            n.clone(),
            n_less_one,
            reducible,
            [&[0], &good[..]].concat(),
            [&good[..], &[0]].concat(),
            good[1..].to_vec(),
            good[..good.len() - 1].to_vec(),
            vec![1],
        ];
        for bad in &bad {
            let token = resigned(&token, bad);
            assert_eq!(bench.code(&token), "signature", "{algorithm} {}", bad.len());
        }
    }
}

#[test]
fn jwt_024_pkcs1_and_pss_and_each_hash_are_different_signatures() {
    let all = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    // One key pair; the padding and hash of one algorithm under the name of another.
    for verifier in all {
        let bench = Bench::new(verifier);
        for signer in all {
            let token = sign(
                header(verifier).to_string(),
                claims().to_string(),
                &key(signer),
            );
            let expected = match signer == verifier {
                true => "ok",
                false => "signature",
            };
            assert_eq!(bench.code(&token), expected, "{signer} for {verifier}");
        }
    }
    // Wrong NULL, BER lengths, garbage behind the hash: `wycheproof.rs`, and m2m-crypto's own.
}

#[test]
fn jwt_026_a_tag_is_whole_or_nothing() {
    for algorithm in MACS {
        let secret = Arc::new(mac(algorithm));
        let verifiers = Verifiers::of(secret_set(&secret));
        let token = sign(
            header(algorithm).to_string(),
            claims().to_string(),
            &*secret,
        );
        let good = signature(&token);
        assert_eq!(verifiers.code(&token), "ok");
        for length in 1..good.len() {
            let cut = resigned(&token, &good[..length]);
            assert_eq!(verifiers.code(&cut), "signature", "{algorithm} {length}");
        }
        assert_eq!(verifiers.code(&resigned(&token, [])), "parts");
        for more in 1..4 {
            let longer = [&good[..], &vec![0; more]].concat();
            assert_eq!(verifiers.code(&resigned(&token, longer)), "signature");
        }
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert_eq!(verifiers.code(&resigned(&token, changed)), "signature");
        }
    }
}

#[test]
fn jwt_027_no_bit_of_a_token_can_be_changed() {
    let mut benches = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::Ed25519, Algorithm::Rs256] {
        let bench = Bench::new(algorithm);
        benches.push((bench.good(), bench.verifiers));
    }
    let secret: Arc<MacKey> = Arc::new(mac(Algorithm::Hs256));
    let token = sign(
        header(Algorithm::Hs256).to_string(),
        claims().to_string(),
        &*secret,
    );
    benches.push((token, Verifiers::of(secret_set(&secret))));
    for (token, verifiers) in &benches {
        assert_eq!(verifiers.code(token), "ok");
        let mut refused = 0;
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.clone().into_bytes();
                changed[at] ^= 1 << bit;
                // What is no text cannot even be asked about.
                let Ok(changed) = String::from_utf8(changed) else {
                    continue;
                };
                let code = verifiers.code(&changed);
                assert_ne!(code, "ok", "bit {bit} of byte {at}: {changed}");
                refused += 1;
            }
        }
        assert_eq!(
            refused,
            token.len() * 7,
            "each bit but the highest, which makes no text"
        );
        assert_eq!(verifiers.code(token), "ok");
    }
}

#[test]
fn jwt_028_a_token_has_three_parts_and_none_is_empty() {
    let bench = Bench::es256();
    let token = bench.good();
    let parts: Vec<&str> = token.split('.').collect();
    let [h, p, s] = parts[..] else { panic!() };
    for (token, code) in [
        (String::new(), "parts"),
        (".".into(), "parts"),
        ("..".into(), "parts"),
        ("...".into(), "parts"),
        (h.into(), "parts"),
        (format!("{h}.{p}"), "parts"),
        (format!(".{p}.{s}"), "parts"),
        (format!("{h}..{s}"), "parts"),
        (format!("{h}.{p}."), "parts"),
        (format!(".{h}.{p}.{s}"), "parts"),
        (format!("{h}.{p}.{s}."), "parts"),
        (format!("{h}.{p}.{s}.{s}"), "base64"),
        (format!("{h}.{p}.{p}.{p}.{s}"), "base64"),
        (format!("{h}.{h}.{p}.{s}"), "base64"),
        (format!("{h} .{p}.{s}"), "base64"),
        (format!("Bearer {token}"), "base64"),
        (format!("{token}\n"), "signature"),
        (format!(" {token}"), "base64"),
    ] {
        assert_eq!(bench.code(&token), code, "{token:?}");
    }
    // A JWE has five parts; its header names no signature algorithm, and `enc` is refused.
    let jwe = |header: &str| format!("{}.{p}.{p}.{p}.{s}", b64(header));
    let code = bench.code(&jwe(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#));
    assert_eq!(code, "header");
    assert_eq!(
        bench.code(&jwe(r#"{"alg":"RSA-OAEP"}"#)),
        "algorithm_unknown"
    );
    assert_eq!(
        bench.code(&jwe(r#"{"alg":"ES256","enc":"A256GCM"}"#)),
        "header"
    );
}
