//! `StreamManager`: what a receiver asks of its transmitter, sent and read.

use std::fmt;
use std::sync::Arc;

use caep_stream::receiver::{
    Answer, Call, ClientError, Discovery, DiscoveryError, StreamClient, Transmitter,
};
use caep_stream::{StreamConfiguration, StreamRequest};
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};

use super::lent;
use crate::fetch::{FetchFailure, HttpSender};

/// Finds out where a transmitter's endpoints and keys are (SSF 1.0 §7), once: a [`Discovery`], with the
/// fetching done.
///
/// # Errors
///
/// [`DiscoverFailure`]; what was learnt before stays.
pub async fn discover(
    discovery: &mut Discovery,
    sender: &HttpSender,
) -> Result<Transmitter, DiscoverFailure> {
    let response = sender.send(&discovery.request()).await;
    let response = response.map_err(DiscoverFailure::NotFetched)?;
    discovery
        .read(&lent(&response))
        .map_err(DiscoverFailure::Refused)
}

/// Why nothing was learnt of a transmitter.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverFailure {
    /// Its metadata was not fetched.
    #[error("{0}")]
    NotFetched(FetchFailure),
    /// What was fetched is not believed.
    #[error("{0}")]
    Refused(DiscoveryError),
}

/// Manages a receiver's streams at one transmitter: a [`StreamClient`], with the sending done and a token that is
/// as new as it can be. Cloning copies pointers.
#[derive(Clone)]
pub struct StreamManager {
    client: Arc<StreamClient>,
    sender: HttpSender,
    authorization: Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>,
}

/// Why something was not asked, or its answer not believed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManageFailure {
    /// There was no answer.
    #[error("{0}")]
    NoAnswer(FetchFailure),
    /// Nothing is asked, or the answer is not believed.
    #[error("{0}")]
    Client(ClientError),
    /// The transmitter does not make the stream that it is asked for.
    #[error("the transmitter makes no stream: {status:?}")]
    NoStream {
        /// What it answered, if it was a status of its own.
        status: Option<StatusCode>,
        /// Whether it may do so later.
        may_succeed_later: bool,
    },
}

impl StreamManager {
    /// Sends what `client` asks by `sender`. `client` shows what it was made with, until
    /// [`StreamManager::with_authorization`] says what is shown.
    pub fn new(client: StreamClient, sender: HttpSender) -> Self {
        Self {
            client: Arc::new(client),
            sender,
            authorization: Arc::new(|| None),
        }
    }

    /// Asks `authorization` before each request for what to show: `Bearer` and an access token, usually. If there
    /// is none, what the client was made with is shown.
    #[must_use]
    pub fn with_authorization(
        mut self,
        authorization: impl Fn() -> Option<HeaderValue> + Send + Sync + 'static,
    ) -> Self {
        self.authorization = Arc::new(authorization);
        self
    }

    /// What makes the calls.
    pub fn client(&self) -> &StreamClient {
        &self.client
    }

    /// What sends them.
    pub fn sender(&self) -> &HttpSender {
        &self.sender
    }

    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = (self.authorization)()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Sends `call`, and reads its answer.
    ///
    /// # Errors
    ///
    /// [`ManageFailure::NoAnswer`]; [`ManageFailure::Client`], and nothing of the answer is to be used then.
    pub async fn send<T>(&self, call: &Call<T>) -> Result<Answer<T>, ManageFailure> {
        let sent = match self.authorization() {
            None => self.sender.send(call.request()).await,
            Some(authorization) => {
                let mut request = call.request().clone();
                request.headers_mut().insert(AUTHORIZATION, authorization);
                self.sender.send(&request).await
            }
        };
        let response = sent.map_err(ManageFailure::NoAnswer)?;
        call.read(&lent(&response)).map_err(ManageFailure::Client)
    }

    /// The stream that there is, or else a new one as `wanted` says. One that is there is not changed.
    ///
    /// # Errors
    ///
    /// [`ManageFailure`].
    pub async fn stream(
        &self,
        wanted: &StreamRequest,
    ) -> Result<StreamConfiguration, ManageFailure> {
        if let Some(stream) = self.first().await? {
            return Ok(stream);
        }
        let create = self.client.create(wanted).map_err(ManageFailure::Client)?;
        match self.send(&create).await? {
            Answer::Done(stream) => Ok(stream),
            // Made by an earlier attempt that did not hear of it, or under way.
            Answer::Exists | Answer::Accepted => match self.first().await? {
                Some(stream) => Ok(stream),
                None => Err(no_stream(None, true)),
            },
            Answer::Later { status, .. } => Err(no_stream(Some(status), true)),
            Answer::Refused { status } => Err(no_stream(Some(status), false)),
            Answer::Unauthenticated => Err(no_stream(Some(StatusCode::UNAUTHORIZED), false)),
            Answer::Forbidden => Err(no_stream(Some(StatusCode::FORBIDDEN), false)),
            Answer::NotFound | Answer::NotSupported => Err(no_stream(None, false)),
        }
    }

    async fn first(&self) -> Result<Option<StreamConfiguration>, ManageFailure> {
        let all = self.client.read_all().map_err(ManageFailure::Client)?;
        match self.send(&all).await? {
            Answer::Done(streams) => Ok(streams.into_iter().next()),
            Answer::Unauthenticated => Err(no_stream(Some(StatusCode::UNAUTHORIZED), false)),
            Answer::Forbidden => Err(no_stream(Some(StatusCode::FORBIDDEN), false)),
            Answer::Later { status, .. } => Err(no_stream(Some(status), true)),
            // Not every transmitter lists them.
            _ => Ok(None),
        }
    }
}

const fn no_stream(status: Option<StatusCode>, may_succeed_later: bool) -> ManageFailure {
    ManageFailure::NoStream {
        status,
        may_succeed_later,
    }
}

impl fmt::Debug for StreamManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamManager")
            .field("client", &self.client)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
