//! josekit 0.10 on the system's OpenSSL.

use josekit::jws::alg::eddsa::EddsaJwsAlgorithm;
use josekit::jws::{ES256, HS256, JwsHeader, JwsSigner, JwsVerifier, RS256};
use josekit::jwt::{self, JwtPayload, JwtPayloadValidator};
use serde_json::{Map, Value};

use super::{mint_id, verify_id};
use crate::contender::{Contender, Recipe};
use crate::fixture::{AUDIENCE, Algorithm, Claims, ISSUER, KEY_ID, SECRET, TOKEN_TYPE};

pub(super) fn verifying(algorithm: Algorithm) -> Recipe {
    Recipe::new(verify_id(algorithm, "josekit"), move |id, fixture| {
        Contender::verifying(id, fixture.token(algorithm), |token| {
            let token = token.to_owned();
            let verifier = verifier(algorithm);
            let validator = validator();
            move || decode(&token, &*verifier, &validator).is_some()
        })
    })
}

pub(super) fn minting(algorithm: Algorithm) -> Recipe {
    Recipe::new(mint_id(algorithm, "josekit"), move |id, fixture| {
        let claims = fixture.claims.clone();
        let signer = signer(algorithm);
        let header = header();
        let mint = move || encode(&claims, &header, &*signer);
        Contender::minting(id, mint, |token| accepts(algorithm, token))
    })
}

/// Whether josekit accepts `token` and finds all claims in it.
pub fn accepts(algorithm: Algorithm, token: &str) -> bool {
    decode(token, &*verifier(algorithm), &validator()).is_some()
}

/// A token minted by josekit.
pub fn mint(algorithm: Algorithm, claims: &Claims) -> String {
    encode(claims, &header(), &*signer(algorithm))
}

/// It hands out a map; moving that into the struct is the rest of the work the others do.
fn decode(
    token: &str,
    verifier: &dyn JwsVerifier,
    validator: &JwtPayloadValidator,
) -> Option<Claims> {
    let (payload, _header) = jwt::decode_with_verifier(token, verifier).ok()?;
    validator.validate(&payload).ok()?;
    let map: Map<String, Value> = payload.into();
    serde_json::from_value(Value::Object(map)).ok()
}

/// It signs a map, so the struct becomes one first.
fn encode(claims: &Claims, header: &JwsHeader, signer: &dyn JwsSigner) -> String {
    let Ok(Value::Object(map)) = serde_json::to_value(claims) else {
        unreachable!("a struct is an object");
    };
    let payload = JwtPayload::from_map(map).expect("the claims have their usual types");
    jwt::encode_with_signer(&payload, header, signer).expect("it signs")
}

fn validator() -> JwtPayloadValidator {
    let mut validator = JwtPayloadValidator::new();
    validator.set_issuer(ISSUER);
    validator.set_audience(AUDIENCE);
    validator
}

fn header() -> JwsHeader {
    let mut header = JwsHeader::new();
    header.set_token_type(TOKEN_TYPE);
    header.set_key_id(KEY_ID);
    header
}

fn verifier(algorithm: Algorithm) -> Box<dyn JwsVerifier> {
    const KEY: &str = "the fixture's key parses";
    let pem = algorithm.public_pem();
    match algorithm {
        Algorithm::Hs256 => Box::new(HS256.verifier_from_bytes(SECRET).expect(KEY)),
        Algorithm::Es256 => Box::new(ES256.verifier_from_pem(pem).expect(KEY)),
        Algorithm::EdDsa => Box::new(EddsaJwsAlgorithm::Eddsa.verifier_from_pem(pem).expect(KEY)),
        Algorithm::Rs256 => Box::new(RS256.verifier_from_pem(pem).expect(KEY)),
    }
}

fn signer(algorithm: Algorithm) -> Box<dyn JwsSigner> {
    const KEY: &str = "the fixture's key parses";
    let pem = algorithm.private_pem();
    match algorithm {
        Algorithm::Hs256 => Box::new(HS256.signer_from_bytes(SECRET).expect(KEY)),
        Algorithm::Es256 => Box::new(ES256.signer_from_pem(pem).expect(KEY)),
        Algorithm::EdDsa => Box::new(EddsaJwsAlgorithm::Eddsa.signer_from_pem(pem).expect(KEY)),
        Algorithm::Rs256 => Box::new(RS256.signer_from_pem(pem).expect(KEY)),
    }
}
