//! `StreamClient`: manages a receiver's streams at one transmitter (SSF 1.0 §8.1). Requests come out,
//! answers go in.

mod answer;
mod call;
mod error;

pub use answer::Answer;
pub use call::Call;
pub use error::ClientError;

use std::fmt;

use caep_set::{StreamStatus, SubjectId};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use serde::Serialize;

use crate::management::{
    DeliveryMethod, StatusUpdate, StreamConfiguration, StreamRequest, SubjectRequest,
    VerificationRequest,
};
use crate::receiver::discovery::Transmitter;

/// Manages streams at one transmitter.
///
/// Each method gives a [`Call`]: a request to send, and how to read what comes back. What transmitters
/// commonly answer (202, 404, 405, 409, 429, with a body or without) is an [`Answer`], not an error.
///
/// - Only members that are a receiver's to give are sent, and `stream_id`.
/// - Each configuration that comes back must be of this transmitter (`iss`), and, once a stream is known,
///   of the same stream with the same audience, which never changes (SSF 1.0 §8.1.1).
/// - A stream is polled where the transmitter's endpoints may be, and nowhere else: that request has our
///   access token.
///
/// ```
/// use caep_stream::receiver::{Answer, Discovery, StreamClient};
/// use caep_stream::StreamRequest;
///
/// # let body = br#"{"issuer": "https://tr.example", "spec_version": "1_0",
/// #     "jwks_uri": "https://tr.example/jwks.json",
/// #     "configuration_endpoint": "https://tr.example/ssf/streams"}"#;
/// # let response = http::Response::builder().header("content-type", "application/json");
/// # let transmitter = Discovery::new("https://tr.example")?.read(&response.body(body.as_slice())?)?;
/// let client = StreamClient::new(transmitter).with_authorization("Bearer sesame".parse()?);
/// let wanted = StreamRequest::new()
///     .requesting(["https://schemas.openid.net/secevent/caep/event-type/session-revoked"]);
/// let call = client.create(&wanted)?;
/// assert_eq!(call.request().uri(), "https://tr.example/ssf/streams");
///
/// // It is sent with whatever HTTP client there is, and this comes back.
/// let response = http::Response::builder().status(409).body(b"".as_slice())?;
/// assert!(matches!(call.read(&response)?, Answer::Exists));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamClient {
    transmitter: Transmitter,
    authorization: Option<HeaderValue>,
    audience: Option<Vec<Box<str>>>,
}

impl StreamClient {
    /// Manages streams at `transmitter`.
    pub fn new(transmitter: Transmitter) -> Self {
        Self {
            transmitter,
            authorization: None,
            audience: None,
        }
    }

    /// What requests have in `Authorization`: `Bearer` and an access token, usually. Call it again when
    /// there is a new one.
    #[must_use]
    pub fn with_authorization(mut self, mut authorization: HeaderValue) -> Self {
        authorization.set_sensitive(true);
        self.authorization = Some(authorization);
        self
    }

    /// Configurations must have all their `aud` among these.
    #[must_use]
    pub fn with_audience<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.audience = Some(names.into_iter().map(Box::from).collect());
        self
    }

    /// Whom it talks to.
    pub fn transmitter(&self) -> &Transmitter {
        &self.transmitter
    }

    /// Makes a stream. It must ask for types of events: what it does not ask for does not come, and some
    /// transmitters refuse to make one that asks for nothing.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn create(&self, stream: &StreamRequest) -> Result<Call<StreamConfiguration>, ClientError> {
        if stream.stream_id().is_some() {
            return Err(ClientError::Misplaced {
                member: "stream_id",
            });
        }
        check_stream(stream)?;
        let uri = self.configuration(None)?;
        let request = self.request(Method::POST, uri, Some(stream))?;
        Ok(Call::new(request, self.reads_stream(None, None)))
    }

    /// Reads a stream.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn read(&self, stream_id: &str) -> Result<Call<StreamConfiguration>, ClientError> {
        let uri = self.configuration(Some(stream_id))?;
        let request = self.request::<()>(Method::GET, uri, None)?;
        Ok(Call::new(request, self.reads_stream(Some(stream_id), None)))
    }

    /// Reads all streams that we have there; at most 256.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn read_all(&self) -> Result<Call<Vec<StreamConfiguration>>, ClientError> {
        let request = self.request::<()>(Method::GET, self.configuration(None)?, None)?;
        let reads = self.reads_stream(None, None);
        let read = move |body: &[u8]| {
            let list: Vec<&serde_json::value::RawValue> =
                serde_json::from_slice(body).map_err(|_| ClientError::NotAList)?;
            match list.len() {
                0..=256 => list.iter().map(|one| reads(one.get().as_bytes())).collect(),
                _ => Err(ClientError::NotAList),
            }
        };
        Ok(Call::new(request, read))
    }

    /// Changes what `changes` says of `stream`, and nothing else (PATCH).
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn update(
        &self,
        stream: &StreamConfiguration,
        changes: StreamRequest,
    ) -> Result<Call<StreamConfiguration>, ClientError> {
        self.change(Method::PATCH, stream, changes)
    }

    /// Changes all that is ours to say of `stream`: what `whole` does not say is gone (PUT).
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn replace(
        &self,
        stream: &StreamConfiguration,
        whole: StreamRequest,
    ) -> Result<Call<StreamConfiguration>, ClientError> {
        check_stream(&whole)?;
        self.change(Method::PUT, stream, whole)
    }

    /// Deletes a stream.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn delete(&self, stream_id: &str) -> Result<Call<()>, ClientError> {
        let uri = self.configuration(Some(stream_id))?;
        let request = self.request::<()>(Method::DELETE, uri, None)?;
        Ok(Call::new(request, |_: &[u8]| Ok(())))
    }

    /// Reads the status of a stream.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn read_status(&self, stream_id: &str) -> Result<Call<StatusUpdate>, ClientError> {
        let status = self.transmitter.metadata().status_endpoint();
        let uri = located("status_endpoint", status, Some(stream_id))?;
        let request = self.request::<()>(Method::GET, uri, None)?;
        Ok(Call::new(request, reads_status(stream_id)))
    }

    /// Enables, pauses or disables a stream. Some transmitters make no way back from `disabled`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn update_status(
        &self,
        stream_id: &str,
        status: StreamStatus,
        reason: Option<&str>,
    ) -> Result<Call<StatusUpdate>, ClientError> {
        let endpoint = self.transmitter.metadata().status_endpoint();
        let uri = located("status_endpoint", endpoint, None)?;
        let update = StatusUpdate {
            stream_id: Box::from(stream_id),
            status,
            reason: reason.map(Box::from),
        };
        let request = self.request(Method::POST, uri, Some(&update))?;
        Ok(Call::new(request, reads_status(stream_id)))
    }

    /// States interest in a subject. The answer does not tell whether the transmitter knows it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn add_subject(
        &self,
        stream_id: &str,
        subject: &SubjectId,
        verified: Option<bool>,
    ) -> Result<Call<()>, ClientError> {
        let endpoint = self.transmitter.metadata().add_subject_endpoint();
        let uri = located("add_subject_endpoint", endpoint, None)?;
        self.about_subject(uri, stream_id, subject, verified)
    }

    /// Takes interest in a subject back. Events about it may come for a while (SSF 1.0 §9.3).
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn remove_subject(
        &self,
        stream_id: &str,
        subject: &SubjectId,
    ) -> Result<Call<()>, ClientError> {
        let endpoint = self.transmitter.metadata().remove_subject_endpoint();
        let uri = located("remove_subject_endpoint", endpoint, None)?;
        self.about_subject(uri, stream_id, subject, None)
    }

    /// Asks for a verification event; see [`crate::receiver::Receiver::poll_verification`] for when.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is nothing to be sent.
    pub fn verify(&self, verification: &VerificationRequest) -> Result<Call<()>, ClientError> {
        let endpoint = self.transmitter.metadata().verification_endpoint();
        let uri = located("verification_endpoint", endpoint, None)?;
        let request = self.request(Method::POST, uri, Some(verification))?;
        Ok(Call::new(request, |_: &[u8]| Ok(())))
    }

    fn about_subject(
        &self,
        uri: Uri,
        stream_id: &str,
        subject: &SubjectId,
        verified: Option<bool>,
    ) -> Result<Call<()>, ClientError> {
        let body = SubjectRequest {
            stream_id: Box::from(stream_id),
            subject: subject.clone(),
            verified,
        };
        let request = self.request(Method::POST, uri, Some(&body))?;
        Ok(Call::new(request, |_: &[u8]| Ok(())))
    }

    fn change(
        &self,
        method: Method,
        stream: &StreamConfiguration,
        changes: StreamRequest,
    ) -> Result<Call<StreamConfiguration>, ClientError> {
        let changes = changes.about(&stream.stream_id);
        check_delivery(&changes)?;
        let request = self.request(method, self.configuration(None)?, Some(&changes))?;
        let reads = self.reads_stream(Some(&stream.stream_id), Some(&stream.audience));
        Ok(Call::new(request, reads))
    }

    fn configuration(&self, stream_id: Option<&str>) -> Result<Uri, ClientError> {
        let endpoint = self.transmitter.metadata().configuration_endpoint();
        located("configuration_endpoint", endpoint, stream_id)
    }

    fn request<B: Serialize>(
        &self,
        method: Method,
        uri: Uri,
        body: Option<&B>,
    ) -> Result<Request<Vec<u8>>, ClientError> {
        let json = HeaderValue::from_static("application/json");
        let bytes = body.map(serde_json::to_vec).transpose();
        let bytes = bytes.map_err(|_| ClientError::NotWritten)?;
        let mut request = Request::new(bytes.unwrap_or_default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, json.clone());
        if body.is_some() {
            headers.insert(CONTENT_TYPE, json);
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    fn reads_stream(
        &self,
        stream_id: Option<&str>,
        audience: Option<&[Box<str>]>,
    ) -> impl Fn(&[u8]) -> Result<StreamConfiguration, ClientError> + Send + Sync + 'static {
        let transmitter = self.transmitter.clone();
        let stream_id: Option<Box<str>> = stream_id.map(Box::from);
        let same = audience.map(<[_]>::to_vec);
        let ours = self.audience.clone();
        move |body| {
            let stream = StreamConfiguration::from_json(transmitter.issuer(), body)?;
            if stream_id.as_ref().is_some_and(|id| *id != stream.stream_id) {
                return Err(ClientError::OtherStream);
            }
            let is_ours = ours
                .as_ref()
                .is_none_or(|ours| stream.audience.iter().all(|name| ours.contains(name)));
            let is_same = same.as_ref().is_none_or(|same| *same == stream.audience);
            if !(is_ours && is_same) {
                return Err(ClientError::OtherAudience);
            }
            let is_polled = stream.delivery.method() == DeliveryMethod::Poll;
            let address = stream.delivery.endpoint_url().filter(|_| is_polled);
            if address.is_some_and(|url| !transmitter.may_be_at(url)) {
                return Err(ClientError::Origin);
            }
            Ok(stream)
        }
    }
}

fn reads_status(stream_id: &str) -> impl Fn(&[u8]) -> Result<StatusUpdate, ClientError> + use<> {
    let stream_id: Box<str> = Box::from(stream_id);
    move |body| {
        let status = StatusUpdate::from_json(body)?;
        let is_same = status.stream_id == stream_id;
        is_same.then_some(status).ok_or(ClientError::OtherStream)
    }
}

fn check_stream(stream: &StreamRequest) -> Result<(), ClientError> {
    let mut events = stream.events_requested().into_iter().flatten();
    events.next().ok_or(ClientError::NoEvents)?;
    check_delivery(stream)
}

/// Where a stream is polled is the transmitter's to say (SSF 1.0 §6.1.2).
fn check_delivery(stream: &StreamRequest) -> Result<(), ClientError> {
    let delivery = stream.delivery();
    let is_theirs = delivery.is_some_and(|delivery| {
        delivery.method() == DeliveryMethod::Poll && delivery.endpoint_url().is_some()
    });
    match is_theirs {
        true => Err(ClientError::Misplaced {
            member: "endpoint_url",
        }),
        false => Ok(()),
    }
}

/// The address of an endpoint, with `stream_id` in its query.
fn located(
    endpoint: &'static str,
    url: Option<&str>,
    stream_id: Option<&str>,
) -> Result<Uri, ClientError> {
    let url = url.ok_or(ClientError::NoEndpoint { endpoint })?;
    let mut url = url.split('#').next().unwrap_or_default().to_owned();
    if let Some(stream_id) = stream_id {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("stream_id=");
        for byte in stream_id.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    url.push(char::from(byte));
                }
                _ => url.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    url.parse()
        .map_err(|_| ClientError::NoEndpoint { endpoint })
}

impl fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamClient")
            .field("issuer", &self.transmitter.issuer())
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
