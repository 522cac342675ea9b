//! What is looked at in each SET that a transmitter sends. Signatures are checked by another library.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Value, json};

use crate::report::{Report, Stop};
use crate::streams::{CAEP, Stream};
use crate::tester::{As, Body, Tester};

pub(crate) const VERIFICATION: &str =
    "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// A SET, taken apart without being believed.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

pub(crate) fn parts(set: &str) -> Option<Parts> {
    let mut parts = set.split('.');
    let mut json = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (header, claims) = (json()?, json()?);
    Some(Parts { header, claims })
}

impl Parts {
    /// What it says of an event of this type.
    pub(crate) fn event(&self, uri: &str) -> Option<&Value> {
        self.claims["events"].get(uri)
    }

    pub(crate) fn name(&self) -> &str {
        self.claims["jti"].as_str().unwrap_or_default()
    }

    /// The `state` of a verification: `Some(None)` for one without.
    pub(crate) fn state(&self) -> Option<Option<&str>> {
        Some(self.event(VERIFICATION)?["state"].as_str())
    }
}

/// Whether a SET is the verification with this `state`.
pub(crate) fn verifies(set: &str, state: &str) -> bool {
    parts(set).is_some_and(|parts| parts.state() == Some(Some(state)))
}

/// Looks at everything that every SET of `stream` must have.
pub(crate) fn check_set(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    set: &str,
) -> Result<Parts, Stop> {
    let url = tester.endpoint(report, &stream.metadata, "jwks_uri")?;
    let keys = tester.call(report, "GET", &url, As::Nobody, &Body::None)?;
    let found = report.want(parts(set), "a SET is a JWS of JSON")?;
    report.should(is_signed(&found, set, &keys.body), "its signature is right");
    let Parts { header, claims } = &found;
    report.must(header["alg"] == "RS256", "interop: it is signed with RS256");
    report.must(
        header["typ"] == "secevent+jwt",
        "`typ` is secevent+jwt, to the letter",
    );
    let events = claims["events"].as_object().map_or(0, serde_json::Map::len);
    report.must(events == 1, "it has one event");
    report.must(claims.get("sub").is_none(), "it has no `sub`");
    report.must(claims.get("exp").is_none(), "it has no `exp`");
    report.must(claims.get("sub_id").is_some(), "it has a `sub_id`");
    report.must(claims["iss"] == tester.issuer(), "`iss` is the issuer");
    let now = SystemTime::UNIX_EPOCH.elapsed();
    let now = now.map_or(0.0, |elapsed| elapsed.as_secs_f64());
    report.must(
        claims["iat"].as_f64().is_some_and(|iat| iat <= now),
        "`iat` is there and not after now",
    );
    let list = |value: &Value| match value {
        Value::Array(names) => names.clone(),
        Value::String(_) => vec![value.clone()],
        _ => Vec::new(),
    };
    let audience = list(&claims["aud"]);
    report.must(!audience.is_empty(), "`aud` is a name or names");
    let known = list(&stream.configuration["aud"]);
    report.should(
        audience.iter().all(|name| known.contains(name)),
        "`aud` is among those of the stream",
    );
    report.may(claims["txn"].is_string(), "it has a `txn`");
    payloads(report, &found);
    Ok(found)
}

/// Looks at a verification: for this stream, with this `state`.
pub(crate) fn check_verification(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    set: &str,
    state: &str,
) -> Result<Parts, Stop> {
    let found = check_set(tester, report, stream, set)?;
    report.must(
        found.claims["sub_id"] == json!({"format": "opaque", "id": stream.name}),
        "a verification is about the stream",
    );
    report.must(
        found.state() == Some(Some(state)),
        "a verification has the state that was asked for",
    );
    Ok(found)
}

fn is_signed(parts: &Parts, set: &str, keys: &[u8]) -> bool {
    let attempt = || {
        let keys: JwkSet = serde_json::from_slice(keys).ok()?;
        let key = keys.find(parts.header["kid"].as_str()?)?;
        let algorithm: Algorithm = parts.header["alg"].as_str()?.parse().ok()?;
        let (input, signature) = set.rsplit_once('.')?;
        let key = DecodingKey::from_jwk(key).ok()?;
        crypto::verify(signature, input.as_bytes(), &key, algorithm).ok()
    };
    attempt().unwrap_or(false)
}

fn payloads(report: &mut Report, parts: &Parts) {
    let events = parts.claims["events"].as_object();
    for (uri, event) in events.into_iter().flatten() {
        report.must(event.is_object(), "an event is an object");
        let Some(name) = uri.strip_prefix(CAEP) else {
            continue;
        };
        common(report, event);
        let is = |member: &str, values: &[&str]| {
            event[member]
                .as_str()
                .is_some_and(|value| values.contains(&value))
        };
        match name {
            "credential-change" => {
                for member in ["credential_type", "change_type"] {
                    report.must(event[member].is_string(), format_args!("{member} is there"));
                }
                report.should(
                    is("change_type", &["create", "revoke", "update", "delete"]),
                    "change_type is one of the standard's",
                );
            }
            "device-compliance-change" => {
                for member in ["previous_status", "current_status"] {
                    report.must(
                        is(member, &["compliant", "not-compliant"]),
                        format_args!("{member} is one of two"),
                    );
                }
            }
            _ => {}
        }
    }
}

/// What every CAEP event may say, and the interoperability profile wants of its three.
fn common(report: &mut Report, event: &Value) {
    let time = event.get("event_timestamp");
    report.must(
        time.is_none_or(Value::is_number),
        "event_timestamp is a number",
    );
    let entity = event.get("initiating_entity");
    report.must(
        entity.is_none_or(|entity| {
            ["admin", "user", "policy", "system"].contains(&entity.as_str().unwrap_or_default())
        }),
        "initiating_entity is one of four",
    );
    for member in ["reason_admin", "reason_user"] {
        let reasons = event.get(member);
        report.must(
            reasons.is_none_or(|reasons| {
                let reasons = reasons.as_object();
                reasons.is_some_and(|all| !all.is_empty() && all.values().all(Value::is_string))
            }),
            format_args!("{member} has words in at least one language"),
        );
    }
    report.must(
        event.get("reason_admin").is_some(),
        "interop: reason_admin is there",
    );
}
