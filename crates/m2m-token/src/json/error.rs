//! Why a text is not a JSON object that we take.

use super::{MAX_DEPTH, MAX_MEMBERS, MAX_TEXT};

/// Why a header, a set of claims or a key is not JSON as RFC 8259 and RFC 7515 §4 want it. Positions
/// are byte offsets into the decoded text.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More than 32,704 bytes.
    #[error("longer than {MAX_TEXT} bytes")]
    TooLong,
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("not UTF-8 from byte {at} on")]
    Utf8 {
        /// Where.
        at: usize,
    },
    /// Something other than an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Not JSON, or cut short.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// Something follows the object.
    #[error("something follows the JSON object, at byte {at}")]
    Trailing {
        /// Where.
        at: usize,
    },
    /// A name stands twice in one object, perhaps spelled with escapes (RFC 7515 §4, RFC 7519 §4).
    #[error("the member name at byte {at} stands twice in its object")]
    DuplicateMember {
        /// Where the second one is.
        at: usize,
    },
    /// Arrays and objects are nested deeper than 16.
    #[error("nested deeper than {MAX_DEPTH} at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// An object has more than 64 members.
    #[error("more than {MAX_MEMBERS} members in an object")]
    TooManyMembers,
    /// A control character, an unknown escape or half of a surrogate pair in a string.
    #[error("bad escape or control character in the string at byte {at}")]
    String {
        /// Where.
        at: usize,
    },
}
