//! Reads JSON bodies of requests and responses: bounded, strict where it matters, and deaf to members
//! that are not known (SSF 1.0 §4.2.3).

use caep_set::Members;
use serde::de::DeserializeOwned;

/// Why a body is not what it should be. Says which member, never what stands there.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than such bodies are.
    #[error("the body has {length} bytes, more than the {limit} that are read")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most that is read.
        limit: usize,
    },
    /// It is no JSON object, or has a member twice.
    #[error("the body is not one JSON object without repeated names")]
    NotAnObject,
    /// A member that must be there is not.
    #[error("`{member}` is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is not what it should be.
    #[error("`{member}` {problem}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl BodyError {
    /// The HTTP status to answer with: 413 or 400.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::TooLong { .. } => http::StatusCode::PAYLOAD_TOO_LARGE,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

/// The longest name in these bodies: of a stream, of a SET, of a type of event, an address.
pub(crate) const MAX_NAME: usize = 2048;
/// The most entries of a list of names in a stream's configuration.
pub(crate) const MAX_NAMES: usize = 256;

/// The members of a body of at most `limit` bytes.
pub(crate) fn members(body: &[u8], limit: usize) -> Result<Members, BodyError> {
    if body.len() > limit {
        return Err(BodyError::TooLong {
            length: body.len(),
            limit,
        });
    }
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotAnObject)?;
    Members::from_json(text).map_err(|_| BodyError::NotAnObject)
}

/// A member of any type, if it is there.
pub(crate) fn optional<T: DeserializeOwned>(
    members: &Members,
    member: &'static str,
    problem: &'static str,
) -> Result<Option<T>, BodyError> {
    let json = members.json(member).map(serde_json::from_str);
    json.transpose()
        .map_err(|_| BodyError::Member { member, problem })
}

/// A name, if it is there: not empty, not too long, without control characters.
pub(crate) fn name(members: &Members, member: &'static str) -> Result<Option<Box<str>>, BodyError> {
    let name: Option<Box<str>> = optional(members, member, "is not a string")?;
    match name {
        Some(name) if !is_name(&name) => Err(BodyError::Member {
            member,
            problem: "is empty, longer than 2048 bytes or has control characters",
        }),
        other => Ok(other),
    }
}

/// A name that must be there.
pub(crate) fn required_name(
    members: &Members,
    member: &'static str,
) -> Result<Box<str>, BodyError> {
    name(members, member)?.ok_or(BodyError::Missing { member })
}

/// A text for people, if it is there.
pub(crate) fn text(members: &Members, member: &'static str) -> Result<Option<Box<str>>, BodyError> {
    let text: Option<Box<str>> = optional(members, member, "is not a string")?;
    match text {
        Some(text) if text.len() > 2 * MAX_NAME => Err(BodyError::Member {
            member,
            problem: "is longer than 4096 bytes",
        }),
        other => Ok(other),
    }
}

/// A list of names, if it is there.
pub(crate) fn names(
    members: &Members,
    member: &'static str,
) -> Result<Option<Vec<Box<str>>>, BodyError> {
    let names: Option<Vec<Box<str>>> = optional(members, member, "is not an array of strings")?;
    let Some(names) = names else {
        return Ok(None);
    };
    let problem = match names.len() {
        0..=MAX_NAMES if names.iter().all(|name| is_name(name)) => return Ok(Some(names)),
        0..=MAX_NAMES => "has an entry that is empty, too long or has control characters",
        _ => "has more than 256 entries",
    };
    Err(BodyError::Member { member, problem })
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control)
}
