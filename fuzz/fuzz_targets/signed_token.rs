#![no_main]
//! Any header and any claims, rightly signed: what a hostile issuer can say, and the code that a
//! fuzzer which cannot sign never reaches.
//!
//! The input is a byte of choices, a header, a byte of 0, and claims. With an empty header the
//! usual one is signed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use m2m_crypto::{Algorithm, MacKey};
use m2m_fuzz::{
    ISSUER, ORDERS, REVOKED, cached, check_message, lenient, mac_key, now, sign, strict,
};
use m2m_token::{Claims, Presenter, Scratch, Verifier, VerifyError};
use m2m_types::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

const USUAL: &[u8] = br#"{"alg":"HS256","typ":"at+jwt","kid":"hs"}"#;

struct World {
    key: MacKey,
    strict: [Verifier; 2],
    lenient: [Verifier; 2],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let both = |rules: fn() -> _| {
        [rules(), cached(rules())]
            .map(|builder: m2m_token::VerifierBuilder| builder.build().expect("the rules agree"))
    };
    World {
        key: mac_key(Algorithm::Hs256),
        strict: both(strict),
        lenient: both(lenient),
    }
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((&choices, rest)) = data.split_first() else {
        return;
    };
    let Some(middle) = rest.iter().position(|&byte| byte == 0) else {
        return;
    };
    let (header, claims) = (&rest[..middle], &rest[middle + 1..]);
    let header = if header.is_empty() { USUAL } else { header };
    let token = sign(&WORLD.key, header, claims);
    let presenter = match choices & 1 {
        0 => Presenter::unknown(),
        _ => Presenter::unknown()
            .with_key([0; 32])
            .with_certificate([1; 32]),
    };
    SCRATCH.with_borrow_mut(|scratch| {
        let strict = same_warm_and_cold(&WORLD.strict, &token, &presenter, scratch);
        let lenient = same_warm_and_cold(&WORLD.lenient, &token, &presenter, scratch);
        if strict.is_none() {
            return;
        }
        assert!(
            lenient.is_some(),
            "taken by the strict rules, not by the lenient ones"
        );
        check_accepted(&WORLD.strict[1], &token, &presenter, scratch);
        check_changed(&WORLD.strict, &token, choices, &presenter, scratch);
    });
});

/// Verifies without a cache, and twice with one: three times the same answer. Gives `exp`.
fn same_warm_and_cold(
    [cold, warm]: &[Verifier; 2],
    token: &str,
    presenter: &Presenter,
    scratch: &mut Scratch,
) -> Option<()> {
    let first = answer(cold, token, presenter, now(), scratch);
    assert_eq!(first, answer(warm, token, presenter, now(), scratch));
    assert_eq!(first, answer(warm, token, presenter, now(), scratch));
    first.ok().map(drop)
}

/// All that a verifier gives of a token.
fn answer(
    verifier: &Verifier,
    token: &str,
    presenter: &Presenter,
    now: Timestamp,
    scratch: &mut Scratch,
) -> Result<(Vec<u8>, Vec<Option<String>>), VerifyError> {
    let result = verifier.verify_presented(token, presenter, now, scratch);
    let verified = result.inspect_err(|error| check_message(error))?;
    let claims = verified.claims();
    agrees_with_serde(&claims);
    let texts = [
        claims.issuer(),
        claims.subject(),
        claims.token_id(),
        claims.session_id(),
        claims.client_id(),
        claims.scope(),
    ];
    let texts = texts.iter().map(|text| text.map(str::to_owned)).collect();
    Ok((bytes(&claims).to_vec(), texts))
}

#[derive(serde::Deserialize)]
struct Registered {
    iss: Option<String>,
    sub: Option<String>,
    jti: Option<String>,
    exp: u64,
    nbf: Option<u64>,
    iat: Option<u64>,
}

/// What we take for JSON, and for a claim, serde_json does too; and no member is there twice.
fn agrees_with_serde(claims: &Claims<'_>) {
    let Names(names) = serde_json::from_slice(bytes(&claims)).expect("serde_json takes it too");
    for name in &names {
        assert!(claims.contains(name), "{name:?} was not found");
    }
    let theirs: Registered = claims
        .deserialize()
        .expect("registered claims have their types");
    assert_eq!(theirs.iss.as_deref(), claims.issuer());
    assert_eq!(theirs.sub.as_deref(), claims.subject());
    assert_eq!(theirs.jti.as_deref(), claims.token_id());
    let seconds = |time: Option<Timestamp>| time.map(Timestamp::unix_seconds);
    assert_eq!(Some(theirs.exp), seconds(claims.expires_at()));
    assert_eq!(theirs.nbf, seconds(claims.not_before()));
    assert_eq!(theirs.iat, seconds(claims.issued_at()));
}

fn bytes<'a>(claims: &Claims<'a>) -> &'a [u8] {
    claims.json().as_ref()
}

/// What the strict rules promise of every token that they let through.
fn check_accepted(verifier: &Verifier, token: &str, presenter: &Presenter, scratch: &mut Scratch) {
    let verified = verifier
        .verify_presented(token, presenter, now(), scratch)
        .expect("what was verified verifies again");
    let claims = verified.claims();
    assert!(matches!(claims.issuer(), Some(ISSUER | "another")));
    assert!(claims.has_audience(ORDERS));
    assert!(claims.subject().is_some());
    assert!(claims.issuer() != Some(ISSUER) || claims.token_id() != Some(REVOKED));
    assert!(claims.not_before().is_none_or(|from| from <= now()));
    assert!(claims.issued_at().is_some_and(|issued| issued <= now()));
    let expires = claims.expires_at().expect("`exp` is required");
    assert!(expires > now());
    drop(verified);
    let late = answer(verifier, token, presenter, expires, scratch);
    assert!(matches!(late, Err(VerifyError::Expired { .. })), "{late:?}");
    let never = answer(verifier, token, presenter, Timestamp::MAX, scratch);
    assert!(never.is_err());
}

/// One changed bit anywhere, and the token is refused.
fn check_changed(
    verifiers: &[Verifier; 2],
    token: &str,
    choices: u8,
    presenter: &Presenter,
    scratch: &mut Scratch,
) {
    let at = usize::from(choices) * token.len() / 256;
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] ^= 1 << (choices >> 1 & 3);
    let changed = String::from_utf8(bytes).expect("ASCII stays ASCII in its low bits");
    for verifier in verifiers {
        assert!(answer(verifier, &changed, presenter, now(), scratch).is_err());
    }
}

/// The names of the members of an object, each only once.
struct Names(BTreeSet<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    assert!(names.insert(name), "a member is there twice");
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}
