//! Subjects are added to streams and removed from them (SSF 1.0 §8.1.3), and verifications asked for
//! (§8.1.4).

use std::time::Duration;

use caep_set::Verification;
use http::{Response, StatusCode};
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected};
use m2m_types::Timestamp;

use super::interest::{self, Entry};
use super::manage::CHANGES;
use super::place::Rank;
use super::record::{Status, Stream};
use super::{Caller, Transmitter, TransmitterError, answers, intent};
use crate::management::{SubjectRequest, VerificationRequest};

impl Transmitter {
    pub(crate) async fn add_subject(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        self.change_subject(body, caller, None, StatusCode::OK, now, random)
            .await
    }

    pub(crate) async fn remove_subject(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let removed = Some(now.unix_seconds());
        self.change_subject(body, caller, removed, StatusCode::NO_CONTENT, now, random)
            .await
    }

    /// Records what a receiver says about a subject. Whether there is such a subject is not asked, so the
    /// answer and the work cannot tell (SSF 1.0 §9.1).
    async fn change_subject(
        &self,
        body: &[u8],
        caller: &Caller,
        removed: Option<u64>,
        done: StatusCode,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let request = match SubjectRequest::from_json(body) {
            Ok(request) => request,
            Err(error) => return Ok(answers::bad(&error)),
        };
        let Some(stream) = self.heard(&request.stream_id, caller, now, random).await? else {
            return Ok(answers::missing());
        };
        let digest = interest::digest(&request.subject);
        let entry = Entry {
            subject: request.subject,
            removed,
        };
        let entry = entry.encode();
        if entry.len() > MAX_SUBJECT {
            let problem = "`subject` is longer than any that fits into a SET";
            return Ok(answers::problem(StatusCode::BAD_REQUEST, problem));
        }
        let is_full = {
            let registry = self.registry();
            let interest = registry.interest(&stream.id);
            interest.is_some_and(|interest| {
                interest.get(&digest).is_none() && interest.len() >= self.options.subject_limit
            })
        };
        if is_full {
            let wait = Duration::from_secs(3600);
            return Ok(answers::too_many("the stream has too many subjects", wait));
        }
        let batch = Batch::new(intent(random)?)
            .check(self.spaces.stream(&stream.id)?, Expected::Present)
            .put(
                self.spaces.subject(&stream.id, &digest)?,
                Expected::Anything,
                entry,
            );
        match self.commit(batch).await {
            Ok(()) => Ok(answers::empty(done)),
            // The stream was deleted meanwhile.
            Err(m2m_store::StoreError::Conflict { .. }) => Ok(answers::missing()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn verify(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let request = match VerificationRequest::from_json(body) {
            Ok(request) => request,
            Err(error) => return Ok(answers::bad(&error)),
        };
        if request
            .state
            .as_ref()
            .is_some_and(|state| state.len() > MAX_STATE)
        {
            let problem = "`state` is longer than 1024 bytes";
            return Ok(answers::problem(StatusCode::BAD_REQUEST, problem));
        }
        // What was published before is in the queue before: when the verification arrives, so has all that.
        self.dispatch_all(now, random).await?;
        for _ in 0..CHANGES {
            let Some(stream) = self.stream_of(&request.stream_id, caller) else {
                return Ok(answers::missing());
            };
            if stream.said.status != Status::Enabled {
                let problem = "the stream is not enabled";
                return Ok(answers::problem(StatusCode::BAD_REQUEST, problem));
            }
            if let Some(wait) = self.too_early(&stream, now) {
                return Ok(answers::too_many("`min_verification_interval`", wait));
            }
            let mut changed = Stream::clone(&stream);
            changed.said.verified = Some(now.unix_seconds());
            changed.said.heard = now.unix_seconds();
            let mut event = Verification::new();
            event.state.clone_from(&request.state);
            let position = self.fresh_position(Rank::Event, now, random)?;
            let queued = self.own_set(&stream, position, event)?;
            if self
                .write(queued.put(Batch::new(intent(random)?)), &changed)
                .await?
            {
                self.registry().added(&stream.id, 1);
                return Ok(answers::empty(StatusCode::NO_CONTENT));
            }
        }
        Err(TransmitterError::Busy)
    }

    /// How long a receiver has to wait before it may ask again.
    fn too_early(&self, stream: &Stream, now: Timestamp) -> Option<Duration> {
        let interval = self.options.min_verification_interval?;
        let last = Timestamp::from_unix_seconds(stream.said.verified?).ok()?;
        let wait = last.saturating_add(interval).checked_since(now)?;
        (!wait.is_zero()).then_some(wait)
    }
}

/// The longest subject, in bytes: events about it would not fit into a SET. They are kept in memory.
const MAX_SUBJECT: usize = super::MAX_EVENT;
/// The longest `state` of a verification, in bytes: it goes into a SET, which has at most 8 KiB.
const MAX_STATE: usize = 1024;
