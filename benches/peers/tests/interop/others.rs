//! The others' side: jsonwebtoken with both of its back ends, and josekit.

use josekit::jws::{self, JwsHeader, JwsSigner, JwsVerifier};
use josekit::jwt::{self, JwtPayload, JwtPayloadValidator};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use m2m_crypto::{Algorithm, SigningKey};
use m2m_peers::peers::jsonwebtoken::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Claims;
use crate::ours::{AUDIENCE, ISSUER, LIFETIME, SECRET, Subject, now};

/// Another library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    JsonwebtokenAwsLc,
    JsonwebtokenRustCrypto,
    Josekit,
}

/// All that a token says.
#[derive(Serialize, Deserialize)]
struct Body {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    #[serde(flatten)]
    claims: Claims,
}

impl Other {
    const ALL: [Self; 3] = [
        Self::JsonwebtokenAwsLc,
        Self::JsonwebtokenRustCrypto,
        Self::Josekit,
    ];

    /// Those that know the algorithm of `subject`.
    pub(crate) fn knowing(subject: &Subject) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|other| other.knows(subject.algorithm))
    }

    pub(crate) fn knows(self, algorithm: Algorithm) -> bool {
        self == Self::Josekit || algorithm != Algorithm::Es512
    }

    pub(crate) fn mint(self, subject: &Subject, claims: &Claims) -> String {
        let body = body(claims);
        match self.backend() {
            Some(backend) => {
                backend.select();
                let header = Header {
                    typ: Some("at+jwt".into()),
                    kid: Some(subject.kid.clone()),
                    ..Header::new(jsonwebtoken_algorithm(subject))
                };
                jsonwebtoken::encode(&header, &body, &encoding_key(subject)).expect("it signs")
            }
            None => {
                let mut header = JwsHeader::new();
                header.set_token_type("at+jwt");
                header.set_key_id(&subject.kid);
                let Ok(Value::Object(map)) = serde_json::to_value(&body) else {
                    unreachable!("a struct is an object");
                };
                let payload = JwtPayload::from_map(map).expect("claims have their usual types");
                jwt::encode_with_signer(&payload, &header, &*signer(subject)).expect("it signs")
            }
        }
    }

    /// The claims of `token`, if it is accepted.
    pub(crate) fn verify(self, subject: &Subject, token: &str) -> Option<Claims> {
        let body: Body = match self.backend() {
            Some(backend) => {
                backend.select();
                let mut validation = Validation::new(jsonwebtoken_algorithm(subject));
                validation.set_issuer(&[ISSUER]);
                validation.set_audience(&[AUDIENCE]);
                jsonwebtoken::decode(token, &decoding_key(subject), &validation)
                    .ok()?
                    .claims
            }
            None => {
                let mut validator = JwtPayloadValidator::new();
                validator.set_issuer(ISSUER);
                validator.set_audience(AUDIENCE);
                let (payload, _) = jwt::decode_with_verifier(token, &*verifier(subject)).ok()?;
                validator.validate(&payload).ok()?;
                serde_json::from_value(Value::Object(payload.into())).ok()?
            }
        };
        Some(body.claims)
    }

    fn backend(self) -> Option<Backend> {
        match self {
            Self::JsonwebtokenAwsLc => Some(Backend::AwsLc),
            Self::JsonwebtokenRustCrypto => Some(Backend::RustCrypto),
            Self::Josekit => None,
        }
    }
}

fn body(claims: &Claims) -> Body {
    let now = now().unix_seconds();
    Body {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        iat: now,
        exp: now + LIFETIME.as_secs(),
        claims: claims.clone(),
    }
}

fn jsonwebtoken_algorithm(subject: &Subject) -> jsonwebtoken::Algorithm {
    subject
        .name()
        .parse()
        .expect("it is asked only for what it knows")
}

fn encoding_key(subject: &Subject) -> EncodingKey {
    let Some(key) = &subject.key else {
        return EncodingKey::from_secret(SECRET);
    };
    let pem = key.to_pkcs8_pem();
    let pem = pem.expose_secret();
    match subject.name().as_bytes() {
        [b'R' | b'P', ..] => EncodingKey::from_rsa_pem(pem),
        [b'E', b'S', ..] => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_ed_pem(pem),
    }
    .expect("it reads our keys")
}

fn decoding_key(subject: &Subject) -> DecodingKey {
    let Some(key) = &subject.key else {
        return DecodingKey::from_secret(SECRET);
    };
    let pem = key.verifying_key().to_pem();
    match subject.name().as_bytes() {
        [b'R' | b'P', ..] => DecodingKey::from_rsa_pem(pem.as_bytes()),
        [b'E', b'S', ..] => DecodingKey::from_ec_pem(pem.as_bytes()),
        _ => DecodingKey::from_ed_pem(pem.as_bytes()),
    }
    .expect("it reads our keys")
}

/// josekit has a type per family of algorithms and no common way to their keys.
macro_rules! josekit {
    ($subject:expr, $key:ident, $of_secret:ident, $of_der:ident) => {
        match ($subject.algorithm, &$subject.key) {
            (Algorithm::Hs256, _) => Box::new(jws::HS256.$of_secret(SECRET).expect(READS)),
            (Algorithm::Hs384, _) => Box::new(jws::HS384.$of_secret(SECRET).expect(READS)),
            (Algorithm::Hs512, _) => Box::new(jws::HS512.$of_secret(SECRET).expect(READS)),
            (Algorithm::Rs256, Some(key)) => Box::new(jws::RS256.$of_der($key(key)).expect(READS)),
            (Algorithm::Rs384, Some(key)) => Box::new(jws::RS384.$of_der($key(key)).expect(READS)),
            (Algorithm::Rs512, Some(key)) => Box::new(jws::RS512.$of_der($key(key)).expect(READS)),
            (Algorithm::Ps256, Some(key)) => Box::new(jws::PS256.$of_der($key(key)).expect(READS)),
            (Algorithm::Ps384, Some(key)) => Box::new(jws::PS384.$of_der($key(key)).expect(READS)),
            (Algorithm::Ps512, Some(key)) => Box::new(jws::PS512.$of_der($key(key)).expect(READS)),
            (Algorithm::Es256, Some(key)) => Box::new(jws::ES256.$of_der($key(key)).expect(READS)),
            (Algorithm::Es384, Some(key)) => Box::new(jws::ES384.$of_der($key(key)).expect(READS)),
            (Algorithm::Es512, Some(key)) => Box::new(jws::ES512.$of_der($key(key)).expect(READS)),
            (Algorithm::EdDsa, Some(key)) => Box::new(jws::EdDSA.$of_der($key(key)).expect(READS)),
            (other, _) => unreachable!("{other:?} is not tested"),
        }
    };
}

const READS: &str = "it reads our keys";

fn signer(subject: &Subject) -> Box<dyn JwsSigner> {
    josekit!(subject, private, signer_from_bytes, signer_from_der)
}

fn verifier(subject: &Subject) -> Box<dyn JwsVerifier> {
    josekit!(subject, public, verifier_from_bytes, verifier_from_der)
}

fn private(key: &SigningKey) -> Vec<u8> {
    key.to_pkcs8_der().expose_secret().to_vec()
}

fn public(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_spki_der().to_vec()
}
