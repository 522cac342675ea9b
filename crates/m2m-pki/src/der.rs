//! The strict DER (X.690) that CRLs need: one pass, nothing allocated, no recursion.
//!
//! A [`Reader`] goes over the elements of one level; what nests is read by a reader over an element's
//! content, so the depth of nesting is that of our own calls and never the input's. Lengths are
//! definite and minimal and never reach beyond what is there. Tag numbers above 30 do not occur in a
//! CRL and are refused.

pub(crate) mod time;
pub(crate) mod write;

/// Why bytes are not DER, or not the DER that was expected there.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// The bytes end inside an element.
    #[error("the bytes end inside an element")]
    Truncated,
    /// An indefinite, non-minimal or enormous length.
    #[error("a length is indefinite, not minimal or beyond four octets")]
    Length,
    /// A tag number above 30.
    #[error("a tag number is above 30")]
    HighTag,
    /// Another element was expected.
    #[error("expected tag {expected:#04x}, found {found:#04x}")]
    Tag {
        /// The identifier octet that belongs there.
        expected: u8,
        /// The one that is there.
        found: u8,
    },
    /// Something follows the last element.
    #[error("bytes follow the last element")]
    Trailing,
    /// A BOOLEAN that is neither 00 nor FF.
    #[error("a boolean is neither 00 nor ff")]
    Boolean,
    /// An INTEGER that is empty, not minimal, negative or longer than allowed there.
    #[error("an integer is empty, not minimal, negative or too long")]
    Integer,
    /// A BIT STRING that is empty or says that it has unused bits.
    #[error("a bit string is empty or has unused bits")]
    BitString,
    /// Not a time of RFC 5280 §4.1.2.5, or one before 1970.
    #[error("a time is not of the form of RFC 5280 or is before 1970")]
    Time,
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// `[number]`, its content primitive.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[number]`, its content constructed.
pub(crate) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The elements of one level, from front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The identifier octet of what comes next.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is: its identifier octet and its content.
    #[inline]
    pub(crate) fn any(&mut self) -> Result<(u8, &'a [u8]), DerError> {
        let (&tag, rest) = self.rest.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::HighTag);
        }
        let (&first, rest) = rest.split_first().ok_or(DerError::Truncated)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            long_length(first, rest)?
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which is to be `expected`.
    #[inline]
    pub(crate) fn read(&mut self, expected: u8) -> Result<&'a [u8], DerError> {
        match self.peek() {
            Some(found) if found != expected => Err(DerError::Tag { expected, found }),
            _ => self.any().map(|(_, content)| content),
        }
    }

    /// The next element whole, its header included.
    pub(crate) fn raw(&mut self, expected: u8) -> Result<&'a [u8], DerError> {
        let start = self.rest;
        self.read(expected)?;
        let length = start.len() - self.rest.len();
        start.get(..length).ok_or(DerError::Truncated)
    }

    /// The content of the next element if it is `tag`.
    #[inline]
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DerError> {
        if self.peek() == Some(tag) {
            return self.read(tag).map(Some);
        }
        Ok(None)
    }

    /// A reader over the next element, which is to be `expected`.
    #[inline]
    pub(crate) fn inside(&mut self, expected: u8) -> Result<Self, DerError> {
        self.read(expected).map(Self::new)
    }

    /// Nothing may follow.
    #[inline]
    pub(crate) const fn finish(self) -> Result<(), DerError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(DerError::Trailing)
    }
}

/// The length in its long form: as many octets as needed and at most four, which is more than any
/// bound of ours.
fn long_length(first: u8, rest: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let octets = usize::from(first & 0x7f);
    if octets == 0 || octets > 4 {
        return Err(DerError::Length);
    }
    let (octets, rest) = rest.split_at_checked(octets).ok_or(DerError::Truncated)?;
    let length = octets.iter().fold(0_u64, |n, o| (n << 8) | u64::from(*o));
    if length < 0x80 || octets.first() == Some(&0) {
        return Err(DerError::Length);
    }
    let length = usize::try_from(length).map_err(|_| DerError::Length)?;
    Ok((length, rest))
}

/// The one element that `bytes` are.
pub(crate) fn only(bytes: &[u8], expected: u8) -> Result<&[u8], DerError> {
    let mut reader = Reader::new(bytes);
    let content = reader.read(expected)?;
    reader.finish()?;
    Ok(content)
}

/// The value of a BOOLEAN.
pub(crate) const fn boolean(content: &[u8]) -> Result<bool, DerError> {
    match content {
        [0] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(DerError::Boolean),
    }
}

/// The magnitude of an INTEGER that is not negative, without the zero octet before a set top bit.
/// Zero is one zero octet.
#[inline]
pub(crate) fn unsigned(content: &[u8]) -> Result<&[u8], DerError> {
    match content {
        [] => Err(DerError::Integer),
        [0] => Ok(content),
        [0, second, ..] if *second < 0x80 => Err(DerError::Integer),
        [0, magnitude @ ..] => Ok(magnitude),
        [first, ..] if *first >= 0x80 => Err(DerError::Integer),
        _ => Ok(content),
    }
}

/// The octets of a BIT STRING that has no unused bits.
pub(crate) const fn octets_of_bits(content: &[u8]) -> Result<&[u8], DerError> {
    match content {
        [0, octets @ ..] if !octets.is_empty() => Ok(octets),
        _ => Err(DerError::BitString),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pki_017_lengths_are_definite_minimal_and_within_the_bytes() {
        let error = |bytes: &[u8]| Reader::new(bytes).any().unwrap_err();
        assert_eq!(error(&[0x30, 0x80, 0, 0]), DerError::Length);
        assert_eq!(error(&[0x30, 0x81, 0x7f]), DerError::Length);
        assert_eq!(error(&[0x30, 0x82, 0, 0x80]), DerError::Length);
        for octets in [
            &[0x84, 0x7f, 0xff, 0xff, 0xff][..],
            &[0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(error(&[&[0x30], octets].concat()), DerError::Truncated);
        }
        assert_eq!(
            error(&[0x30, 0x85, 1, 0, 0, 0, 0]),
            DerError::Length,
            "2^32"
        );
        assert_eq!(
            error(&[0x30, 0x88, 255, 255, 255, 255, 255, 255, 255, 255]),
            DerError::Length
        );
        assert_eq!(error(&[0x1f, 0x81, 0, 0]), DerError::HighTag);
        assert_eq!(error(&[]), DerError::Truncated);
        assert_eq!(error(&[0x30]), DerError::Truncated);
        assert_eq!(error(&[0x30, 2, 0]), DerError::Truncated);
        assert_eq!(Reader::new(&[0x30, 0]).any(), Ok((0x30, &[][..])));
        let long = [&[4, 0x81, 0x80][..], &[7; 128]].concat();
        assert_eq!(only(&long, OCTET_STRING), Ok(&[7; 128][..]));
        assert_eq!(only(&[5, 0, 0], 5), Err(DerError::Trailing));
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(unsigned(&[0]), Ok(&[0][..]));
        assert_eq!(unsigned(&[0x7f]), Ok(&[0x7f][..]));
        assert_eq!(unsigned(&[0, 0x80]), Ok(&[0x80][..]));
        for wrong in [&[][..], &[0, 0], &[0, 0x7f], &[0x80], &[0xff, 1]] {
            assert_eq!(unsigned(wrong), Err(DerError::Integer));
        }
    }
}
