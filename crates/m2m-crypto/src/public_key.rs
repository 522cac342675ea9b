//! The numbers of a public key, parsed and checked once, and the formats they are read from and
//! written to.

mod checks;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use pkcs1::RsaPublicKey;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use self::checks::{check_exponent, check_modulus, ed25519_has_small_order, ed25519_is_canonical};
use crate::jwk::Bytes;
use crate::{Jwk, KeyError, KeyFormat, KeyKind, Thumbprint, base64url};

pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// A public key whose encoding is canonical: equal keys have equal bytes.
///
/// That a point lies on its curve is left to the library that prepares it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// An uncompressed point: 4, x, y (SEC 1 §2.3.3).
    Ec {
        kind: KeyKind,
        point: Box<[u8]>,
    },
    Ed25519([u8; 32]),
    MlDsa {
        kind: KeyKind,
        bytes: Box<[u8]>,
    },
}

/// How many bytes a coordinate of the curve has; `None` if `kind` is not a curve of ECDSA.
pub(crate) const fn coordinate_bytes(kind: KeyKind) -> Option<usize> {
    match kind {
        KeyKind::P256 => Some(32),
        KeyKind::P384 => Some(48),
        KeyKind::P521 => Some(66),
        _ => None,
    }
}

const fn ml_dsa_bytes(kind: KeyKind) -> usize {
    match kind {
        KeyKind::MlDsa44 => 1312,
        KeyKind::MlDsa65 => 1952,
        _ => 2592,
    }
}

impl PublicKey {
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        // One sign byte before n is seen in published key sets (PayPal's); it is no ambiguity.
        let n = match n {
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => rest,
            n => n,
        };
        check_modulus(n)?;
        check_exponent(e)?;
        Ok(Self::Rsa {
            n: n.into(),
            e: e.into(),
        })
    }

    /// A point from its coordinates, each exactly as wide as the field (RFC 7518 §6.2.1.2).
    pub(crate) fn ec(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let expected = coordinate_bytes(kind).ok_or(KeyError::PointInvalid { kind })?;
        exactly("x", expected, x)?;
        exactly("y", expected, y)?;
        let point = [&[4], x, y].concat();
        Ok(Self::Ec {
            kind,
            point: point.into(),
        })
    }

    /// A point in SEC 1's uncompressed form; no other form is taken.
    pub(crate) fn ec_point(kind: KeyKind, point: &[u8]) -> Result<Self, KeyError> {
        match (point, coordinate_bytes(kind)) {
            ([4, xy @ ..], Some(width)) if xy.len() == 2 * width => Ok(Self::Ec {
                kind,
                point: point.into(),
            }),
            _ => Err(KeyError::PointInvalid { kind }),
        }
    }

    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        exactly("x", 32, x)?;
        let invalid = KeyError::PointInvalid {
            kind: KeyKind::Ed25519,
        };
        let x: [u8; 32] = x.try_into().map_err(|_| invalid.clone())?;
        if !ed25519_is_canonical(&x) || ed25519_has_small_order(&x) {
            return Err(invalid);
        }
        Ok(Self::Ed25519(x))
    }

    pub(crate) fn ml_dsa(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        exactly("pub", ml_dsa_bytes(kind), bytes)?;
        Ok(Self::MlDsa {
            kind,
            bytes: bytes.into(),
        })
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::Ec { kind, .. } | Self::MlDsa { kind, .. } => *kind,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// How many bytes a signature made with this key has.
    pub(crate) fn signature_bytes(&self) -> usize {
        match self {
            Self::Rsa { n, .. } => n.len(),
            Self::Ec { point, .. } => point.len() - 1,
            Self::Ed25519(_) => 64,
            Self::MlDsa { kind, .. } => match kind {
                KeyKind::MlDsa44 => 2420,
                KeyKind::MlDsa65 => 3309,
                _ => crate::MAX_SIGNATURE_BYTES,
            },
        }
    }

    // JWK (RFC 7517, RFC 7518 §6, RFC 8037 §2, RFC 9964 §3)

    pub(crate) fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let there = |value, member| match value {
            Some(value) => Ok(value),
            None => Err(KeyError::MemberMissing { member }),
        };
        match jwk_kind(jwk)? {
            KeyKind::Rsa => Self::rsa(there(jwk.n(), "n")?, there(jwk.e(), "e")?),
            kind @ (KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => {
                Self::ec(kind, there(jwk.x(), "x")?, there(jwk.y(), "y")?)
            }
            KeyKind::Ed25519 => Self::ed25519(there(jwk.x(), "x")?),
            kind => Self::ml_dsa(kind, there(jwk.public(), "pub")?),
        }
    }

    /// The members that RFC 7638 §3.2 calls required, and nothing else.
    pub(crate) fn to_jwk(&self) -> Jwk {
        let bytes = |bytes: &[u8]| Some(Bytes(bytes.into()));
        match self {
            Self::Rsa { n, e } => Jwk {
                n: bytes(n),
                e: bytes(e),
                ..Jwk::bare("RSA")
            },
            Self::Ec { kind, point } => {
                let (x, y) = coordinates(point);
                Jwk {
                    crv: Some(kind.to_string().into()),
                    x: bytes(x),
                    y: bytes(y),
                    ..Jwk::bare("EC")
                }
            }
            Self::Ed25519(x) => Jwk {
                crv: Some("Ed25519".into()),
                x: bytes(x),
                ..Jwk::bare("OKP")
            },
            Self::MlDsa { kind, bytes: key } => Jwk {
                alg: Some(kind.to_string().into()),
                public: bytes(key),
                ..Jwk::bare("AKP")
            },
        }
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        let text = base64url::encode;
        Thumbprint::of_json(&match self {
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n))
            }
            Self::Ec { kind, point } => {
                let (x, y) = coordinates(point);
                let (x, y) = (text(x), text(y));
                format!(r#"{{"crv":"{kind}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(x) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x))
            }
            Self::MlDsa { kind, bytes } => {
                format!(r#"{{"alg":"{kind}","kty":"AKP","pub":"{}"}}"#, text(bytes))
            }
        })
    }

    // SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 3279, RFC 5480, RFC 8410, RFC 9881)

    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed {
            format: KeyFormat::Spki,
        };
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed.clone())?;
        let key = info.subject_public_key.as_bytes().ok_or(malformed)?;
        match spki_kind(&info.algorithm)? {
            KeyKind::Rsa => Self::from_pkcs1(key),
            kind @ (KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => Self::ec_point(kind, key),
            KeyKind::Ed25519 => Self::ed25519(key),
            kind => Self::ml_dsa(kind, key),
        }
    }

    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKey::<UintRef<'_>>::from_der(der).map_err(|_| KeyError::Malformed {
            format: KeyFormat::Pkcs1,
        })?;
        Self::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    pub(crate) fn to_spki(&self) -> SubjectPublicKeyInfoDer<'static> {
        let pkcs1;
        let key = match self {
            Self::Rsa { n, e } => {
                pkcs1 = rsa_to_pkcs1(n, e).expect(ENCODES);
                pkcs1.as_slice()
            }
            Self::Ec { point, .. } => point,
            Self::Ed25519(x) => x,
            Self::MlDsa { bytes, .. } => bytes,
        };
        let der = SubjectPublicKeyInfo {
            algorithm: algorithm_identifier(self.kind()),
            subject_public_key: BitStringRef::from_bytes(key).expect(ENCODES),
        }
        .to_der()
        .expect(ENCODES);
        SubjectPublicKeyInfoDer::from(der)
    }
}

const ENCODES: &str = "DER takes every integer and string of a few kilobytes";

fn rsa_to_pkcs1(n: &[u8], e: &[u8]) -> der::Result<Vec<u8>> {
    RsaPublicKey {
        modulus: UintRef::new(n)?,
        public_exponent: UintRef::new(e)?,
    }
    .to_der()
}

fn coordinates(point: &[u8]) -> (&[u8], &[u8]) {
    let (_, xy) = point.split_at(1);
    xy.split_at(xy.len() / 2)
}

/// What the JWK says it is.
pub(crate) fn jwk_kind(jwk: &Jwk) -> Result<KeyKind, KeyError> {
    let unknown = KeyError::AlgorithmUnknown;
    match (jwk.kty(), jwk.crv(), jwk.alg()) {
        ("RSA", None, _) => Ok(KeyKind::Rsa),
        ("EC", Some("P-256"), _) => Ok(KeyKind::P256),
        ("EC", Some("P-384"), _) => Ok(KeyKind::P384),
        ("EC", Some("P-521"), _) => Ok(KeyKind::P521),
        ("OKP", Some("Ed25519"), _) => Ok(KeyKind::Ed25519),
        ("EC" | "OKP", None, _) => Err(KeyError::MemberMissing { member: "crv" }),
        ("AKP", None, Some("ML-DSA-44")) => Ok(KeyKind::MlDsa44),
        ("AKP", None, Some("ML-DSA-65")) => Ok(KeyKind::MlDsa65),
        ("AKP", None, Some("ML-DSA-87")) => Ok(KeyKind::MlDsa87),
        // RFC 9964 §3: alg is required, it is what says the parameter set.
        ("AKP", None, None) => Err(KeyError::AlgorithmMissing {
            kind: KeyKind::Other,
        }),
        _ => Err(unknown),
    }
}

/// What an `AlgorithmIdentifier` says the key is, with exactly the parameters that kind demands.
pub(crate) fn spki_kind(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<KeyKind, KeyError> {
    let other = KeyError::AlgorithmUnknown;
    let parameters = algorithm.parameters;
    let kind = match algorithm.oid {
        RSA => {
            return parameters
                .filter(|p| p.is_null())
                .map(|_| KeyKind::Rsa)
                .ok_or(other);
        }
        EC => {
            return parameters
                .and_then(|p| p.decode_as::<ObjectIdentifier>().ok())
                .and_then(curve_kind)
                .ok_or(other);
        }
        ED25519 => KeyKind::Ed25519,
        ML_DSA_44 => KeyKind::MlDsa44,
        ML_DSA_65 => KeyKind::MlDsa65,
        ML_DSA_87 => KeyKind::MlDsa87,
        _ => return Err(other),
    };
    match parameters {
        None => Ok(kind),
        Some(_) => Err(other),
    }
}

pub(crate) fn curve_kind(curve: ObjectIdentifier) -> Option<KeyKind> {
    match curve {
        P256 => Some(KeyKind::P256),
        P384 => Some(KeyKind::P384),
        P521 => Some(KeyKind::P521),
        _ => None,
    }
}

pub(crate) fn algorithm_identifier(kind: KeyKind) -> AlgorithmIdentifier<AnyRef<'static>> {
    let (oid, parameters) = match kind {
        KeyKind::P256 => (EC, Some(AnyRef::from(&P256))),
        KeyKind::P384 => (EC, Some(AnyRef::from(&P384))),
        KeyKind::P521 => (EC, Some(AnyRef::from(&P521))),
        KeyKind::Ed25519 => (ED25519, None),
        KeyKind::MlDsa44 => (ML_DSA_44, None),
        KeyKind::MlDsa65 => (ML_DSA_65, None),
        KeyKind::MlDsa87 => (ML_DSA_87, None),
        KeyKind::Rsa | KeyKind::Symmetric | KeyKind::Other => (RSA, Some(AnyRef::NULL)),
    };
    AlgorithmIdentifier { oid, parameters }
}

fn exactly(member: &'static str, expected: usize, bytes: &[u8]) -> Result<(), KeyError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(KeyError::MemberLength {
        member,
        expected,
        found: bytes.len(),
    })
}
