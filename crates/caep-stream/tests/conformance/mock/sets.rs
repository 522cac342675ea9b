//! SETs as the suite signs them: RS256, claims as it writes them.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, MAX_SIGNATURE_BYTES, SecretBytes, SigningKey};
use m2m_testkit::keys::RSA_JWK;
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUER};

const KEY_ID: &str = "suite-key";

/// How a SET is spoilt, so that a receiver must not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoilt {
    /// It is not.
    Not,
    Signature,
    Issuer,
    Audience,
    /// Its key is not among those that are served.
    Key,
}

impl Spoilt {
    /// The code that says what is wrong (RFC 8935 §2.4).
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Not => "",
            Self::Signature | Self::Key => "invalid_key",
            Self::Issuer => "invalid_issuer",
            Self::Audience => "invalid_audience",
        }
    }
}

pub(super) struct Signer {
    key: SigningKey,
}

impl Signer {
    pub(super) fn new() -> Self {
        let secret = SecretBytes::from(RSA_JWK.as_bytes());
        let key = SigningKey::from_jwk_as(&secret, Algorithm::Rs256);
        Self {
            key: key.expect("the key of RFC 7515 appendix A.2"),
        }
    }

    /// The public half.
    pub(super) fn keys(&self) -> Value {
        let private: Value = serde_json::from_str(RSA_JWK).expect("a JWK");
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
            "n": private["n"], "e": private["e"],
        }]})
    }

    pub(super) fn sign(
        &self,
        name: &str,
        (uri, payload): (&str, &Value),
        subject: &Value,
        spoilt: Spoilt,
    ) -> String {
        let or = |wrong: &'static str, is: Spoilt, right: &'static str| match spoilt == is {
            true => wrong,
            false => right,
        };
        let now = SystemTime::UNIX_EPOCH.elapsed();
        let claims = json!({
            "iss": or("https://other.example", Spoilt::Issuer, ISSUER),
            "jti": name,
            "iat": now.map_or(0, |elapsed| elapsed.as_secs()),
            "aud": or("https://somebody-else.example", Spoilt::Audience, AUDIENCE),
            "txn": format!("transaction-of-{name}"),
            "sub_id": subject,
            "events": {uri: payload},
        });
        let kid = or("unknown-key", Spoilt::Key, KEY_ID);
        let header = json!({"kid": kid, "typ": "secevent+jwt", "alg": "RS256"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(&claims));
        let mut signature = [0; MAX_SIGNATURE_BYTES];
        let length = self.key.sign(input.as_bytes(), &mut signature);
        if spoilt == Spoilt::Signature {
            signature[100] ^= 1;
        }
        let signature = &signature[..length.expect("RSA signs")];
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
