//! Writes SPIFFE bundles.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::Jwk;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::TrustBundle;
use crate::Certificate;

#[derive(Serialize)]
struct Wire {
    keys: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

pub(super) fn json(bundle: &TrustBundle) -> String {
    let certificates = bundle.inner.x509.iter().filter_map(x509_entry);
    let wire = Wire {
        keys: certificates
            .chain(bundle.inner.jwt.iter().map(jwt_entry))
            .collect(),
        spiffe_sequence: bundle.inner.sequence,
        spiffe_refresh_hint: bundle.inner.refresh_hint.map(|interval| interval.as_secs()),
    };
    serde_json::to_string(&wire).expect("strings and numbers always serialise")
}

pub(super) fn jwk_set(bundle: &TrustBundle) -> String {
    let keys: Vec<String> = bundle.inner.jwt.iter().map(Jwk::to_json).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// X.509-SVID §6.1: `use`, no `kid`, one certificate. [`None`] of a key that nobody here knows.
fn x509_entry(certificate: &Certificate) -> Option<Box<RawValue>> {
    let key = certificate.public_key().ok()?;
    let mut members = members(&key.verifying_key().to_jwk());
    // Of ML-DSA it says which key it is (RFC 9964 §3); elsewhere `kty` and `crv` do.
    if members.get("kty").is_none_or(|kind| kind != "AKP") {
        members.remove("alg");
    }
    members.insert("use".into(), "x509-svid".into());
    let der = STANDARD.encode(certificate.der());
    members.insert("x5c".into(), Value::Array(vec![der.into()]));
    Some(raw(&members))
}

fn jwt_entry(authority: &Jwk) -> Box<RawValue> {
    let mut members = members(authority);
    members.insert("use".into(), "jwt-svid".into());
    raw(&members)
}

fn members(jwk: &Jwk) -> Map<String, Value> {
    serde_json::from_str(&jwk.to_json()).expect("a JWK is a JSON object")
}

fn raw(members: &Map<String, Value>) -> Box<RawValue> {
    to_raw_value(members).expect("strings always serialise")
}
