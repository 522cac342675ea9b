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
        let rest = path.strip_prefix('/').ok_or(PathProblem::NotAbsolute)?;
        let (mut at, mut segments) = (1, rest.split('/').peekable());
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            if segment.is_empty() && !is_last {
                return Err(PathProblem::Empty { at });
            }
            if segment == "." || segment == ".." {
                return Err(PathProblem::Relative { at });
            }
            check_segment(segment.as_bytes(), at)?;
            at += segment.len() + 1;
        }
        Ok(Self(path))
    }

    /// The path.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

fn check_segment(segment: &[u8], at: usize) -> Result<(), PathProblem> {
    let mut bytes = segment.iter().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        let at = at + offset;
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|(_, digit)| hexadecimal(*digit));
                let escaped = digit().zip(digit()).map(|(high, low)| high << 4 | low);
                if !escaped.is_some_and(needs_escape) {
                    return Err(PathProblem::Escape { at });
                }
            }
            // `pchar` (RFC 3986 §3.3) but for `;`, which some cut paths at.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' => {}
            b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {}
            _ => return Err(PathProblem::Character { at }),
        }
    }
    Ok(())
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
