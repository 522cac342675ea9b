//! A CRL on its way to its signature: prepared, signed here or elsewhere, put together.

use std::fmt;

use m2m_crypto::{Algorithm, KeyError, MAX_SIGNATURE_BYTES, SigningKey, VerifyingKey};
use m2m_types::Timestamp;

use crate::crl::issuer::CrlIssuer;
use crate::crl::number::CrlNumber;
use crate::crl::scope::Scope;
use crate::crl::signature;
use crate::der::{
    BIT_STRING, SEQUENCE, constructed, context, time,
    write::{self, Criticality},
};

const AUTHORITY_KEY_IDENTIFIER: [u8; 3] = [0x55, 0x1d, 35];
const CRL_NUMBER: [u8; 3] = [0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: [u8; 3] = [0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: [u8; 3] = [0x55, 0x1d, 28];

/// Who signs CRLs, and with which algorithm.
#[derive(Clone, Debug)]
pub struct CrlSigner {
    issuer: CrlIssuer,
    key: VerifyingKey,
    algorithm: Vec<u8>,
}

/// When a CRL was issued and when the next one comes at the latest (RFC 5280 §5.1.2.4, §5.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateTimes {
    this: Timestamp,
    next: Timestamp,
}

/// Why a CRL could not be signed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlSignError {
    /// The key is not the issuer's.
    #[error("the key is not the issuer's")]
    OtherKey,
    /// X.509 has no name for the algorithm.
    #[error("no CRL is signed with {algorithm}")]
    Algorithm {
        /// The algorithm of the key.
        algorithm: Algorithm,
    },
    /// `nextUpdate` is not after `thisUpdate`.
    #[error("nextUpdate {next} is not after thisUpdate {this}")]
    UpdateOrder {
        /// `thisUpdate`.
        this: Timestamp,
        /// `nextUpdate`.
        next: Timestamp,
    },
    /// The issuer's key did not make the signature that was attached.
    #[error("the signature does not hold")]
    Signature,
    /// The key gave no signature.
    #[error("the key gave no signature")]
    Sign,
    /// The list has no base yet to which there could be a delta.
    #[error("there is no complete CRL to make a delta to")]
    NoBase,
    /// The number is not greater than that of the last CRL of this list.
    #[error("CRL number {asked} is not greater than {last}, the last of this list")]
    Number {
        /// The number given.
        asked: CrlNumber,
        /// The list's last one.
        last: CrlNumber,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}")]
    NoShard {
        /// The one asked for.
        shard: u32,
    },
}

impl CrlSigner {
    /// `issuer`, who signs with `key`.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::OtherKey`] if its certificate has another one; [`CrlSignError::Algorithm`].
    pub fn new(issuer: CrlIssuer, key: &VerifyingKey) -> Result<Self, CrlSignError> {
        let algorithm = key.algorithm();
        let known = issuer.key_for(algorithm).ok();
        if known.is_none_or(|known| known.thumbprint() != key.thumbprint()) {
            return Err(CrlSignError::OtherKey);
        }
        let identifier = signature::identifier(algorithm);
        Ok(Self {
            issuer,
            key: key.clone(),
            algorithm: identifier.ok_or(CrlSignError::Algorithm { algorithm })?,
        })
    }

    /// The issuer.
    pub const fn issuer(&self) -> &CrlIssuer {
        &self.issuer
    }
}

impl UpdateTimes {
    /// Issued at `this`, followed by another one before `next`.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::UpdateOrder`] unless `next` is later.
    pub fn new(this: Timestamp, next: Timestamp) -> Result<Self, CrlSignError> {
        if next <= this {
            return Err(CrlSignError::UpdateOrder { this, next });
        }
        Ok(Self { this, next })
    }

    /// `thisUpdate`.
    pub const fn this_update(&self) -> Timestamp {
        self.this
    }

    /// `nextUpdate`.
    pub const fn next_update(&self) -> Timestamp {
        self.next
    }
}

/// What [`PreparedCrl::new`] puts into a CRL.
pub(crate) struct Parts<'a> {
    pub(crate) number: CrlNumber,
    pub(crate) base: Option<CrlNumber>,
    pub(crate) times: UpdateTimes,
    pub(crate) scope: &'a Scope,
    /// Entries, encoded, to stand one after the other.
    pub(crate) entries: [&'a [u8]; 2],
}

/// A CRL but for its signature.
pub struct PreparedCrl {
    /// The header of the whole, sized for the longest signature, and what is signed.
    bytes: Vec<u8>,
    header: usize,
    number: CrlNumber,
    key: VerifyingKey,
    algorithm: Vec<u8>,
}

/// A CRL as it goes out.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCrl {
    der: Vec<u8>,
    number: CrlNumber,
}

impl PreparedCrl {
    /// Copies the entries once into a buffer that also has room for the signature.
    /// The buffer may be that of an old CRL, whose memory then need not be asked for again.
    pub(crate) fn new(signer: &CrlSigner, parts: &Parts<'_>, buffer: Vec<u8>) -> Self {
        let mut head = vec![2, 1, 1];
        head.extend_from_slice(&signer.algorithm);
        head.extend_from_slice(signer.issuer.name_der());
        time::write(parts.times.this, &mut head);
        time::write(parts.times.next, &mut head);
        let extensions = extensions(signer, parts);
        let list = parts.entries.iter().map(|part| part.len()).sum();
        let list_header = if list == 0 {
            0
        } else {
            write::header_bytes(list)
        };
        let content = head.len() + list_header + list + extensions.len();
        let signed = write::header_bytes(content) + content;
        let longest = signed + tail_bytes(signer);
        let header = write::header_bytes(longest);

        let mut bytes = buffer;
        bytes.clear();
        bytes.reserve_exact(header + longest);
        write::header(SEQUENCE, longest, &mut bytes);
        write::header(SEQUENCE, content, &mut bytes);
        bytes.extend_from_slice(&head);
        // RFC 5280 §5.1.2.6: absent when empty.
        if list > 0 {
            write::header(SEQUENCE, list, &mut bytes);
            for part in parts.entries {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(&extensions);
        Self {
            bytes,
            header,
            number: parts.number,
            key: signer.key.clone(),
            algorithm: signer.algorithm.clone(),
        }
    }

    /// What is to be signed: the DER of `TBSCertList`.
    pub fn message(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    /// The algorithm to sign it with.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// Its number.
    pub const fn number(&self) -> CrlNumber {
        self.number
    }

    /// Signs it with the issuer's key. Hashes the message once; the signature is not checked again.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::OtherKey`], [`CrlSignError::Sign`].
    pub fn sign(self, key: &SigningKey) -> Result<SignedCrl, CrlSignError> {
        let is_ours = key.algorithm() == self.key.algorithm()
            && key.verifying_key().thumbprint() == self.key.thumbprint();
        if !is_ours {
            return Err(CrlSignError::OtherKey);
        }
        let mut signature = [0; MAX_SIGNATURE_BYTES];
        let length = key.sign(self.message(), &mut signature);
        let length = length.map_err(|_| CrlSignError::Sign)?;
        let signature = signature.get(..length).unwrap_or_default();
        self.put_together(signature).map_err(|_| CrlSignError::Sign)
    }

    /// Takes the signature that somebody else made of [`PreparedCrl::message`], in the form of JOSE
    /// (see [`m2m_crypto::ecdsa_der_to_fixed`]), and checks it.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::Signature`].
    pub fn attach(self, signature: &[u8]) -> Result<SignedCrl, CrlSignError> {
        self.key
            .verify(self.message(), signature)
            .map_err(|_| CrlSignError::Signature)?;
        self.put_together(signature)
            .map_err(|_| CrlSignError::Signature)
    }

    fn put_together(mut self, signature: &[u8]) -> Result<SignedCrl, KeyError> {
        let signature = signature::to_x509(self.key.algorithm(), signature)?;
        self.bytes.extend_from_slice(&self.algorithm);
        write::header(BIT_STRING, 1 + signature.len(), &mut self.bytes);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&signature);
        let mut header = Vec::with_capacity(6);
        write::header(SEQUENCE, self.bytes.len() - self.header, &mut header);
        // Mostly as long as what stands there, so that nothing moves.
        self.bytes.splice(..self.header, header);
        Ok(SignedCrl {
            der: self.bytes,
            number: self.number,
        })
    }
}

/// The most octets that follow what is signed.
fn tail_bytes(signer: &CrlSigner) -> usize {
    let signature = signature::longest_x509(signer.key.algorithm(), signer.key.signature_bytes());
    signer.algorithm.len() + write::header_bytes(1 + signature) + 1 + signature
}

/// `crlExtensions`, in the order in which OpenSSL prints them.
fn extensions(signer: &CrlSigner, parts: &Parts<'_>) -> Vec<u8> {
    let mut list = Vec::new();
    if let Some(key_id) = signer.issuer.key_id() {
        let key_id = write::around(context(0), &[key_id]);
        list.extend(write::extension(
            &AUTHORITY_KEY_IDENTIFIER,
            Criticality::NotCritical,
            &write::around(SEQUENCE, &[&key_id]),
        ));
    }
    let number = parts.number.to_der();
    list.extend(write::extension(
        &CRL_NUMBER,
        Criticality::NotCritical,
        &number,
    ));
    if let Some(base) = parts.base {
        let base = base.to_der();
        list.extend(write::extension(
            &DELTA_CRL_INDICATOR,
            Criticality::Critical,
            &base,
        ));
    }
    if let Some(scope) = parts.scope.to_der() {
        list.extend(write::extension(
            &ISSUING_DISTRIBUTION_POINT,
            Criticality::Critical,
            &scope,
        ));
    }
    write::around(constructed(0), &[&write::around(SEQUENCE, &[&list])])
}

impl SignedCrl {
    /// The DER of the `CertificateList`.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// It in PEM (RFC 7468 §6), as OpenSSL's tools read it.
    pub fn to_pem(&self) -> String {
        crate::pem::encode("X509 CRL", &self.der)
    }

    /// [`SignedCrl::der`], to keep.
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// Its number.
    pub const fn number(&self) -> CrlNumber {
        self.number
    }
}

impl fmt::Debug for PreparedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedCrl")
            .field("number", &self.number)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedCrl")
            .field("number", &self.number)
            .field("bytes", &self.der.len())
            .finish_non_exhaustive()
    }
}
