#![no_main]
//! Any bytes as a key, in each form and for each algorithm: what is taken can be written and read
//! back, and a private key signs what its public key verifies.
//!
//! The input is a byte for the algorithm, a byte for the form, and the key.

use libfuzzer_sys::fuzz_target;
use m2m_crypto::{
    Algorithm, Jwk, KeyError, MAX_SIGNATURE_BYTES, MacKey, SecretBytes, SigningKey, VerifyingKey,
};
use m2m_fuzz::check_message;

fuzz_target!(|data: &[u8]| {
    let [algorithm, form, key @ ..] = data else {
        return;
    };
    let algorithm = Algorithm::ALL[usize::from(*algorithm) % Algorithm::ALL.len()];
    let refused = match form % 9 {
        0 => VerifyingKey::from_spki_der(algorithm, key).map(|key| check_public(&key)),
        1 => VerifyingKey::from_pem(algorithm, key).map(|key| check_public(&key)),
        2 => public_jwk(key, VerifyingKey::from_jwk),
        3 => public_jwk(key, |jwk| VerifyingKey::from_jwk_as(jwk, algorithm)),
        4 => SigningKey::from_pkcs8_der(algorithm, key).map(|key| check_private(&key)),
        5 => SigningKey::from_pem(algorithm, key).map(|key| check_private(&key)),
        6 => SigningKey::from_jwk(&SecretBytes::from(key)).map(|key| check_private(&key)),
        7 => SigningKey::from_jwk_as(&SecretBytes::from(key), algorithm)
            .map(|key| check_private(&key)),
        _ => MacKey::from_jwk(&SecretBytes::from(key)).map(|key| check_mac(&key)),
    };
    if let Err(error) = refused {
        check_message(&error);
    }
});

fn public_jwk(
    json: &[u8],
    load: impl Fn(&Jwk) -> Result<VerifyingKey, KeyError>,
) -> Result<(), KeyError> {
    match Jwk::from_json(json) {
        Ok(jwk) => load(&jwk).map(|key| check_public(&key)),
        Err(error) => {
            check_message(&error);
            Ok(())
        }
    }
}

fn check_public(key: &VerifyingKey) {
    let algorithm = key.algorithm();
    let same = [
        VerifyingKey::from_spki_der(algorithm, &key.to_spki_der()),
        VerifyingKey::from_pem(algorithm, key.to_pem().as_bytes()),
        VerifyingKey::from_jwk(&key.to_jwk()),
    ];
    for same in same {
        let same = same.expect("what is written can be read");
        assert_eq!(same.thumbprint(), key.thumbprint());
        assert_eq!(same.algorithm(), algorithm);
    }
    let signature = vec![0; key.signature_bytes()];
    assert!(
        key.verify(b"message", &signature).is_err(),
        "a signature of zeroes"
    );
}

fn check_private(key: &SigningKey) {
    check_public(key.verifying_key());
    check_signs(key);
    let algorithm = key.algorithm();
    let again = [
        SigningKey::from_pkcs8_der(algorithm, key.to_pkcs8_der().expose_secret()),
        SigningKey::from_pem(algorithm, key.to_pkcs8_pem().expose_secret()),
    ];
    for again in again {
        let again = again.expect("what is written can be read");
        assert_eq!(
            again.verifying_key().thumbprint(),
            key.verifying_key().thumbprint()
        );
    }
}

fn check_signs(key: &SigningKey) {
    let mut signature = [0; MAX_SIGNATURE_BYTES];
    let length = key
        .sign(b"message", &mut signature)
        .expect("a key that was taken signs");
    let signature = &signature[..length];
    let verifier = key.verifying_key();
    assert!(verifier.verify(b"message", signature).is_ok());
    assert!(verifier.verify(b"another", signature).is_err());
}

fn check_mac(key: &MacKey) {
    let mut tag = [0; 64];
    let length = key.sign(b"message", &mut tag).expect("64 bytes hold a tag");
    assert!(key.verify(b"message", &tag[..length]).is_ok());
    assert!(key.verify(b"another", &tag[..length]).is_err());
}
