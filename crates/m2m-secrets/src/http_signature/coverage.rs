//! `HttpCoverage`: which parts of a message, of those that matter in every request, a signature covers.

use super::component::{Components, Source};

/// Which parts of a message a signature covers, of those that matter in every request. A part counts only
/// as it is: one member, one parameter, a trailer or the part of another message is not it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpCoverage {
    bits: u8,
}

const METHOD: u8 = 1;
const AUTHORITY: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;
const CONTENT_DIGEST: u8 = 16;

impl HttpCoverage {
    pub(super) fn of(components: &Components<'_>) -> Self {
        let plain = components.iter().filter(|component| component.flags == 0);
        let bits = plain.map(|component| match component.source {
            Source::Method => METHOD,
            Source::Authority => AUTHORITY,
            Source::Path => PATH,
            Source::Query => QUERY,
            Source::RequestTarget => PATH | QUERY,
            Source::TargetUri => AUTHORITY | PATH | QUERY,
            Source::Field if component.name == super::DIGEST_FIELD => CONTENT_DIGEST,
            _ => 0,
        });
        Self {
            bits: bits.fold(0, |all, one| all | one),
        }
    }

    /// The method.
    pub const fn has_method(self) -> bool {
        self.bits & METHOD != 0
    }

    /// Host and port that the request is for.
    pub const fn has_authority(self) -> bool {
        self.bits & AUTHORITY != 0
    }

    /// The path.
    pub const fn has_path(self) -> bool {
        self.bits & PATH != 0
    }

    /// The query, or that there is none.
    pub const fn has_query(self) -> bool {
        self.bits & QUERY != 0
    }

    /// `Content-Digest`, and with it the content, once that was compared.
    pub const fn has_content_digest(self) -> bool {
        self.bits & CONTENT_DIGEST != 0
    }
}
