//! `Call`: a request, and how to read what comes back.

use std::fmt;

use http::{Request, Response, StatusCode};

use crate::management::MAX_BODY;
use crate::receiver::client::{Answer, ClientError};
use crate::receiver::retry_after;

/// How the body of a success is read.
type Reads<T> = Box<dyn Fn(&[u8]) -> Result<T, ClientError> + Send + Sync>;

/// A request to a transmitter, and how to read its answer. Follow no redirection, and read no more of the
/// answer than [`Call::MAX_ANSWER`] and one byte.
pub struct Call<T> {
    request: Request<Vec<u8>>,
    reads: Reads<T>,
}

impl<T> Call<T> {
    /// The longest answer that is read, in bytes.
    pub const MAX_ANSWER: usize = MAX_BODY;

    pub(super) fn new(
        request: Request<Vec<u8>>,
        reads: impl Fn(&[u8]) -> Result<T, ClientError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            request,
            reads: Box::new(reads),
        }
    }

    /// What to send. It has an access token: do not log its headers.
    pub fn request(&self) -> &Request<Vec<u8>> {
        &self.request
    }

    /// Reads the answer. Bodies of answers that are no success are not looked at: many are empty.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if a success is not what it should be: of another transmitter, another stream, for
    /// another audience. Nothing of it is to be used.
    pub fn read(&self, response: &Response<&[u8]>) -> Result<Answer<T>, ClientError> {
        let status = response.status();
        if response.body().len() > Self::MAX_ANSWER {
            return Err(ClientError::TooLong);
        }
        Ok(match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                Answer::Done((self.reads)(response.body())?)
            }
            StatusCode::ACCEPTED => Answer::Accepted,
            StatusCode::UNAUTHORIZED => Answer::Unauthenticated,
            StatusCode::FORBIDDEN => Answer::Forbidden,
            StatusCode::NOT_FOUND | StatusCode::GONE => Answer::NotFound,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Answer::NotSupported,
            StatusCode::CONFLICT => Answer::Exists,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => later(response),
            _ if status.is_server_error() => later(response),
            _ => Answer::Refused { status },
        })
    }
}

fn later<T>(response: &Response<&[u8]>) -> Answer<T> {
    Answer::Later {
        status: response.status(),
        retry_after: retry_after(response),
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may have a secret of ours, the header an access token.
        f.debug_struct("Call")
            .field("method", self.request.method())
            .field("uri", self.request.uri())
            .finish_non_exhaustive()
    }
}
