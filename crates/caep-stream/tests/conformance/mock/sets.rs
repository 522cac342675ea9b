//! SETs as the suite signs them: RS256, claims as it writes them.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, MAX_SIGNATURE_BYTES, SecretBytes, SigningKey};
use m2m_testkit::keys::RSA_JWK;
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUER};

const KEY_ID: &str = "suite-key";

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

    pub(super) fn sign(&self, name: &str, uri: &str, subject: &Value, payload: &Value) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed();
        let claims = json!({
            "iss": ISSUER,
            "jti": name,
            "iat": now.map_or(0, |elapsed| elapsed.as_secs()),
            "aud": AUDIENCE,
            "txn": format!("transaction-of-{name}"),
            "sub_id": subject,
            "events": {uri: payload},
        });
        let header = json!({"kid": KEY_ID, "typ": "secevent+jwt", "alg": "RS256"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(&claims));
        let mut signature = [0; MAX_SIGNATURE_BYTES];
        let length = self.key.sign(input.as_bytes(), &mut signature);
        let signature = &signature[..length.expect("RSA signs")];
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
