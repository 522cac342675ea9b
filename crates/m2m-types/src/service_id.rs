//! `ServiceId`: the one name of a machine, a SPIFFE ID, checked once when it is parsed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of one machine: `spiffe://<trust domain>/<path>`.
///
/// The grammar and the limits are those of the SPIFFE-ID standard (§2): at most
/// [`ServiceId::MAX_BYTES`] bytes; a [`TrustDomain`]; then one or more segments of letters, digits,
/// `.`, `-` and `_`, none of them empty, `.` or `..`. There is no percent-encoding, no port, no
/// query and no other case of the same name, so two names are the same machine if and only if their
/// bytes are equal. A trust domain alone names no machine and is refused here.
///
/// Cloning copies a pointer. [`ServiceIdRef`] is the same name borrowed.
///
/// ```
/// use m2m_types::ServiceId;
///
/// let id: ServiceId = "spiffe://example.org/payments/api".parse()?;
/// assert_eq!(id.trust_domain().as_str(), "example.org");
/// assert!("spiffe://Example.org/payments".parse::<ServiceId>().is_err());
/// # Ok::<(), m2m_types::ServiceIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    text: Arc<str>,
}

/// A [`ServiceId`] borrowed from somewhere, a verified token for example.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceIdRef<'a> {
    text: &'a str,
}

/// The part of a [`ServiceId`] that one authority answers for: `example.org`.
///
/// 1 to 255 bytes of lower-case letters, digits, `.`, `-` and `_` (SPIFFE-ID §2.1).
///
/// ```
/// use m2m_types::TrustDomain;
///
/// let domain: TrustDomain = "example.org".parse()?;
/// assert_eq!(domain.as_str(), "example.org");
/// # Ok::<(), m2m_types::ServiceIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain {
    text: Arc<str>,
}

/// Why a text is not a SPIFFE ID. Positions are byte offsets into it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceIdError {
    /// It is longer than the standard allows.
    #[error("{length} bytes are more than the {limit} a SPIFFE ID may have")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// [`ServiceId::MAX_BYTES`].
        limit: usize,
    },
    /// It does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with spiffe://, in lower case")]
    Scheme,
    /// Nothing stands between `spiffe://` and the path.
    #[error("the trust domain is empty")]
    TrustDomainEmpty,
    /// The trust domain is longer than the standard allows.
    #[error("a trust domain of {length} bytes is more than {limit}")]
    TrustDomainTooLong {
        /// Its length in bytes.
        length: usize,
        /// [`TrustDomain::MAX_BYTES`].
        limit: usize,
    },
    /// The trust domain has a character that is not `a-z`, `0-9`, `.`, `-` or `_`.
    #[error("byte {at} is not allowed in a trust domain, only a-z 0-9 . - _")]
    TrustDomainCharacter {
        /// Where.
        at: usize,
    },
    /// There is no path, so this names a trust domain and no machine.
    #[error("there is no path: this names a trust domain, not a service")]
    PathMissing,
    /// A path segment is empty: `//` or a trailing `/`.
    #[error("the path segment at byte {at} is empty")]
    SegmentEmpty {
        /// Where.
        at: usize,
    },
    /// A path segment is `.` or `..`.
    #[error("the path segment at byte {at} is a relative one")]
    SegmentRelative {
        /// Where.
        at: usize,
    },
    /// The path has a character that is not a letter, a digit, `.`, `-` or `_`.
    #[error("byte {at} is not allowed in a path, only A-Z a-z 0-9 . - _ /")]
    PathCharacter {
        /// Where.
        at: usize,
    },
}

const SCHEME: &str = "spiffe://";

impl ServiceId {
    /// The longest SPIFFE ID there is, in bytes (SPIFFE-ID §2.3).
    pub const MAX_BYTES: usize = 2048;

    /// The whole name, `spiffe://…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same name, borrowed.
    pub fn as_ref(&self) -> ServiceIdRef<'_> {
        ServiceIdRef { text: &self.text }
    }

    /// The trust domain, as a value of its own.
    pub fn trust_domain(&self) -> TrustDomain {
        self.as_ref().trust_domain()
    }

    /// The path, with its leading `/`.
    pub fn path(&self) -> &str {
        self.as_ref().path()
    }

    /// Whether `domain` answers for this name.
    pub fn is_member_of(&self, domain: &TrustDomain) -> bool {
        self.as_ref().is_member_of(domain)
    }
}

impl<'a> ServiceIdRef<'a> {
    /// Checks `text` against the grammar of [`ServiceId`], without allocating.
    ///
    /// # Errors
    ///
    /// The first rule it breaks, see [`ServiceIdError`].
    pub fn parse(text: &'a str) -> Result<Self, ServiceIdError> {
        if text.len() > ServiceId::MAX_BYTES {
            return Err(ServiceIdError::TooLong {
                length: text.len(),
                limit: ServiceId::MAX_BYTES,
            });
        }
        match is_service_id(text.as_bytes()) {
            true => Ok(Self { text }),
            false => Err(fault(text)),
        }
    }

    /// The whole name, `spiffe://…`.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The same name, owned.
    pub fn to_owned(&self) -> ServiceId {
        ServiceId {
            text: Arc::from(self.text),
        }
    }

    /// The trust domain, as a value of its own.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain {
            text: Arc::from(self.split().0),
        }
    }

    /// The path, with its leading `/`.
    pub fn path(&self) -> &'a str {
        self.split().1
    }

    /// Whether `domain` answers for this name. Allocates nothing.
    pub fn is_member_of(&self, domain: &TrustDomain) -> bool {
        self.split().0 == domain.as_str()
    }

    fn split(&self) -> (&'a str, &'a str) {
        let rest = self.text.get(SCHEME.len()..).unwrap_or_default();
        let slash = rest.find('/').unwrap_or(rest.len());
        rest.split_at(slash)
    }
}

impl TrustDomain {
    /// The longest trust domain there is, in bytes (SPIFFE-ID §2.3).
    pub const MAX_BYTES: usize = 255;

    /// The name, without scheme or slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What a byte may be part of.
const DOMAIN: u8 = 1;
const PATH: u8 = 2;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => DOMAIN | PATH,
            b'A'..=b'Z' => PATH,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn is_of(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|classes| classes & class != 0)
}

/// The grammar in one pass, which says nothing but yes or no: names are read for each call.
fn is_service_id(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(SCHEME.as_bytes()) else {
        return false;
    };
    let mut bytes = rest.iter();
    let end = bytes.position(|byte| !is_of(*byte, DOMAIN));
    let Some(end) = end.filter(|end| (1..=TrustDomain::MAX_BYTES).contains(end)) else {
        return false;
    };
    // Each segment from behind its slash to the next one.
    let mut segments = rest.get(end..).unwrap_or_default();
    while let Some((b'/', path)) = segments.split_first() {
        let end = path.iter().position(|byte| !is_of(*byte, PATH));
        let (segment, behind) = path.split_at(end.unwrap_or(path.len()));
        if matches!(segment, b"" | b"." | b"..") {
            return false;
        }
        segments = behind;
    }
    // Behind the domain there was a path, and behind its last segment nothing.
    segments.is_empty() && end < rest.len()
}

/// The first rule that `text` breaks.
#[cold]
#[inline(never)]
fn fault(text: &str) -> ServiceIdError {
    match check(text) {
        Err(error) => error,
        // Nothing is refused that breaks no rule; if it were, this is as good a reason as any.
        Ok(()) => ServiceIdError::Scheme,
    }
}

/// The grammar rule by rule.
fn check(text: &str) -> Result<(), ServiceIdError> {
    let rest = text.strip_prefix(SCHEME).ok_or(ServiceIdError::Scheme)?;
    let (domain, path) = match rest.split_once('/') {
        Some((domain, path)) => (domain, Some(path)),
        None => (rest, None),
    };
    check_trust_domain(domain, SCHEME.len())?;
    let path = path.ok_or(ServiceIdError::PathMissing)?;
    check_path(path, SCHEME.len() + domain.len() + 1)
}

fn check_trust_domain(domain: &str, offset: usize) -> Result<(), ServiceIdError> {
    if domain.is_empty() {
        return Err(ServiceIdError::TrustDomainEmpty);
    }
    if domain.len() > TrustDomain::MAX_BYTES {
        return Err(ServiceIdError::TrustDomainTooLong {
            length: domain.len(),
            limit: TrustDomain::MAX_BYTES,
        });
    }
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    match domain.bytes().position(|byte| !allowed(byte)) {
        Some(at) => Err(ServiceIdError::TrustDomainCharacter { at: offset + at }),
        None => Ok(()),
    }
}

/// Checks what follows the first slash of the path.
fn check_path(path: &str, offset: usize) -> Result<(), ServiceIdError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let mut at = offset;
    for segment in path.split('/') {
        match segment {
            "" => return Err(ServiceIdError::SegmentEmpty { at }),
            "." | ".." => return Err(ServiceIdError::SegmentRelative { at }),
            _ => {}
        }
        if let Some(bad) = segment.bytes().position(|byte| !allowed(byte)) {
            return Err(ServiceIdError::PathCharacter { at: at + bad });
        }
        at += segment.len() + 1;
    }
    Ok(())
}

impl FromStr for ServiceId {
    type Err = ServiceIdError;

    fn from_str(text: &str) -> Result<Self, ServiceIdError> {
        ServiceIdRef::parse(text).map(|id| id.to_owned())
    }
}

impl FromStr for TrustDomain {
    type Err = ServiceIdError;

    fn from_str(text: &str) -> Result<Self, ServiceIdError> {
        check_trust_domain(text, 0)?;
        Ok(Self {
            text: Arc::from(text),
        })
    }
}

impl PartialEq<ServiceIdRef<'_>> for ServiceId {
    fn eq(&self, other: &ServiceIdRef<'_>) -> bool {
        *self.text == *other.text
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceId({})", self.text)
    }
}

impl fmt::Display for ServiceIdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for ServiceIdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceIdRef({})", self.text)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{check, is_service_id};

    proptest! {
        #[test]
        fn the_quick_answer_is_that_of_the_rules(rest in "[a-bA/.:%_ -]{0,14}", prefix in 0..8) {
            let scheme = if prefix == 0 { "spiffe:/" } else { "spiffe://" };
            let text = format!("{scheme}{rest}");
            prop_assert_eq!(is_service_id(text.as_bytes()), check(&text).is_ok(), "{}", text);
        }
    }
}
