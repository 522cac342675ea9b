//! `LogText`: what a stranger wrote, fit for one line of a log.

use std::fmt;

/// A text of a SET (`txn`, `reason_admin`, a `reason`), to be shown to operators: in quotation marks, only
/// printable ASCII as it is, and cut after [`LogText::MAX_CHARS`] characters. No line ends, no escape
/// sequences of terminals and no marks that turn the direction of reading come through.
///
/// ```
/// use caep_stream::receiver::LogText;
///
/// assert_eq!(LogText::new("ok\r\nINFO all is well").to_string(), r#""ok\r\nINFO all is well""#);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogText<'t>(&'t str);

impl<'t> LogText<'t> {
    /// How much of a text is shown.
    pub const MAX_CHARS: usize = 256;

    /// Shows `text`.
    pub fn new(text: &'t str) -> Self {
        Self(text)
    }
}

impl fmt::Display for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut rest = self.0.chars();
        for character in rest.by_ref().take(Self::MAX_CHARS) {
            match character {
                ' '..='~' | '\n' | '\r' | '\t' => write!(f, "{}", character.escape_default())?,
                other => write!(f, "{}", other.escape_unicode())?,
            }
        }
        f.write_str(if rest.next().is_some() { "\"…" } else { "\"" })
    }
}

impl fmt::Debug for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_024_texts_of_strangers_cannot_break_a_log_line() {
        let shown = LogText::new("a\r\n\x1b[31m\0\u{202e}\u{85}é\"\\").to_string();
        assert_eq!(shown, r#""a\r\n\u{1b}[31m\u{0}\u{202e}\u{85}\u{e9}\"\\""#);
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let long = LogText::new(&"\u{202e}".repeat(100_000)).to_string();
        assert!(long.len() <= 10 * LogText::MAX_CHARS + 5, "{}", long.len());
        assert!(long.ends_with('…'));
    }
}
