//! The bytes of the ledger's records. Each begins with the version of its form.

use m2m_store::Value;
use m2m_types::{ServiceId, Timestamp};

use super::{CertificateId, Revocation};
use crate::{Certificate, RevocationReason};

const VERSION: u8 = 1;
/// Of revocations; 1 did not say when the certificate expires.
const REVOCATION_VERSION: u8 = 2;
/// The value of a record that only has to be there.
pub(super) const MARK: [u8; 1] = [VERSION];
/// How much of an identity a summary shows; it has room for 1024 bytes altogether.
const SHOWN: usize = 512;

/// What is known of a certificate.
pub(super) struct CertificateRecord {
    pub(super) certificate: Certificate,
    pub(super) identity: ServiceId,
    pub(super) profile: Box<str>,
}

/// What is known of a key.
pub(super) struct Binding {
    pub(super) identity: ServiceId,
    pub(super) is_ca: bool,
    pub(super) is_void: bool,
}

impl CertificateRecord {
    pub(super) fn encode(&self) -> Value {
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.identity.as_str().as_bytes());
        put(&mut bytes, self.profile.as_bytes());
        bytes.extend_from_slice(self.certificate.der());
        bytes.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = versioned(bytes)?;
        let (identity, rest) = take(rest)?;
        let (profile, der) = take(rest)?;
        Some(Self {
            identity: identity.parse().ok()?,
            profile: profile.into(),
            certificate: Certificate::from_der(der).ok()?,
        })
    }

    /// For operators, in the clear. Nothing in it needs escaping.
    pub(super) fn summary(&self) -> String {
        let identity = self.identity.as_str();
        format!(
            r#"{{"serial":"{}","identity":"{}","profile":"{}","not_after":"{}"}}"#,
            self.certificate.serial(),
            identity.get(..SHOWN).unwrap_or(identity),
            self.profile,
            self.certificate.not_after(),
        )
    }
}

impl Binding {
    pub(super) fn encode(&self) -> Value {
        let head = [VERSION, u8::from(self.is_ca), u8::from(self.is_void)];
        [&head, self.identity.as_str().as_bytes()].concat().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let flag = |byte: u8| (byte <= 1).then_some(byte == 1);
        let [is_ca, is_void, identity @ ..] = versioned(bytes)? else {
            return None;
        };
        Some(Self {
            identity: std::str::from_utf8(identity).ok()?.parse().ok()?,
            is_ca: flag(*is_ca)?,
            is_void: flag(*is_void)?,
        })
    }
}

impl Revocation {
    pub(super) fn encode(&self) -> Value {
        let mut bytes = vec![REVOCATION_VERSION, self.reason.code()];
        bytes.extend(self.revoked_at.unix_seconds().to_be_bytes());
        bytes.extend(self.not_after.unix_seconds().to_be_bytes());
        bytes.extend_from_slice(self.by.as_bytes());
        bytes.into()
    }

    pub(super) fn decode(id: CertificateId, bytes: &[u8]) -> Option<Self> {
        let (&[REVOCATION_VERSION, reason], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (revoked_at, rest) = rest.split_first_chunk()?;
        let (not_after, by) = rest.split_first_chunk()?;
        let time = |bytes| Timestamp::from_unix_seconds(u64::from_be_bytes(bytes)).ok();
        Some(Self {
            id,
            reason: RevocationReason::from_code(reason)?,
            revoked_at: time(*revoked_at)?,
            not_after: time(*not_after)?,
            by: std::str::from_utf8(by).ok()?.into(),
        })
    }

    pub(super) fn summary(&self) -> String {
        format!(
            r#"{{"serial":"{}","reason":"{}","at":"{}","by":"{}"}}"#,
            self.id.serial(),
            self.reason,
            self.revoked_at,
            self.by.get(..SHOWN).unwrap_or(&self.by),
        )
    }
}

fn versioned(bytes: &[u8]) -> Option<&[u8]> {
    let (version, rest) = bytes.split_first()?;
    (*version == VERSION).then_some(rest)
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    // Identities have at most 2048 bytes, profiles 64.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(text);
}

fn take(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}
