//! Streams are made, read, changed and deleted (SSF 1.0 §8.1.1).

use std::sync::Arc;

use http::{Response, StatusCode};
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Key, Revision, StoreError};
use m2m_types::Timestamp;

use super::record::{Said, Status, Stream, poll_url};
use super::{Caller, Transmitter, TransmitterError, answers, intent, place};
use crate::body::BodyError;
use crate::management::{Delivery, DeliveryMethod, SecretHeader, StreamRequest};

/// How often a change is tried again that somebody else was faster with.
pub(crate) const CHANGES: usize = 8;

impl Transmitter {
    pub(crate) fn describe(&self, stream: &Stream) -> Response<Vec<u8>> {
        answers::json(StatusCode::OK, &stream.configuration(&self.ours()))
    }

    pub(crate) async fn create(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let request = match self.new_stream(body) {
            Ok(request) => request,
            Err(error) => return Ok(answers::bad(&error)),
        };
        for slot in 0..self.options.streams_per_receiver {
            let stream = self.drawn(&request, caller, slot, now, random)?;
            let batch = Batch::new(intent(random)?)
                .put(self.slot(caller, slot)?, Expected::Absent, &b"1"[..])
                .put(
                    self.spaces.stream(&stream.id)?,
                    Expected::Absent,
                    stream.encode(),
                );
            match self.commit(batch).await {
                Ok(()) => {
                    let configuration = stream.configuration(&self.ours());
                    return Ok(answers::json(StatusCode::CREATED, &configuration));
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(answers::problem(
            StatusCode::CONFLICT,
            "there is a stream already; read, change or delete it",
        ))
    }

    /// What is asked of a new stream.
    fn new_stream(&self, body: &[u8]) -> Result<StreamRequest, BodyError> {
        let request = StreamRequest::from_json(body)?;
        request.check_against(None)?;
        if request.stream_id().is_some() {
            return Err(BodyError::Member {
                member: "stream_id",
                problem: "is the transmitter's to say",
            });
        }
        if let Some(delivery) = request.delivery() {
            self.check_delivery(delivery, None)?;
        }
        Ok(request)
    }

    fn drawn(
        &self,
        request: &StreamRequest,
        caller: &Caller,
        slot: u32,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Stream, TransmitterError> {
        let mut id = [0; 16];
        random.fill(&mut id)?;
        let mut stream = Stream {
            id: place::hex(&id).into_boxed_str(),
            said: Said {
                receiver: Box::from(caller.receiver()),
                audience: Box::from(caller.audience()),
                slot,
                push: None,
                requested: None,
                description: None,
                status: Status::Enabled,
                reason: None,
                heard: now.unix_seconds(),
                verified: None,
                enabled: now.unix_seconds(),
                life: 0,
                gap: None,
            },
            secret: None,
            version: Revision::ZERO,
        };
        stream.take_in(request, Missing::Deleted);
        Ok(stream)
    }

    /// Which of the receiver's streams: there are as many places as it may have streams.
    fn slot(&self, caller: &Caller, slot: u32) -> Result<Key, TransmitterError> {
        let name = m2m_crypto::sha256(caller.receiver().as_bytes());
        let id = [&name[..], &slot.to_be_bytes()].concat();
        Ok(Key::new(&self.spaces.slots, &id)?)
    }

    fn check_delivery(&self, delivery: &Delivery, stream: Option<&str>) -> Result<(), BodyError> {
        let wrong = |problem| BodyError::Member {
            member: "endpoint_url",
            problem,
        };
        match (delivery.method(), delivery.endpoint_url()) {
            (DeliveryMethod::Push, Some(url)) if self.options.targets.allows(url) => Ok(()),
            (DeliveryMethod::Push, _) => Err(wrong("is no address that is pushed to")),
            (DeliveryMethod::Poll, None) => Ok(()),
            (DeliveryMethod::Poll, Some(url)) => {
                let ours = stream.map(|stream| poll_url(&self.poll_endpoint, stream));
                match ours.as_deref() == Some(url) {
                    true => Ok(()),
                    false => Err(wrong("of polls is the transmitter's to say")),
                }
            }
        }
    }

    pub(crate) fn read_all(&self, caller: &Caller) -> Response<Vec<u8>> {
        let ours = self.ours();
        let streams: Vec<Arc<Stream>> = self.registry().streams().cloned().collect();
        let mine = streams.iter().filter(|stream| stream.is_of(caller));
        let mine: Vec<_> = mine.map(|stream| stream.configuration(&ours)).collect();
        answers::json(StatusCode::OK, &mine)
    }

    pub(crate) async fn update(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        self.change_configuration(body, caller, Missing::Kept, now, random)
            .await
    }

    pub(crate) async fn replace(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        self.change_configuration(body, caller, Missing::Deleted, now, random)
            .await
    }

    async fn change_configuration(
        &self,
        body: &[u8],
        caller: &Caller,
        missing: Missing,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let request = match StreamRequest::from_json(body) {
            Ok(request) => request,
            Err(error) => return Ok(answers::bad(&error)),
        };
        let absent = |member| Ok(answers::bad(&BodyError::Missing { member }));
        let Some(id) = request.stream_id() else {
            return absent("stream_id");
        };
        if missing == Missing::Deleted && request.delivery().is_none() {
            return absent("delivery");
        }
        for _ in 0..CHANGES {
            let Some(stream) = self.stream_of(id, caller) else {
                return Ok(answers::missing());
            };
            let delivery = request.delivery();
            let checked = request
                .check_against(Some(&stream.configuration(&self.ours())))
                .and_then(|()| {
                    delivery.map_or(Ok(()), |delivery| self.check_delivery(delivery, Some(id)))
                });
            if let Err(error) = checked {
                return Ok(answers::bad(&error));
            }
            let mut changed = Stream::clone(&stream);
            changed.take_in(&request, missing);
            changed.said.heard = now.unix_seconds();
            let batch = Batch::new(intent(random)?);
            if self.write(batch, &changed).await? {
                return Ok(self.describe(&changed));
            }
        }
        Err(TransmitterError::Busy)
    }

    /// Writes a stream that was changed, and what else is in `batch`. Not if it was changed meanwhile:
    /// then it is read again, and this is [`false`].
    pub(crate) async fn write(
        &self,
        batch: Batch,
        stream: &Stream,
    ) -> Result<bool, TransmitterError> {
        let key = self.spaces.stream(&stream.id)?;
        let version = Expected::Version(stream.version);
        let written = match self
            .commit(batch.put(key.clone(), version, stream.encode()))
            .await
        {
            Ok(()) => true,
            Err(StoreError::Conflict { key: which, .. }) if which == key => false,
            Err(error) => return Err(error.into()),
        };
        self.refresh().await?;
        Ok(written)
    }

    pub(crate) async fn delete(
        &self,
        id: Option<&str>,
        caller: &Caller,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        for _ in 0..CHANGES {
            let Some(stream) = id.and_then(|id| self.stream_of(id, caller)) else {
                return Ok(answers::missing());
            };
            let key = self.spaces.stream(&stream.id)?;
            let slot = self.slot(caller, stream.said.slot)?;
            let batch = Batch::new(intent(random)?)
                .delete(key.clone(), Expected::Version(stream.version))
                .delete(slot, Expected::Anything)
                .put(self.swept(&stream.id)?, Expected::Anything, &b"gone"[..]);
            match self.commit(batch).await {
                Ok(()) => return Ok(answers::empty(StatusCode::NO_CONTENT)),
                Err(StoreError::Conflict { key: which, .. }) if which == key => {}
                Err(error) => return Err(error.into()),
            }
            self.refresh().await?;
        }
        Err(TransmitterError::Busy)
    }

    /// Where it is noted that the queue of a stream is to be swept.
    pub(crate) fn swept(&self, stream: &str) -> Result<Key, TransmitterError> {
        Ok(Key::new(&self.spaces.swept, stream.as_bytes())?)
    }

    /// The caller's stream, and that its receiver was heard of (SSF 1.0 §8.1.1, `inactivity_timeout`).
    pub(crate) async fn heard(
        &self,
        id: &str,
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Option<Arc<Stream>>, TransmitterError> {
        let Some(stream) = self.stream_of(id, caller) else {
            return Ok(None);
        };
        // Only as exactly as it matters: polls come often.
        let Some(timeout) = self.options.inactivity_timeout else {
            return Ok(Some(stream));
        };
        let silent = now.unix_seconds().saturating_sub(stream.said.heard);
        if silent > timeout.as_secs() / 8 {
            let mut changed = Stream::clone(&stream);
            changed.said.heard = now.unix_seconds();
            // If somebody else was faster, it was heard of as well.
            self.write(Batch::new(intent(random)?), &changed).await?;
            return Ok(self.stream_of(id, caller));
        }
        Ok(Some(stream))
    }
}

/// What becomes of members that a request does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They stay (PATCH).
    Kept,
    /// They go (PUT).
    Deleted,
}

impl Stream {
    pub(crate) fn caller(&self) -> Caller {
        Caller::of(&self.said.receiver, &self.said.audience)
    }

    pub(crate) fn is_of(&self, caller: &Caller) -> bool {
        *self.said.receiver == *caller.receiver() && *self.said.audience == *caller.audience()
    }

    /// Takes over what a receiver says about its stream.
    fn take_in(&mut self, request: &StreamRequest, missing: Missing) {
        let said = &mut self.said;
        let all = missing == Missing::Deleted;
        let requested = request.events_requested();
        let requested = requested.map(|uris| uris.map(Box::from).collect());
        if requested.is_some() || all {
            said.requested = requested;
        }
        if request.description().is_some() || all {
            said.description = request.description().map(Box::from);
        }
        let Some(delivery) = request.delivery() else {
            return;
        };
        let push = delivery.endpoint_url().map(Box::from);
        let push = push.filter(|_| delivery.method() == DeliveryMethod::Push);
        let secret = delivery.authorization();
        let secret = secret.and_then(|secret| {
            let text = std::str::from_utf8(secret.expose_secret()).ok()?;
            SecretHeader::new(text).ok().map(Arc::new)
        });
        // Descriptions of streams do not have the secret. Whoever sends one back does not mean to take
        // it away; but it goes to no other address.
        let is_kept = !all && secret.is_none() && push == said.push;
        if !is_kept {
            self.secret = secret.filter(|_| push.is_some());
        }
        said.push = push;
    }
}
