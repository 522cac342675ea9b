//! Polls are answered (RFC 8936): what is acknowledged is forgotten, and what is queued is given.

use std::collections::BTreeMap;

use http::StatusCode;
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Cursor, Expected, Key, Scan, StoreFuture};
use m2m_types::Timestamp;

use super::coalesce::AT_ONCE;
use super::place::{Position, position_of, queue_prefix, scan};
use super::queue::{Known, Queued};
use super::record::{Status, Stream};
use super::routes::Answer;
use super::{Caller, Transmitter, TransmitterError, answers, dead, intent};
use crate::delivery::poll::{PollRequest, PollResponse};
use crate::management::DeliveryMethod;

/// A poll that waits for something to give.
///
/// Whoever called waits until [`Transmitter::changed`] or [`LongPoll::until`], whichever is first, and then
/// gives it to [`Transmitter::resume`].
#[derive(Debug)]
pub struct LongPoll {
    stream: Box<str>,
    caller: Caller,
    most: usize,
    until: Timestamp,
    since: Cursor,
}

impl LongPoll {
    /// When it is answered even if there is nothing.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// What a receiver says about SETs it got: that it has them, or why it will not.
type Said = BTreeMap<Position, Option<String>>;

impl Transmitter {
    pub(crate) async fn poll(
        &self,
        id: &str,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Answer, TransmitterError> {
        let request = match PollRequest::from_json(body) {
            Ok(request) => request,
            Err(error) => return Ok(Answer::Ready(answers::bad(&error))),
        };
        let stream = self.heard(id, caller, now, random).await?;
        let is_polled = |stream: &Stream| stream.method() == DeliveryMethod::Poll;
        let Some(stream) = stream.filter(|stream| is_polled(stream)) else {
            return Ok(Answer::Ready(answers::missing()));
        };
        // Whatever the state of the stream: what was given before may be acknowledged.
        self.take(&stream, said(&request), random).await?;
        let most = request.max_events().map_or(self.options.page, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let until = match request.returns_immediately() || most == 0 {
            true => now,
            false => now.saturating_add(self.options.long_poll),
        };
        let poll = LongPoll {
            stream: stream.id.clone(),
            caller: caller.clone(),
            most: most.min(self.options.page),
            until,
            since: Cursor::START,
        };
        self.give(poll, now, random).await
    }

    /// Goes on with a poll that waited.
    ///
    /// # Errors
    ///
    /// See [`Transmitter::handle`].
    pub async fn resume(
        &self,
        poll: LongPoll,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Answer, TransmitterError> {
        self.give(poll, now, random).await
    }

    /// Waits until there may be something for `poll`. May be ready for nothing.
    pub fn changed<'t>(&'t self, poll: &LongPoll) -> StoreFuture<'t, ()> {
        self.store.changed(poll.since)
    }

    async fn give(
        &self,
        mut poll: LongPoll,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Answer, TransmitterError> {
        let ready = |response: PollResponse| {
            let response = answers::json(StatusCode::OK, &response);
            Ok(Answer::Ready(response))
        };
        if poll.most == 0 {
            return ready(PollResponse::default());
        }
        poll.since = self.dispatch_all(now, random).await?.as_of;
        self.refresh().await?;
        let Some(stream) = self.stream_of(&poll.stream, &poll.caller) else {
            return Ok(Answer::Ready(answers::missing()));
        };
        let look = self.to_send(&stream)?.with_limit(poll.most);
        let page = self.store.scan(&look).await?;
        if page.records().is_empty() {
            return match now < poll.until {
                true => Ok(Answer::Waiting(poll)),
                false => ready(PollResponse::default()),
            };
        }
        let mut known = Known::default();
        let mut sets = Vec::with_capacity(page.records().len());
        for record in page.records() {
            let queued = Queued::decode(record)?;
            let anew = self.signed_anew(queued.token, now, &mut known)?;
            sets.push((queued.position.token_id(), queued.token, anew));
        }
        let sets = sets
            .iter()
            .map(|(name, token, anew)| (name.as_str(), anew.as_deref().unwrap_or(token)));
        let response = PollResponse::new(sets);
        ready(match page.next() {
            Some(_) => response.with_more_available(),
            None => response,
        })
    }

    /// What of a queue is to be sent: all of it, or if the stream is not enabled, what it says of itself.
    pub(crate) fn to_send(&self, stream: &Stream) -> Result<Scan, TransmitterError> {
        let mut prefix = queue_prefix(&stream.id, stream.said.life);
        if stream.said.status != Status::Enabled {
            prefix.push(Position::CONTROL);
        }
        Ok(scan(&self.spaces.queue, &prefix)?)
    }

    /// Takes what a receiver has, or will not take, out of its queue. Names that are not there are passed
    /// over: they may be acknowledged twice.
    async fn take(
        &self,
        stream: &Stream,
        said: Said,
        random: &dyn SecureRandom,
    ) -> Result<(), TransmitterError> {
        let (Some((first, _)), Some((last, _))) = (said.first_key_value(), said.last_key_value())
        else {
            return Ok(());
        };
        let prefix = queue_prefix(&stream.id, stream.said.life);
        // Just before the first: the queue is read once, from there to the last.
        let before = first.as_bytes().split_last();
        let before = before.map_or(&[][..], |(_, before)| before);
        let before = Key::new(&self.spaces.queue, &[&prefix, before].concat())?;
        let mut read = scan(&self.spaces.queue, &prefix)?.after(before);
        'pages: loop {
            let page = self.store.scan(&read).await?;
            let mut batch = Batch::new(intent(random)?);
            for record in page.records() {
                let position = position_of(record.key());
                if position.is_some_and(|position| position > *last) {
                    self.taken(stream, batch).await?;
                    break 'pages;
                }
                let Some(why) = position.and_then(|position| said.get(&position)) else {
                    continue;
                };
                batch = batch.delete(record.key().clone(), Expected::Anything);
                if let (Some(why), Some(position)) = (why, position) {
                    let letter = dead::encode(why, record.value().as_bytes());
                    let key = self.spaces.dead(&stream.id, position)?;
                    batch = batch.put(key, Expected::Anything, letter);
                }
                if batch.operations().len() >= AT_ONCE {
                    self.taken(stream, batch).await?;
                    batch = Batch::new(intent(random)?);
                }
            }
            self.taken(stream, batch).await?;
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => break,
            }
        }
        Ok(())
    }

    async fn taken(&self, stream: &Stream, batch: Batch) -> Result<(), TransmitterError> {
        let count = batch.operations().len();
        if count > 0 {
            self.commit(batch).await?;
            self.registry().taken(&stream.id, count);
        }
        Ok(())
    }
}

fn said(request: &PollRequest) -> Said {
    let acknowledged = request.acknowledged().map(|name| (name, None));
    let failed = request
        .failed()
        .map(|(name, failure)| (name, Some(dead::because(failure))));
    // What is in both is among the dead letters.
    let all = acknowledged.chain(failed);
    let named = all.filter_map(|(name, why)| Some((Position::of_token_id(name)?, why)));
    named.collect()
}
