//! How X.509 names signature algorithms and writes ECDSA signatures.

use m2m_crypto::{Algorithm, KeyError, ecdsa_der_to_fixed, ecdsa_fixed_to_der};

use crate::der::{self, INTEGER, SEQUENCE, constructed, write};

const PKCS_1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA_WITH_SHA2: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
const NIST_HASH: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const NIST_SIGNATURE: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03];
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];
const NULL: [u8; 2] = [5, 0];

/// The `AlgorithmIdentifier` of `algorithm`; `None` if no certificate is signed with it.
///
/// RFC 5758 §3.2 (ECDSA), RFC 8410 §3 (Ed25519), RFC 4055 §3 and §5 (RSA), RFC 9881 §2 (ML-DSA).
pub(crate) fn identifier(algorithm: Algorithm) -> Option<Vec<u8>> {
    Some(match algorithm {
        Algorithm::Es256 => named(&ECDSA_WITH_SHA2, 2, &[]),
        Algorithm::Es384 => named(&ECDSA_WITH_SHA2, 3, &[]),
        Algorithm::Es512 => named(&ECDSA_WITH_SHA2, 4, &[]),
        Algorithm::Ed25519 | Algorithm::EdDsa => {
            write::around(SEQUENCE, &[&write::around(der::OID, &[&ED25519])])
        }
        Algorithm::Rs256 => named(&PKCS_1, 11, &NULL),
        Algorithm::Rs384 => named(&PKCS_1, 12, &NULL),
        Algorithm::Rs512 => named(&PKCS_1, 13, &NULL),
        Algorithm::Ps256 => pss(1, 32),
        Algorithm::Ps384 => pss(2, 48),
        Algorithm::Ps512 => pss(3, 64),
        Algorithm::MlDsa44 => named(&NIST_SIGNATURE, 17, &[]),
        Algorithm::MlDsa65 => named(&NIST_SIGNATURE, 18, &[]),
        Algorithm::MlDsa87 => named(&NIST_SIGNATURE, 19, &[]),
        _ => return None,
    })
}

/// The algorithm of exactly this `AlgorithmIdentifier`, header included. RSASSA-PSS with other
/// parameters than those JOSE knows has none.
pub(crate) fn algorithm_of(identifier_der: &[u8]) -> Option<Algorithm> {
    let mut all = Algorithm::ALL.iter().copied();
    all.find(|algorithm| identifier(*algorithm).as_deref() == Some(identifier_der))
}

fn named(arc: &[u8], last: u8, parameters: &[u8]) -> Vec<u8> {
    write::around(
        SEQUENCE,
        &[&write::around(der::OID, &[arc, &[last]]), parameters],
    )
}

fn pss(hash: u8, salt: u8) -> Vec<u8> {
    let hash = named(&NIST_HASH, hash, &NULL);
    let mask = named(&PKCS_1, 8, &hash);
    let salt = [INTEGER, 1, salt];
    let parameters = write::around(
        SEQUENCE,
        &[
            &write::around(constructed(0), &[&hash]),
            &write::around(constructed(1), &[&mask]),
            &write::around(constructed(2), &[&salt]),
        ],
    );
    named(&PKCS_1, 10, &parameters)
}

/// A signature in the form of JOSE as X.509 has it: ECDSA in DER (RFC 3279 §2.2.3), others as is.
pub(crate) fn to_x509(algorithm: Algorithm, fixed: &[u8]) -> Result<Vec<u8>, KeyError> {
    if is_ecdsa(algorithm) {
        return ecdsa_fixed_to_der(algorithm, fixed);
    }
    Ok(fixed.to_vec())
}

/// A signature of X.509 in the form of JOSE.
pub(crate) fn from_x509(algorithm: Algorithm, signature: &[u8]) -> Result<Vec<u8>, KeyError> {
    if !is_ecdsa(algorithm) {
        return Ok(signature.to_vec());
    }
    let mut fixed = vec![0; 132];
    let length = ecdsa_der_to_fixed(algorithm, signature, &mut fixed)?;
    fixed.truncate(length);
    Ok(fixed)
}

/// The most octets [`to_x509`] makes of a signature of `fixed_bytes`.
pub(crate) const fn longest_x509(algorithm: Algorithm, fixed_bytes: usize) -> usize {
    // A header of at most three octets, and for each number one of two and a sign.
    if is_ecdsa(algorithm) {
        fixed_bytes + 3 + 2 * 3
    } else {
        fixed_bytes
    }
}

const fn is_ecdsa(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_told_apart() {
        for algorithm in Algorithm::ALL.iter().copied() {
            let Some(bytes) = identifier(algorithm) else {
                assert!(algorithm.is_symmetric());
                continue;
            };
            assert!(algorithm_of(&bytes).unwrap().accepts(algorithm));
        }
        let es256 = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        assert_eq!(algorithm_of(&es256), Some(Algorithm::Es256));
        let with_null = [0x30, 12, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2, 5, 0];
        assert_eq!(algorithm_of(&with_null), None);
    }

    #[test]
    fn ecdsa_signatures_change_their_form_and_back() {
        let mut fixed = [0; 64];
        (fixed[31], fixed[32]) = (5, 0x80);
        let x509 = to_x509(Algorithm::Es256, &fixed).unwrap();
        assert_eq!(from_x509(Algorithm::Es256, &x509).unwrap(), fixed);
        for (algorithm, bytes) in [(Algorithm::Es256, 64), (Algorithm::Es384, 96)] {
            let longest = to_x509(algorithm, &vec![0xff; bytes]).unwrap();
            assert!(longest.len() <= longest_x509(algorithm, bytes));
        }
    }
}
