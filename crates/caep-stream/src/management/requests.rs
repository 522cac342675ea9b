//! The smaller requests of stream management: status, subjects, verification (SSF 1.0 §8.1.2 to §8.1.4).

use caep_set::{StreamStatus, SubjectId};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::body::{self, BodyError};
use crate::management::MAX_BODY;

/// The state of a stream, asked for, told or wanted (SSF 1.0 §8.1.2).
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// `stream_id`.
    pub stream_id: Box<str>,
    /// `status`.
    pub status: StreamStatus,
    /// `reason`: a word for people.
    pub reason: Option<Box<str>>,
}

impl StatusUpdate {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`BodyError`], also for a state that there is not.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_BODY)?;
        let status = StreamStatus::from(&*body::required_name(&members, "status")?);
        if matches!(status, StreamStatus::Other(_)) {
            return Err(BodyError::Member {
                member: "status",
                problem: "is none of `enabled`, `paused` and `disabled`",
            });
        }
        Ok(Self {
            stream_id: body::required_name(&members, "stream_id")?,
            status,
            reason: body::text(&members, "reason")?,
        })
    }
}

impl Serialize for StatusUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_id", &self.stream_id)?;
        map.serialize_entry("status", &self.status)?;
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        map.end()
    }
}

/// Interest in a subject, stated or taken back (SSF 1.0 §8.1.3).
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectRequest {
    /// `stream_id`.
    pub stream_id: Box<str>,
    /// `subject`.
    pub subject: SubjectId,
    /// `verified`: whether the receiver has checked that the subject is who it says. Only for adding.
    pub verified: Option<bool>,
}

impl SubjectRequest {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_BODY)?;
        let subject = members
            .json("subject")
            .ok_or(BodyError::Missing { member: "subject" })?;
        let subject = SubjectId::from_json(subject).map_err(|error| BodyError::Member {
            member: "subject",
            problem: error.problem(),
        })?;
        Ok(Self {
            stream_id: body::required_name(&members, "stream_id")?,
            subject,
            verified: body::optional(&members, "verified", "is no boolean")?,
        })
    }
}

impl Serialize for SubjectRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_id", &self.stream_id)?;
        map.serialize_entry("subject", &self.subject)?;
        if let Some(verified) = self.verified {
            map.serialize_entry("verified", &verified)?;
        }
        map.end()
    }
}

/// Asks for a verification event (SSF 1.0 §8.1.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationRequest {
    /// `stream_id`.
    pub stream_id: Box<str>,
    /// `state`: comes back in the event.
    pub state: Option<Box<str>>,
}

impl VerificationRequest {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_BODY)?;
        Ok(Self {
            stream_id: body::required_name(&members, "stream_id")?,
            // It goes into a SET, which has at most 8 KiB.
            state: body::name(&members, "state")?,
        })
    }
}

impl Serialize for VerificationRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_id", &self.stream_id)?;
        if let Some(state) = &self.state {
            map.serialize_entry("state", state)?;
        }
        map.end()
    }
}
