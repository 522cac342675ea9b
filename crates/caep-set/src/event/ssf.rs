//! The two events that streams have for themselves (SSF 1.0).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::Event;
use crate::event::macros::event;
use crate::members::Members;
use crate::value::StreamStatus;

macro_rules! uri {
    ($name:literal) => {
        concat!("https://schemas.openid.net/secevent/ssf/event-type/", $name)
    };
}

event! {
    /// The stream works (SSF 1.0 §8.1.4.1).
    Verification, uri!("verification"), "SSF 1.0 §8.1.4.1",
    allows {
        /// `state`: what the receiver gave when it asked; absent if it did not ask.
        state: Box<str> = "state",
    }
}

event! {
    /// The transmitter has changed the state of the stream (SSF 1.0 §8.1.5).
    StreamUpdated, uri!("stream-updated"), "SSF 1.0 §8.1.5",
    requires {
        /// `status`: the state now.
        status: StreamStatus = "status",
    },
    allows {
        /// `reason`: why.
        reason: Box<str> = "reason",
    }
}

impl Verification {
    /// Whether `state` is what it should be: what was given when the verification was asked for, and
    /// nothing if it was not asked for (SSF 1.0 §8.1.4.1).
    ///
    /// A receiver that waits takes an unasked one as well: transmitters may send those at any time.
    ///
    /// # Errors
    ///
    /// [`StateMismatch`], to be answered with `invalid_state`.
    pub fn check_state(&self, pending: Option<&str>) -> Result<(), StateMismatch> {
        match (self.state.as_deref(), pending) {
            (None, _) => Ok(()),
            (Some(found), Some(pending)) if found == pending => Ok(()),
            _ => Err(StateMismatch),
        }
    }
}

/// The `state` of a verification is not the one that was asked for (SSF 1.0 §8.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`state` of the verification is not the one that was asked for")]
pub struct StateMismatch;
