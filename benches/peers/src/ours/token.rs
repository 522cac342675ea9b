//! Minting and verifying with m2m.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Backend, MacKey, SecretBytes, SigningKey, SystemRandom, VerifyingKey};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, KeySet, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
    VerifierBuilder,
};
use m2m_types::Timestamp;
use serde::Serialize;

use crate::contender::{Contender, Recipe};
use crate::fixture::{AUDIENCE, Algorithm, Claims, Fixture, ISSUER, KEY_ID, LIFETIME, SECRET};
use crate::peers;
use crate::threads::Worker;

const BACKENDS: [(Backend, &str); 2] = [
    (Backend::Ring, "m2m-ring"),
    (Backend::AwsLcRs, "m2m-aws-lc"),
];
/// Room for some hundred tokens.
const CACHE_BYTES: usize = 4 << 20;

pub(super) fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for algorithm in Algorithm::ALL {
        recipes.extend(BACKENDS.map(|(backend, library)| cold(algorithm, backend, library)));
        recipes.push(into_struct(algorithm));
        recipes.push(warm(algorithm));
    }
    for algorithm in Algorithm::ALL {
        recipes.extend(BACKENDS.map(|(backend, library)| mint(algorithm, backend, library)));
    }
    recipes.extend(GARBAGE.iter().flat_map(|(kind, make)| refuse(kind, *make)));
    recipes
}

/// Everything but what a cache would save; the claims are borrowed.
fn cold(algorithm: Algorithm, backend: Backend, library: &str) -> Recipe {
    let id = format!("token/verify/{}/{library}", algorithm.id());
    Recipe::new(id, move |id, fixture| {
        let now = now(fixture);
        Contender::verifying(id, fixture.token(algorithm), |token| {
            let token = token.to_owned();
            let verifier = built(builder(algorithm, backend));
            let mut scratch = Scratch::new();
            move || verifies(&verifier, &token, now, &mut scratch)
        })
    })
}

/// The same, and all claims in a struct of their own, as the others hand them out.
fn into_struct(algorithm: Algorithm) -> Recipe {
    let id = format!("token/verify/{}/m2m-ring-struct", algorithm.id());
    Recipe::new(id, move |id, fixture| {
        let now = now(fixture);
        Contender::verifying(id, fixture.token(algorithm), |token| {
            let token = token.to_owned();
            let verifier = built(builder(algorithm, Backend::Ring));
            let mut scratch = Scratch::new();
            move || {
                let verified = verifier.verify(&token, now, &mut scratch);
                verified.is_ok_and(|verified| verified.claims().deserialize::<Claims>().is_ok())
            }
        })
    })
}

/// A token that was seen before: dates, revocation and keys are checked, the signature is not.
fn warm(algorithm: Algorithm) -> Recipe {
    let id = format!("token/verify/{}/m2m-warm", algorithm.id());
    Recipe::new(id, move |id, fixture| {
        let now = now(fixture);
        Contender::verifying(id, fixture.token(algorithm), |token| {
            let token = token.to_owned();
            let verifier = built(caching(algorithm, now));
            let mut scratch = Scratch::new();
            move || verifies(&verifier, &token, now, &mut scratch)
        })
    })
}

fn mint(algorithm: Algorithm, backend: Backend, library: &str) -> Recipe {
    let id = format!("token/mint/{}/{library}", algorithm.id());
    Recipe::new(id, move |id, fixture| {
        let now = now(fixture);
        let claims = fixture.claims.clone();
        let minter = minter(algorithm, backend);
        let mint = move || token(&minter, &claims, now);
        Contender::minting(id, mint, |token| {
            peers::jsonwebtoken::accepts(algorithm, token)
        })
    })
}

/// Makes garbage of a good token.
type Spoil = fn(&str) -> String;

/// What is not a token for us, and the name of its kind.
const GARBAGE: &[(&str, Spoil)] = &[
    ("nothing", |_| String::new()),
    ("one-letter", |_| "x".into()),
    ("no-dots", |token| token.replace('.', "")),
    ("only-dots", |token| ".".repeat(token.len())),
    ("a-megabyte", |token| {
        format!("{token}{}", "A".repeat(1 << 20))
    }),
    ("not-base64", |token| token.replacen('e', "!", 1)),
    ("not-json", |token| format!("AAAA{}", &token[4..])),
    ("unknown-key", |token| {
        with_header(token, r#"{"typ":"at+jwt","alg":"ES256","kid":"nobody"}"#)
    }),
    ("no-algorithm", |token| {
        with_header(token, r#"{"typ":"at+jwt","alg":"none","kid":"x"}"#)
    }),
    ("cut-short", |token| token[..token.len() - 8].into()),
];

/// Beside jsonwebtoken, which comes first here: raw ring has no opinion on garbage.
fn refuse(kind: &str, garbage: Spoil) -> [Recipe; 2] {
    [
        Recipe::new(
            format!("token/refuse/{kind}/jsonwebtoken-aws-lc"),
            move |id, fixture| {
                let token = garbage(fixture.token(Algorithm::Es256));
                let accepts = peers::jsonwebtoken::acceptor(Algorithm::Es256);
                Contender::new(id, move || !accepts(&token))
            },
        ),
        Recipe::new(format!("token/refuse/{kind}/m2m"), move |id, fixture| {
            let now = now(fixture);
            let token = garbage(fixture.token(Algorithm::Es256));
            let verifier = built(caching(Algorithm::Es256, now));
            let mut scratch = Scratch::new();
            Contender::new(id, move || !verifies(&verifier, &token, now, &mut scratch))
        }),
    ]
}

fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').expect("a token has dots");
    format!("{}.{rest}", crate::fixture::encoded(header))
}

/// Warm verification for one thread after the other, all with one verifier.
pub fn warm_workers_sharing(fixture: &Fixture) -> impl Fn() -> Worker {
    let now = now(fixture);
    let verifier = Arc::new(built(caching(Algorithm::Es256, now)));
    let token = fixture.token(Algorithm::Es256).to_owned();
    move || worker(Arc::clone(&verifier), token.clone(), now)
}

/// Warm verification for one thread after the other, each with a verifier of its own.
pub fn warm_workers_apart(fixture: &Fixture) -> impl Fn() -> Worker {
    let now = now(fixture);
    let token = fixture.token(Algorithm::Es256).to_owned();
    move || {
        worker(
            Arc::new(built(caching(Algorithm::Es256, now))),
            token.clone(),
            now,
        )
    }
}

fn worker(verifier: Arc<Verifier>, token: String, now: Timestamp) -> Worker {
    let mut scratch = Scratch::new();
    Box::new(move |times| {
        for _ in 0..times {
            assert!(black_box(verifies(&verifier, &token, now, &mut scratch)));
        }
    })
}

/// Whether m2m, with `backend` and without a cache, accepts `token`.
pub fn accepts(algorithm: Algorithm, backend: Backend, token: &str, now: Timestamp) -> bool {
    verifies(
        &built(builder(algorithm, backend)),
        token,
        now,
        &mut Scratch::new(),
    )
}

/// The claims are ready to be read, and are not: what a service reads of them is its own affair.
fn verifies(verifier: &Verifier, token: &str, now: Timestamp, scratch: &mut Scratch) -> bool {
    black_box(&verifier.verify(black_box(token), now, scratch)).is_ok()
}

fn built(builder: VerifierBuilder) -> Verifier {
    builder.build().expect("the policy is sound")
}

fn caching(algorithm: Algorithm, now: Timestamp) -> VerifierBuilder {
    let revocations = Revocations::new([7; 16], now);
    for jti in ["one", "another"] {
        revocations
            .revoke(
                Target::Token {
                    issuer: ISSUER,
                    jti,
                },
                Timestamp::MAX,
            )
            .expect("room");
    }
    builder(algorithm, Backend::Ring)
        .with_revocations(Arc::new(revocations))
        .with_cache(CACHE_BYTES, &SystemRandom)
        .expect("the system has randomness")
}

fn builder(algorithm: Algorithm, backend: Backend) -> VerifierBuilder {
    let issuers = Issuers::one(ISSUER, key_set(algorithm, backend));
    Verifier::builder(
        issuers,
        Audience::exactly(AUDIENCE),
        TokenType::access_token(),
    )
    .with_required_claim("nbf")
}

fn key_set(algorithm: Algorithm, backend: Backend) -> KeySet {
    const KEY: &str = "the fixture's key parses";
    let Some(name) = ours(algorithm).filter(|name| !name.is_symmetric()) else {
        return KeySet::new()
            .with_secret(KEY_ID, mac_key(backend))
            .expect(KEY);
    };
    let key = VerifyingKey::from_pem(name, algorithm.public_pem().as_bytes())
        .and_then(|key| key.with_backend(backend))
        .expect(KEY);
    KeySet::new().with_key(KEY_ID, key).expect(KEY)
}

fn mac_key(backend: Backend) -> MacKey {
    let secret = SecretBytes::new(SECRET.to_vec());
    MacKey::new_with_backend(m2m_crypto::Algorithm::Hs256, secret, backend)
        .expect("the secret is long enough")
}

/// What mints tokens under a key of `algorithm`.
pub fn minter(algorithm: Algorithm, backend: Backend) -> Minter {
    const KEY: &str = "the fixture's key parses";
    let lifetime = Duration::from_secs(LIFETIME);
    let ring = match ours(algorithm).filter(|name| !name.is_symmetric()) {
        None => SigningKeyRing::secret(KEY_ID, mac_key(backend), lifetime),
        Some(name) => {
            let key = SigningKey::from_pem(name, algorithm.private_pem().as_bytes())
                .and_then(|key| key.with_backend(backend))
                .expect(KEY);
            SigningKeyRing::new(key, lifetime)
        }
    }
    .expect(KEY);
    Minter::new(ISSUER, TokenType::access_token(), Arc::new(ring)).expect("the names are sound")
}

/// A token with all of `claims`.
pub fn token(minter: &Minter, claims: &Claims, now: Timestamp) -> String {
    let request = TokenRequest::new(&claims.sub, &claims.aud, Duration::from_secs(LIFETIME))
        .with_not_before(now)
        .with_token_id(&claims.jti)
        .with_client_id(&claims.client_id)
        .with_scope(&claims.scope);
    let further = Further {
        tenant: &claims.tenant,
        env: &claims.env,
        roles: &claims.roles,
        x5t: &claims.x5t,
    };
    minter
        .mint(&request.with_claims(&further), now, &SystemRandom)
        .expect("it signs")
}

/// The claims that a request has no method for.
#[derive(Serialize)]
struct Further<'a> {
    tenant: &'a str,
    env: &'a str,
    roles: &'a [String],
    x5t: &'a str,
}

fn ours(algorithm: Algorithm) -> Option<m2m_crypto::Algorithm> {
    m2m_crypto::Algorithm::from_name(algorithm.name())
}

/// The fixture's time.
pub fn now(fixture: &Fixture) -> Timestamp {
    Timestamp::from_unix_seconds(fixture.now).expect("the clock is right")
}
