//! What m2m mints, others accept; what they mint, m2m accepts; what is altered, nobody accepts.
//!
//! Of every algorithm that both sides know, with keys that m2m made and handed over as PKCS #8 and
//! SubjectPublicKeyInfo, and claims that nobody chose. The tests use the real time, because
//! jsonwebtoken and josekit look at the clock themselves.

#[path = "interop/others.rs"]
mod others;
#[path = "interop/ours.rs"]
mod ours;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::others::Other;
use crate::ours::SUBJECTS;

/// The claims of a token, beside those that say who, for whom and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    sub: String,
    jti: String,
    client_id: String,
    scope: String,
    #[serde(flatten)]
    further: Further,
}

/// Those that no library knows by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Further {
    tenant: String,
    roles: Vec<String>,
    level: i64,
    nested: Vec<Vec<bool>>,
}

fn claims() -> impl Strategy<Value = Claims> {
    // Names are without control characters, or m2m neither mints nor accepts them.
    let name = r"\PC{1,40}";
    let names = (name, name, name, name);
    let roles = proptest::collection::vec(any::<String>(), 0..4);
    let nested = proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..3), 0..3);
    let further = (any::<String>(), roles, -(1_i64 << 53)..1 << 53, nested);
    (names, further).prop_map(
        |((sub, jti, client_id, scope), (tenant, roles, level, nested))| {
            let further = Further {
                tenant,
                roles,
                level,
                nested,
            };
            Claims {
                sub,
                jti,
                client_id,
                scope,
                further,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_m2m_mints_is_accepted_and_read_alike_by_the_others(claims in claims()) {
        for subject in SUBJECTS.iter() {
            let token = subject.mint(&claims);
            for other in Other::knowing(subject) {
                let read = other.verify(subject, &token);
                prop_assert_eq!(read.as_ref(), Some(&claims), "{:?} {}", other, subject.name());
            }
            let read = subject.verify(&token);
            prop_assert_eq!(read.as_ref(), Some(&claims), "{}", subject.name());
        }
    }

    #[test]
    fn what_the_others_mint_is_accepted_and_read_alike_by_m2m(claims in claims()) {
        for subject in SUBJECTS.iter() {
            for other in Other::knowing(subject) {
                let token = other.mint(subject, &claims);
                let read = subject.verify(&token);
                prop_assert_eq!(read.as_ref(), Some(&claims), "{:?} {}", other, subject.name());
            }
        }
    }

    #[test]
    fn no_bit_of_what_a_token_says_can_be_changed(
        claims in claims(),
        which in 0..3_usize,
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        for subject in SUBJECTS.iter() {
            let token = with_bit_flipped(&subject.mint(&claims), which, at, bit);
            prop_assert_eq!(subject.verify(&token), None, "m2m {}", subject.name());
            for other in Other::knowing(subject) {
                let token = with_bit_flipped(&other.mint(subject, &claims), which, at, bit);
                prop_assert_eq!(subject.verify(&token), None, "m2m {}", subject.name());
                prop_assert_eq!(other.verify(subject, &token), None, "{:?}", other);
            }
        }
    }

    #[test]
    fn no_bit_of_how_a_token_is_written_can_be_changed(
        claims in claims(),
        at in any::<prop::sample::Index>(),
        bit in 0..7_u8,
    ) {
        for subject in SUBJECTS.iter() {
            let mut bytes = subject.mint(&claims).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let token = String::from_utf8(bytes).expect("seven bits are ASCII");
            prop_assert_eq!(subject.verify(&token), None, "{}", subject.name());
        }
    }
}

#[test]
fn every_algorithm_both_sides_know_is_tested() {
    let known = |other: Other| {
        let known = SUBJECTS
            .iter()
            .filter(|subject| other.knows(subject.algorithm));
        known.map(|subject| subject.name()).collect::<Vec<_>>()
    };
    let without_es512 = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ];
    assert_eq!(known(Other::JsonwebtokenAwsLc), without_es512);
    assert_eq!(known(Other::JsonwebtokenRustCrypto), without_es512);
    assert_eq!(known(Other::Josekit).len(), without_es512.len() + 1);
}

#[test]
fn a_token_is_not_accepted_under_another_subject() {
    let claims = Claims {
        sub: "spiffe://example.org/a".into(),
        jti: "1".into(),
        client_id: "a".into(),
        scope: "read".into(),
        further: Further {
            tenant: String::new(),
            roles: Vec::new(),
            level: 0,
            nested: Vec::new(),
        },
    };
    for subject in SUBJECTS.iter() {
        let token = subject.mint(&claims);
        for other in SUBJECTS
            .iter()
            .filter(|other| other.algorithm != subject.algorithm)
        {
            assert_eq!(
                other.verify(&token),
                None,
                "{} as {}",
                subject.name(),
                other.name()
            );
        }
    }
}

/// `token` with one bit flipped of what header, payload or signature decode to.
fn with_bit_flipped(token: &str, which: usize, at: prop::sample::Index, bit: u8) -> String {
    let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut bytes = URL_SAFE_NO_PAD
        .decode(&segments[which])
        .expect("a segment is base64url");
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    segments[which] = URL_SAFE_NO_PAD.encode(bytes);
    segments.join(".")
}
