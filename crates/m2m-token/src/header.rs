//! The JOSE header: which key, which algorithm, which type; and what must not be ignored.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use m2m_crypto::Algorithm;

use crate::error::{HeaderProblem, Part, VerifyError};
use crate::json::{self, Kind, Member, Members, Unescaped};

/// The longest `kid` that is looked up, in bytes.
pub(crate) const MAX_KID_BYTES: usize = 256;
/// The longest `alg` and `typ` that are read, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// What a verifier needs of a header. Nothing of it is trusted: `alg` is compared with the key,
/// `kid` finds one among the issuer's keys, and keys or addresses in the header are never used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    /// Reads a decoded header (RFC 7515 §4).
    pub(crate) fn parse(text: &'a [u8], members: &mut Members) -> Result<Self, VerifyError> {
        json::text(text)
            .and_then(|text| members.scan(text))
            .map_err(|problem| VerifyError::Json {
                part: Part::Header,
                problem,
            })?;
        let (mut alg, mut kid, mut typ) = (None, None, None);
        for member in members.as_slice() {
            let is = |name: &str| member.is_named(text, name.as_bytes());
            if is("alg") {
                alg = Some(string(text, member, "alg", MAX_NAME_BYTES)?);
            } else if is("kid") {
                kid = Some(string(text, member, "kid", MAX_KID_BYTES)?);
            } else if is("typ") {
                typ = Some(string(text, member, "typ", MAX_NAME_BYTES)?);
            } else if is("b64") {
                // RFC 7797 §3: `true` means what its absence means.
                if member.kind() != Kind::True {
                    return Err(refused("b64", HeaderProblem::NotUnderstood));
                }
            } else {
                // RFC 7515 §4.1.11: we understand no extension, so we honour none. `zip` and `enc`
                // belong to encrypted tokens, which these are not.
                for name in ["crit", "zip", "enc"] {
                    if is(name) {
                        return Err(refused(name, HeaderProblem::NotUnderstood));
                    }
                }
            }
        }
        let alg = alg.ok_or(refused("alg", HeaderProblem::Missing))?;
        Ok(Self {
            algorithm: Algorithm::from_name(&alg).ok_or(VerifyError::AlgorithmUnknown)?,
            kid,
            typ,
        })
    }

    fn into_owned(self) -> Header<'static> {
        let own = |text: Option<Cow<'a, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Header {
            algorithm: self.algorithm,
            kid: own(self.kid),
            typ: own(self.typ),
        }
    }
}

fn refused(name: &'static str, problem: HeaderProblem) -> VerifyError {
    VerifyError::Header { name, problem }
}

fn string<'a>(
    text: &'a [u8],
    member: &Member,
    name: &'static str,
    limit: usize,
) -> Result<Cow<'a, str>, VerifyError> {
    let written = member.value().of(text);
    let value = match member.kind() {
        Kind::String => std::str::from_utf8(written).ok().map(Cow::Borrowed),
        // At most six bytes write one, so this bounds the work before it is done.
        Kind::EscapedString if written.len() > 6 * limit => None,
        Kind::EscapedString => String::from_utf8(Unescaped::new(written).collect())
            .ok()
            .map(Cow::Owned),
        _ => return Err(refused(name, HeaderProblem::NotAString)),
    };
    match value {
        Some(value) if !value.is_empty() && value.len() <= limit => Ok(value),
        _ => Err(refused(name, HeaderProblem::Length)),
    }
}

/// Headers of tokens that were found to be genuine, by their base64url text. An issuer writes the
/// same header into all its tokens, so it is read once.
///
/// Only what reading it gives is kept, nothing that was decided about it. It is filled only by
/// tokens that verified, so strangers can neither fill nor empty it.
pub(crate) struct KnownHeaders {
    slots: [ArcSwapOption<KnownHeader>; Self::SLOTS],
}

pub(crate) struct KnownHeader {
    pub(crate) text: Box<[u8]>,
    pub(crate) header: Header<'static>,
    /// How long the signature behind it was.
    pub(crate) signature_characters: usize,
}

impl KnownHeaders {
    /// How many are kept: many more than the keys that most verifiers meet.
    const SLOTS: usize = 64;
    /// In how many slots one may stand, from the one that its text gives on.
    const WAYS: usize = 4;
    /// Longer ones (with certificates in them, say) are read each time.
    const MAX_TEXT_BYTES: usize = 512;

    pub(crate) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| ArcSwapOption::empty()),
        }
    }

    #[inline(always)]
    pub(crate) fn find(&self, text: &[u8]) -> Option<arc_swap::Guard<Option<Arc<KnownHeader>>>> {
        for at in Self::slots(text) {
            let known = self.slots.get(at)?.load();
            match &*known {
                Some(header) if *header.text == *text => return Some(known),
                Some(_) => {}
                // Slots are never emptied, so it stands in none behind this one.
                None => return None,
            }
        }
        None
    }

    /// Keeps a header in its first slot that is free; if none is, another header makes place for it.
    pub(crate) fn insert(&self, text: &[u8], header: Header<'_>, signature_characters: usize) {
        if text.len() > Self::MAX_TEXT_BYTES {
            return;
        }
        let is_free = |at: &usize| {
            self.slots
                .get(*at)
                .is_some_and(|slot| slot.load().is_none())
        };
        let free = Self::slots(text).find(is_free);
        let at = free.unwrap_or(Self::slot(text));
        if let Some(slot) = self.slots.get(at) {
            slot.store(Some(Arc::new(KnownHeader {
                text: Box::from(text),
                header: header.into_owned(),
                signature_characters,
            })));
        }
    }

    #[inline]
    fn slots(text: &[u8]) -> impl Iterator<Item = usize> {
        let first = Self::slot(text);
        (0..Self::WAYS).map(move |way| (first + way) % Self::SLOTS)
    }

    /// A slot for `text`, from bytes in its middle and at its end: where key ids are.
    #[inline]
    fn slot(text: &[u8]) -> usize {
        let word = |at: usize| {
            text.get(at..)
                .and_then(|rest| rest.first_chunk::<8>())
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let mixed = word(text.len() / 2) ^ word(text.len().saturating_sub(9)).rotate_left(29);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % Self::SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Header<'_>, VerifyError> {
        Header::parse(text.as_bytes(), &mut Members::new())
    }

    #[test]
    fn a_header_says_algorithm_key_and_type() {
        let header = parse(r#"{"typ":"at+jwt","alg":"ES256","kid":"k\u0031","jku":7}"#).unwrap();
        assert_eq!(header.algorithm, Algorithm::Es256);
        assert_eq!(header.kid.as_deref(), Some("k1"));
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(parse(r#"{"alg":"HS256","b64":true}"#).unwrap().kid, None);
    }

    #[test]
    fn jwt_001_jwt_002_none_in_any_spelling_is_no_algorithm() {
        for alg in [
            "none",
            "None",
            "NONE",
            "nOnE",
            "none ",
            "\\u006eone",
            "es256",
            "ES256 ",
        ] {
            let text = format!(r#"{{"alg":"{alg}","kid":"k1"}}"#);
            assert_eq!(parse(&text), Err(VerifyError::AlgorithmUnknown), "{text}");
        }
    }

    #[test]
    fn jwt_006_alg_must_be_a_name() {
        let long = format!(r#""{}""#, "E".repeat(10_000));
        for (alg, problem) in [
            ("null", HeaderProblem::NotAString),
            ("256", HeaderProblem::NotAString),
            (r#"["ES256"]"#, HeaderProblem::NotAString),
            ("{}", HeaderProblem::NotAString),
            (r#""""#, HeaderProblem::Length),
            (&long, HeaderProblem::Length),
        ] {
            let error = parse(&format!(r#"{{"alg":{alg}}}"#))
                .map(|_| ())
                .unwrap_err();
            assert_eq!(error, refused("alg", problem), "{alg}");
        }
        assert_eq!(parse("{}"), Err(refused("alg", HeaderProblem::Missing)));
    }

    #[test]
    fn jwt_080_jwt_082_jwt_043_what_must_not_be_ignored_is_refused() {
        for (name, value) in [
            ("crit", r#"["exp"]"#),
            ("crit", "[]"),
            ("crit", "null"),
            ("cri\\u0074", r#"["b64"]"#),
            ("b64", "false"),
            ("b64", "\"true\""),
            ("zip", "\"DEF\""),
            ("enc", "\"A256GCM\""),
        ] {
            let text = format!(r#"{{"alg":"ES256","{name}":{value}}}"#);
            let error = parse(&text).unwrap_err();
            assert!(
                matches!(
                    error,
                    VerifyError::Header {
                        problem: HeaderProblem::NotUnderstood,
                        ..
                    }
                ),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn jwt_086_a_kid_is_a_bounded_string() {
        for kid in [
            "7",
            "null",
            "[]",
            "\"\"",
            &format!("\"{}\"", "k".repeat(257)),
        ] {
            assert!(
                parse(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#)).is_err(),
                "{kid}"
            );
        }
        let escaped = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "\\u0000".repeat(5_000));
        assert_eq!(parse(&escaped), Err(refused("kid", HeaderProblem::Length)));
        let longest = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(256));
        assert!(parse(&longest).is_ok());
    }

    #[test]
    fn a_known_header_is_found_by_its_text_alone() {
        let known = KnownHeaders::new();
        let header = parse(r#"{"alg":"ES256","kid":"k1"}"#).unwrap();
        assert!(known.find(b"eyJhbGciOiJ").is_none());
        known.insert(b"eyJhbGciOiJ", header.clone(), 43);
        let found = known.find(b"eyJhbGciOiJ").unwrap();
        assert_eq!(found.as_ref().unwrap().header, header);
        assert!(known.find(b"eyJhbGciOi").is_none());
        known.insert(&[b'x'; 513], header, 43);
        assert!(known.find(&[b'x'; 513]).is_none());
    }

    #[test]
    fn headers_that_fall_on_one_slot_do_not_push_each_other_out() {
        let known = KnownHeaders::new();
        let header = parse(r#"{"alg":"ES256","kid":"k1"}"#).unwrap();
        let home = KnownHeaders::slot(b"header-0");
        let crowd: Vec<String> = (0..10_000)
            .map(|i| format!("header-{i}"))
            .filter(|text| KnownHeaders::slot(text.as_bytes()) == home)
            .take(KnownHeaders::WAYS)
            .collect();
        assert_eq!(crowd.len(), KnownHeaders::WAYS);
        for text in &crowd {
            known.insert(text.as_bytes(), header.clone(), 43);
        }
        assert!(
            crowd
                .iter()
                .all(|text| known.find(text.as_bytes()).is_some())
        );
        assert!(known.find(b"header-?").is_none());
    }
}
