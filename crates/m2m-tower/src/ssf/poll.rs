//! `PollFollower`: asks a transmitter for SETs, and acts upon them before it acknowledges them (RFC 8936).

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use caep_stream::poll::MAX_RESPONSE;
use caep_stream::receiver::{PollReport, Poller, Received};
use http::HeaderValue;
use m2m_crypto::SystemRandom;
use m2m_types::ClockError;
use tokio::time::sleep;

use super::receive::ActFailure;
use super::{PAUSE, SignalReceiver, StreamManager, lent};
use crate::fetch::{Excess, FetchFailure, FetchLimits, Repeat};

/// Polls a stream, for ever: a [`Poller`], with the asking done. What an answer brought is recorded, then acted
/// upon, and then acknowledged with the next request; while it cannot be acted upon, nothing is asked.
///
/// Nothing happens until [`PollFollower::run`] is polled, and nothing goes on when it is dropped: what was not
/// acknowledged then comes again, and is known.
pub struct PollFollower {
    signals: SignalReceiver,
    poller: Poller,
    manager: StreamManager,
    limits: FetchLimits,
    shown: Option<HeaderValue>,
    observe: Box<dyn Fn(&PollingEvent) + Send + Sync>,
}

/// What happened to a [`PollFollower`].
#[non_exhaustive]
#[derive(Debug)]
pub enum PollingEvent {
    /// An answer came, and brought this.
    Answered(PollReport),
    /// There was no answer. It is asked again, later each time.
    NoAnswer(FetchFailure),
    /// SETs were recorded and not acted upon, so they are not acknowledged. It is tried again after a second.
    NotActed(ActFailure),
    /// What time it is is not known, so nothing is done.
    Clock(ClockError),
}

impl PollFollower {
    /// A minute, which is longer than transmitters let polls wait, and the longest answer that is read.
    const LIMITS: FetchLimits = FetchLimits::new(Duration::from_secs(60), MAX_RESPONSE);

    /// Polls as `poller` says. `manager` sends: it knows the transmitter's token, and may be asked for a newer
    /// one before each request.
    pub fn new(signals: SignalReceiver, poller: Poller, manager: StreamManager) -> Self {
        Self {
            signals,
            poller,
            manager,
            limits: Self::LIMITS,
            shown: None,
            observe: Box::new(|_| ()),
        }
    }

    /// How long one request may take, and how much an answer may have: a minute and 16 MiB, unless this is
    /// said. It must be longer than the transmitter lets a poll wait.
    #[must_use]
    pub fn with_limits(mut self, limits: FetchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells `observe` what happens. It should not block.
    #[must_use]
    pub fn with_observer(
        mut self,
        observe: impl Fn(&PollingEvent) + Send + Sync + 'static,
    ) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Polls, for ever: drop it to stop.
    pub async fn run(mut self) -> Infallible {
        // What a process that died has left is recorded, so its transmitter may not send it again.
        let mut is_left = true;
        loop {
            if is_left && let Err(failure) = self.signals.act().await {
                (self.observe)(&PollingEvent::NotActed(failure));
                sleep(PAUSE).await;
                continue;
            }
            is_left = match self.step().await {
                Ok(is_left) => is_left,
                Err(error) => {
                    (self.observe)(&PollingEvent::Clock(error));
                    sleep(PAUSE).await;
                    false
                }
            };
        }
    }

    /// Asks if it is time to, and says whether there is something to act upon.
    async fn step(&mut self) -> Result<bool, ClockError> {
        let authorization = self.manager.authorization();
        if let Some(value) = authorization.filter(|value| Some(value) != self.shown.as_ref()) {
            self.poller.set_authorization(value.clone());
            self.shown = Some(value);
        }
        let now = self.signals.now()?;
        let Some(request) = self.poller.poll_request(now) else {
            let left = self.poller.poll_timeout().checked_since(now);
            // A newer token may come meanwhile.
            sleep(left.unwrap_or_default().clamp(PAUSE, 10 * PAUSE)).await;
            return Ok(false);
        };
        let sender = self.manager.sender();
        // What is acknowledged twice is acknowledged once, and what is given twice has a name.
        let sent = sender.exchange(&request, self.limits, Repeat::Harmless, Excess::Refused);
        let sent = sent.await;
        let (now, random) = (self.signals.now().unwrap_or(now), &SystemRandom);
        match sent {
            Ok(response) => {
                let receiver = self.signals.receiver();
                let response = lent(&response);
                let handled = self
                    .poller
                    .handle_response(receiver, &response, now, random);
                let report = handled.await;
                self.signals.note_all(&report);
                let is_recorded =
                    |received: &Received| matches!(received, Received::New | Received::Repeated);
                let is_left = report.received.iter().any(|(_, one)| is_recorded(one));
                (self.observe)(&PollingEvent::Answered(report));
                Ok(is_left)
            }
            Err(failure) => {
                self.poller.handle_failure(now, random);
                (self.observe)(&PollingEvent::NoAnswer(failure));
                Ok(false)
            }
        }
    }
}

impl fmt::Debug for PollFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollFollower")
            .field("poller", &self.poller)
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}
