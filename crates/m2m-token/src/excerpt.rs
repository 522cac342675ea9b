//! `Excerpt`: a short, escaped piece of text that a stranger chose, for error messages.

use std::fmt;

/// The beginning of a text that came from outside, to be shown to operators: at most
/// [`Excerpt::MAX_BYTES`] bytes of it. Both `Display` and `Debug` escape what could break a log line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; Self::MAX_BYTES],
    len: u8,
    cut: bool,
}

impl Excerpt {
    /// How much of the text is kept, in bytes.
    pub const MAX_BYTES: usize = 48;

    /// Takes the beginning of `text`.
    pub(crate) fn new(text: &str) -> Self {
        let mut len = text.len().min(Self::MAX_BYTES);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; Self::MAX_BYTES];
        for (to, from) in bytes.iter_mut().zip(text.bytes().take(len)) {
            *to = from;
        }
        Self {
            bytes,
            len: len as u8,
            cut: len < text.len(),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // Only ASCII is shown as it is: no bidirectional marks, no look-alikes.
        let dots = if self.cut { "…" } else { "" };
        write!(f, "\"{}\"{dots}", bytes.escape_ascii())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_log_line_is_escaped() {
        let shown = Excerpt::new("a\r\n\x1b[31m\0\"\u{202e}é").to_string();
        assert_eq!(shown, r#""a\r\n\x1b[31m\x00\"\xe2\x80\xae\xc3\xa9""#);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let shown = Excerpt::new(&"é".repeat(40_000)).to_string();
        assert!(shown.ends_with("…"));
        assert!(shown.len() <= 4 * Excerpt::MAX_BYTES + 5);
        assert_eq!(Excerpt::new(&format!("x{}", "é".repeat(40))).len, 47);
        assert_eq!(Excerpt::new(&"k".repeat(48)).to_string().len(), 50);
    }
}
