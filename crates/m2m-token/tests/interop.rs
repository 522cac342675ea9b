//! Tokens between this crate and `jsonwebtoken`, in both directions, and what chance makes of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, KeySet, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::*;

const SECRET: [u8; 64] = [0x5a; 64];

/// The algorithms that both sides know.
fn shared() -> Vec<Algorithm> {
    let all = algorithms().into_iter().chain(MACS);
    all.filter(|algorithm| theirs(*algorithm).is_some())
        .collect()
}

fn theirs(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    algorithm.name().parse().ok()
}

/// One key in the hands of both.
struct Pair {
    algorithm: Algorithm,
    ring: Arc<SigningKeyRing>,
    kid: String,
    keys: KeySet,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

fn pair(algorithm: Algorithm) -> Pair {
    let hour = Duration::from_secs(3600);
    if MACS.contains(&algorithm) {
        let ring = SigningKeyRing::secret("k1", mac(algorithm), hour).unwrap();
        return Pair {
            algorithm,
            ring: Arc::new(ring),
            kid: "k1".into(),
            keys: secret_set(&Arc::new(mac(algorithm))),
            encoding: EncodingKey::from_secret(&SECRET),
            decoding: DecodingKey::from_secret(&SECRET),
        };
    }
    let key: SigningKey = key(algorithm);
    let pem = key.to_pkcs8_pem();
    let (private, public) = (pem.expose_secret(), key.verifying_key().to_pem());
    let (encoding, decoding) = match algorithm.name().as_bytes() {
        [b'E', b'S', ..] => (
            EncodingKey::from_ec_pem(private).unwrap(),
            DecodingKey::from_ec_pem(public.as_bytes()).unwrap(),
        ),
        [b'E', b'd', ..] => (
            EncodingKey::from_ed_pem(private).unwrap(),
            DecodingKey::from_ed_pem(public.as_bytes()).unwrap(),
        ),
        _ => (
            EncodingKey::from_rsa_pem(private).unwrap(),
            DecodingKey::from_rsa_pem(public.as_bytes()).unwrap(),
        ),
    };
    let kid = key.verifying_key().thumbprint().to_string();
    let keys = KeySet::new()
        .with_key(&kid, key.verifying_key().clone())
        .unwrap();
    Pair {
        algorithm,
        ring: Arc::new(SigningKeyRing::new(key, hour).unwrap()),
        kid,
        keys,
        encoding,
        decoding,
    }
}

fn pairs() -> Vec<(Pair, Vec<Verifier>)> {
    shared()
        .into_iter()
        .map(|algorithm| {
            let pair = pair(algorithm);
            let verifiers = backends()
                .into_iter()
                .map(|backend| {
                    let keys = pair.keys.clone().with_backend(backend).unwrap();
                    Verifier::builder(
                        Issuers::one(ISSUER, keys),
                        Audience::exactly(ORDERS),
                        TokenType::access_token(),
                    )
                    .build()
                    .unwrap()
                })
                .collect();
            (pair, verifiers)
        })
        .collect()
}

impl Pair {
    fn read_by_them(&self, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
        let mut validation = Validation::new(theirs(self.algorithm).unwrap());
        validation.set_audience(&[ORDERS]);
        validation.set_issuer(&[ISSUER]);
        // Its clock is the machine's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        jsonwebtoken::decode::<Value>(token, &self.decoding, &validation).map(|data| data.claims)
    }

    fn made_by_them(&self, claims: &Value) -> String {
        let header = jsonwebtoken::Header {
            kid: Some(self.kid.clone()),
            typ: Some("at+jwt".into()),
            ..jsonwebtoken::Header::new(theirs(self.algorithm).unwrap())
        };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }
}

fn read_by_us(verifiers: &[Verifier], token: &str) -> Result<Value, &'static str> {
    let mut scratch = Scratch::new();
    let mut read = |verifier: &Verifier| {
        let verified = verifier.verify(token, at(0), &mut scratch);
        verified
            .map(|verified| verified.claims().deserialize::<Value>().unwrap())
            .map_err(|error| error.code())
    };
    let mut answers = verifiers.iter().map(&mut read);
    let first = answers.next().unwrap();
    assert!(
        answers.all(|answer| answer == first),
        "the libraries disagree"
    );
    first
}

/// Any JSON of some depth. No floating point numbers: they are not the same in each library.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Claims of an application's own: none of the registered names.
fn extra() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(any::<String>(), value(), 0..6).prop_map(|map| {
        let own = map
            .into_iter()
            .map(|(name, value)| (format!("x{name}"), value));
        own.collect()
    })
}

fn name() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| {
        let text: String = text.chars().filter(|c| !c.is_ascii_control()).collect();
        format!("n{text}")
    })
}

#[test]
fn jwt_102_what_is_minted_is_read_here_and_by_jsonwebtoken_as_the_same_claims() {
    let pairs = pairs();
    assert!(pairs.len() >= 10, "{}", pairs.len());
    let strategy = (0..pairs.len(), name(), name(), extra(), 1_u64..3600);
    proptest!(|((at_, subject, scope, extra, lifetime) in strategy)| {
        let (pair, verifiers) = &pairs[at_];
        let minter =
            Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&pair.ring)).unwrap();
        let request = TokenRequest::new(&subject, ORDERS, Duration::from_secs(lifetime))
            .with_scope(&scope)
            .with_claims(&extra);
        let token = match minter.mint(&request, at(0), &SystemRandom) {
            Ok(token) => token,
            // Long texts full of escapes outgrow a token.
            Err(m2m_token::MintError::TooLong { .. }) => return Ok(()),
            Err(error) => panic!("{error:?}"),
        };
        let ours = read_by_us(verifiers, &token);
        prop_assert!(ours.is_ok(), "{ours:?} {token}");
        let ours = ours.unwrap();
        prop_assert_eq!(&ours["sub"], &json!(subject));
        prop_assert_eq!(&ours["scope"], &json!(scope));
        prop_assert_eq!(&ours["exp"], &json!(START + lifetime));
        for (name, value) in &extra {
            prop_assert_eq!(&ours[name], value);
        }
        let theirs = pair.read_by_them(&token);
        prop_assert!(theirs.is_ok(), "{theirs:?} {token}");
        prop_assert_eq!(theirs.unwrap(), ours);
    });
}

#[test]
fn what_jsonwebtoken_mints_is_read_here_as_the_same_claims() {
    let pairs = pairs();
    let strategy = (0..pairs.len(), name(), extra(), any::<bool>());
    proptest!(|((at_, subject, extra, array) in strategy)| {
        let (pair, verifiers) = &pairs[at_];
        let mut claims = claims();
        claims["sub"] = json!(subject);
        if array {
            claims["aud"] = json!([ORDERS]);
        }
        for (name, value) in extra {
            claims[name] = value;
        }
        let token = pair.made_by_them(&claims);
        if token.len() > m2m_token::MAX_TOKEN_BYTES {
            return Ok(());
        }
        prop_assert_eq!(read_by_us(verifiers, &token), Ok(claims));
    });
}

#[test]
fn a_token_that_was_changed_by_chance_does_not_verify() {
    let pairs = pairs();
    let strategy = (
        0..pairs.len(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..5_u8,
        any::<u8>(),
    );
    let tokens: Vec<String> = pairs
        .iter()
        .map(|(pair, _)| pair.made_by_them(&claims()))
        .collect();
    proptest!(ProptestConfig::with_cases(2_000), |((at_, from, to, how, byte) in strategy)| {
        let (_, verifiers) = &pairs[at_];
        let token = tokens[at_].as_bytes();
        let (from, to) = (from.index(token.len()), to.index(token.len()));
        let (from, to) = (from.min(to), from.max(to));
        let mut changed = token.to_vec();
        match how {
            0 => changed[from] = byte,
            1 => changed.insert(from, byte),
            2 => drop(changed.drain(from..=to)),
            3 => changed.swap(from, to),
            _ => {
                let part = changed[from..=to].to_vec();
                changed.splice(from..from, part);
            }
        }
        if changed == token {
            return Ok(());
        }
        if let Ok(changed) = String::from_utf8(changed) {
            prop_assert!(read_by_us(verifiers, &changed).is_err(), "{changed}");
        }
    });
}

#[test]
fn no_text_at_all_makes_a_verifier_panic() {
    let bench = Bench::es256();
    let parts = ["\\PC{0,40}", "[A-Za-z0-9_-]{0,40}", "[A-Za-z0-9_.-]{0,80}"];
    let strategy = (
        parts[0],
        parts[1],
        parts[2],
        prop::collection::vec(any::<u8>(), 0..80),
    );
    proptest!(ProptestConfig::with_cases(2_000), |((a, b, c, bytes) in strategy)| {
        let mut scratch = Scratch::new();
        for token in [
            format!("{a}.{b}.{c}"),
            format!("{b}.{b}.{b}"),
            c.clone(),
            format!("{}.{}.{b}", b64(&bytes), b64(&bytes)),
            format!("{}.{}.{b}", b64(header(Algorithm::Es256).to_string()), b64(&bytes)),
        ] {
            for verifier in bench.verifiers.each() {
                prop_assert!(verifier.verify(&token, at(0), &mut scratch).is_err());
            }
            let _ = m2m_token::Unverified::danger_decode(&token, &mut scratch);
        }
    });
}
