//! `sign_request`: the header for a request that is about to be sent.

use m2m_crypto::{RandomError, SecureRandom, SignError};
use m2m_types::Timestamp;

use super::RequestKey;
use super::canonical::{Canonical, RequestParts};
use super::header::Header;
use crate::{Ring, RingSignError};

/// The value of the [`REQUEST_SIGNATURE`](super::REQUEST_SIGNATURE) header for `request`, signed at
/// `now` with the version of the ring that signs. Of `random`, 16 bytes are drawn: the nonce.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{
///     ReplayMemory, RequestKey, RequestParts, Ring, SecretName, SecretVersion, SharedSecret,
///     TimeWindow, sign_request, verify_request,
/// };
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let secret = SharedSecret::generate(&SystemRandom)?;
/// let versions = [(SecretVersion::FIRST, &secret)];
/// let name = SecretName::new("billing")?;
/// let ring = Ring::fixed_with(&name, versions, SecretVersion::FIRST, now, RequestKey::derive)?;
/// let memory = ReplayMemory::new(100_000, TimeWindow::FIVE_MINUTES, &SystemRandom)?;
///
/// let request = RequestParts::new(b"POST", b"orders.example.org", b"/v1/orders").with_body(b"{}");
/// let header = sign_request(&ring, &request, now, &SystemRandom)?;
///
/// verify_request(&ring, &memory, header.as_bytes(), &request, now)?;
/// assert!(verify_request(&ring, &memory, header.as_bytes(), &request, now).is_err()); // replayed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`RequestSignError`].
pub fn sign_request(
    ring: &Ring<RequestKey>,
    request: &RequestParts<'_>,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<String, RequestSignError> {
    let version = ring.signing(now).map_err(RequestSignError::Ring)?;
    let mut nonce = [0; 16];
    random.fill(&mut nonce).map_err(RequestSignError::Random)?;
    // A source that says it has written, and has not, would make all requests replays of the first.
    if nonce == [0; 16] {
        return Err(RequestSignError::Random(RandomError));
    }
    let key_id = version.key_id().as_str();
    let canonical = Canonical::new(request, key_id.as_bytes(), now, &nonce);
    let mut tag = [0; 32];
    let key = version.key().mac_key();
    key.sign(canonical.as_slice(), &mut tag)
        .map_err(RequestSignError::Failed)?;
    let header = Header {
        key_id,
        time: now,
        nonce,
        tag,
    };
    Ok(header.write())
}

/// Why a request was not signed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestSignError {
    /// The ring has nothing to sign with now.
    #[error("{0}")]
    Ring(RingSignError),
    /// No randomness, so no nonce.
    #[error("{0}")]
    Random(RandomError),
    /// The library failed.
    #[error("{0}")]
    Failed(SignError),
}
