//! `Caller`: who asks, as the edge has authenticated it.

use crate::body;

/// The longest name of a receiver or of an audience.
const MAX_LENGTH: usize = 512;

/// A receiver that was authenticated, and how it is addressed.
///
/// Whoever makes one says that the caller is it: by its access token or its certificate, which the edge
/// has verified. Streams belong to the receiver *and* the audience that made them; those of others look as
/// if they did not exist.
///
/// ```
/// use caep_stream::transmitter::Caller;
///
/// // The client that the token was issued to, and the name that its SETs are addressed to.
/// let caller = Caller::new("client-7", "https://rc.example/events")?;
/// # let _ = caller;
/// # Ok::<(), caep_stream::transmitter::CallerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    receiver: Box<str>,
    audience: Box<str>,
}

/// A name is empty, longer than 512 bytes or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a receiver and its audience are named by 1 to 512 bytes without control characters")]
pub struct CallerError;

impl Caller {
    /// `receiver` is who it is, and never changes; `audience` is what its SETs have in `aud`. One
    /// audience for one receiver: a SET that two accept can be shown by one to the other.
    ///
    /// # Errors
    ///
    /// [`CallerError`].
    pub fn new(receiver: &str, audience: &str) -> Result<Self, CallerError> {
        let is_name = |name: &str| name.len() <= MAX_LENGTH && body::is_name(name);
        match is_name(receiver) && is_name(audience) {
            true => Ok(Self {
                receiver: Box::from(receiver),
                audience: Box::from(audience),
            }),
            false => Err(CallerError),
        }
    }

    /// Of a stream: what was checked when it was made.
    pub(crate) fn of(receiver: &str, audience: &str) -> Self {
        Self {
            receiver: Box::from(receiver),
            audience: Box::from(audience),
        }
    }

    /// Who it is.
    pub fn receiver(&self) -> &str {
        &self.receiver
    }

    /// `aud` of its SETs.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}
