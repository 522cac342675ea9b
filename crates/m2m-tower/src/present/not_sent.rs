//! `NotSent`: why a request that goes out was stopped before anything of it was sent.

use m2m_types::{ClockError, Timestamp};

/// Why a request was not sent: nothing of it, and no credential, left this process.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// It is for an origin that no credentials were named for, or its URI does not say for which.
    #[error("no credentials were named for where the request would go")]
    OtherOrigin,
    /// `Host` names somebody else than the URI, or stands twice.
    #[error("`host` names another than the URI does")]
    Host,
    /// It has credentials already, which are not replaced: `Authorization`, or a signature.
    #[error("the request has a `{header}` already")]
    Credentials {
        /// Which header.
        header: &'static str,
    },
    /// No token was ever there. Is the refresher running?
    #[error("no token is there yet; is the refresher running?")]
    NoToken,
    /// The last good token has expired, and no other came.
    #[error("the token expired at {expires}; now is {now}, and no other came")]
    Expired {
        /// When.
        expires: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
    /// The content is longer than what is signed.
    #[cfg(feature = "secrets")]
    #[error("the content is longer than {limit} bytes")]
    ContentTooLong {
        /// How much is.
        limit: usize,
    },
    /// The content did not come in time.
    #[cfg(feature = "secrets")]
    #[error("the content took longer than {limit:?}")]
    ContentSlow {
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// The content did not come whole, or has trailers, which are not signed.
    #[cfg(feature = "secrets")]
    #[error("the content broke off, or has trailers")]
    ContentBroken,
    /// It could not be signed by RFC 9421.
    #[cfg(feature = "secrets")]
    #[error("signing: {0}")]
    HttpSign(m2m_secrets::HttpSignError),
    /// It could not be signed in the compact form.
    #[cfg(feature = "secrets")]
    #[error("signing: {0}")]
    Sign(m2m_secrets::RequestSignError),
}

/// What a call ended with that was to go out with credentials.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresentError<E> {
    /// It was not sent.
    #[error("not sent: {0}")]
    NotSent(NotSent),
    /// What the client behind says.
    #[error("{0}")]
    Inner(E),
}

impl<E> PresentError<E> {
    /// Why it was not sent, if it was not.
    pub const fn not_sent(&self) -> Option<&NotSent> {
        match self {
            Self::NotSent(why) => Some(why),
            Self::Inner(_) => None,
        }
    }
}
