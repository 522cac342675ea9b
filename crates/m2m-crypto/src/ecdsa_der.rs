//! ECDSA signatures as X.509 and key services have them (DER), and as JOSE has them.

use der::asn1::{SequenceRef, UintRef};
use der::{Decode, Encode};
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

/// Turns an ECDSA signature in the fixed form of JOSE, as [`SigningKey::sign`](crate::SigningKey::sign)
/// writes it, into DER (RFC 3279 §2.2.3), as certificates, CRLs and certification requests have it:
/// the inverse of [`ecdsa_der_to_fixed`].
///
/// # Errors
///
/// [`KeyError::AlgorithmMismatch`] if `algorithm` is not ECDSA; [`KeyError::MemberLength`] if `fixed`
/// is not exactly as long as its signatures are.
///
/// ```
/// use m2m_crypto::{Algorithm, ecdsa_fixed_to_der};
///
/// let mut fixed = [0; 64];
/// (fixed[31], fixed[63]) = (5, 0x87);
/// let der = ecdsa_fixed_to_der(Algorithm::Es256, &fixed)?;
/// assert_eq!(der, [0x30, 7, 2, 1, 5, 2, 2, 0, 0x87]);
/// # Ok::<(), m2m_crypto::KeyError>(())
/// ```
pub fn ecdsa_fixed_to_der(algorithm: Algorithm, fixed: &[u8]) -> Result<Vec<u8>, KeyError> {
    let kind = algorithm.key_kind();
    let width = coordinate_bytes(kind).ok_or(KeyError::AlgorithmMismatch { algorithm, kind })?;
    let halves = fixed
        .split_at_checked(width)
        .filter(|(_, s)| s.len() == width)
        .ok_or(KeyError::MemberLength {
            member: "fixed",
            expected: 2 * width,
            found: fixed.len(),
        })?;
    let malformed = |_| KeyError::Malformed {
        format: KeyFormat::EcdsaSignature,
    };
    let r = UintRef::new(halves.0).map_err(malformed)?;
    let s = UintRef::new(halves.1).map_err(malformed)?;
    [r, s].to_der().map_err(malformed)
}

fn integers(der: &[u8]) -> der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(<&SequenceRef>::from_der(der)?.as_bytes())?;
    let both = (reader.decode()?, reader.decode()?);
    reader.finish()?;
    Ok(both)
}
