//! Names of certificates, as others compute them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{
    Algorithm, CertificateThumbprint, SigningKey, SystemRandom, Thumbprint, ThumbprintError, sha256,
};

/// RFC 8705 appendix A: a certificate, and what a token says that is bound to it.
const CERTIFICATE: &str = "\
    MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx\
    ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG\
    SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ\
    /Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID\
    SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV\
    bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
const X5T_S256: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

#[test]
fn the_certificate_of_rfc_8705_has_the_thumbprint_that_is_given_there() {
    let der = STANDARD.decode(CERTIFICATE).unwrap();
    let thumbprint = CertificateThumbprint::of_der(&der);
    assert_eq!(thumbprint.to_string(), X5T_S256);
    assert_eq!(X5T_S256.parse(), Ok(thumbprint));
    assert_eq!(*thumbprint.as_bytes(), sha256(&der));
    assert_eq!(
        format!("{thumbprint:?}"),
        format!("CertificateThumbprint({X5T_S256})")
    );
    assert_eq!(CertificateThumbprint::from(sha256(&der)), thumbprint);
    assert_eq!(CertificateThumbprint::from_bytes(sha256(&der)), thumbprint);
    let other = CertificateThumbprint::of_der(&der[1..]);
    assert_ne!(other, thumbprint);
    assert_eq!(BTreeSet::from([other, thumbprint, other]).len(), 2);
}

#[test]
fn a_thumbprint_is_read_back_in_the_one_way_it_is_written() {
    let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
    let thumbprint = key.verifying_key().thumbprint();
    assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
    assert_eq!(Thumbprint::from_bytes(*thumbprint.as_bytes()), thumbprint);
    for wrong in [
        "",
        "A",
        &X5T_S256[1..],
        &format!("{X5T_S256}A"),
        &format!("{X5T_S256}="),
        &format!(" {X5T_S256}"),
        &format!("{X5T_S256}\n"),
        // The last character has two unused bits, which must be zero.
        &X5T_S256.replace("5v0", "5v1"),
        &X5T_S256.replace('A', "+"),
        &"é".repeat(22),
        &"A".repeat(1 << 20),
    ] {
        assert_eq!(wrong.parse::<Thumbprint>(), Err(ThumbprintError));
        assert_eq!(wrong.parse::<CertificateThumbprint>(), Err(ThumbprintError));
    }
}
