//! What a receiver does to stay what it is: fetch keys, ask whether streams are alive, forget old names.

use caep_set::Profile;
use http::Response;
use m2m_crypto::SecureRandom;
use m2m_store::{Expected, Scan, StoreError};
use m2m_types::Timestamp;

use crate::inbox::{InboxError, intent};
use crate::management::{StreamConfiguration, VerificationRequest};
use crate::receiver::heartbeat::{Beat, Freshness};
use crate::receiver::keys::{KeyFetch, KeysError};
use crate::receiver::source::Source;
use crate::receiver::{Answer, Receiver, lock};

/// How often the state of a stream is read again because somebody else has changed it.
const ATTEMPTS: usize = 8;
/// The most records of one step of forgetting.
const FORGOTTEN_AT_ONCE: usize = 200;

impl Receiver {
    /// Keys to be fetched now, if there are any. Call until `None`.
    pub fn poll_keys(&self, now: Timestamp) -> Option<KeyFetch> {
        let mut sources = self.sources.iter();
        sources.find_map(|source| source.keys.poll_fetch(&source.issuer, now))
    }

    /// When to call [`Receiver::poll_keys`] again if nothing happens before.
    pub fn poll_keys_timeout(&self) -> Timestamp {
        let times = self
            .sources
            .iter()
            .filter_map(|one| one.keys.poll_timeout());
        times.min().unwrap_or(Timestamp::MAX)
    }

    /// Takes the answer to a request for keys.
    ///
    /// # Errors
    ///
    /// [`KeysError`]; the keys in use stay in use until they are too old.
    pub fn handle_keys(
        &self,
        fetch: &KeyFetch,
        response: &Response<&[u8]>,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let source = self.source(&fetch.issuer).ok_or(KeysError::NotFetched)?;
        source.keys.handle_response(fetch, response, now)
    }

    /// The request for keys came to nothing.
    pub fn handle_keys_failure(&self, fetch: &KeyFetch, now: Timestamp) {
        if let Some(source) = self.source(&fetch.issuer) {
            source.keys.handle_failure(fetch, now);
        }
    }

    /// The stream of its issuer is this one from now on, as [`Source::with_stream`] says of the beginning.
    /// `false` if there is no such source.
    pub fn attach(&self, stream: &StreamConfiguration) -> bool {
        let source = self.source(&stream.issuer);
        source.map(|source| source.attach(stream)).is_some()
    }

    /// Whether the stream of `issuer` tells us what happens; `None` if it is no source. Costs a lock that
    /// is held for a moment: ask once for each decision, not in a loop.
    pub fn freshness(&self, issuer: &str, now: Timestamp) -> Option<Freshness> {
        let source = self.source(issuer)?;
        let freshness = source.beat().freshness(&source.heartbeat, now);
        Some(freshness)
    }

    /// The verification to be asked for now, if it is time: give it to
    /// [`crate::receiver::StreamClient::verify`]. That it was asked for is recorded first, so that the
    /// event is known after a restart. None is asked for before the stream is known.
    ///
    /// # Errors
    ///
    /// [`InboxError`]; ask for nothing then.
    pub async fn poll_verification(
        &self,
        issuer: &str,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Option<VerificationRequest>, InboxError> {
        let Some(source) = self.source(issuer) else {
            return Ok(None);
        };
        let Some(stream_id) = source.stream_id() else {
            return Ok(None);
        };
        if now < source.beat().next() {
            return Ok(None);
        }
        let mut bytes = [0; 16];
        random.fill(&mut bytes).map_err(InboxError::Random)?;
        let state: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let asks = |beat: &mut Beat| {
            let is_time = now >= beat.next();
            if is_time {
                beat.ask(&state, &source.heartbeat, now);
            }
            is_time
        };
        // Another process may have asked.
        let asked = self.change(source, asks, random).await?;
        Ok(asked.then(|| VerificationRequest {
            stream_id,
            state: Some(state.clone().into_boxed_str()),
        }))
    }

    /// When to call [`Receiver::poll_verification`] again.
    pub fn poll_verification_timeout(&self, issuer: &str) -> Timestamp {
        let source = self.source(issuer);
        source.map_or(Timestamp::MAX, |source| source.beat().next())
    }

    /// What the transmitter answered to the request for a verification. If it was asked too often it is
    /// asked less.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn handle_verification_answer(
        &self,
        issuer: &str,
        answer: &Answer<()>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), InboxError> {
        let Some(source) = self.source(issuer).filter(|_| !answer.is_success()) else {
            return Ok(());
        };
        let after = match answer {
            Answer::Later { retry_after, .. } => *retry_after,
            _ => None,
        };
        let not_taken = |beat: &mut Beat| {
            beat.not_taken(after, now);
            true
        };
        self.change(source, not_taken, random).await.map(drop)
    }

    /// What happened while the stream had stopped was found out by other means, or everything that it
    /// could have ended was ended: its [`Freshness::Gap`] is closed.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn reconciled(
        &self,
        issuer: &str,
        random: &dyn SecureRandom,
    ) -> Result<(), InboxError> {
        let Some(source) = self.source(issuer) else {
            return Ok(());
        };
        let reconciled = |beat: &mut Beat| {
            beat.reconciled();
            true
        };
        self.change(source, reconciled, random).await.map(drop)
    }

    /// Reads again what is known of the streams, which another process may have heard. Call it now and
    /// then where several share a store.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn catch_up(&self) -> Result<(), InboxError> {
        for source in &self.sources {
            let kept = self.kept_beat(source).await?;
            source.remember(kept.value.unwrap_or_default());
        }
        Ok(())
    }

    /// Changes what is known of a stream, in the store and then here. `false` if `change` did nothing.
    async fn change(
        &self,
        source: &Source,
        change: impl Fn(&mut Beat) -> bool,
        random: &dyn SecureRandom,
    ) -> Result<bool, InboxError> {
        for _ in 0..ATTEMPTS {
            let kept = self.kept_beat(source).await?;
            let mut beat = kept.value.clone().unwrap_or_default();
            beat.min_interval = source.beat().min_interval;
            let has_changed = change(&mut beat);
            if has_changed {
                let batch = kept.put(m2m_store::Batch::new(intent(random)?), &beat);
                match self.inbox.commit(batch).await {
                    Ok(()) => {}
                    Err(StoreError::Conflict { .. }) => continue,
                    Err(error) => return Err(InboxError::Store(error)),
                }
            }
            source.remember(beat);
            return Ok(has_changed);
        }
        Err(InboxError::Contended)
    }

    /// Forgets names that were recorded more than two retry horizons ago, some hundred at a time, and says
    /// how many. It goes on where it was; `true` says that it came to the end.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn forget(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(usize, bool), InboxError> {
        let window = self.retry_horizon.saturating_mul(2);
        let after = lock(&self.swept).clone();
        let [names, latest] = after;
        let (count, next_name) = self.inbox.forget(now, window, names, random).await?;
        let horizon = now.saturating_sub(window);
        let next_latest = self.forget_latest(horizon, latest, random).await?;
        let is_end = next_name.is_none();
        if is_end {
            self.seen().forget_before(horizon);
        }
        *lock(&self.swept) = [next_name, next_latest];
        Ok((count, is_end))
    }

    /// Forgets what was said last about subjects, if that was long ago: what is older than it does not
    /// come any more.
    async fn forget_latest(
        &self,
        horizon: Timestamp,
        after: Option<m2m_store::Key>,
        random: &dyn SecureRandom,
    ) -> Result<Option<m2m_store::Key>, InboxError> {
        let mut scan = Scan::new(self.latest.clone()).with_limit(FORGOTTEN_AT_ONCE);
        if let Some(after) = after {
            scan = scan.after(after);
        }
        let page = self.inbox.store.scan(&scan).await?;
        let mut batch = m2m_store::Batch::new(intent(random)?);
        for record in page.records() {
            let latest: Result<super::act::Latest, _> =
                serde_json::from_slice(record.value().as_bytes());
            let latest = latest.map_err(|_| InboxError::Record {
                key: record.key().clone(),
                problem: "it is not what a receiver writes",
            })?;
            if latest.recorded_before(horizon) {
                batch = batch.delete(record.key().clone(), Expected::Version(record.version()));
            }
        }
        if !batch.operations().is_empty() {
            match self.inbox.commit(batch).await {
                // Something newer was said meanwhile: another time.
                Ok(()) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(InboxError::Store(error)),
            }
        }
        Ok(page.next().cloned())
    }

    pub(crate) fn reads<'r>(&'r self) -> impl Fn(&str) -> &'r Profile + Sync + 'r {
        move |issuer| self.profile_of(issuer)
    }
}
