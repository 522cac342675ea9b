//! Which request is for what, and who answers it.

use http::{Method, Request, Response, StatusCode, Uri};
use m2m_crypto::SecureRandom;
use m2m_types::Timestamp;

use super::poll::LongPoll;
use super::{Caller, Transmitter, TransmitterError, answers};
use crate::body::BodyError;
use crate::management::{TransmitterMetadata, well_known_url};

/// What a transmitter answers to a request.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers do each")]
pub enum Answer {
    /// This.
    Ready(Response<Vec<u8>>),
    /// Not yet: somebody polls, and there is nothing. Ask again with
    /// [`Transmitter::resume`] when something changed or its time is up.
    Waiting(LongPoll),
}

/// The paths of the endpoints.
#[derive(Debug)]
pub(crate) struct Routes {
    metadata: Box<str>,
    configuration: Box<str>,
    status: Box<str>,
    add_subject: Box<str>,
    remove_subject: Box<str>,
    verification: Box<str>,
    /// Streams are polled one level below it.
    poll: Box<str>,
}

impl Routes {
    pub(crate) fn new(
        metadata: &TransmitterMetadata,
        poll_endpoint: &str,
    ) -> Result<Self, TransmitterError> {
        let path = |url: Option<&str>| -> Result<Box<str>, TransmitterError> {
            let uri: Option<Uri> = url.and_then(|url| url.parse().ok());
            let uri = uri.filter(|uri| uri.scheme_str() == Some("https") && uri.query().is_none());
            Ok(Box::from(uri.ok_or(TransmitterError::Endpoints)?.path()))
        };
        let routes = Self {
            metadata: path(Some(&well_known_url(metadata.issuer())?))?,
            configuration: path(metadata.configuration_endpoint())?,
            status: path(metadata.status_endpoint())?,
            add_subject: path(metadata.add_subject_endpoint())?,
            remove_subject: path(metadata.remove_subject_endpoint())?,
            verification: path(metadata.verification_endpoint())?,
            poll: path(Some(poll_endpoint))?,
        };
        let mut all = [
            &routes.metadata,
            &routes.configuration,
            &routes.status,
            &routes.add_subject,
            &routes.remove_subject,
            &routes.verification,
            &routes.poll,
        ];
        all.sort_unstable();
        match all.windows(2).any(|pair| pair.first() == pair.last()) {
            true => Err(TransmitterError::Endpoints),
            false => Ok(routes),
        }
    }

    /// The stream that is polled at `path`.
    fn polled<'p>(&self, path: &'p str) -> Option<&'p str> {
        let stream = path.strip_prefix(&*self.poll)?.strip_prefix('/')?;
        (!stream.is_empty() && !stream.contains('/')).then_some(stream)
    }
}

impl Transmitter {
    /// The answer to a request for the metadata (SSF 1.0 §7.2), which everybody may make; [`None`] if it
    /// is for something else.
    pub fn metadata(&self, request: &Request<&[u8]>) -> Option<Response<Vec<u8>>> {
        if request.uri().path() != &*self.routes.metadata {
            return None;
        }
        if request.method() != Method::GET {
            return Some(answers::wrong_method("GET"));
        }
        Some(answers::json(StatusCode::OK, &self.metadata))
    }

    /// The answer to what `caller` asks: about its streams, their status and subjects, verification, and
    /// polls. The body must have been read whole, at most a mebibyte of it; its `Content-Type` is not
    /// looked at, it is JSON or 400.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`], with the [response](TransmitterError::response) to give. Refusals are no
    /// errors.
    pub async fn handle(
        &self,
        request: &Request<&[u8]>,
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Answer, TransmitterError> {
        let (method, path) = (request.method(), request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        let (body, routes) = (*request.body(), &self.routes);
        self.refresh().await?;
        let at = |known: &str| path == known;
        let response = match method.as_str() {
            "POST" if at(&routes.configuration) => self.create(body, caller, now, random).await?,
            "GET" if at(&routes.configuration) => match self.named(query) {
                Ok(None) => self.read_all(caller),
                Ok(Some(id)) => self.heard(id, caller, now, random).await.map(|stream| {
                    stream.map_or_else(answers::missing, |stream| self.describe(&stream))
                })?,
                Err(error) => answers::bad(&error),
            },
            "PATCH" if at(&routes.configuration) => self.update(body, caller, now, random).await?,
            "PUT" if at(&routes.configuration) => self.replace(body, caller, now, random).await?,
            "DELETE" if at(&routes.configuration) => match self.named(query) {
                Ok(id) => self.delete(id, caller, random).await?,
                Err(error) => answers::bad(&error),
            },
            _ if at(&routes.configuration) => {
                answers::wrong_method("GET, POST, PATCH, PUT, DELETE")
            }
            "GET" if at(&routes.status) => match self.named(query) {
                Ok(id) => {
                    let id = id.unwrap_or_default();
                    self.read_status(id, caller, now, random).await?
                }
                Err(error) => answers::bad(&error),
            },
            "POST" if at(&routes.status) => self.update_status(body, caller, now, random).await?,
            _ if at(&routes.status) => answers::wrong_method("GET, POST"),
            "POST" if at(&routes.add_subject) => {
                self.add_subject(body, caller, now, random).await?
            }
            "POST" if at(&routes.remove_subject) => {
                self.remove_subject(body, caller, now, random).await?
            }
            "POST" if at(&routes.verification) => self.verify(body, caller, now, random).await?,
            "POST" => match routes.polled(path) {
                Some(id) => return self.poll(id, body, caller, now, random).await,
                None => answers::missing(),
            },
            _ if at(&routes.add_subject)
                || at(&routes.remove_subject)
                || at(&routes.verification)
                || routes.polled(path).is_some() =>
            {
                answers::wrong_method("POST")
            }
            _ => answers::missing(),
        };
        Ok(Answer::Ready(response))
    }

    /// `stream_id` of a query, if it is there.
    fn named<'q>(&self, query: &'q str) -> Result<Option<&'q str>, BodyError> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == "stream_id");
        let first = values.next().map(|(_, value)| value);
        match values.next() {
            None => Ok(first),
            Some(_) => Err(BodyError::Member {
                member: "stream_id",
                problem: "comes twice",
            }),
        }
    }
}
