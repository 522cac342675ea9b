//! The events of RISC 1.0.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::Event;
use crate::event::macros::event;
use crate::members::Members;
use crate::value::{CredentialType, DisabledReason};

macro_rules! uri {
    ($name:literal) => {
        concat!(
            "https://schemas.openid.net/secevent/risc/event-type/",
            $name
        )
    };
}

event! {
    /// The account must get another credential (RISC 1.0 §2.1).
    AccountCredentialChangeRequired, uri!("account-credential-change-required"), "RISC 1.0 §2.1"
}

event! {
    /// The account was deleted for good (RISC 1.0 §2.2).
    AccountPurged, uri!("account-purged"), "RISC 1.0 §2.2"
}

event! {
    /// The account was disabled (RISC 1.0 §2.3).
    AccountDisabled, uri!("account-disabled"), "RISC 1.0 §2.3",
    allows {
        /// `reason`: why.
        reason: DisabledReason = "reason",
    }
}

event! {
    /// The account was enabled again (RISC 1.0 §2.4).
    AccountEnabled, uri!("account-enabled"), "RISC 1.0 §2.4"
}

event! {
    /// An e-mail address or telephone number, the subject, was replaced (RISC 1.0 §2.5).
    IdentifierChanged, uri!("identifier-changed"), "RISC 1.0 §2.5",
    allows {
        /// `new-value`: the new one.
        new_value: Box<str> = "new-value",
    }
}

event! {
    /// An e-mail address or telephone number, the subject, belongs to somebody else now
    /// (RISC 1.0 §2.6).
    IdentifierRecycled, uri!("identifier-recycled"), "RISC 1.0 §2.6"
}

event! {
    /// A credential is known to others (RISC 1.0 §2.7).
    CredentialCompromise, uri!("credential-compromise"), "RISC 1.0 §2.7",
    requires {
        /// `credential_type`: what kind of credential.
        credential_type: CredentialType = "credential_type",
    },
    says common
}

event! {
    /// The account takes part in RISC (RISC 1.0 §2.8.1).
    OptIn, uri!("opt-in"), "RISC 1.0 §2.8.1"
}

event! {
    /// The account wants to leave RISC; until that is effective, events go on (RISC 1.0 §2.8.2).
    OptOutInitiated, uri!("opt-out-initiated"), "RISC 1.0 §2.8.2"
}

event! {
    /// The account stays in RISC after all (RISC 1.0 §2.8.3).
    OptOutCancelled, uri!("opt-out-cancelled"), "RISC 1.0 §2.8.3"
}

event! {
    /// The account has left RISC (RISC 1.0 §2.8.4).
    OptOutEffective, uri!("opt-out-effective"), "RISC 1.0 §2.8.4"
}

event! {
    /// Somebody began to recover the account (RISC 1.0 §2.9).
    RecoveryActivated, uri!("recovery-activated"), "RISC 1.0 §2.9"
}

event! {
    /// What the account can be recovered with has changed (RISC 1.0 §2.10).
    RecoveryInformationChanged, uri!("recovery-information-changed"), "RISC 1.0 §2.10"
}

event! {
    /// All sessions of the account are over (RISC 1.0 §2.11). Superseded by [`super::SessionRevoked`].
    SessionsRevoked, uri!("sessions-revoked"), "RISC 1.0 §2.11"
}
