//! The events that the suite sends, as examples of their types. CAEP's say when; RISC's need not.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::streams::CAEP;

const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// All types of CAEP and RISC that the suite knows.
pub(crate) fn all_standard() -> Vec<String> {
    let caep = [
        "session-revoked",
        "token-claims-change",
        "credential-change",
        "assurance-level-change",
        "device-compliance-change",
        "session-established",
        "session-presented",
        "risk-level-change",
    ];
    let risc = [
        "account-credential-change-required",
        "account-purged",
        "account-disabled",
        "account-enabled",
        "identifier-changed",
        "identifier-recycled",
        "credential-compromise",
        "opt-in",
        "opt-out-initiated",
        "opt-out-cancelled",
        "opt-out-effective",
        "recovery-activated",
        "recovery-information-changed",
        "sessions-revoked",
    ];
    let caep = caep.iter().map(|name| format!("{CAEP}{name}"));
    caep.chain(risc.iter().map(|name| format!("{RISC}{name}")))
        .collect()
}

/// In what unit the time of an event is written. The suite's test of interoperability takes the wrong
/// one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
}

/// What an event of this type says.
pub(crate) fn payload(uri: &str, unit: Unit) -> Value {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let time = match unit {
        Unit::Seconds => u128::from(now.as_secs()),
        Unit::Milliseconds => now.as_millis(),
    };
    let time = u64::try_from(time).unwrap_or_default();
    let name = uri.strip_prefix(CAEP).unwrap_or(uri);
    let mut payload = match name.trim_start_matches(RISC) {
        "session-revoked" => json!({
            "initiating_entity": "policy",
            "reason_admin": {"en": "policy violation"},
            "reason_user": {"en": "This device is not compliant.", "it": "Dispositivo non conforme."},
        }),
        "token-claims-change" => json!({"claims": {"role": "ro-admin"}}),
        "credential-change" => json!({
            "credential_type": "fido2-roaming",
            "change_type": "create",
            "fido2_aaguid": "accced6a-63f5-490a-9eea-e59bc1896cfc",
            "friendly_name": "Jane's USB authenticator",
            "initiating_entity": "user",
            "reason_admin": {"en": "self-enrolment"},
        }),
        "assurance-level-change" => json!({
            "namespace": "NIST-AAL",
            "current_level": "nist-aal2",
            "previous_level": "nist-aal1",
            "change_direction": "increase",
            "initiating_entity": "user",
        }),
        "device-compliance-change" => json!({
            "current_status": "not-compliant",
            "previous_status": "compliant",
            "initiating_entity": "policy",
            "reason_admin": {"en": "location policy violation"},
        }),
        "session-established" => json!({"fp_ua": "abb0b6e7da81", "acr": "AAL2", "amr": ["otp"]}),
        "session-presented" => json!({"fp_ua": "abb0b6e7da81", "ext_id": "12345"}),
        "risk-level-change" => json!({
            "current_level": "LOW",
            "previous_level": "HIGH",
            "initiating_entity": "user",
            "principal": "USER",
            "risk_reason": "PASSWORD_FOUND_IN_DATA_BREACH",
        }),
        "account-disabled" => json!({"reason": "hijacking"}),
        "identifier-changed" => json!({"new-value": "new-valid"}),
        "credential-compromise" => json!({"credential_type": "password"}),
        _ => json!({}),
    };
    if uri.starts_with(CAEP) {
        payload["event_timestamp"] = json!(time);
    }
    payload
}
