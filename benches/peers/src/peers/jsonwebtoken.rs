//! jsonwebtoken 11, with both of its back ends in one process.

use std::cell::Cell;
use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, aws_lc, rust_crypto};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};

use super::{mint_id, verify_id};
use crate::contender::{Contender, Recipe};
use crate::fixture::{AUDIENCE, Algorithm, Claims, ISSUER, KEY_ID, SECRET, TOKEN_TYPE};

/// What does the cryptography for jsonwebtoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Its feature `aws_lc_rs`.
    AwsLc,
    /// Its feature `rust_crypto`.
    RustCrypto,
}

impl Backend {
    const ALL: [Self; 2] = [Self::AwsLc, Self::RustCrypto];

    fn library(self) -> &'static str {
        match self {
            Self::AwsLc => "jsonwebtoken-aws-lc",
            Self::RustCrypto => "jsonwebtoken-rustcrypto",
        }
    }

    /// Makes this the back end of this thread's next calls. A store: nothing against the rest.
    pub fn select(self) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            SWITCH
                .install_default()
                .expect("nobody else installs a provider");
        });
        USE_RUST_CRYPTO.set(self == Self::RustCrypto);
    }
}

thread_local! {
    static USE_RUST_CRYPTO: Cell<bool> = const { Cell::new(false) };
}

/// A process can install one provider only, so this one hands each call on to either.
static SWITCH: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| (provider().signer_factory)(algorithm, key),
    verifier_factory: |algorithm, key| (provider().verifier_factory)(algorithm, key),
    key_utils: jsonwebtoken::crypto::KeyUtils::new_unimplemented(),
};

fn provider() -> &'static CryptoProvider {
    if USE_RUST_CRYPTO.get() {
        &rust_crypto::DEFAULT_PROVIDER
    } else {
        &aws_lc::DEFAULT_PROVIDER
    }
}

pub(super) fn verifying(algorithm: Algorithm) -> impl Iterator<Item = Recipe> {
    Backend::ALL.into_iter().map(move |backend| {
        Recipe::new(
            verify_id(algorithm, backend.library()),
            move |id, fixture| {
                Contender::verifying(id, fixture.token(algorithm), |token| {
                    let token = token.to_owned();
                    let key = decoding_key(algorithm);
                    let validation = validation(algorithm);
                    move || {
                        backend.select();
                        jsonwebtoken::decode::<Claims>(&token, &key, &validation).is_ok()
                    }
                })
            },
        )
    })
}

pub(super) fn minting(algorithm: Algorithm) -> impl Iterator<Item = Recipe> {
    Backend::ALL.into_iter().map(move |backend| {
        Recipe::new(mint_id(algorithm, backend.library()), move |id, fixture| {
            let claims = fixture.claims.clone();
            let key = encoding_key(algorithm);
            let header = header(algorithm);
            let mint = move || {
                backend.select();
                jsonwebtoken::encode(&header, &claims, &key).expect("it signs")
            };
            Contender::minting(id, mint, |token| accepts(algorithm, token))
        })
    })
}

/// Whether jsonwebtoken, told to check all it can, accepts `token`.
pub fn accepts(algorithm: Algorithm, token: &str) -> bool {
    acceptor(algorithm)(token)
}

/// [`accepts`] with everything prepared.
pub fn acceptor(algorithm: Algorithm) -> impl Fn(&str) -> bool {
    let key = decoding_key(algorithm);
    let validation = validation(algorithm);
    move |token| {
        Backend::AwsLc.select();
        jsonwebtoken::decode::<Claims>(token, &key, &validation).is_ok()
    }
}

/// A token minted by jsonwebtoken.
pub fn mint(algorithm: Algorithm, claims: &Claims) -> String {
    Backend::AwsLc.select();
    jsonwebtoken::encode(&header(algorithm), claims, &encoding_key(algorithm)).expect("it signs")
}

/// By default it lets tokens without `iss`, `aud` or `nbf` pass, and those from the future.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(jose(algorithm));
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
    validation.validate_nbf = true;
    validation
}

fn header(algorithm: Algorithm) -> Header {
    let mut header = Header::new(jose(algorithm));
    header.typ = Some(TOKEN_TYPE.into());
    header.kid = Some(KEY_ID.into());
    header
}

/// The algorithm as jsonwebtoken names it.
pub(crate) fn jose(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// The key that verifies.
pub(crate) fn decoding_key(algorithm: Algorithm) -> DecodingKey {
    let pem = algorithm.public_pem().as_bytes();
    match algorithm {
        Algorithm::Hs256 => Ok(DecodingKey::from_secret(SECRET)),
        Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
        Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
    }
    .expect("the fixture's key parses")
}

/// The key that signs.
pub(crate) fn encoding_key(algorithm: Algorithm) -> EncodingKey {
    let pem = algorithm.private_pem().as_bytes();
    match algorithm {
        Algorithm::Hs256 => Ok(EncodingKey::from_secret(SECRET)),
        Algorithm::Es256 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
        Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem),
    }
    .expect("the fixture's key parses")
}
