//! How SETs get from a transmitter to a receiver: pushed one by one, or polled.

pub mod poll;
pub mod push;

use caep_set::ErrorCode;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::body::{self, BodyError};

/// What is wrong with a SET, as its receiver tells the transmitter (RFC 8935 §2.3, RFC 8936 §2.4).
///
/// ```
/// use caep_set::ErrorCode;
/// use caep_stream::SetFailure;
///
/// let failure = SetFailure::new(ErrorCode::InvalidKey);
/// assert_eq!(
///     serde_json::to_string(&failure)?,
///     r#"{"err":"invalid_key","description":"the token could not be authenticated"}"#,
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFailure {
    code: Box<str>,
    description: Box<str>,
}

impl SetFailure {
    /// A failure with the words that tell a stranger nothing.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code: Box::from(code.as_str()),
            description: Box::from(code.description()),
        }
    }

    /// Reads the body of an answer to a push that failed.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if it is none, or has more than 16 KiB. Receivers answer with an empty body too;
    /// the status then says all there is.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        Self::of_members(&body::members(body, MAX_FAILURE)?)
    }

    pub(crate) fn of_members(members: &caep_set::Members) -> Result<Self, BodyError> {
        Ok(Self {
            code: body::required_name(members, "err")?,
            description: body::text(members, "description")?.unwrap_or_default(),
        })
    }

    /// The code; `None` if it is not registered. Those of older drafts are understood.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::parse(&self.code)
    }

    /// The code as it was written.
    pub fn code_text(&self) -> &str {
        &self.code
    }

    /// What the receiver says about it, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whether sending the same SET again can succeed (RFC 8935 §4): after credentials or keys were
    /// renewed it may be authenticated, but a SET that is no SET stays none.
    pub fn may_succeed_later(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::AuthenticationFailed | ErrorCode::AccessDenied | ErrorCode::InvalidKey)
        )
    }
}

/// The longest body of an error, in bytes.
const MAX_FAILURE: usize = 16 << 10;

impl Serialize for SetFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("err", &self.code)?;
        map.serialize_entry("description", &self.description)?;
        map.end()
    }
}

/// Whether `value` is the media type `expected`, whatever its parameters (RFC 9110 §8.3.1).
pub(crate) fn is_media_type(value: &http::HeaderValue, expected: &str) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(expected)
}
