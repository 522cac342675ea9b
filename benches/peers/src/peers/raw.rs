//! The bare primitives of ring and aws-lc-rs: the signature alone, over a token split beforehand.

use aws_lc_rs::signature::{self as aws, KeyPair as _};
use ring::rand::SystemRandom;
use ring::signature::{self as ring_signature, KeyPair as _};

use super::{mint_id, verify_id};
use crate::contender::{Contender, Recipe};
use crate::fixture::{Algorithm, Parts, SECRET};

/// An operation that says whether it succeeded.
pub(crate) type Signed = Box<dyn FnMut() -> bool>;

pub(super) fn verifying(algorithm: Algorithm) -> Vec<Recipe> {
    let mut recipes = vec![
        verify_recipe(algorithm, "ring", ring_verify),
        verify_recipe(algorithm, "aws-lc", aws_verify),
    ];
    if algorithm != Algorithm::Hs256 {
        recipes.push(verify_recipe(algorithm, "aws-lc-parsed", aws_verify_parsed));
    }
    recipes
}

pub(super) fn minting(algorithm: Algorithm) -> Vec<Recipe> {
    vec![
        sign_recipe(algorithm, "ring", ring_sign),
        sign_recipe(algorithm, "aws-lc", aws_sign),
    ]
}

fn verify_recipe(
    algorithm: Algorithm,
    library: &str,
    prepare: fn(Algorithm, Parts) -> Signed,
) -> Recipe {
    Recipe::new(verify_id(algorithm, library), move |id, fixture| {
        Contender::verifying(id, fixture.token(algorithm), |token| {
            prepare(algorithm, Parts::of(token))
        })
    })
}

fn sign_recipe(
    algorithm: Algorithm,
    library: &str,
    prepare: fn(Algorithm, Vec<u8>) -> Signed,
) -> Recipe {
    Recipe::new(mint_id(algorithm, library), move |id, fixture| {
        let input = Parts::of(fixture.token(algorithm)).signed;
        Contender::new(id, prepare(algorithm, input))
    })
}

/// Checks the signature alone.
pub(crate) fn ring_verify(algorithm: Algorithm, Parts { signed, signature }: Parts) -> Signed {
    let verification: &'static dyn ring_signature::VerificationAlgorithm = match algorithm {
        Algorithm::Hs256 => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
            return Box::new(move || ring::hmac::verify(&key, &signed, &signature).is_ok());
        }
        Algorithm::Es256 => &ring_signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDsa => &ring_signature::ED25519,
        Algorithm::Rs256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
    };
    let key = ring_signature::UnparsedPublicKey::new(verification, public_key(algorithm));
    Box::new(move || key.verify(&signed, &signature).is_ok())
}

fn aws_verify(algorithm: Algorithm, Parts { signed, signature }: Parts) -> Signed {
    if algorithm == Algorithm::Hs256 {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
        return Box::new(move || aws_lc_rs::hmac::verify(&key, &signed, &signature).is_ok());
    }
    let key = aws::UnparsedPublicKey::new(aws_verification(algorithm), public_key(algorithm));
    Box::new(move || key.verify(&signed, &signature).is_ok())
}

fn aws_verify_parsed(algorithm: Algorithm, Parts { signed, signature }: Parts) -> Signed {
    let key = aws::ParsedPublicKey::new(aws_verification(algorithm), public_key(algorithm))
        .expect("the fixture's key parses");
    Box::new(move || key.verify_sig(&signed, &signature).is_ok())
}

fn aws_verification(algorithm: Algorithm) -> &'static dyn aws::VerificationAlgorithm {
    match algorithm {
        Algorithm::Hs256 => unreachable!("HMAC has no public key"),
        Algorithm::Es256 => &aws::ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDsa => &aws::ED25519,
        Algorithm::Rs256 => &aws::RSA_PKCS1_2048_8192_SHA256,
    }
}

/// The public key in the form both libraries take: a point, 32 bytes, or a PKCS #1 `RSAPublicKey`.
fn public_key(algorithm: Algorithm) -> Vec<u8> {
    match algorithm {
        Algorithm::Hs256 => Vec::new(),
        Algorithm::Es256 => ring_ecdsa_key().public_key().as_ref().to_vec(),
        Algorithm::EdDsa => ring_ed25519_key().public_key().as_ref().to_vec(),
        Algorithm::Rs256 => ring_rsa_key().public_key().as_ref().to_vec(),
    }
}

/// Signs `input` and nothing else.
pub(crate) fn ring_sign(algorithm: Algorithm, input: Vec<u8>) -> Signed {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Hs256 => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
            Box::new(move || ring::hmac::sign(&key, &input).as_ref().len() == 32)
        }
        Algorithm::Es256 => {
            let key = ring_ecdsa_key();
            Box::new(move || key.sign(&random, &input).is_ok())
        }
        Algorithm::EdDsa => {
            let key = ring_ed25519_key();
            Box::new(move || key.sign(&input).as_ref().len() == 64)
        }
        Algorithm::Rs256 => {
            let key = ring_rsa_key();
            let mut signature = vec![0; key.public().modulus_len()];
            let padding = &ring_signature::RSA_PKCS1_SHA256;
            Box::new(move || key.sign(padding, &random, &input, &mut signature).is_ok())
        }
    }
}

fn aws_sign(algorithm: Algorithm, input: Vec<u8>) -> Signed {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = || algorithm.pkcs8();
    match algorithm {
        Algorithm::Hs256 => {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
            Box::new(move || aws_lc_rs::hmac::sign(&key, &input).as_ref().len() == 32)
        }
        Algorithm::Es256 => {
            let signing = &aws::ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = aws::EcdsaKeyPair::from_pkcs8(signing, &pkcs8()).expect("the key is P-256");
            Box::new(move || key.sign(&random, &input).is_ok())
        }
        Algorithm::EdDsa => {
            let key = aws::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8())
                .expect("the key is Ed25519");
            debug_assert_eq!(key.public_key().as_ref().len(), 32);
            Box::new(move || key.sign(&input).as_ref().len() == 64)
        }
        Algorithm::Rs256 => {
            let key = aws::RsaKeyPair::from_pkcs8(&pkcs8()).expect("the key is RSA");
            let mut signature = vec![0; key.public_modulus_len()];
            let padding = &aws::RSA_PKCS1_SHA256;
            Box::new(move || key.sign(padding, &random, &input, &mut signature).is_ok())
        }
    }
}

fn ring_ecdsa_key() -> ring_signature::EcdsaKeyPair {
    ring_signature::EcdsaKeyPair::from_pkcs8(
        &ring_signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &Algorithm::Es256.pkcs8(),
        &SystemRandom::new(),
    )
    .expect("the fixture's key is P-256")
}

fn ring_ed25519_key() -> ring_signature::Ed25519KeyPair {
    ring_signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&Algorithm::EdDsa.pkcs8())
        .expect("the fixture's key is Ed25519")
}

fn ring_rsa_key() -> ring_signature::RsaKeyPair {
    ring_signature::RsaKeyPair::from_pkcs8(&Algorithm::Rs256.pkcs8())
        .expect("the fixture's key is RSA")
}
