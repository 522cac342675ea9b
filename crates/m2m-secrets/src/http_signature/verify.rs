//! Verifying a message's signature: the fields, what they cover, the age, the key, and the replay.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_types::Timestamp;

use super::base::{SignatureBaseError, write_base};
use super::coverage::HttpCoverage;
use super::input::{Input, Labels, SignatureFieldError};
use super::keys::{HttpKeyError, HttpVerifyingKeys};
use super::message::{HttpMessage, HttpRequest};
use super::policy::{Freshness, HttpSignaturePolicy};
use crate::tag_text::{self, TAG_BYTES};
use crate::{OutsideWindow, ReplayError, RequestRejection, RingVerifyError};

/// The longest signature of the algorithms that are accepted.
const MAX_SIGNATURE_BYTES: usize = 64;

/// Memory that is used anew for each message, so that verifying allocates nothing. One for each thread.
#[derive(Debug, Default)]
pub struct HttpSignatureScratch {
    base: Vec<u8>,
}

impl HttpSignatureScratch {
    /// Memory that grows with the first messages: up to 24 KiB.
    pub const fn new() -> Self {
        Self { base: Vec::new() }
    }
}

/// A message of which the policy's components are authentic, of this time, and new. What else it says,
/// nobody signed.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedMessage<'a> {
    label: &'a [u8],
    key_id: &'a str,
    tag: Option<&'a [u8]>,
    created: Timestamp,
    coverage: HttpCoverage,
}

impl HttpSignaturePolicy {
    /// Checks that a signature on `message` covers what this policy demands, was made with one of
    /// `keys`, and is new.
    ///
    /// Of several signatures that the policy's tag allows, each is tried in turn and one must hold: during
    /// an overlap a signer adds one with each of its keys. If none holds, the error is that of the last.
    ///
    /// What is covered is as far as it goes: with `content-digest` covered, the body is not yet checked;
    /// see [`ContentDigest`](crate::ContentDigest).
    ///
    /// # Errors
    ///
    /// [`HttpSignatureError`]; the sender learns [`HttpSignatureError::rejection`].
    pub fn verify<'m, M: HttpMessage>(
        &self,
        message: &'m M,
        keys: &impl HttpVerifyingKeys,
        scratch: &mut HttpSignatureScratch,
        now: Timestamp,
    ) -> Result<VerifiedMessage<'m>, HttpSignatureError> {
        self.verify_related(message, None::<&HttpRequest<'_>>, keys, scratch, now)
    }

    /// [`Self::verify`] for a response whose signature may cover parts of the `request` that it answers
    /// (`req`, RFC 9421 §2.4).
    ///
    /// # Errors
    ///
    /// [`HttpSignatureError`].
    pub fn verify_response<'m, M: HttpMessage, R: HttpMessage>(
        &self,
        response: &'m M,
        request: &R,
        keys: &impl HttpVerifyingKeys,
        scratch: &mut HttpSignatureScratch,
        now: Timestamp,
    ) -> Result<VerifiedMessage<'m>, HttpSignatureError> {
        self.verify_related(response, Some(request), keys, scratch, now)
    }

    fn verify_related<'m, M: HttpMessage, R: HttpMessage>(
        &self,
        message: &'m M,
        request: Option<&R>,
        keys: &impl HttpVerifyingKeys,
        scratch: &mut HttpSignatureScratch,
        now: Timestamp,
    ) -> Result<VerifiedMessage<'m>, HttpSignatureError> {
        let mut input = Input::new();
        let mut first = None;
        let labels = Labels::read(message, |label, cursor| {
            if first.is_some() {
                return Input::new().read(cursor);
            }
            if !input.raw.is_empty() {
                input = Input::new();
            }
            input.read(cursor)?;
            first = self.wants(input.tag).then_some(label);
            Ok(())
        })?;
        let first_label = first.ok_or(HttpSignatureError::NoneWanted)?;
        let mut check = |label, input: &Input<'m>| {
            let signature = labels
                .signature(label)
                .ok_or(SignatureFieldError::LabelsDiffer)?;
            let base = &mut scratch.base;
            self.check(
                (label, input, signature),
                (message, request),
                keys,
                base,
                now,
            )
        };
        let mut refused = match check(first_label, &input) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        let others = labels
            .inputs()
            .skip_while(|(label, _)| *label != first_label);
        for (label, mut cursor) in others.skip(1) {
            let mut input = Input::new();
            input.read(&mut cursor)?;
            if !self.wants(input.tag) {
                continue;
            }
            match check(label, &input) {
                Ok(verified) => return Ok(verified),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn check<'m, M: HttpMessage, R: HttpMessage>(
        &self,
        (label, input, signature): (&'m [u8], &Input<'m>, &[u8]),
        (message, request): (&M, Option<&R>),
        keys: &impl HttpVerifyingKeys,
        base: &mut Vec<u8>,
        now: Timestamp,
    ) -> Result<VerifiedMessage<'m>, HttpSignatureError> {
        if let Some(component) = self.missing(&input.components) {
            let component = component.clone();
            return Err(HttpSignatureError::NotCovered { component });
        }
        let created = self.check_times(input, now)?;
        if input.nonce.is_none() && matches!(self.freshness(), Freshness::Once(_)) {
            return Err(HttpSignatureError::NonceMissing);
        }
        let key_id = input.key_id.ok_or(HttpSignatureError::KeyIdMissing)?;
        let mut room = [0; MAX_SIGNATURE_BYTES + 2];
        let signature =
            decode(signature, &mut room).ok_or(HttpSignatureError::SignatureEncoding)?;
        base.clear();
        write_base(base, input, message, request)?;
        let (key_id, algorithm) = (text(key_id), input.algorithm.map(text));
        keys.verify(key_id, algorithm, base, signature, now)?;
        if let (Freshness::Once(memory), Some(nonce)) = (self.freshness(), input.nonce) {
            memory.admit(key_id.as_bytes(), nonce, created, now)?;
        }
        Ok(VerifiedMessage {
            label,
            key_id,
            tag: input.tag,
            created,
            coverage: HttpCoverage::of(&input.components),
        })
    }

    fn check_times(
        &self,
        input: &Input<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, HttpSignatureError> {
        let created = input.created.ok_or(HttpSignatureError::CreatedMissing)?;
        let created = timestamp(created)?;
        self.window().check(created, now)?;
        if let Some(expires) = input.expires {
            let expires = timestamp(expires)?;
            // "After" this moment it is void (RFC 9421 §2.3).
            if now > expires {
                return Err(HttpSignatureError::Expired { expires, now });
            }
        }
        Ok(created)
    }
}

/// Decodes a signature into `room`, which is two bytes longer than any, as the library wants it.
#[inline]
fn decode<'r>(text: &[u8], room: &'r mut [u8; MAX_SIGNATURE_BYTES + 2]) -> Option<&'r [u8]> {
    let length = match text.try_into() {
        Ok(text) => {
            *room.first_chunk_mut()? = tag_text::decode(text)?;
            TAG_BYTES
        }
        Err(_) => STANDARD.decode_slice(text, room).ok()?,
    };
    room.get(..length)
}

fn timestamp(seconds: i64) -> Result<Timestamp, HttpSignatureError> {
    u64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_unix_seconds(seconds).ok())
        .ok_or(HttpSignatureError::Time { seconds })
}

/// What was read as a structured string or key is ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

impl<'a> VerifiedMessage<'a> {
    /// The label of the signature that holds.
    pub fn label(&self) -> &'a str {
        text(self.label)
    }

    /// The key it was made with.
    pub fn key_id(&self) -> &'a str {
        self.key_id
    }

    /// What its signer says it is for.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag.map(text)
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Which of the parts that matter in every request it covers, whatever the policy demanded.
    pub fn coverage(&self) -> HttpCoverage {
        self.coverage
    }
}

/// Why a message was refused: for logs and operators. Has nothing of the message in it. The sender gets
/// [`HttpSignatureError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignatureError {
    /// `Signature-Input` or `Signature` cannot be read.
    #[error("{0}")]
    Field(SignatureFieldError),
    /// No signature has the tag that the policy wants.
    #[error("no signature has the tag that is wanted")]
    NoneWanted,
    /// The policy demands something that the signature does not cover.
    #[error("the signature does not cover {component:?}, which the policy demands")]
    NotCovered {
        /// As the policy names it.
        component: Arc<str>,
    },
    /// The signature does not say when it was made.
    #[error("the signature has no parameter `created`")]
    CreatedMissing,
    /// `created` or `expires` is not between 1970 and 9999.
    #[error("{seconds} is not a time between 1970 and 9999")]
    Time {
        /// What it says.
        seconds: i64,
    },
    /// Signed too long ago, or in the future.
    #[error("{0}")]
    OutsideWindow(OutsideWindow),
    /// `expires` has passed.
    #[error("the signature expired after {expires}; now is {now}")]
    Expired {
        /// The last second it holds.
        expires: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// The signature has no nonce, so there is no telling whether it came before.
    #[error("the signature has no parameter `nonce`")]
    NonceMissing,
    /// The signature does not say which key it was made with.
    #[error("the signature has no parameter `keyid`")]
    KeyIdMissing,
    /// The signature is not canonical base64, or longer than any that is accepted.
    #[error("the signature is not canonical base64 of at most {MAX_SIGNATURE_BYTES} bytes")]
    SignatureEncoding,
    /// The message does not have what the signature covers.
    #[error("{0}")]
    Base(SignatureBaseError),
    /// The signature is not that of a key that is accepted.
    #[error("{0}")]
    Key(HttpKeyError),
    /// It came before, or there is no telling.
    #[error("{0}")]
    Replay(ReplayError),
}

impl HttpSignatureError {
    /// What the sender may learn.
    pub fn rejection(&self) -> RequestRejection {
        match self {
            Self::Replay(replay) => replay.rejection(),
            Self::Key(HttpKeyError::Ring(RingVerifyError::Fenced { .. })) => {
                RequestRejection::Unavailable
            }
            _ => RequestRejection::Unauthenticated,
        }
    }

    m2m_types::codes! {
        pub fn code;
        Self::Field(_) => "field",
        Self::NoneWanted => "none_wanted",
        Self::NotCovered { .. } => "not_covered",
        Self::CreatedMissing => "created_missing",
        Self::Time { .. } => "time",
        Self::OutsideWindow(_) => "outside_window",
        Self::Expired { .. } => "expired",
        Self::NonceMissing => "nonce_missing",
        Self::KeyIdMissing => "key_id_missing",
        Self::SignatureEncoding => "signature_encoding",
        Self::Base(_) => "base",
        Self::Key(HttpKeyError::Ring(RingVerifyError::Fenced { .. })) => "fenced",
        Self::Key(_) => "key",
        Self::Replay(_) => "replay",
    }
}

impl From<SignatureFieldError> for HttpSignatureError {
    fn from(error: SignatureFieldError) -> Self {
        Self::Field(error)
    }
}

impl From<SignatureBaseError> for HttpSignatureError {
    fn from(error: SignatureBaseError) -> Self {
        Self::Base(error)
    }
}

impl From<HttpKeyError> for HttpSignatureError {
    fn from(error: HttpKeyError) -> Self {
        Self::Key(error)
    }
}

impl From<OutsideWindow> for HttpSignatureError {
    fn from(error: OutsideWindow) -> Self {
        Self::OutsideWindow(error)
    }
}

impl From<ReplayError> for HttpSignatureError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}
