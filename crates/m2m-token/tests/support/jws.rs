//! Whether a JWS would be taken if its payload were a set of claims.
//!
//! Others' vectors sign texts like `foo`, which no verifier of tokens takes. Three questions to the
//! public interface put together what a verifier would say if it did, without one of its rules being
//! written here a second time:
//!
//! 1. The vector itself, to a [`Verifier`]: it must get as far as the claims, and refuse what they are.
//!    So its form, its header and the encoding of its payload were found sound.
//! 2. The vector with claims in place of its payload: the *only* thing wrong must be the signature.
//!    So a key was found, and its algorithm and the form of the signature fit.
//! 3. The signature over what was really signed, to that very key.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, Backend, MacKey, VerifyingKey};
use m2m_token::{Audience, Issuers, JwkSet, JwkSetOptions, KeySet, Scratch, TokenType, Verifier};
use serde_json::{Value, json};

use super::{ISSUER, at, b64, claims, secret, unb64};

enum Key {
    Public(VerifyingKey),
    Secret(Arc<MacKey>),
    /// 32 zero bytes.
    Zero,
}

/// Keys of a vector, as an application would load them.
pub struct Keys {
    set: KeySet,
    keys: Vec<(Option<String>, Key)>,
}

impl Keys {
    /// `jwk` is a JWK, or a set of them. A set of nothing but secrets is the caller's own, and each
    /// is loaded as one; any other is one that somebody published. `Err` says why it is refused.
    pub fn load(jwk: &Value, options: &JwkSetOptions) -> Result<Self, String> {
        let one = [jwk.clone()];
        let list = jwk["keys"].as_array().map_or(&one[..], Vec::as_slice);
        if list.iter().all(|jwk| jwk["kty"] == "oct") {
            return Self::secrets(list);
        }
        let list: Vec<Value> = list.iter().map(public).collect();
        let body = json!({ "keys": list }).to_string();
        let set = JwkSet::parse_with(body.as_bytes(), options).map_err(|e| e.to_string())?;
        let set = set.into_keys();
        let keys = set
            .public_keys()
            .map(|(kid, key)| (kid.map(str::to_owned), Key::Public(key.clone())))
            .collect();
        Ok(Self { set, keys })
    }

    fn secrets(list: &[Value]) -> Result<Self, String> {
        let mut loaded = Self {
            set: KeySet::new(),
            keys: Vec::new(),
        };
        for jwk in list {
            let key = MacKey::from_jwk(&secret(jwk.to_string())).map_err(|e| e.to_string())?;
            let key = Arc::new(key);
            let kid = jwk["kid"].as_str();
            loaded.set = match kid {
                Some(kid) => loaded.set.with_secret(kid, Arc::clone(&key)),
                None => loaded.set.with_unnamed_secret(Arc::clone(&key)),
            }
            .map_err(|e| e.to_string())?;
            loaded.keys.push((kid.map(str::to_owned), Key::Secret(key)));
        }
        Ok(loaded)
    }

    /// For HS256 under a secret of nothing but zeroes, which is refused as a key here. Form, header and
    /// encoding are judged by a verifier with another secret of that name, and the tag by
    /// `jsonwebtoken`, which takes such secrets.
    pub fn of_zero_secret(kid: &str) -> Self {
        let stand_in = Arc::new(super::mac(Algorithm::Hs256));
        Self {
            set: KeySet::new().with_secret(kid, stand_in).unwrap(),
            keys: vec![(Some(kid.to_owned()), Key::Zero)],
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The same keys, prepared by another library; `None` if it cannot.
    pub fn with_backend(&self, backend: Backend) -> Option<Self> {
        let set = self.set.clone().with_backend(backend).ok()?;
        let keys = self.keys.iter().map(|(kid, key)| {
            let key = match key {
                Key::Public(key) => Key::Public(key.with_backend(backend).ok()?),
                Key::Secret(key) => Key::Secret(Arc::clone(key)),
                Key::Zero => Key::Zero,
            };
            Some((kid.clone(), key))
        });
        Some(Self {
            set,
            keys: keys.collect::<Option<_>>()?,
        })
    }

    /// `Ok` if the JWS is sound, else the code of the first thing that is wrong with it.
    pub fn check(&self, jws: &str) -> Result<(), &'static str> {
        let verifier = Verifier::builder(
            Issuers::one(ISSUER, self.set.clone()),
            Audience::danger_ignored(),
            TokenType::danger_ignored(),
        )
        .build()
        .unwrap();
        let mut scratch = Scratch::new();
        let mut refused = |jws: &str| {
            let result = verifier.verify(jws, at(0), &mut scratch).map(|_| ());
            result.expect_err("neither is a token").code()
        };
        match refused(jws) {
            "json" | "claim_missing" => {}
            code => return Err(code),
        }
        let (input, signature) = jws.rsplit_once('.').unwrap();
        let (header, _) = input.split_once('.').unwrap();
        let claims = b64(claims().to_string());
        match refused(&format!("{header}.{claims}.{signature}")) {
            "signature" => {}
            code => return Err(code),
        }
        let header: Value = serde_json::from_slice(&unb64(header)).unwrap();
        let (_, key) = self
            .keys
            .iter()
            .find(|(kid, _)| header["kid"].as_str() == kid.as_deref() || self.keys.len() == 1)
            .unwrap();
        // One of the wrong length was not even decoded.
        let bytes = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "signature")?;
        let sound = match key {
            Key::Public(key) => key.verify(input.as_bytes(), &bytes).is_ok(),
            Key::Secret(key) => key.verify(input.as_bytes(), &bytes).is_ok(),
            Key::Zero => jsonwebtoken::crypto::verify(
                signature,
                input.as_bytes(),
                &jsonwebtoken::DecodingKey::from_secret(&[0; 32]),
                jsonwebtoken::Algorithm::HS256,
            )
            .unwrap(),
        };
        match sound {
            true => Ok(()),
            false => Err("signature"),
        }
    }
}

/// A JWK without what its owner keeps to himself. What is a secret altogether stays as it is.
fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    if let Some(members) = jwk.as_object_mut().filter(|jwk| jwk["kty"] != "oct") {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"] {
            members.remove(name);
        }
        // A private key is for signing; its public half is for verifying.
        if members.get("key_ops") == Some(&json!(["sign"])) {
            members.remove("key_ops");
        }
    }
    jwk
}
