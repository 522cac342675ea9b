//! ECDSA signatures as key services give them (DER), turned into what JOSE wants.

use der::Decode;
use der::asn1::{SequenceRef, UintRef};
use der::{Reader, SliceReader};

use crate::public_key::coordinate_bytes;
use crate::{Algorithm, KeyError, KeyFormat};

/// Turns an ECDSA signature in DER (RFC 3279 §2.2.3), as key services and HSMs return it, into the
/// fixed form of JOSE (RFC 7518 §3.4): r and s side by side, each as wide as the field. Writes it to
/// the front of `fixed` and returns its length.
///
/// Strict: exactly one sequence of two minimal positive integers, and nothing after it. Whether the
/// signature is valid is for [`VerifyingKey::verify`](crate::VerifyingKey::verify) to say.
///
/// # Errors
///
/// [`KeyError::Malformed`] if it is not such a signature or too wide for the curve;
/// [`KeyError::AlgorithmMismatch`] if `algorithm` is not ECDSA; [`KeyError::MemberLength`] if
/// `fixed` is too short.
///
/// ```
/// use m2m_crypto::{Algorithm, ecdsa_der_to_fixed};
///
/// let mut fixed = [0; 64];
/// assert_eq!(ecdsa_der_to_fixed(Algorithm::Es256, &[0x30, 6, 2, 1, 5, 2, 1, 7], &mut fixed)?, 64);
/// assert_eq!((fixed[31], fixed[63]), (5, 7));
/// # Ok::<(), m2m_crypto::KeyError>(())
/// ```
pub fn ecdsa_der_to_fixed(
    algorithm: Algorithm,
    der: &[u8],
    fixed: &mut [u8],
) -> Result<usize, KeyError> {
    let kind = algorithm.key_kind();
    let width = coordinate_bytes(kind).ok_or(KeyError::AlgorithmMismatch { algorithm, kind })?;
    let found = fixed.len();
    let fixed = fixed.get_mut(..2 * width).ok_or(KeyError::MemberLength {
        member: "fixed",
        expected: 2 * width,
        found,
    })?;
    let malformed = KeyError::Malformed {
        format: KeyFormat::EcdsaSignature,
    };
    let (r, s) = integers(der).map_err(|_| malformed.clone())?;
    let (left, right) = fixed.split_at_mut(width);
    for (number, place) in [(r, left), (s, right)] {
        let zeroes = width
            .checked_sub(number.as_bytes().len())
            .ok_or_else(|| malformed.clone())?;
        let (front, back) = place.split_at_mut(zeroes);
        front.fill(0);
        back.copy_from_slice(number.as_bytes());
    }
    Ok(2 * width)
}

fn integers(der: &[u8]) -> der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(<&SequenceRef>::from_der(der)?.as_bytes())?;
    let both = (reader.decode()?, reader.decode()?);
    reader.finish()?;
    Ok(both)
}
