//! The one workload every contender gets: keys, claims of 443 bytes, and a token per algorithm.
//!
//! The keys in `keys/` were made for this package and protect nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

/// The `iss` every verifier is told to expect.
pub const ISSUER: &str = "https://issuer.prod.example.org";
/// The `aud` every verifier is told to expect.
pub const AUDIENCE: &str = "https://ledger.prod.example.org";
/// The `kid` in every token's header.
pub const KEY_ID: &str = "2026-11-prod-01";
/// The `typ` in every token's header (RFC 9068 §2.1).
pub const TOKEN_TYPE: &str = "at+jwt";
/// The shared key of the HS256 tokens.
pub const SECRET: &[u8; 32] = b"a key of thirty-two known bytes.";
/// Seconds from the fixture's time to `exp`.
pub const LIFETIME: u64 = 3600;

const REVOKED: u64 = 10_000_000;
const SECRETS: usize = 100_000;

/// Where a child process finds the tokens of its parent, so that both count the same token.
const ENVIRONMENT: &str = "M2M_PEERS_FIXTURE";

/// A signature algorithm that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519, under the name all rivals know: `EdDSA`.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and 2048 bits.
    Rs256,
}

impl Algorithm {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Es256, Self::EdDsa, Self::Rs256];

    /// The header's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The part of a contender's id that names the algorithm.
    pub fn id(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::Es256 => "es256",
            Self::EdDsa => "ed25519",
            Self::Rs256 => "rs256",
        }
    }

    /// The private key as PKCS #8 PEM. For HS256 there is none: see [`SECRET`].
    pub fn private_pem(self) -> &'static str {
        match self {
            Self::Hs256 => "",
            Self::Es256 => include_str!("../keys/es256.pem"),
            Self::EdDsa => include_str!("../keys/ed25519.pem"),
            Self::Rs256 => include_str!("../keys/rs256.pem"),
        }
    }

    /// The public key as SubjectPublicKeyInfo PEM. For HS256 there is none.
    pub fn public_pem(self) -> &'static str {
        match self {
            Self::Hs256 => "",
            Self::Es256 => include_str!("../keys/es256.pub.pem"),
            Self::EdDsa => include_str!("../keys/ed25519.pub.pem"),
            Self::Rs256 => include_str!("../keys/rs256.pub.pem"),
        }
    }

    /// The private key as PKCS #8 DER.
    pub fn pkcs8(self) -> Vec<u8> {
        PrivatePkcs8KeyDer::from_pem_slice(self.private_pem().as_bytes())
            .expect("the fixture's key is PKCS #8")
            .secret_pkcs8_der()
            .to_vec()
    }

    fn sign(self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hs256 => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
                ring::hmac::sign(&key, input).as_ref().to_vec()
            }
            Self::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8(), &random)
                    .expect("the fixture's key is P-256")
                    .sign(&random, input)
                    .expect("the system has randomness")
                    .as_ref()
                    .to_vec()
            }
            Self::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8())
                .expect("the fixture's key is Ed25519")
                .sign(input)
                .as_ref()
                .to_vec(),
            Self::Rs256 => {
                let key = RsaKeyPair::from_pkcs8(&self.pkcs8()).expect("the fixture's key is RSA");
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature)
                    .expect("the buffer has the modulus's length");
                signature
            }
        }
    }
}

/// The claims, as a service that uses them all would declare them.
///
/// `x5t` stands where a bound token has `cnf`: a strict verifier refuses `cnf` without proof of
/// the key, and nobody here is given one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the claims")]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub exp: u64,
    pub iat: u64,
    pub nbf: u64,
    pub jti: String,
    pub client_id: String,
    pub scope: String,
    pub tenant: String,
    pub env: String,
    pub roles: Vec<String>,
    pub x5t: String,
}

impl Claims {
    fn new(now: u64) -> Self {
        Self {
            iss: ISSUER.into(),
            sub: "spiffe://prod.example.org/ns/payments/sa/ledger-writer".into(),
            aud: AUDIENCE.into(),
            exp: now + LIFETIME,
            iat: now,
            nbf: now,
            jti: "01JD8Z5V3T6X4Q9K2M7N0P1R5S".into(),
            client_id: "payments-ledger-writer-2".into(),
            scope: "ledger:read ledger:write audit:append".into(),
            tenant: "acme-eu-west-1".into(),
            env: "production".into(),
            roles: vec!["writer".into(), "auditor".into()],
            x5t: "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2".into(),
        }
    }
}

/// The time, the claims and the tokens of one run.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Seconds since 1970: when the tokens were minted.
    pub now: u64,
    /// What the tokens say, and what the minting contenders mint.
    pub claims: Claims,
    /// How many entries the revocation sets have.
    pub revoked: u64,
    /// How many clients have an API key, and how many secrets a service knows.
    pub secrets: usize,
    tokens: [String; 4],
}

impl Fixture {
    /// Mints the tokens, or takes those of the process that started this one.
    pub fn new() -> Self {
        std::env::var(ENVIRONMENT)
            .ok()
            .and_then(|text| Self::parse(&text))
            .unwrap_or_else(Self::mint)
    }

    /// The token signed with `algorithm`.
    pub fn token(&self, algorithm: Algorithm) -> &str {
        &self.tokens[algorithm as usize]
    }

    /// What to put in a child's environment so that it works on these same tokens.
    pub fn environment(&self) -> (&'static str, String) {
        (
            ENVIRONMENT,
            format!("{} {}", self.now, self.tokens.join(" ")),
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (now, tokens) = text.split_once(' ')?;
        let now = now.parse().ok()?;
        let tokens: Vec<String> = tokens.split(' ').map(str::to_owned).collect();
        Some(Self {
            now,
            claims: Claims::new(now),
            revoked: REVOKED,
            secrets: SECRETS,
            tokens: tokens.try_into().ok()?,
        })
    }

    fn mint() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is past 1970")
            .as_secs();
        let claims = Claims::new(now);
        let payload = serde_json::to_vec(&claims).expect("the claims are plain JSON");
        let tokens = Algorithm::ALL.map(|algorithm| {
            let input = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header(algorithm)),
                URL_SAFE_NO_PAD.encode(&payload)
            );
            let signature = URL_SAFE_NO_PAD.encode(algorithm.sign(input.as_bytes()));
            format!("{input}.{signature}")
        });
        Self {
            now,
            claims,
            revoked: REVOKED,
            secrets: SECRETS,
            tokens,
        }
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

/// The claims that no library knows by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the claims")]
pub struct CustomClaims {
    pub client_id: String,
    pub scope: String,
    pub tenant: String,
    pub env: String,
    pub roles: Vec<String>,
    pub x5t: String,
}

impl From<&Claims> for CustomClaims {
    fn from(claims: &Claims) -> Self {
        Self {
            client_id: claims.client_id.clone(),
            scope: claims.scope.clone(),
            tenant: claims.tenant.clone(),
            env: claims.env.clone(),
            roles: claims.roles.clone(),
            x5t: claims.x5t.clone(),
        }
    }
}

/// A token taken apart: what is signed, and by what.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Header, dot and payload, still encoded.
    pub signed: Vec<u8>,
    /// The decoded signature.
    pub signature: Vec<u8>,
}

impl Parts {
    /// Splits `token` at its last dot.
    pub fn of(token: &str) -> Self {
        let (signed, signature) = token.rsplit_once('.').expect("a token has dots");
        Self {
            signed: signed.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD
                .decode(signature)
                .expect("the signature is base64url"),
        }
    }
}

/// `token` with one bit flipped in the header, in the payload and in the signature.
///
/// All three stay well-formed base64url, so that only a check of the signature finds them out.
pub fn flipped(token: &str) -> [String; 3] {
    [0, 1, 2].map(|which| {
        let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
        let segment = &mut segments[which];
        let mut bytes = URL_SAFE_NO_PAD
            .decode(&*segment)
            .expect("a segment is base64url");
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        *segment = URL_SAFE_NO_PAD.encode(bytes);
        segments.join(".")
    })
}

/// `text` in base64url.
pub fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// What `text` is base64url of.
pub fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
}

fn header(algorithm: Algorithm) -> String {
    let alg = algorithm.name();
    format!(r#"{{"typ":"{TOKEN_TYPE}","alg":"{alg}","kid":"{KEY_ID}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_have_the_lengths_the_tables_name() {
        let fixture = Fixture::new();
        let lengths = Algorithm::ALL.map(|algorithm| fixture.token(algorithm).len());
        assert_eq!(lengths, [708, 751, 751, 1007]);
    }

    #[test]
    fn a_child_gets_the_same_tokens() {
        let fixture = Fixture::new();
        let child = Fixture::parse(&fixture.environment().1).expect("it parses its own form");
        assert_eq!(child.tokens, fixture.tokens);
        assert_eq!(child.claims, fixture.claims);
    }
}
