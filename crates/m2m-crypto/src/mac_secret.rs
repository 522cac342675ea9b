//! Refuses public keys and certificates where a shared secret is asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, BitStringRef, SequenceRef, UintRef};
use der::{Decode, Reader, SliceReader};
use pkcs1::RsaPublicKey;
use serde::de::IgnoredAny;
use spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use crate::backend::ring;
use crate::{KeyError, PublicForm, RandomError};

/// Refuses `secret` if it is something public. Each form is recognised whole, so that a random
/// secret is not refused by accident: the likeliest mistake has a probability below 2⁻²⁰, and below
/// 2⁻³² at the lengths that [`MacKey::generate`](crate::MacKey::generate) makes.
///
/// What cannot be recognised: a bare Ed25519 key or a compressed point is 32 or 33 bytes like any.
pub(crate) fn refuse_public(secret: &[u8]) -> Result<(), KeyError> {
    match public_form(secret)? {
        Some(form) => Err(KeyError::SecretIsPublic { form }),
        None => Ok(()),
    }
}

fn public_form(secret: &[u8]) -> Result<Option<PublicForm>, RandomError> {
    if contains(secret, b"-----BEGIN") {
        return Ok(Some(PublicForm::Pem));
    }
    if is_open_ssh(secret) {
        return Ok(Some(PublicForm::OpenSsh));
    }
    if is_jwk(secret) {
        return Ok(Some(PublicForm::Jwk));
    }
    if let Some(form) = der_form(secret).or_else(|| base64_form(secret)) {
        return Ok(Some(form));
    }
    Ok(is_ec_point(secret)?.then_some(PublicForm::EcPoint))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A line of `authorized_keys`: its first word names the type.
fn is_open_ssh(text: &[u8]) -> bool {
    const TYPES: [&[u8]; 6] = [
        b"ssh-rsa ",
        b"ssh-dss ",
        b"ssh-ed25519 ",
        b"ecdsa-sha2-nistp",
        b"sk-ssh-ed25519@openssh.com ",
        b"sk-ecdsa-sha2-nistp",
    ];
    let text = text.trim_ascii_start();
    TYPES.iter().any(|kind| text.starts_with(kind))
}

/// A JSON object with `kty` or `keys`.
fn is_jwk(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"{")
        && (contains(text, b"\"kty\"") || contains(text, b"\"keys\""))
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

fn der_form(der: &[u8]) -> Option<PublicForm> {
    if SubjectPublicKeyInfoRef::from_der(der).is_ok()
        || RsaPublicKey::<UintRef<'_>>::from_der(der)
            .is_ok_and(|key| key.modulus.as_bytes().len() >= 64)
    {
        return Some(PublicForm::Der);
    }
    is_certificate(der).then_some(PublicForm::Certificate)
}

/// The outer shape of X.509: a sequence of a sequence, an algorithm and a bit string
/// (RFC 5280 §4.1).
fn is_certificate(der: &[u8]) -> bool {
    let shape = |der| -> der::Result<()> {
        let outer = <&SequenceRef>::from_der(der)?;
        let mut reader = SliceReader::new(outer.as_bytes())?;
        <&SequenceRef>::decode(&mut reader)?;
        spki::AlgorithmIdentifier::<AnyRef<'_>>::decode(&mut reader)?;
        BitStringRef::decode(&mut reader)?;
        reader.finish()
    };
    shape(der).is_ok()
}

/// A PEM body without its lines of dashes.
fn base64_form(text: &[u8]) -> Option<PublicForm> {
    let looks_like = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    if !text.starts_with(b"M") || !text.iter().all(looks_like) {
        return None;
    }
    let mut characters = Zeroizing::new(Vec::with_capacity(text.len()));
    characters.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; text.len()]);
    let length = STANDARD.decode_slice(&*characters, &mut der).ok()?;
    der_form(der.get(..length)?)
}

fn is_ec_point(bytes: &[u8]) -> Result<bool, RandomError> {
    match bytes {
        // P-521 by its shape, with or without a library that knows the curve: 521 bits are nine
        // bits above a multiple of eight, so both coordinates begin with 0 or 1.
        [4, xy @ ..] if xy.len() == 132 => Ok(xy
            .chunks(66)
            .all(|coordinate| matches!(coordinate, [0 | 1, ..]))),
        [4, ..] => ring::is_point(bytes),
        _ => Ok(false),
    }
}
