//! `CrlNumber`: which of two CRLs is newer; and `CrlNumbers`, from which no number comes twice.

use std::fmt;

use crate::der::{self, DerError};

/// A CRL number (RFC 5280 §5.2.3): at most 20 octets of DER, not negative.
///
/// ```
/// use m2m_pki::CrlNumber;
///
/// assert!(CrlNumber::from(255) < CrlNumber::from(256));
/// assert_eq!(CrlNumber::from(256).to_string(), "0100");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; Self::MAX_BYTES]);

impl CrlNumber {
    /// The most octets a number has.
    pub const MAX_BYTES: usize = 20;

    /// The number 20 octets say, big-endian; `None` if the highest bit is set, which does not fit
    /// into 20 octets of DER.
    pub fn from_be_bytes(bytes: [u8; Self::MAX_BYTES]) -> Option<Self> {
        let [first, ..] = bytes;
        (first < 0x80).then_some(Self(bytes))
    }

    /// The number as 20 octets, big-endian.
    pub const fn to_be_bytes(self) -> [u8; Self::MAX_BYTES] {
        self.0
    }

    /// The content of a DER INTEGER.
    pub(crate) fn from_der_content(content: &[u8]) -> Result<Self, DerError> {
        let magnitude = der::unsigned(content)?;
        if content.len() > Self::MAX_BYTES {
            return Err(DerError::Integer);
        }
        let mut bytes = [0; Self::MAX_BYTES];
        for (to, from) in bytes.iter_mut().rev().zip(magnitude.iter().rev()) {
            *to = *from;
        }
        Ok(Self(bytes))
    }

    pub(crate) fn to_der(self) -> Vec<u8> {
        let mut out = Vec::new();
        der::write::unsigned(&self.0, &mut out);
        out
    }

    /// One more; `None` after the last.
    pub fn successor(self) -> Option<Self> {
        let mut bytes = self.0;
        for octet in bytes.iter_mut().rev() {
            let (sum, carries) = octet.overflowing_add(1);
            *octet = sum;
            if !carries {
                return Self::from_be_bytes(bytes);
            }
        }
        None
    }
}

impl From<u64> for CrlNumber {
    fn from(number: u64) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        for (to, from) in bytes.iter_mut().rev().zip(number.to_le_bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

/// In hexadecimal digits, two an octet, as OpenSSL prints it.
impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zeroes = self.0.iter().take_while(|octet| **octet == 0).count();
        let shown = zeroes.min(Self::MAX_BYTES - 1);
        let octets = self.0.iter().skip(shown);
        octets
            .into_iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrlNumber({self})")
    }
}

/// A number that no CRL has had. Preparing a CRL takes it away, so that it is used once.
#[derive(Debug)]
pub struct FreshCrlNumber(CrlNumber);

impl FreshCrlNumber {
    /// Which one it is.
    pub const fn number(&self) -> CrlNumber {
        self.0
    }
}

/// Where CRL numbers come from: each is greater than all before it.
///
/// What it has to remember is [`CrlNumbers::last`]. Write that down before a CRL with the number
/// leaves the process, and go on from it with [`CrlNumbers::resume`]: numbers that repeat after a
/// restart let a stale CRL pass for the newest. One sequence may serve all lists of an issuer.
///
/// ```
/// use m2m_pki::{CrlNumber, CrlNumbers};
///
/// let mut numbers = CrlNumbers::resume(CrlNumber::from(41));
/// assert_eq!(numbers.claim()?.number(), CrlNumber::from(42));
/// assert!(numbers.claim_exactly(CrlNumber::from(42)).is_err());
/// assert_eq!(numbers.last(), Some(CrlNumber::from(42)));
/// # Ok::<(), m2m_pki::CrlNumberError>(())
/// ```
#[derive(Debug)]
pub struct CrlNumbers {
    last: Option<CrlNumber>,
}

/// Why there is no number.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlNumberError {
    /// The number asked for is not greater than the last one.
    #[error("CRL number {asked} is not greater than the last one, {last}")]
    NotIncreasing {
        /// The number asked for.
        asked: CrlNumber,
        /// The greatest one given out.
        last: CrlNumber,
    },
    /// All numbers of 20 octets have been given out.
    #[error("no CRL number of 20 octets is left")]
    Exhausted,
}

impl CrlNumbers {
    /// The numbers of an issuer that never had a CRL: the first is 1.
    pub const fn first() -> Self {
        Self { last: None }
    }

    /// The numbers after `last`.
    pub const fn resume(last: CrlNumber) -> Self {
        Self { last: Some(last) }
    }

    /// The greatest number given out: what has to be stored.
    pub const fn last(&self) -> Option<CrlNumber> {
        self.last
    }

    /// The next number.
    ///
    /// # Errors
    ///
    /// [`CrlNumberError::Exhausted`] after the last.
    pub fn claim(&mut self) -> Result<FreshCrlNumber, CrlNumberError> {
        let next = match self.last {
            None => Some(CrlNumber::from(1)),
            Some(last) => last.successor(),
        };
        let next = next.ok_or(CrlNumberError::Exhausted)?;
        self.last = Some(next);
        Ok(FreshCrlNumber(next))
    }

    /// The number `asked`, for those who count elsewhere.
    ///
    /// # Errors
    ///
    /// [`CrlNumberError::NotIncreasing`]; nothing changes then.
    pub fn claim_exactly(&mut self, asked: CrlNumber) -> Result<FreshCrlNumber, CrlNumberError> {
        match self.last {
            Some(last) if asked <= last => Err(CrlNumberError::NotIncreasing { asked, last }),
            _ => {
                self.last = Some(asked);
                Ok(FreshCrlNumber(asked))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_up_to_twenty_octets() {
        let number = CrlNumber::from_der_content(&[0x7f; 20]).unwrap();
        assert_eq!(number.to_be_bytes(), [0x7f; 20]);
        for wrong in [&[0x7f; 21][..], &[0x80], &[0, 1], &[]] {
            assert_eq!(CrlNumber::from_der_content(wrong), Err(DerError::Integer));
        }
        let last = CrlNumber::from_be_bytes({
            let mut bytes = [0xff; 20];
            bytes[0] = 0x7f;
            bytes
        });
        let last = last.unwrap();
        assert_eq!(last.successor(), None);
        assert_eq!(
            CrlNumbers::resume(last).claim().unwrap_err(),
            CrlNumberError::Exhausted
        );
    }

    #[test]
    fn numbers_never_repeat_or_fall() {
        let mut numbers = CrlNumbers::first();
        let one = numbers.claim().unwrap().number();
        let nine = numbers.claim_exactly(CrlNumber::from(9)).unwrap().number();
        assert!(one < nine);
        for asked in [1, 8, 9] {
            assert!(numbers.claim_exactly(CrlNumber::from(asked)).is_err());
        }
        assert_eq!(numbers.claim().unwrap().number(), CrlNumber::from(10));
    }
}
