//! `verify_request`: whether a request was signed by whoever shares a secret with us, and only once.

use m2m_types::Timestamp;

use super::RequestKey;
use super::canonical::{Canonical, RequestParts};
use super::header::Header;
use crate::{
    OutsideWindow, ReplayError, ReplayMemory, RequestRejection, Ring, RingVerifyError,
    SecretVersion,
};

/// A request that is authentic, of this time, and new. Only [`verify_request`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedRequest<'a> {
    key_id: &'a str,
    version: SecretVersion,
    time: Timestamp,
}

/// Checks that `header` (the one value of [`REQUEST_SIGNATURE`](super::REQUEST_SIGNATURE)) is the
/// signature of `request` under a version that `ring` accepts, that it is within the window of
/// `memory`, and that it did not come before. Counts the use of that version.
///
/// Allocates nothing, unless the authority is longer than 32 bytes.
///
/// # Errors
///
/// [`RequestError`]; the sender learns [`RequestError::rejection`].
pub fn verify_request<'a>(
    ring: &Ring<RequestKey>,
    memory: &ReplayMemory,
    header: &'a [u8],
    request: &RequestParts<'_>,
    now: Timestamp,
) -> Result<VerifiedRequest<'a>, RequestError> {
    let header = Header::parse(header).ok_or(RequestError::Malformed)?;
    // Before anything is hashed; `admit` checks it again.
    memory.window().check(header.time, now)?;
    let version = ring.by_key_id(header.key_id, now)?;
    let key_id = header.key_id.as_bytes();
    let canonical = Canonical::new(request, key_id, header.time, &header.nonce);
    let key = version.key().mac_key();
    key.verify(canonical.as_slice(), &header.tag)
        .map_err(|_| RequestError::Signature)?;
    memory.admit(key_id, &header.nonce, header.time, now)?;
    version.record_use(now);
    Ok(VerifiedRequest {
        key_id: header.key_id,
        version: version.version(),
        time: header.time,
    })
}

impl<'a> VerifiedRequest<'a> {
    /// The key id that the header says.
    pub fn key_id(&self) -> &'a str {
        self.key_id
    }

    /// The version of the secret that it was signed with.
    pub fn version(&self) -> SecretVersion {
        self.version
    }

    /// When it was signed.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

/// Why a request was refused: for logs and operators. The sender gets [`RequestError::rejection`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The header is missing, or not of the one form.
    #[error("the header is not `v1`, key id, seconds, nonce and tag parted by single spaces")]
    Malformed,
    /// Signed too long ago, or in the future.
    #[error("{0}")]
    OutsideWindow(OutsideWindow),
    /// The ring does not accept that key id now.
    #[error("{0}")]
    Ring(RingVerifyError),
    /// The tag is not that of the request.
    #[error("the request was not signed with the key it names, or was changed")]
    Signature,
    /// It came before, or there is no telling.
    #[error("{0}")]
    Replay(ReplayError),
}

impl RequestError {
    /// What the sender may learn.
    pub fn rejection(&self) -> RequestRejection {
        match self {
            Self::Replay(replay) => replay.rejection(),
            Self::Ring(RingVerifyError::Fenced { .. }) => RequestRejection::Unavailable,
            _ => RequestRejection::Unauthenticated,
        }
    }

    m2m_types::codes! {
        pub fn code;
        Self::Malformed => "malformed",
        Self::OutsideWindow(_) => "outside_window",
        Self::Ring(RingVerifyError::Fenced { .. }) => "fenced",
        Self::Ring(_) => "key",
        Self::Signature => "wrong",
        Self::Replay(_) => "replay",
    }
}

impl From<OutsideWindow> for RequestError {
    fn from(outside: OutsideWindow) -> Self {
        Self::OutsideWindow(outside)
    }
}

impl From<RingVerifyError> for RequestError {
    fn from(error: RingVerifyError) -> Self {
        Self::Ring(error)
    }
}

impl From<ReplayError> for RequestError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}
