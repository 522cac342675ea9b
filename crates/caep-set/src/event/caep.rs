//! The eight events of CAEP 1.0.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::Event;
use crate::event::macros::event;
use crate::members::Members;
use crate::value::{
    AssuranceNamespace, ChangeDirection, ChangeType, ComplianceStatus, CredentialType, Principal,
    RiskLevel,
};

macro_rules! uri {
    ($name:literal) => {
        concat!(
            "https://schemas.openid.net/secevent/caep/event-type/",
            $name
        )
    };
}

event! {
    /// The session of the subject is over (CAEP 1.0 §3.1). With a complex subject: every session that
    /// matches all its parts.
    SessionRevoked, uri!("session-revoked"), "CAEP 1.0 §3.1", says common
}

event! {
    /// Claims of a token have other values now (CAEP 1.0 §3.2).
    TokenClaimsChange, uri!("token-claims-change"), "CAEP 1.0 §3.2",
    requires {
        /// `claims`: the claims that changed, with their new values.
        claims: Members = "claims",
    },
    says common
}

event! {
    /// A credential was made, changed, revoked or deleted (CAEP 1.0 §3.3).
    CredentialChange, uri!("credential-change"), "CAEP 1.0 §3.3",
    requires {
        /// `credential_type`: what kind of credential.
        credential_type: CredentialType = "credential_type",
        /// `change_type`: what happened to it.
        change_type: ChangeType = "change_type",
    },
    allows {
        /// `friendly_name`: what its user calls it.
        friendly_name: Box<str> = "friendly_name",
        /// `x509_issuer`: the issuer of the certificate.
        x509_issuer: Box<str> = "x509_issuer",
        /// `x509_serial`: the serial number of the certificate.
        x509_serial: Box<str> = "x509_serial",
        /// `fido2_aaguid`: the model of the authenticator.
        fido2_aaguid: Box<str> = "fido2_aaguid",
    },
    says common
}

event! {
    /// More or less is assured of the subject than before (CAEP 1.0 §3.4).
    AssuranceLevelChange, uri!("assurance-level-change"), "CAEP 1.0 §3.4",
    requires {
        /// `namespace`: the scale.
        namespace: AssuranceNamespace = "namespace",
        /// `current_level`: the level now, a word of that scale.
        current_level: Box<str> = "current_level",
    },
    allows {
        /// `previous_level`: the level before; without it, unknown.
        previous_level: Box<str> = "previous_level",
        /// `change_direction`: up or down.
        change_direction: ChangeDirection = "change_direction",
    },
    says common
}

event! {
    /// A device keeps the rules, or no longer does (CAEP 1.0 §3.5).
    DeviceComplianceChange, uri!("device-compliance-change"), "CAEP 1.0 §3.5",
    requires {
        /// `previous_status`: before.
        previous_status: ComplianceStatus = "previous_status",
        /// `current_status`: now.
        current_status: ComplianceStatus = "current_status",
    },
    says common
}

event! {
    /// A session began (CAEP 1.0 §3.6); `event_timestamp` says when.
    SessionEstablished, uri!("session-established"), "CAEP 1.0 §3.6",
    allows {
        /// `fp_ua`: fingerprint of the user agent.
        user_agent_fingerprint: Box<str> = "fp_ua",
        /// `acr`: authentication context class.
        acr: Box<str> = "acr",
        /// `amr`: authentication methods.
        amr: Vec<Box<str>> = "amr",
        /// `ext_id`: the session's name elsewhere.
        external_id: Box<str> = "ext_id",
    },
    says common
}

event! {
    /// A session was seen (CAEP 1.0 §3.7).
    SessionPresented, uri!("session-presented"), "CAEP 1.0 §3.7",
    allows {
        /// `fp_ua`: fingerprint of the user agent.
        user_agent_fingerprint: Box<str> = "fp_ua",
        /// `ext_id`: the session's name elsewhere.
        external_id: Box<str> = "ext_id",
    },
    says common
}

event! {
    /// Something is more or less risky than before (CAEP 1.0 §3.8).
    RiskLevelChange, uri!("risk-level-change"), "CAEP 1.0 §3.8",
    requires {
        /// `principal`: what is at risk.
        principal: Principal = "principal",
        /// `current_level`: how risky it is now.
        current_level: RiskLevel = "current_level",
    },
    allows {
        /// `risk_reason`: why. Recommended.
        risk_reason: Box<str> = "risk_reason",
        /// `previous_level`: how risky it was before.
        previous_level: RiskLevel = "previous_level",
    },
    says common
}
