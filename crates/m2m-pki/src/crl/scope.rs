//! `Scope`: which certificates a CRL speaks for (RFC 5280 §5.2.5, `issuingDistributionPoint`).

use std::fmt;

use crate::crl::read::CrlError;
use crate::der::{self, DerError, Reader, SEQUENCE, constructed, context, write};

/// The most URIs one distribution point may have; more than two are not seen in practice.
const MAX_URIS: usize = 8;

/// The URI of a CRL, as a certificate's `cRLDistributionPoints` and the CRL itself state it.
///
/// 1 to 1024 printable ASCII characters with a scheme. Two are the same if their bytes are: what
/// names a scope is compared, never fetched.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlUri(Box<str>);

/// Text that is no [`CrlUri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URI of 1 to 1024 printable ASCII characters with a scheme")]
pub struct CrlUriError;

impl CrlUri {
    /// The longest, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Takes `text`.
    ///
    /// # Errors
    ///
    /// [`CrlUriError`] if it is too long, not printable ASCII, or has no scheme (RFC 3986 §3.1).
    pub fn parse(text: &str) -> Result<Self, CrlUriError> {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let is_printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.len() > Self::MAX_BYTES || !is_scheme || !is_printable {
            return Err(CrlUriError);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CrlUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CrlUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrlUri({:?})", self.0)
    }
}

/// Which certificates of an issuer a CRL speaks for, as far as CA or not decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5280 has these three")]
pub enum CertificateKinds {
    /// For all.
    #[default]
    All,
    /// `onlyContainsUserCerts`.
    EndEntities,
    /// `onlyContainsCACerts`.
    Authorities,
}

/// Which certificates of its issuer a CRL speaks for: the URIs of its distribution point, if it has
/// one, and the kinds of certificates.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope {
    uris: Vec<CrlUri>,
    kinds: CertificateKinds,
}

impl Scope {
    /// Every certificate of the issuer.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The certificates that name `uri` among their distribution points.
    pub fn distribution_point(uri: CrlUri) -> Self {
        Self {
            uris: vec![uri],
            kinds: CertificateKinds::All,
        }
    }

    /// Of those, only certificates of `kinds`.
    #[must_use]
    pub fn with_kinds(self, kinds: CertificateKinds) -> Self {
        Self { kinds, ..self }
    }

    /// The names of the distribution point, all of the same one; empty if the CRL states none.
    pub fn uris(&self) -> &[CrlUri] {
        &self.uris
    }

    /// The kinds of certificates.
    pub const fn kinds(&self) -> CertificateKinds {
        self.kinds
    }

    /// The value of the extension, unless there is nothing to say.
    pub(crate) fn to_der(&self) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        for uri in &self.uris {
            write::element(context(6), uri.as_str().as_bytes(), &mut names);
        }
        let point = if names.is_empty() {
            Vec::new()
        } else {
            let full_name = write::around(constructed(0), &[&names]);
            write::around(constructed(0), &[&full_name])
        };
        let kinds: &[u8] = match self.kinds {
            CertificateKinds::All => &[],
            CertificateKinds::EndEntities => &[context(1), 1, 0xff],
            CertificateKinds::Authorities => &[context(2), 1, 0xff],
        };
        (!point.is_empty() || !kinds.is_empty()).then(|| write::around(SEQUENCE, &[&point, kinds]))
    }

    /// Reads the value of the extension.
    pub(crate) fn from_der(value: &[u8]) -> Result<Self, CrlError> {
        let mut reader = Reader::new(der::only(value, SEQUENCE)?);
        let uris = match reader.optional(constructed(0))? {
            Some(name) => full_name(name)?,
            None => Vec::new(),
        };
        let only_users = flag(&mut reader, 1)?;
        let only_authorities = flag(&mut reader, 2)?;
        let reasons = reader.optional(context(3))?;
        let indirect = flag(&mut reader, 4)?;
        let only_attributes = flag(&mut reader, 5)?;
        reader.finish()?;
        if reasons.map(check_reasons).transpose()?.is_some() {
            return Err(CrlError::SomeReasonsOnly);
        }
        if indirect == Flag::Set {
            return Err(CrlError::Indirect);
        }
        if only_attributes == Flag::Set {
            return Err(CrlError::AttributeCertificates);
        }
        let kinds = match (only_users, only_authorities) {
            (Flag::Set, Flag::Set) => return Err(CrlError::ContradictoryScope),
            (Flag::Set, Flag::Clear) => CertificateKinds::EndEntities,
            (Flag::Clear, Flag::Set) => CertificateKinds::Authorities,
            (Flag::Clear, Flag::Clear) => CertificateKinds::All,
        };
        // RFC 5280 §5.2.5: the sequence is never empty.
        if uris.is_empty() && kinds == CertificateKinds::All {
            return Err(CrlError::ContradictoryScope);
        }
        Ok(Self { uris, kinds })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Set,
    Clear,
}

/// A BOOLEAN DEFAULT FALSE. That FALSE is written out is against DER; real issuers do it, and it
/// says nothing else.
fn flag(reader: &mut Reader<'_>, number: u8) -> Result<Flag, DerError> {
    match reader.optional(context(number))? {
        Some(content) if der::boolean(content)? => Ok(Flag::Set),
        _ => Ok(Flag::Clear),
    }
}

/// `ReasonFlags`: refused either way, but as what it is. An empty one is malformed.
fn check_reasons(bits: &[u8]) -> Result<(), DerError> {
    match bits {
        [0..=7, _, ..] => Ok(()),
        _ => Err(DerError::BitString),
    }
}

/// The URIs of a `DistributionPointName` that is a `fullName`.
pub(crate) fn full_name(name: &[u8]) -> Result<Vec<CrlUri>, CrlError> {
    let mut reader = Reader::new(name);
    match reader.peek() {
        Some(tag) if tag == constructed(1) => return Err(CrlError::RelativeName),
        _ => {}
    }
    let mut names = reader.inside(constructed(0))?;
    reader.finish()?;
    let mut uris = Vec::new();
    while !names.is_empty() {
        let (tag, content) = names.any()?;
        match tag {
            _ if tag == context(6) => {}
            // A directory name beside a URI is another way to the same CRL, which nobody here goes.
            _ if tag == constructed(4) => continue,
            _ => return Err(CrlError::Uri),
        }
        let text = std::str::from_utf8(content).map_err(|_| CrlError::Uri)?;
        uris.push(CrlUri::parse(text).map_err(|_| CrlError::Uri)?);
        if uris.len() > MAX_URIS {
            return Err(CrlError::Uri);
        }
    }
    // Names of other kinds cannot be compared with a certificate's, so they alone name nothing.
    if uris.is_empty() {
        return Err(CrlError::Uri);
    }
    Ok(uris)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let uri = CrlUri::parse("http://crl.example.org/7f.crl").unwrap();
        let point = Scope::distribution_point(uri);
        let users = CertificateKinds::EndEntities;
        for scope in [
            point.clone(),
            point.with_kinds(CertificateKinds::Authorities),
            Scope::everything().with_kinds(users),
        ] {
            assert_eq!(Scope::from_der(&scope.to_der().unwrap()), Ok(scope));
        }
        assert_eq!(Scope::everything().to_der(), None);
    }

    #[test]
    fn pki_053_an_empty_bit_string_of_reasons_is_an_error() {
        for (bits, error) in [
            (&[0x83, 0][..], CrlError::Der(DerError::BitString)),
            (&[0x83, 1, 0], CrlError::Der(DerError::BitString)),
            (&[0x83, 2, 9, 0], CrlError::Der(DerError::BitString)),
            (&[0x83, 2, 1, 0x40], CrlError::SomeReasonsOnly),
        ] {
            let value = write::around(SEQUENCE, &[bits]);
            assert_eq!(Scope::from_der(&value), Err(error));
        }
    }

    #[test]
    fn uris_are_bounded_and_printable() {
        for wrong in [
            "",
            "no-scheme",
            ":x",
            "1a:b",
            "http://a b",
            "http://a\n",
            "http://ä",
        ] {
            assert_eq!(CrlUri::parse(wrong), Err(CrlUriError), "{wrong:?}");
        }
        assert!(CrlUri::parse(&format!("a:{}", "x".repeat(1022))).is_ok());
        assert!(CrlUri::parse(&format!("a:{}", "x".repeat(1023))).is_err());
    }
}
