//! `Reading`: a signed request on its way from its head to its last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Request};
use http_body::Body;
use m2m_guard::{Caller, Credential, Presented, Rejection, Signed};
use m2m_secrets::{
    CONTENT_DIGEST, ContentDigest, ContentDigestError, HttpRequest, REQUEST_SIGNATURE,
    RequestParts, SIGNATURE, SIGNATURE_INPUT,
};
use m2m_types::Timestamp;
use pin_project_lite::pin_project;

use super::super::{Besides, Mode, NotAdmitted, Shared};
use super::bounds::{Reserved, SignedRequests};
use crate::answer::is_grpc;
use crate::credentials::{RequestProblem, only};
use crate::refused::Refused;
use crate::whole::{NotWhole, Whole};

/// The compact form.
const COMPACT: HeaderName = HeaderName::from_static(REQUEST_SIGNATURE);

/// In which form a request is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Http,
    Compact,
}

/// What is done next with a request.
pub(super) enum Step<B> {
    Go(Request<B>),
    /// Why, and whether gRPC asks.
    Refused(Refused, bool),
    Read(Pin<Box<Reading<B>>>),
}

pin_project! {
    /// Reads the content of a signed request, and then knows whether it goes on.
    pub(super) struct Reading<B> {
        #[pin]
        whole: Whole<B>,
        parts: Option<Parts>,
        after: After,
        shared: Arc<Shared>,
        bounds: SignedRequests,
        reserved: Reserved,
    }
}

/// What is left to do when the content is there.
enum After {
    /// The guard has admitted it, and the digest is what was signed.
    Digest(ContentDigest),
    /// The guard has not been asked: the signature is over the content.
    Ask,
}

impl Signature {
    /// How the request is signed, if it says that it is.
    pub(super) fn of(parts: &Parts) -> Result<Option<Self>, RequestProblem> {
        let has = |name: &str| parts.headers.contains_key(name);
        match (
            has(SIGNATURE) || has(SIGNATURE_INPUT),
            has(REQUEST_SIGNATURE),
        ) {
            (false, false) => Ok(None),
            (true, false) => Ok(Some(Self::Http)),
            (false, true) => Ok(Some(Self::Compact)),
            (true, true) => Err(RequestProblem::SignatureForms),
        }
    }
}

impl Shared {
    /// Tells of a refusal that the guard was not asked about.
    pub(super) fn refuse(&self, refused: Refused) -> Refused {
        let (begun, now) = (self.observed.begin(), self.clock.now().ok());
        self.observed.refused(&begun, &refused, false, now);
        refused
    }

    /// Asks about a request that is signed by RFC 9421, of which nothing but the head is known.
    fn ask_http(
        &self,
        bounds: &SignedRequests,
        parts: &Parts,
        has_content: bool,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let authority = bounds.authority(parts)?;
        let fields = parts.headers.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let request = HttpRequest {
            method: parts.method.as_str().as_bytes(),
            scheme: parts.uri.scheme_str().unwrap_or("https").as_bytes(),
            authority: authority.as_bytes(),
            target: target(parts),
            fields: &fields,
        };
        let besides = Besides {
            presented: Presented::nothing().with_signature(Signed::http(&request)),
            has_content,
        };
        self.admit(parts, besides, now)
    }

    /// Asks about a request that is signed in the compact form, with its content.
    fn ask_compact(
        &self,
        bounds: &SignedRequests,
        parts: &Parts,
        content: &[u8],
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let repeated = |count| RequestProblem::SignatureRepeated { count };
        let header = only(&parts.headers, &COMPACT, repeated)?.unwrap_or_default();
        let method = parts.method.as_str().as_bytes();
        let authority = bounds.authority(parts)?.as_bytes();
        let request = RequestParts::new(method, authority, target(parts)).with_body(content);
        let besides = Besides {
            presented: Presented::nothing().with_signature(Signed::compact(header, request)),
            has_content: !content.is_empty(),
        };
        self.admit(parts, besides, now)
    }
}

/// Path and query, as they came.
fn target(parts: &Parts) -> &[u8] {
    let target = parts.uri.path_and_query();
    target.map_or(&b"/"[..], |target| target.as_str().as_bytes())
}

/// What `Content-Digest` says, if it is there.
fn digest(parts: &Parts) -> Result<Option<ContentDigest>, Refused> {
    let lines = parts.headers.get_all(CONTENT_DIGEST).iter();
    match ContentDigest::parse(lines.map(http::HeaderValue::as_bytes)) {
        Ok(digest) => Ok(Some(digest)),
        Err(ContentDigestError::Missing) if !parts.headers.contains_key(CONTENT_DIGEST) => Ok(None),
        Err(error) => Err(Refused::Content(error)),
    }
}

impl<B: Body + From<Bytes>> Reading<B> {
    /// Does what can be done before the content is there.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        bounds: &SignedRequests,
        signature: Signature,
        mut parts: Parts,
        body: B,
    ) -> Step<B> {
        let has_content = !body.is_end_stream();
        let ask = |shared: &Shared, parts: &Parts, now| match (signature, has_content) {
            (Signature::Http, _) => {
                let digest = digest(parts)?;
                let caller = shared.ask_http(bounds, parts, has_content, now)?;
                match (has_content, digest) {
                    (false, Some(digest)) => digest.verify(&[]).map_err(Refused::Content)?,
                    (true, None) => return Err(Refused::Content(ContentDigestError::Missing)),
                    _ => {}
                }
                Ok(caller)
            }
            (Signature::Compact, _) => shared.ask_compact(bounds, parts, &[], now),
        };
        // What the guard takes in no form needs no content to be refused.
        let is_taken = shared.guard.takes(Credential::Signature);
        let after = if signature == Signature::Compact && has_content && is_taken {
            // Before anything is read for it.
            if let Err(problem) = bounds.authority(&parts) {
                let refused = shared.refuse(problem.into());
                return Step::Refused(refused, is_grpc(&parts));
            }
            After::Ask
        } else {
            if let Err(refused) = shared.conclude(&mut parts, ask) {
                return Step::Refused(refused, is_grpc(&parts));
            }
            let is_admitted = parts.extensions.get::<Caller>().is_some();
            match digest(&parts) {
                Ok(Some(digest)) if has_content && is_admitted => After::Digest(digest),
                // Nothing to read, or nobody whose content it could be.
                _ => return Step::Go(Request::from_parts(parts, body)),
            }
        };
        let reserved = match bounds.reserve(body.size_hint().upper()) {
            Ok(reserved) => reserved,
            Err(refused) => {
                let refused = shared.refuse(refused);
                return Step::Refused(refused, is_grpc(&parts));
            }
        };
        Step::Read(Box::pin(Self {
            whole: Whole::new(body, bounds.limit, bounds.time),
            parts: Some(parts),
            after,
            shared: Arc::clone(shared),
            bounds: bounds.clone(),
            reserved,
        }))
    }
}

impl<B: Body + From<Bytes>> Future for Reading<B> {
    type Output = Result<Request<B>, (Refused, bool)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let content = ready!(this.whole.poll(context));
        // It is there until it was given, after which nobody asks (as with every future).
        let Some(mut parts) = this.parts.take() else {
            return Poll::Pending;
        };
        let bounds = this.bounds;
        let content = match content {
            Ok(content) => content,
            Err(problem) => {
                let problem = match problem {
                    NotWhole::TooLong => RequestProblem::ContentTooLong {
                        limit: bounds.limit,
                    },
                    NotWhole::Slow => RequestProblem::ContentSlow { limit: bounds.time },
                    NotWhole::Broken => RequestProblem::ContentBroken,
                };
                let refused = this.shared.refuse(problem.into());
                return Poll::Ready(Err((refused, is_grpc(&parts))));
            }
        };
        let checked = match this.after {
            After::Ask => this.shared.conclude(&mut parts, |shared, parts, now| {
                shared.ask_compact(bounds, parts, &content, now)
            }),
            After::Digest(digest) => match digest.verify(&content) {
                Ok(()) => Ok(()),
                Err(error) => {
                    parts.extensions.remove::<Caller>();
                    let refused = this.shared.refuse(Refused::Content(error));
                    match this.shared.mode {
                        Mode::Enforce => Err(refused),
                        Mode::Annotate => {
                            let rejection = Rejection::Unauthenticated;
                            parts.extensions.insert(NotAdmitted(rejection));
                            Ok(())
                        }
                    }
                }
            },
        };
        Poll::Ready(match checked {
            Ok(()) => Ok(Request::from_parts(parts, content.into())),
            Err(refused) => Err((refused, is_grpc(&parts))),
        })
    }
}
