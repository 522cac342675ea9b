//! Structured fields (RFC 9651), read strictly and without allocating: of the forms that may be
//! parsed alike, only the one that a serializer writes (§4.1) is taken, so that the bytes that were
//! read are the bytes that were signed.

/// What may stand where, by byte.
static CLASSES: [u8; 256] = classes();

const KEY_START: u8 = 1;
const KEY: u8 = 2;
const TOKEN_START: u8 = 4;
const TOKEN: u8 = 8;
/// In a string, as itself.
const STRING: u8 = 16;
const BASE64: u8 = 32;
/// In a field name in lower case.
pub(super) const FIELD_NAME: u8 = 64;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_lowercase() || byte == b'*' {
            class |= KEY_START;
        }
        if byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'-' | b'.' | b'*')
        {
            class |= KEY;
        }
        if byte.is_ascii_alphabetic() || byte == b'*' {
            class |= TOKEN_START;
        }
        if is_token_character(byte) || matches!(byte, b':' | b'/') {
            class |= TOKEN;
        }
        if byte >= 0x20 && byte < 0x7f && !matches!(byte, b'"' | b'\\') {
            class |= STRING;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=') {
            class |= BASE64;
        }
        if is_token_character(byte) && !byte.is_ascii_uppercase() {
            class |= FIELD_NAME;
        }
        #[allow(
            clippy::indexing_slicing,
            reason = "evaluated when compiled; an index out of range would not compile"
        )]
        {
            classes[index] = class;
        }
        index += 1;
    }
    classes
}

/// `tchar` (RFC 9110 §5.6.2).
const fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    // An array of 256 has every byte.
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|found| found & class != 0)
}

/// Whether `text`, of the alphabet and `=`, is what an encoder makes: padded, unused bits zero.
fn is_canonical_base64(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (digits, _) = text.split_at(text.len() - padding);
    let last_is = |allowed: &[u8]| digits.last().is_some_and(|last| allowed.contains(last));
    let ends_well = match padding {
        0 => true,
        1 => last_is(b"AEIMQUYcgkosw048"),
        2 => last_is(b"AQgw"),
        _ => false,
    };
    text.len() % 4 == 0 && ends_well && !digits.contains(&b'=')
}

/// A field that is not in its canonical form, and where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
}

/// A value without its parameters (RFC 9651 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare<'a> {
    Integer(i64),
    Decimal,
    /// What is between the quotes, as it was written: `\"` and `\\` are left as they are.
    String(&'a [u8]),
    Token,
    /// The base64 between the colons.
    Bytes(&'a [u8]),
    Boolean(bool),
    Date,
    DisplayString,
}

/// Reads one line of a field from front to back.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    pub(crate) fn malformed<T>(&self) -> Result<T, Malformed> {
        Err(Malformed { at: self.at })
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        match self.eat(byte) {
            true => Ok(()),
            false => self.malformed(),
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.line.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    fn run(&mut self, class: u8) -> &'a [u8] {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is(*byte, class));
        let length = length.unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// The next member's name in a dictionary; `None` at the end of the line. `first` says whether
    /// one came before.
    #[inline]
    pub(crate) fn next_key(&mut self, first: bool) -> Result<Option<&'a [u8]>, Malformed> {
        while self.eat(b' ') {}
        if self.peek().is_none() {
            return Ok(None);
        }
        if !first {
            while self.eat(b'\t') || self.eat(b' ') {}
            self.expect(b',')?;
            while self.eat(b'\t') || self.eat(b' ') {}
        }
        self.key().map(Some)
    }

    /// `key` (RFC 9651 §3.1.2).
    #[inline]
    pub(crate) fn key(&mut self) -> Result<&'a [u8], Malformed> {
        match self.peek() {
            Some(byte) if is(byte, KEY_START) => Ok(self.run(KEY)),
            _ => self.malformed(),
        }
    }

    /// The next parameter of what was just read; `None` if there is no other.
    #[inline]
    pub(crate) fn parameter(&mut self) -> Result<Option<(&'a [u8], Bare<'a>)>, Malformed> {
        if !self.eat(b';') {
            return Ok(None);
        }
        let key = self.key()?;
        if !self.eat(b'=') {
            return Ok(Some((key, Bare::Boolean(true))));
        }
        match self.whole()? {
            // A serializer leaves it away.
            Bare::Boolean(true) => self.malformed(),
            value => Ok(Some((key, value))),
        }
    }

    /// A value that nobody decodes: its base64 is looked at here.
    #[inline]
    pub(crate) fn whole(&mut self) -> Result<Bare<'a>, Malformed> {
        match self.bare()? {
            Bare::Bytes(text) if !is_canonical_base64(text) => self.malformed(),
            value => Ok(value),
        }
    }

    /// Any value without its parameters. Whoever takes [`Bare::Bytes`] decodes it strictly.
    #[inline]
    pub(crate) fn bare(&mut self) -> Result<Bare<'a>, Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(Bare::String),
            Some(b':') => self.bytes().map(Bare::Bytes),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'?') => self.boolean(),
            Some(b'@') => {
                self.at += 1;
                match self.number()? {
                    Bare::Integer(_) => Ok(Bare::Date),
                    _ => self.malformed(),
                }
            }
            Some(b'%') => self.display_string(),
            Some(byte) if is(byte, TOKEN_START) => {
                self.run(TOKEN);
                Ok(Bare::Token)
            }
            _ => self.malformed(),
        }
    }

    /// The value of a dictionary's member (RFC 9651 §3.2) with its parameters, `=` left out: an item, a
    /// list, or nothing but parameters.
    pub(crate) fn member_value(&mut self) -> Result<&'a [u8], Malformed> {
        let explicit = self.eat(b'=');
        let start = self.at;
        if explicit {
            if self.peek() == Some(b'(') {
                self.inner_list()?;
            } else if self.whole()? == Bare::Boolean(true) {
                // A serializer leaves it away.
                return self.malformed();
            }
        }
        while self.parameter()?.is_some() {}
        Ok(self.since(start))
    }

    fn inner_list(&mut self) -> Result<(), Malformed> {
        self.expect(b'(')?;
        if self.eat(b')') {
            return Ok(());
        }
        loop {
            self.whole()?;
            while self.parameter()?.is_some() {}
            if self.eat(b')') {
                return Ok(());
            }
            self.expect(b' ')?;
        }
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.run(STRING);
            if self.peek() == Some(b'"') {
                let text = self.since(start);
                self.at += 1;
                return Ok(text);
            }
            self.expect(b'\\')?;
            if !self.eat(b'"') {
                self.expect(b'\\')?;
            }
        }
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.expect(b':')?;
        let text = self.run(BASE64);
        self.expect(b':')?;
        Ok(text)
    }

    /// At most 15 digits; no zero in front, and none at the end of a fraction.
    #[inline]
    fn number(&mut self) -> Result<Bare<'a>, Malformed> {
        let negative = self.eat(b'-');
        let digits = self.digits();
        let whole = digits.iter().fold(0_i64, |number, digit| {
            // Checked below: what overflows here is refused.
            number
                .wrapping_mul(10)
                .wrapping_add(i64::from(digit - b'0'))
        });
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
            return self.malformed();
        }
        if self.eat(b'.') {
            let fraction = self.digits();
            let canonical = fraction.len() == 1 || !fraction.ends_with(b"0");
            if digits.len() > 12 || !(1..=3).contains(&fraction.len()) || !canonical {
                return self.malformed();
            }
            return Ok(Bare::Decimal);
        }
        if digits.len() > 15 || (negative && whole == 0) {
            return self.malformed();
        }
        Ok(Bare::Integer(if negative { -whole } else { whole }))
    }

    fn digits(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.since(start)
    }

    fn boolean(&mut self) -> Result<Bare<'a>, Malformed> {
        self.expect(b'?')?;
        if self.eat(b'1') {
            return Ok(Bare::Boolean(true));
        }
        self.expect(b'0')?;
        Ok(Bare::Boolean(false))
    }

    /// `%"…"` with lower-case escapes of what is not visible ASCII (RFC 9651 §3.3.8).
    fn display_string(&mut self) -> Result<Bare<'a>, Malformed> {
        self.expect(b'%')?;
        self.expect(b'"')?;
        let mut room = [0; 4];
        let mut pending = 0;
        loop {
            match self.peek() {
                Some(b'%') => {
                    self.at += 1;
                    let byte = (self.hex()? << 4) | self.hex()?;
                    let plain = (0x20..0x7f).contains(&byte) && byte != b'%' && byte != b'"';
                    if plain || pending == room.len() {
                        return self.malformed();
                    }
                    if let Some(place) = room.get_mut(pending) {
                        *place = byte;
                        pending += 1;
                    }
                    if std::str::from_utf8(room.get(..pending).unwrap_or_default()).is_ok() {
                        pending = 0;
                    }
                }
                _ if pending != 0 => return self.malformed(),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Bare::DisplayString);
                }
                Some(0x20..=0x7e) => self.at += 1,
                _ => return self.malformed(),
            }
        }
    }

    fn hex(&mut self) -> Result<u8, Malformed> {
        let digit = match self.peek() {
            Some(byte @ b'0'..=b'9') => byte - b'0',
            Some(byte @ b'a'..=b'f') => byte - b'a' + 10,
            _ => return self.malformed(),
        };
        self.at += 1;
        Ok(digit)
    }
}
