//! `Serial`: the number by which an authority knows a certificate.

use std::fmt;

use m2m_crypto::{RandomError, SecureRandom};

/// A certificate's `serialNumber` (RFC 5280 §4.1.2.2): 1 to 20 bytes, positive, as the bytes of its
/// one minimal form without the sign byte. Two are equal if and only if the numbers are.
///
/// ```
/// use m2m_pki::Serial;
///
/// assert_eq!(Serial::from_bytes(&[0, 0x9a, 1]), Serial::from_bytes(&[0x9a, 1]));
/// assert_eq!(Serial::from_bytes(&[0x9a, 1]).expect("positive").to_string(), "9a01");
/// assert_eq!(Serial::from_bytes(&[0]), None);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// The longest there is, in bytes of DER content (RFC 5280 §4.1.2.2).
    pub const MAX_BYTES: usize = 20;
    /// How long those are that an [`Authority`](crate::Authority) issues.
    pub const ISSUED_BYTES: usize = 16;

    /// The number whose big-endian bytes these are; leading zeroes say nothing. [`None`] for zero, and
    /// for numbers that would take more than [`Serial::MAX_BYTES`] in DER, sign included.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().position(|byte| *byte != 0)?;
        let bytes = bytes.get(start..)?;
        let sign = usize::from(bytes.first()? >> 7);
        (bytes.len() + sign <= Self::MAX_BYTES).then(|| Self(bytes.into()))
    }

    /// The number in the content of a DER INTEGER: [`None`] as above, and if it is negative.
    pub(crate) fn from_der_content(content: &[u8]) -> Option<Self> {
        let negative = content.first()? & 0x80 != 0;
        let fits = content.len() <= Self::MAX_BYTES;
        (!negative && fits).then(|| Self::from_bytes(content))?
    }

    /// A new one: 126 random bits, and two fixed ones that make it positive and always as long.
    pub(crate) fn random(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut bytes = [0; Self::ISSUED_BYTES];
        random.fill(&mut bytes)?;
        if let Some(first) = bytes.first_mut() {
            *first = *first & 0x7f | 0x40;
        }
        Ok(Self(bytes.into()))
    }

    /// Its big-endian bytes, without leading zeroes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In lower-case hexadecimal digits.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use m2m_crypto::SystemRandom;

    use super::*;

    #[test]
    fn pki_016_serials_are_positive_and_fit() {
        assert_eq!(Serial::from_der_content(&[]), None);
        assert_eq!(Serial::from_der_content(&[0]), None);
        assert_eq!(Serial::from_der_content(&[0x80]), None);
        assert_eq!(Serial::from_der_content(&[1; 21]), None);
        assert!(Serial::from_der_content(&[1; 20]).is_some());
        assert_eq!(Serial::from_bytes(&[0x80; 20]), None);
        let signed = Serial::from_der_content(&[0, 0x80]);
        assert_eq!(signed, Serial::from_bytes(&[0x80]));
    }

    #[test]
    fn pki_036_a_million_serials_of_four_threads_are_unique_and_positive() {
        let draw = || -> HashSet<Serial> {
            (0..250_000)
                .map(|_| Serial::random(&SystemRandom).unwrap())
                .collect()
        };
        let drawn: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let all: HashSet<&Serial> = drawn.iter().flatten().collect();
        assert_eq!(all.len(), 1_000_000);
        for serial in all {
            assert_eq!(serial.as_bytes().len(), Serial::ISSUED_BYTES);
            assert!(matches!(serial.as_bytes(), [0x40..=0x7f, ..]));
        }
    }
}
