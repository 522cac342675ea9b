//! jwt-simple 0.15 with its pure Rust cryptography.

use std::collections::HashSet;

use jwt_simple::claims::{Audiences, JWTClaims};
use jwt_simple::prelude::*;

use super::{mint_id, verify_id};
use crate::contender::{Contender, Recipe};
use crate::fixture::{
    AUDIENCE, Algorithm, Claims, CustomClaims, ISSUER, KEY_ID, SECRET, TOKEN_TYPE,
};

pub(super) fn verifying(algorithm: Algorithm) -> Recipe {
    Recipe::new(verify_id(algorithm, "jwt-simple"), move |id, fixture| {
        Contender::verifying(id, fixture.token(algorithm), |token| {
            let token = token.to_owned();
            let verify = verifier(algorithm);
            move || verify(&token)
        })
    })
}

pub(super) fn minting(algorithm: Algorithm) -> Recipe {
    Recipe::new(mint_id(algorithm, "jwt-simple"), move |id, fixture| {
        let claims = claims(&fixture.claims);
        let sign = signer(algorithm);
        let verify = verifier(algorithm);
        // It takes the claims by value, so a service builds them for each token.
        Contender::minting(id, move || sign(claims.clone()), verify)
    })
}

type Verify = Box<dyn Fn(&str) -> bool>;
type Sign = Box<dyn Fn(JWTClaims<CustomClaims>) -> String>;

fn verifier(algorithm: Algorithm) -> Verify {
    let options = options();
    let pem = algorithm.public_pem();
    match algorithm {
        Algorithm::Hs256 => {
            let key = HS256Key::from_bytes(SECRET);
            Box::new(move |token| accepted(&key.verify_token(token, Some(options.clone()))))
        }
        Algorithm::Es256 => {
            let key = ES256PublicKey::from_pem(pem).expect("the key is P-256");
            Box::new(move |token| accepted(&key.verify_token(token, Some(options.clone()))))
        }
        Algorithm::EdDsa => {
            let key = Ed25519PublicKey::from_pem(pem).expect("the key is Ed25519");
            Box::new(move |token| accepted(&key.verify_token(token, Some(options.clone()))))
        }
        Algorithm::Rs256 => {
            let key = RS256PublicKey::from_pem(pem).expect("the key is RSA");
            Box::new(move |token| accepted(&key.verify_token(token, Some(options.clone()))))
        }
    }
}

fn accepted(result: &Result<JWTClaims<CustomClaims>, jwt_simple::Error>) -> bool {
    result.is_ok()
}

fn signer(algorithm: Algorithm) -> Sign {
    let pem = algorithm.private_pem();
    let header = HeaderOptions {
        signature_type: Some(TOKEN_TYPE.into()),
        content_type: None,
    };
    match algorithm {
        Algorithm::Hs256 => {
            let key = HS256Key::from_bytes(SECRET).with_key_id(KEY_ID);
            Box::new(move |claims| {
                key.authenticate_with_options(claims, &header)
                    .expect("it signs")
            })
        }
        Algorithm::Es256 => {
            let key = ES256KeyPair::from_pem(pem)
                .expect("the key is P-256")
                .with_key_id(KEY_ID);
            Box::new(move |claims| key.sign_with_options(claims, &header).expect("it signs"))
        }
        Algorithm::EdDsa => {
            let key = Ed25519KeyPair::from_pem(pem)
                .expect("the key is Ed25519")
                .with_key_id(KEY_ID);
            Box::new(move |claims| key.sign_with_options(claims, &header).expect("it signs"))
        }
        Algorithm::Rs256 => {
            let key = RS256KeyPair::from_pem(pem)
                .expect("the key is RSA")
                .with_key_id(KEY_ID);
            Box::new(move |claims| key.sign_with_options(claims, &header).expect("it signs"))
        }
    }
}

/// Its default would accept a token for 15 minutes after its end.
fn options() -> VerificationOptions {
    VerificationOptions {
        required_signature_type: Some(TOKEN_TYPE.into()),
        allowed_issuers: Some(HashSet::from([ISSUER.to_owned()])),
        allowed_audiences: Some(HashSet::from([AUDIENCE.to_owned()])),
        time_tolerance: Some(Duration::from_secs(60)),
        ..VerificationOptions::default()
    }
}

fn claims(claims: &Claims) -> JWTClaims<CustomClaims> {
    JWTClaims {
        issued_at: Some(Duration::from_secs(claims.iat)),
        expires_at: Some(Duration::from_secs(claims.exp)),
        invalid_before: Some(Duration::from_secs(claims.nbf)),
        issuer: Some(claims.iss.clone()),
        subject: Some(claims.sub.clone()),
        audiences: Some(Audiences::AsString(claims.aud.clone())),
        jwt_id: Some(claims.jti.clone()),
        nonce: None,
        custom: CustomClaims::from(claims),
    }
}
