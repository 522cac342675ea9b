//! `CanonicalPath`: a path that has one meaning, for the decision and for the router.

/// A path in the one form in which the decision and whoever routes by it cannot differ.
///
/// It begins with `/`, has no empty segments but for a last one, none that is `.` or `..`, no `\`, no `;`, no
/// control characters, nothing but ASCII, and escapes only what needs it: `%2F`, `%5C`, `%25` and `%00` are
/// refused, and so are escapes of what stands as well unescaped, and those in lower case (RFC 3986 §6.2.2).
///
/// ```
/// use m2m_guard::{CanonicalPath, PathProblem};
///
/// assert_eq!(CanonicalPath::parse("/orders/17")?.as_str(), "/orders/17");
/// assert_eq!(CanonicalPath::parse("/orders/../admin"), Err(PathProblem::Relative { at: 8 }));
/// assert_eq!(CanonicalPath::parse("/orders%2f..%2fadmin"), Err(PathProblem::Escape { at: 7 }));
/// # Ok::<(), PathProblem>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a>(&'a str);

/// Why a path could be read in more than one way. Positions are byte offsets into it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It does not begin with `/`.
    #[error("a path begins with /")]
    NotAbsolute,
    /// A segment is empty: some merge `//` and some do not.
    #[error("the segment at byte {at} is empty")]
    Empty {
        /// Where.
        at: usize,
    },
    /// A segment is `.` or `..`.
    #[error("the segment at byte {at} is a relative one")]
    Relative {
        /// Where.
        at: usize,
    },
    /// An escape that is broken, that hides what separates, or that nothing needs.
    #[error("the escape at byte {at} is not one that has a single meaning")]
    Escape {
        /// Where.
        at: usize,
    },
    /// A character that servers read differently, or that is none of a path.
    #[error("the byte at {at} does not belong in a path")]
    Character {
        /// Where.
        at: usize,
    },
}

impl<'a> CanonicalPath<'a> {
    /// Checks `path`, without its query, in one pass.
    ///
    /// # Errors
    ///
    /// [`PathProblem`]: the first that was met. What is refused is not to be repaired: whoever meant it
    /// writes it in the one form.
    pub fn parse(path: &'a str) -> Result<Self, PathProblem> {
        let bytes = path.as_bytes();
        if bytes.first() != Some(&b'/') {
            return Err(PathProblem::NotAbsolute);
        }
        let (mut at, mut segment) = (1, 1);
        loop {
            // Most bytes are plain.
            at += plain(bytes.get(at..).unwrap_or_default());
            let Some(byte) = bytes.get(at) else {
                break;
            };
            match CLASSES.get(usize::from(*byte)) {
                Some(Class::Plain) => {}
                Some(Class::Slash) => {
                    check_segment(bytes.get(segment..at).unwrap_or_default(), segment)?;
                    if segment == at {
                        return Err(PathProblem::Empty { at });
                    }
                    segment = at + 1;
                }
                Some(Class::Percent) => {
                    check_escape(bytes.get(at + 1..).unwrap_or_default(), at)?;
                    at += 2;
                }
                Some(Class::Foreign) | None => return Err(PathProblem::Character { at }),
            }
            at += 1;
        }
        // The last segment may be empty.
        check_segment(bytes.get(segment..).unwrap_or_default(), segment)?;
        Ok(Self(path))
    }

    /// The path.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// How many bytes at the front are plain. They are looked at by eights, without a branch for each.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        if !eight.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            break;
        }
        rest = behind;
    }
    let other = rest.iter().position(|byte| !is_plain(*byte));
    bytes.len() - rest.len() + other.unwrap_or(rest.len())
}

#[inline]
fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// What a byte is in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `pchar` (RFC 3986 §3.3) but for `;`, which some cut paths at.
    Plain,
    Slash,
    Percent,
    Foreign,
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = matches!(CLASSES[byte], Class::Plain);
        byte += 1;
    }
    plain
};

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const CLASSES: [Class; 256] = {
    let mut classes = [Class::Foreign; 256];
    let plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,=:@";
    let mut at = 0;
    while at < plain.len() {
        classes[plain[at] as usize] = Class::Plain;
        at += 1;
    }
    classes[b'/' as usize] = Class::Slash;
    classes[b'%' as usize] = Class::Percent;
    classes
};

#[inline]
fn check_segment(segment: &[u8], at: usize) -> Result<(), PathProblem> {
    match segment {
        b"." | b".." => Err(PathProblem::Relative { at }),
        _ => Ok(()),
    }
}

/// The two digits behind a `%` that stands at `at`.
fn check_escape(behind: &[u8], at: usize) -> Result<(), PathProblem> {
    let escaped = match behind {
        [high, low, ..] => hexadecimal(*high).zip(hexadecimal(*low)),
        _ => None,
    };
    match escaped.map(|(high, low)| high << 4 | low) {
        Some(byte) if needs_escape(byte) => Ok(()),
        _ => Err(PathProblem::Escape { at }),
    }
}

/// Upper case alone: one form.
fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a byte may stand escaped: not if it separates, escapes or ends, nor if it stands as well
/// unescaped.
fn needs_escape(byte: u8) -> bool {
    let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_dangerous = matches!(byte, b'/' | b'\\' | b'%' | b';') || byte.is_ascii_control();
    !is_unreserved && !is_dangerous
}
