//! The numbers of a private key, each in memory that is wiped, and the formats they are read from
//! and written to.

use der::asn1::{BitStringRef, OctetStringRef, SequenceRef, UintRef};
use der::{Decode, Encode, Reader, SliceReader};
use pkcs1::RsaPrivateKey;
use pkcs8::{PrivateKeyInfo, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::jwk::{self, Members};
use crate::public_key::{
    PublicKey, algorithm_identifier, coordinate_bytes, curve_kind, jwk_kind, spki_kind,
};
use crate::{JwkError, KeyError, KeyFormat, KeyKind, SecretBytes, base64url};

/// A private key without its public key.
pub(crate) enum PrivateKey {
    Rsa(Box<RsaNumbers>),
    /// A scalar as wide as the field.
    Ec {
        kind: KeyKind,
        scalar: SecretBytes,
    },
    Ed25519 {
        seed: SecretBytes,
    },
    MlDsa {
        kind: KeyKind,
        seed: SecretBytes,
        /// What the seed must expand to, where the file said so.
        #[cfg_attr(
            not(feature = "aws-lc-rs"),
            expect(dead_code, reason = "ring has no ML-DSA")
        )]
        expanded: Option<SecretBytes>,
    },
}

/// The private numbers of RSA (RFC 8017 §3.2), big-endian, without leading zeroes.
pub(crate) struct RsaNumbers {
    pub(crate) d: SecretBytes,
    pub(crate) p: SecretBytes,
    pub(crate) q: SecretBytes,
    pub(crate) dp: SecretBytes,
    pub(crate) dq: SecretBytes,
    pub(crate) qi: SecretBytes,
}

/// A private key as it was read: some formats leave the public key out.
pub(crate) struct Parsed {
    pub(crate) private: PrivateKey,
    pub(crate) public: Option<PublicKey>,
}

const SEED_BYTES: usize = 32;

impl PrivateKey {
    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa(_) => KeyKind::Rsa,
            Self::Ec { kind, .. } | Self::MlDsa { kind, .. } => *kind,
            Self::Ed25519 { .. } => KeyKind::Ed25519,
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        let copy = SecretBytes::duplicate_secret_in_memory;
        match self {
            Self::Rsa(numbers) => Self::Rsa(Box::new(RsaNumbers {
                d: copy(&numbers.d),
                p: copy(&numbers.p),
                q: copy(&numbers.q),
                dp: copy(&numbers.dp),
                dq: copy(&numbers.dq),
                qi: copy(&numbers.qi),
            })),
            Self::Ec { kind, scalar } => Self::Ec {
                kind: *kind,
                scalar: copy(scalar),
            },
            Self::Ed25519 { seed } => Self::Ed25519 { seed: copy(seed) },
            Self::MlDsa { kind, seed, .. } => Self::MlDsa {
                kind: *kind,
                seed: copy(seed),
                expanded: None,
            },
        }
    }

    // PKCS#8 (RFC 5958) and what it wraps

    /// The PKCS#8 form: RFC 8017 A.1.2 inside for RSA, RFC 5915 for EC, RFC 8410 §7 for Ed25519,
    /// and the seed of RFC 9881 §6 for ML-DSA.
    pub(crate) fn to_pkcs8(&self, public: &PublicKey) -> SecretBytes {
        let inner = match self {
            Self::Rsa(_) => self.to_pkcs1(public),
            Self::Ec { .. } => self.to_sec1(Some(public), false),
            Self::Ed25519 { seed } => {
                OctetStringRef::new(seed.expose_secret()).and_then(|seed| encode_secret(&seed))
            }
            Self::MlDsa { seed, .. } => Ok(SecretBytes::new(
                [&[0x80, SEED_BYTES as u8], seed.expose_secret()].concat(),
            )),
        };
        inner
            .and_then(|inner| {
                encode_secret(&PrivateKeyInfo::<_, _, BitStringRef<'_>>::new(
                    algorithm_identifier(self.kind()),
                    OctetStringRef::new(inner.expose_secret())?,
                ))
            })
            .expect("DER takes every integer and string of a few kilobytes")
    }

    /// `RSAPrivateKey`. Only for RSA; other keys have no such form.
    pub(crate) fn to_pkcs1(&self, public: &PublicKey) -> der::Result<SecretBytes> {
        let (Self::Rsa(numbers), PublicKey::Rsa { n, e }) = (self, public) else {
            return Err(der::ErrorKind::Failed.into());
        };
        encode_secret(&RsaPrivateKey {
            modulus: UintRef::new(n)?,
            public_exponent: UintRef::new(e)?,
            private_exponent: UintRef::new(numbers.d.expose_secret())?,
            prime1: UintRef::new(numbers.p.expose_secret())?,
            prime2: UintRef::new(numbers.q.expose_secret())?,
            exponent1: UintRef::new(numbers.dp.expose_secret())?,
            exponent2: UintRef::new(numbers.dq.expose_secret())?,
            coefficient: UintRef::new(numbers.qi.expose_secret())?,
            other_prime_infos: None,
        })
    }

    /// `ECPrivateKey`. Only for EC.
    pub(crate) fn to_sec1(
        &self,
        public: Option<&PublicKey>,
        name_the_curve: bool,
    ) -> der::Result<SecretBytes> {
        let Self::Ec { kind, scalar } = self else {
            return Err(der::ErrorKind::Failed.into());
        };
        let curve = algorithm_identifier(*kind).parameters_oid();
        encode_secret(&EcPrivateKey {
            private_key: scalar.expose_secret(),
            parameters: match name_the_curve {
                true => Some(EcParameters::NamedCurve(
                    curve.map_err(|_| der::ErrorKind::Failed)?,
                )),
                false => None,
            },
            public_key: match public {
                Some(PublicKey::Ec { point, .. }) => Some(point),
                _ => None,
            },
        })
    }
}

/// Encodes into one block of the right size, so that nothing is reallocated.
fn encode_secret(value: &impl Encode) -> der::Result<SecretBytes> {
    let length = usize::try_from(value.encoded_len()?)?;
    let mut der = Zeroizing::new(vec![0; length]);
    value.encode_to_slice(&mut der)?;
    Ok(SecretBytes::from(der.as_slice()))
}

impl Parsed {
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed {
            format: KeyFormat::Pkcs8,
        };
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed.clone())?;
        let inner = info.private_key.as_bytes();
        // RFC 5958 §2: version 2 may carry the public key.
        let outer_public = match &info.public_key {
            Some(bits) => Some(bits.as_bytes().ok_or_else(|| malformed.clone())?),
            None => None,
        };
        let kind = spki_kind(&info.algorithm)?;
        let mut parsed = match kind {
            KeyKind::Rsa => Self::from_pkcs1(inner)?,
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Self::from_sec1(inner, Some(kind))?,
            KeyKind::Ed25519 => {
                let seed = <&OctetStringRef>::from_der(inner).map_err(|_| malformed)?;
                let seed = seed_of(seed.as_bytes())?;
                Self {
                    private: PrivateKey::Ed25519 { seed },
                    public: None,
                }
            }
            kind => Self {
                private: ml_dsa_key(kind, inner)?,
                public: None,
            },
        };
        if let Some(bytes) = outer_public {
            let public = match kind {
                KeyKind::Rsa => PublicKey::from_pkcs1(bytes)?,
                KeyKind::Ed25519 => PublicKey::ed25519(bytes)?,
                KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => PublicKey::ec_point(kind, bytes)?,
                kind => PublicKey::ml_dsa(kind, bytes)?,
            };
            if parsed.public.as_ref().is_some_and(|inner| *inner != public) {
                return Err(KeyError::PartsMismatch);
            }
            parsed.public = Some(public);
        }
        Ok(parsed)
    }

    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::<UintRef<'_>>::from_der(der).map_err(|_| KeyError::Malformed {
            format: KeyFormat::Pkcs1,
        })?;
        let copy = |number: &UintRef<'_>| SecretBytes::from(number.as_bytes());
        Ok(Self {
            private: PrivateKey::Rsa(Box::new(RsaNumbers {
                d: copy(&key.private_exponent),
                p: copy(&key.prime1),
                q: copy(&key.prime2),
                dp: copy(&key.exponent1),
                dq: copy(&key.exponent2),
                qi: copy(&key.coefficient),
            })),
            public: Some(PublicKey::rsa(
                key.modulus.as_bytes(),
                key.public_exponent.as_bytes(),
            )?),
        })
    }

    /// `curve` is what an outer structure said; alone, the key must name its curve.
    pub(crate) fn from_sec1(der: &[u8], curve: Option<KeyKind>) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed {
            format: KeyFormat::Sec1,
        };
        let key = EcPrivateKey::from_der(der).map_err(|_| malformed.clone())?;
        let named = match key.parameters {
            Some(EcParameters::NamedCurve(oid)) => {
                Some(curve_kind(oid).ok_or(KeyError::AlgorithmUnknown)?)
            }
            None => None,
        };
        let kind = match (named, curve) {
            (Some(named), Some(curve)) if named != curve => return Err(KeyError::PartsMismatch),
            (named, curve) => named.or(curve).ok_or(malformed)?,
        };
        let public = match key.public_key {
            Some(point) => Some(PublicKey::ec_point(kind, point)?),
            None => None,
        };
        Ok(Self {
            private: PrivateKey::Ec {
                kind,
                scalar: scalar_of(kind, SecretBytes::from(key.private_key))?,
            },
            public,
        })
    }

    /// A private JWK (RFC 7517 §4, RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, RFC 9964 §3). The
    /// public members must be there: RFC 7518 demands it, and a mismatch must be seen.
    pub(crate) fn from_members(members: &Members<'_>) -> Result<Self, KeyError> {
        let public = PublicKey::from_jwk(&members.public)?;
        let secret = |name: &'static str| secret_member(members, name);
        let private = match jwk_kind(&members.public)? {
            KeyKind::Rsa => {
                if members.has_private("oth") {
                    return Err(KeyError::MultiPrime);
                }
                let number = |name| secret(name).map(without_leading_zeroes);
                PrivateKey::Rsa(Box::new(RsaNumbers {
                    d: number("d")?,
                    p: number("p")?,
                    q: number("q")?,
                    dp: number("dp")?,
                    dq: number("dq")?,
                    qi: number("qi")?,
                }))
            }
            kind @ (KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => PrivateKey::Ec {
                kind,
                scalar: scalar_of(kind, secret("d")?)?,
            },
            KeyKind::Ed25519 => PrivateKey::Ed25519 {
                seed: seed_of(secret("d")?.expose_secret())?,
            },
            kind => {
                let seed = secret("priv")?;
                width("priv", SEED_BYTES, seed.len())?;
                PrivateKey::MlDsa {
                    kind,
                    seed,
                    expanded: None,
                }
            }
        };
        Ok(Self {
            private,
            public: Some(public),
        })
    }

    pub(crate) fn from_jwk(json: &SecretBytes) -> Result<(Self, jwk::Jwk), KeyError> {
        let members = jwk::parse(json.expose_secret())?;
        if !members.public.allows("sign") {
            return Err(KeyError::UsageForbidden);
        }
        let parsed = Self::from_members(&members)?;
        Ok((parsed, members.public))
    }
}

/// A private member, decoded into memory that is wiped.
pub(crate) fn secret_member(
    members: &Members<'_>,
    member: &'static str,
) -> Result<SecretBytes, KeyError> {
    let text = members.private(member).map_err(|error| match error {
        JwkError::Missing { member } => KeyError::MemberMissing { member },
        error => KeyError::Jwk(error),
    })?;
    base64url::decode_secret(text).ok_or(KeyError::Jwk(JwkError::NotBase64url { member }))
}

fn without_leading_zeroes(number: SecretBytes) -> SecretBytes {
    let bytes = number.expose_secret();
    let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
    match bytes.get(zeroes..) {
        Some(rest) if zeroes > 0 => SecretBytes::from(rest),
        _ => number,
    }
}

fn scalar_of(kind: KeyKind, scalar: SecretBytes) -> Result<SecretBytes, KeyError> {
    let expected = coordinate_bytes(kind).ok_or(KeyError::AlgorithmUnknown)?;
    width("d", expected, scalar.len())?;
    Ok(scalar)
}

fn seed_of(seed: &[u8]) -> Result<SecretBytes, KeyError> {
    width("d", SEED_BYTES, seed.len())?;
    Ok(SecretBytes::from(seed))
}

/// The seed of an ML-DSA private key (RFC 9881 §6): alone, or before the expanded key, which is
/// what OpenSSL writes. The expanded key alone is refused, for it does not give the seed.
fn ml_dsa_key(kind: KeyKind, inner: &[u8]) -> Result<PrivateKey, KeyError> {
    let malformed = |_| KeyError::Malformed {
        format: KeyFormat::Pkcs8,
    };
    if let [0x80, 0x20, seed @ ..] = inner {
        return Ok(PrivateKey::MlDsa {
            kind,
            seed: seed_of(seed)?,
            expanded: None,
        });
    }
    let both = <&SequenceRef>::from_der(inner).map_err(malformed)?;
    let mut reader = SliceReader::new(both.as_bytes()).map_err(malformed)?;
    let seed = <&OctetStringRef>::decode(&mut reader).map_err(malformed)?;
    let expanded = <&OctetStringRef>::decode(&mut reader).map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    Ok(PrivateKey::MlDsa {
        kind,
        seed: seed_of(seed.as_bytes())?,
        expanded: Some(SecretBytes::from(expanded.as_bytes())),
    })
}

fn width(member: &'static str, expected: usize, found: usize) -> Result<(), KeyError> {
    if expected == found {
        return Ok(());
    }
    Err(KeyError::MemberLength {
        member,
        expected,
        found,
    })
}
