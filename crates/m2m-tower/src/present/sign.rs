//! `SignRequests`: the layer that signs requests that go out, over their content.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Request};
use http_body::Body;
use m2m_crypto::{RandomError, SecureRandom};
use m2m_secrets::{
    CONTENT_DIGEST, ContentDigest, HttpSignError, HttpSigner, HttpSigningKey, REQUEST_SIGNATURE,
    RequestKey, RequestParts, RequestSignError, Ring, SIGNATURE, SIGNATURE_INPUT, sign_request,
};
use m2m_types::{Clock, Live};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::Named;
use super::not_sent::{NotSent, PresentError};
use super::origin::Origin;
use crate::whole::{NotWhole, Whole};

/// Signs requests with one key, over method, authority, path, query and content, empty or not.
pub struct RequestSigner {
    form: Form,
}

enum Form {
    Http(HttpSigner),
    Compact(Arc<Live<Ring<RequestKey>>>),
}

/// Why there is no signer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestSignerError {
    /// RFC 9421 has no such signature.
    #[error("{0}")]
    Http(HttpSignError),
    /// `Authorization` is not covered: a token is exchanged for the one that fits the connection.
    #[error("`authorization` cannot be covered: it may be replaced after signing")]
    Authorization,
}

impl RequestSigner {
    /// By HTTP Message Signatures (RFC 9421), labelled `sig`, with a `Content-Digest` (RFC 9530), under the
    /// key that the service calls `key_id`. Besides what is always covered, `fields` are, which every request
    /// must have then: such as `content-type`.
    ///
    /// # Errors
    ///
    /// [`RequestSignerError`].
    pub fn http(
        key_id: &str,
        key: HttpSigningKey,
        fields: &[&str],
    ) -> Result<Self, RequestSignerError> {
        const ALWAYS: [&str; 5] = ["@method", "@authority", "@path", "@query", CONTENT_DIGEST];
        if fields.iter().any(|field| field.contains("authorization")) {
            return Err(RequestSignerError::Authorization);
        }
        let covered = [&ALWAYS[..], fields].concat();
        let signer = HttpSigner::new("sig", &covered, key_id, key);
        Ok(Self {
            form: Form::Http(signer.map_err(RequestSignerError::Http)?),
        })
    }

    /// In the compact form of [`m2m_secrets::sign_request`], with the version of `ring` that signs.
    pub const fn compact(ring: Arc<Live<Ring<RequestKey>>>) -> Self {
        Self {
            form: Form::Compact(ring),
        }
    }
}

/// Signs requests that go out, after reading their content within bounds: each origin gets the signature that
/// was named for it, and no other gets any, as with [`Present`](super::Present). Put it inside of that.
///
/// Bodies must be makeable of bytes, as `http_body_util::Full` and those of axum are. Needs a runtime of
/// tokio with time.
#[derive(Clone)]
pub struct SignRequests {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    named: Named<Arc<Live<RequestSigner>>>,
    limit: usize,
    time: Duration,
}

impl SignRequests {
    /// The most content of one request, unless told otherwise.
    pub const CONTENT: usize = 1 << 20;
    /// How long its content may take to come, unless told otherwise.
    pub const TIME: Duration = Duration::from_secs(10);

    /// Signs nothing yet; nonces are drawn of `random`.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn SecureRandom>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                random,
                named: Named::new(),
                limit: Self::CONTENT,
                time: Self::TIME,
            }),
        }
    }

    /// Requests for `origin` are signed by `signer`, as it is when they go out.
    #[must_use]
    pub fn with_signer(mut self, origin: Origin, signer: Arc<Live<RequestSigner>>) -> Self {
        Arc::make_mut(&mut self.shared).named.set(origin, signer);
        self
    }

    /// Signs at most `bytes` of content, which must come within `time`.
    #[must_use]
    pub fn with_content(mut self, bytes: usize, time: Duration) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.limit = bytes;
        shared.time = time;
        self
    }

    /// Lets requests for origins that were not named pass, as they are. **A misspelt origin is then called
    /// without a signature, and whatever else the request says goes there.**
    #[must_use]
    pub fn danger_passing_other_origins_without_credentials(mut self) -> Self {
        Arc::make_mut(&mut self.shared).named.pass_others();
        self
    }
}

impl Shared {
    /// The signer for the request, if it is to be signed.
    fn signer(&self, parts: &Parts) -> Result<Option<&Arc<Live<RequestSigner>>>, NotSent> {
        let signer = self.named.find(&parts.uri, &parts.headers)?;
        let ours = [
            SIGNATURE,
            SIGNATURE_INPUT,
            REQUEST_SIGNATURE,
            CONTENT_DIGEST,
        ];
        let there = ours
            .into_iter()
            .find(|name| parts.headers.contains_key(*name));
        match (signer, there) {
            (Some(_), Some(header)) => Err(NotSent::Credentials { header }),
            (signer, _) => Ok(signer),
        }
    }

    fn sign(
        &self,
        parts: &mut Parts,
        content: &[u8],
        signer: &RequestSigner,
    ) -> Result<(), NotSent> {
        let now = self.clock.now().map_err(NotSent::Clock)?;
        let authority = parts.uri.authority().map(|one| one.as_str());
        let authority = authority.unwrap_or_default().to_owned();
        // What is signed is what is sent, whatever clients put there.
        let host = HeaderValue::try_from(&authority).map_err(|_| NotSent::Host)?;
        parts.headers.insert(HOST, host);
        match &signer.form {
            Form::Http(signer) => {
                let value = |text: &str| {
                    HeaderValue::try_from(text)
                        .map_err(|_| NotSent::HttpSign(HttpSignError::Parameter))
                };
                let digest = ContentDigest::sha256(content).to_string();
                parts.headers.insert(CONTENT_DIGEST, value(&digest)?);
                let fields = signer
                    .sign(&*parts, now, &*self.random)
                    .map_err(NotSent::HttpSign)?;
                let headers = &mut parts.headers;
                headers.insert(SIGNATURE_INPUT, value(fields.signature_input())?);
                headers.insert(SIGNATURE, value(fields.signature())?);
            }
            Form::Compact(ring) => {
                let target = parts.uri.path_and_query();
                let target = target.map_or("/", |target| target.as_str());
                let method = parts.method.as_str();
                let [method, target] = [method, target].map(str::as_bytes);
                let request =
                    RequestParts::new(method, authority.as_bytes(), target).with_body(content);
                let header = sign_request(&ring.load(), &request, now, &*self.random)
                    .map_err(NotSent::Sign)?;
                let header = HeaderValue::try_from(header);
                // Ids of keys are visible ASCII; if not, none goes out.
                let failed = |_| NotSent::Sign(RequestSignError::Random(RandomError));
                let header = header.map_err(failed)?;
                parts.headers.insert(REQUEST_SIGNATURE, header);
            }
        }
        Ok(())
    }
}

impl<S> Layer<S> for SignRequests {
    type Service = Signing<S>;

    fn layer(&self, inner: S) -> Signing<S> {
        Signing {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What [`SignRequests`] makes of a client.
#[derive(Clone)]
pub struct Signing<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<B>> for Signing<S>
where
    S: Service<Request<B>> + Clone,
    B: Body + From<Bytes>,
{
    type Response = S::Response;
    type Error = PresentError<S::Error>;
    type Future = SignFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(PresentError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let kind = match self.shared.signer(&parts) {
            Err(why) => Kind::NotSent { why: Some(why) },
            Ok(None) => Kind::Inner {
                future: self.inner.call(Request::from_parts(parts, body)),
            },
            Ok(Some(signer)) => {
                // The one that is ready goes with the request, and another stays here.
                let another = self.inner.clone();
                let reading = Reading {
                    whole: Whole::new(body, self.shared.limit, self.shared.time),
                    parts: Some(parts),
                    signer: Arc::clone(signer),
                    shared: Arc::clone(&self.shared),
                };
                Kind::Reading {
                    reading: Box::pin(reading),
                    inner: Some(std::mem::replace(&mut self.inner, another)),
                }
            }
        };
        SignFuture { kind }
    }
}

pin_project! {
    /// The content of a request on its way to the signature.
    struct Reading<B> {
        #[pin]
        whole: Whole<B>,
        parts: Option<Parts>,
        signer: Arc<Live<RequestSigner>>,
        shared: Arc<Shared>,
    }
}

impl<B: Body + From<Bytes>> Future for Reading<B> {
    type Output = Result<Request<B>, NotSent>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let content = ready!(this.whole.poll(context));
        // It is there until it was given, after which nobody asks (as with every future).
        let Some(mut parts) = this.parts.take() else {
            return Poll::Pending;
        };
        let shared = this.shared;
        let limits = |problem| match problem {
            NotWhole::TooLong => NotSent::ContentTooLong {
                limit: shared.limit,
            },
            NotWhole::Slow => NotSent::ContentSlow { limit: shared.time },
            NotWhole::Broken => NotSent::ContentBroken,
        };
        let signed = content.map_err(limits).and_then(|content| {
            shared.sign(&mut parts, &content, &this.signer.load())?;
            Ok(content)
        });
        Poll::Ready(signed.map(|content| Request::from_parts(parts, content.into())))
    }
}

pin_project! {
    /// The response of the client behind, or why the request was not sent.
    pub struct SignFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        kind: Kind<S, B>,
    }
}

pin_project! {
    #[project = KindProjected]
    enum Kind<S, B>
    where
        S: Service<Request<B>>,
    {
        Inner { #[pin] future: S::Future },
        NotSent { why: Option<NotSent> },
        Reading { reading: Pin<Box<Reading<B>>>, inner: Option<S> },
    }
}

impl<S, B> Future for SignFuture<S, B>
where
    S: Service<Request<B>>,
    B: Body + From<Bytes>,
{
    type Output = Result<S::Response, PresentError<S::Error>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.kind.as_mut().project() {
                KindProjected::Inner { future } => {
                    return future.poll(context).map_err(PresentError::Inner);
                }
                KindProjected::NotSent { why } => {
                    return match why.take() {
                        Some(why) => Poll::Ready(Err(PresentError::NotSent(why))),
                        None => Poll::Pending,
                    };
                }
                KindProjected::Reading { reading, inner } => {
                    match (ready!(reading.as_mut().poll(context)), inner.take()) {
                        (Ok(request), Some(mut inner)) => Kind::Inner {
                            future: inner.call(request),
                        },
                        (Ok(_), None) => return Poll::Pending,
                        (Err(why), _) => Kind::NotSent { why: Some(why) },
                    }
                }
            };
            this.kind.set(next);
        }
    }
}

impl fmt::Debug for RequestSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.form {
            Form::Http(_) => "RequestSigner(RFC 9421)",
            Form::Compact(_) => "RequestSigner(compact)",
        })
    }
}

impl fmt::Debug for SignRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self.shared.named.origins().collect();
        f.debug_struct("SignRequests")
            .field("origins", &origins)
            .field("limit", &self.shared.limit)
            .field("time", &self.shared.time)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Signing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

impl<S, B> fmt::Debug for SignFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignFuture").finish_non_exhaustive()
    }
}
