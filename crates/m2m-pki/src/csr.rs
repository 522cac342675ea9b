//! A certification request on its way from a stranger's bytes to a key that its sender holds.

mod create;
mod error;

pub use create::CsrBuilder;
pub use error::CsrError;

use std::fmt;

use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::extensions::X509Extension;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{Extensions, shorten};
use crate::key::{ClaimedKey, Scheme};
use crate::strict::Part;
use crate::{PublicKey, pem, strict};

/// PKCS #9 `extensionRequest` (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: Oid<'static> = oid!(1.2.840.113549.1.9.14);

/// A certification request (PKCS #10, RFC 2986) whose form is sound. Nobody has shown to hold its key:
/// all one can do is to [`verify`](UnverifiedCsr::verify) it.
///
/// At most [`UnverifiedCsr::MAX_BYTES`], exactly one element of DER, no attribute but one
/// `extensionRequest`.
pub struct UnverifiedCsr {
    der: Box<[u8]>,
    info: Part,
    scheme: Scheme,
    signature: Part,
    key: ClaimedKey,
    subject: Part,
    requested: Extensions,
}

/// A request whose sender holds the key in it (proof of possession). It says who asks for what, and
/// grants nothing: see [`Profile::approve`](crate::Profile::approve).
pub struct VerifiedCsr {
    pub(crate) key: PublicKey,
    pub(crate) subject: Box<[u8]>,
    pub(crate) requested: Extensions,
}

impl UnverifiedCsr {
    /// The largest request that is read, in bytes: an RSA key of 8192 bits and a hundred names fit.
    pub const MAX_BYTES: usize = 16 << 10;

    /// Reads `der`, all of it.
    ///
    /// # Errors
    ///
    /// [`CsrError`], see there.
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > Self::MAX_BYTES {
            return Err(CsrError::TooLong {
                found: der.len(),
                limit: Self::MAX_BYTES,
            });
        }
        if !strict::is_one_element(der) {
            return Err(CsrError::NotDer { length: der.len() });
        }
        let request = strict::fields(der, 0x30).ok_or(CsrError::NotRequest)?;
        let [info, algorithm, signature] = request;
        let [version, subject, spki, attributes] =
            strict::fields(info, 0x30).ok_or(CsrError::NotRequest)?;
        // Version 1 is written as 0 (RFC 2986 §4.1); the attributes are `[0]`, empty or not.
        let form = (
            version,
            subject.first(),
            attributes.first(),
            signature.get(..1),
        );
        if !matches!(form, ([2, 1, 0], Some(0x30), Some(0xa0), Some([3]))) {
            return Err(CsrError::NotRequest);
        }
        let key = ClaimedKey::from_spki_der(spki)?;
        let has_form = strict::is_algorithm(algorithm);
        let (_, algorithm) =
            AlgorithmIdentifier::from_der(algorithm).map_err(|_| CsrError::NotRequest)?;
        let scheme =
            Scheme::of(&algorithm)
                .filter(|_| has_form)
                .ok_or_else(|| CsrError::Algorithm {
                    oid: shorten(&algorithm.algorithm),
                })?;
        let signature = strict::split(signature).map(|signature| signature.content);
        let Some([0, signature @ ..]) = signature else {
            return Err(CsrError::NotRequest);
        };
        let part = |part| Part::of(der, part).ok_or(CsrError::NotRequest);
        Ok(Self {
            der: der.into(),
            info: part(info)?,
            scheme,
            signature: part(signature)?,
            key,
            subject: part(subject)?,
            requested: requested(attributes)?,
        })
    }

    /// Reads the one `-----BEGIN CERTIFICATE REQUEST-----` in `pem` (RFC 7468 §7).
    ///
    /// # Errors
    ///
    /// [`CsrError::Pem`] unless there is exactly one; else as [`UnverifiedCsr::from_der`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CsrError> {
        let der: CertificateSigningRequestDer<'_> =
            pem::only(pem, Self::MAX_BYTES).map_err(|found| CsrError::Pem { found })?;
        Self::from_der(&der)
    }

    /// The request in DER, to be sent to whoever issues.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request in PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.der)
    }

    /// Checks that the request is signed with the key it is about: its sender holds that key.
    ///
    /// The key in it says what the signature must be; the algorithm named beside the signature is
    /// only compared with it. Whether a point is on its curve is found out here too.
    ///
    /// # Errors
    ///
    /// [`CsrError::Signature`].
    pub fn verify(self) -> Result<VerifiedCsr, CsrError> {
        let (scheme, claimed) = (self.scheme, self.key.algorithm());
        let info = self.info.in_whole(&self.der);
        let signature = self.signature.in_whole(&self.der);
        match self.key.prove(scheme, info, signature) {
            Some(key) => Ok(VerifiedCsr {
                key,
                subject: self.subject.in_whole(&self.der).into(),
                requested: self.requested,
            }),
            None => Err(CsrError::Signature {
                key: claimed,
                algorithm: scheme.algorithm(),
            }),
        }
    }
}

impl VerifiedCsr {
    /// The key of its sender.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }
}

/// What the request asks for beside its key: at most one attribute, with one value.
fn requested(attributes: &[u8]) -> Result<Extensions, CsrError> {
    let attributes = strict::split(attributes).ok_or(CsrError::NotRequest)?;
    if attributes.content.is_empty() {
        return Ok(Extensions::default());
    }
    let [attribute] = strict::fields(attributes.whole, 0xa0).ok_or(CsrError::Attributes)?;
    let [name, values] = strict::fields(attribute, 0x30).ok_or(CsrError::NotRequest)?;
    let (_, name) = Oid::from_der(name).map_err(|_| CsrError::NotRequest)?;
    if name != EXTENSION_REQUEST {
        let oid = shorten(&name);
        return Err(CsrError::Attribute { oid });
    }
    let [value] = strict::fields(values, 0x31).ok_or(CsrError::Attributes)?;
    let value = strict::split(value).filter(|value| value.tag == 0x30);
    let mut rest = value.ok_or(CsrError::NotRequest)?.content;
    let mut extensions = Vec::new();
    while let Some(next) = strict::split(rest) {
        if !strict::is_extension(next.whole) {
            return Err(CsrError::NotRequest);
        }
        let (_, extension) =
            X509Extension::from_der(next.whole).map_err(|_| CsrError::NotRequest)?;
        extensions.push(extension);
        rest = next.rest;
    }
    Extensions::read(&extensions).map_err(CsrError::Requested)
}

impl fmt::Debug for UnverifiedCsr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedCsr").finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifiedCsr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCsr")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
