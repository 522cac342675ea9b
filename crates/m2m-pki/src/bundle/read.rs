//! Reads SPIFFE bundles: with patience for what is unknown and none for what is wrong.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{Jwk, JwkError, KeyError, VerifyingKey};
use m2m_types::TrustDomain;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{AuthorityError, BundleError, SkipReason, SkippedEntry, TrustBundle};
use crate::{Certificate, PublicKey};

/// The key types that public keys have (RFC 7518 §6.1, RFC 8037 §2, RFC 9964 §3).
const KEY_TYPES: [&str; 4] = ["EC", "RSA", "OKP", "AKP"];

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    keys: Option<Entries<'a>>,
    #[serde(default, deserialize_with = "present")]
    spiffe_sequence: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    spiffe_refresh_hint: Option<u64>,
}

/// What decides whether an entry is looked at, and the member that a [`Jwk`] does not keep.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, rename = "use", default, deserialize_with = "present")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    x5c: Option<Chain<'a>>,
}

/// The first of an `x5c`, and how many there are.
struct Chain<'a> {
    first: Option<Cow<'a, str>>,
    total: usize,
}

/// The entries, still as text. Of too many only so many are kept.
struct Entries<'a> {
    list: Vec<&'a RawValue>,
    total: usize,
}

pub(super) fn json(domain: TrustDomain, json: &[u8]) -> Result<TrustBundle, BundleError> {
    check_length(json)?;
    // serde_json does not check what it skips, so check the whole.
    let text = std::str::from_utf8(json).map_err(|_| BundleError::Json { line: 0, column: 0 })?;
    // serde would take an array of the members' values for the object.
    let blank = [' ', '\t', '\n', '\r'];
    if !text.trim_start_matches(blank).starts_with('{') {
        return Err(BundleError::Json { line: 1, column: 1 });
    }
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|error| BundleError::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let entries = wire.keys.ok_or(BundleError::KeysMissing)?;
    if entries.total > TrustBundle::MAX_ENTRIES {
        return Err(BundleError::TooManyEntries {
            found: entries.total,
            limit: TrustBundle::MAX_ENTRIES,
        });
    }
    let mut bundle = TrustBundle::new(domain, []);
    bundle.change().sequence = wire.spiffe_sequence;
    bundle.change().refresh_hint = wire.spiffe_refresh_hint.map(Duration::from_secs);
    for (index, entry) in entries.list.into_iter().enumerate() {
        bundle = add(bundle, index, entry.get())?;
    }
    Ok(bundle)
}

pub(super) fn pem(domain: TrustDomain, pem: &[u8]) -> Result<TrustBundle, BundleError> {
    check_length(pem)?;
    // Sections of other kinds would be passed over: a private key in a list of trust is an accident.
    let sections = pem.windows(BEGIN.len()).filter(|part| part == &BEGIN);
    let found = sections.count();
    let mut bundle = TrustBundle::new(domain, []);
    for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let der = der.map_err(|_| BundleError::Pem)?;
        let problem = |problem| BundleError::Authority { index, problem };
        let certificate = Certificate::from_der(&der).map_err(|error| problem(error.into()))?;
        bundle = bundle.with_authority(certificate).map_err(problem)?;
    }
    match bundle.inner.x509.len() {
        0 => Err(BundleError::Pem),
        read if read == found => Ok(bundle),
        _ => Err(BundleError::Pem),
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";

fn check_length(text: &[u8]) -> Result<(), BundleError> {
    match text.len() > TrustBundle::MAX_BYTES {
        true => Err(BundleError::TooLong {
            found: text.len(),
            limit: TrustBundle::MAX_BYTES,
        }),
        false => Ok(()),
    }
}

/// The bundle with the entry, or with the reason why it has no part in it.
fn add(bundle: TrustBundle, index: usize, entry: &str) -> Result<TrustBundle, BundleError> {
    let malformed = |problem| BundleError::Entry { index, problem };
    let head: Head<'_> = serde_json::from_str(entry).map_err(|error| {
        malformed(JwkError::Json {
            line: error.line(),
            column: error.column(),
        })
    })?;
    let skip = |mut bundle: TrustBundle, reason| {
        bundle.change().skipped.push(SkippedEntry { index, reason });
        Ok(bundle)
    };
    let usage = match head.usage.as_deref() {
        Some(usage @ ("x509-svid" | "jwt-svid")) => usage,
        _ => return skip(bundle, SkipReason::Usage),
    };
    if !KEY_TYPES.contains(&&*head.kty) {
        return skip(bundle, SkipReason::KeyType);
    }
    let jwk = Jwk::from_json(entry.as_bytes()).map_err(malformed)?;
    if jwk.has_private_members() {
        return skip(bundle, SkipReason::PrivateKey);
    }
    let problem = |problem| BundleError::Authority { index, problem };
    if usage == "jwt-svid" {
        return bundle.with_jwt_authority(jwk).map_err(problem);
    }
    let Some(chain) = head.x5c.filter(|chain| chain.total > 0) else {
        return skip(bundle, SkipReason::NoCertificate);
    };
    let certificate = only(&chain, index)?;
    match check_authority(bundle.trust_domain(), &certificate) {
        Err(AuthorityError::Key(KeyError::AlgorithmUnknown)) => {
            return skip(bundle, SkipReason::Unsupported);
        }
        checked => checked.map_err(problem)?,
    }
    if !has_key(&certificate, jwk) {
        return Err(BundleError::KeyMismatch { index });
    }
    bundle.with_authority(certificate).map_err(problem)
}

/// The certificate of an `x5c` that has exactly one. Which of several was meant is not guessed, though
/// X.509-SVID §6.2 would take the first: §6.1 forbids to publish such a thing.
fn only(chain: &Chain<'_>, index: usize) -> Result<Certificate, BundleError> {
    let der = match (&chain.first, chain.total) {
        (Some(first), 1) => STANDARD.decode(first.as_bytes()).ok(),
        _ => None,
    };
    let found = if chain.total == 1 { 0 } else { chain.total };
    let der = der.ok_or(BundleError::X5c { index, found })?;
    let problem = |error: crate::CertificateError| BundleError::Authority {
        index,
        problem: error.into(),
    };
    Certificate::from_der(&der).map_err(problem)
}

/// Whether the members of `jwk` say the same key as the certificate.
fn has_key(certificate: &Certificate, jwk: Jwk) -> bool {
    let (Ok(key), Ok(jwk)) = (certificate.public_key(), jwk.with_usage(None)) else {
        return false;
    };
    let said = match jwk.alg() {
        Some(_) => VerifyingKey::from_jwk(&jwk),
        None => VerifyingKey::from_jwk_as(&jwk, key.verifying_key().algorithm()),
    };
    said.is_ok_and(|said| said.thumbprint() == key.verifying_key().thumbprint())
}

/// Whether `certificate` can be an authority of `domain`.
pub(super) fn check_authority(
    domain: &TrustDomain,
    certificate: &Certificate,
) -> Result<(), AuthorityError> {
    if !certificate.is_ca() {
        return Err(AuthorityError::NotAuthority);
    }
    if !certificate
        .key_usage()
        .is_some_and(crate::KeyUsage::key_cert_sign)
    {
        return Err(AuthorityError::KeyCertSignMissing);
    }
    let mut uris = certificate.uris();
    let found = uris.len();
    let is_domain = |uri: &str| uri.strip_prefix("spiffe://") == Some(domain.as_str());
    let belongs = match uris.next() {
        None => true,
        Some(uri) => found == 1 && is_domain(uri),
    };
    if !belongs {
        return Err(AuthorityError::OtherDomain { found });
    }
    PublicKey::from_spki_der(certificate.spki_der())?;
    Ok(())
}

/// A member that is there is of its type: `null` is not "absent".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of keys")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let (mut list, mut total) = (Vec::new(), 0);
                while let Some(entry) = seq.next_element()? {
                    total += 1;
                    if total <= TrustBundle::MAX_ENTRIES {
                        list.push(entry);
                    }
                }
                Ok(Entries { list, total })
            }
        }
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Chain<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChainVisitor;
        impl<'de> Visitor<'de> for ChainVisitor {
            type Value = Chain<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let first = seq.next_element()?;
                let mut total = usize::from(first.is_some());
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    total += 1;
                }
                Ok(Chain { first, total })
            }
        }
        deserializer.deserialize_seq(ChainVisitor)
    }
}
