//! `Serving`: the service as hyper calls it, which knows what is under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::activity::{Activity, InFlight};
use super::body::ServedBody;
use crate::OnConnection;
use crate::body::{GuardedBody, WholeBody};

/// The service of one connection.
pub(super) struct Serving<S> {
    service: OnConnection<S>,
    activity: Arc<Activity>,
}

impl<S> Serving<S> {
    pub(super) const fn new(service: OnConnection<S>, activity: Arc<Activity>) -> Self {
        Self { service, activity }
    }
}

impl<S, R> hyper::service::Service<Request<Incoming>> for Serving<S>
where
    S: Service<Request<ServedBody>, Response = Response<R>> + Clone,
{
    type Response = Response<AnsweredBody<R>>;
    type Error = S::Error;
    type Future = Answering<S, R>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let flight = InFlight::new(Arc::clone(&self.activity));
        let shared = &self.activity.shared;
        shared.counts.requests.one();
        // hyper counts those of HTTP/1, and the bytes of both.
        let state = match request.headers().len() > shared.limits.head_fields {
            true => State::TooLarge,
            false => State::Waiting {
                service: self.service.clone(),
                request: Some(request.map(|body| ServedBody::new(body, shared))),
            },
        };
        Answering {
            state,
            flight: Some(flight),
        }
    }
}

pin_project! {
    /// The response to one request.
    pub(super) struct Answering<S, R>
    where
        S: Service<Request<ServedBody>, Response = Response<R>>,
    {
        #[pin]
        state: State<S>,
        flight: Option<InFlight>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S>
    where
        S: Service<Request<ServedBody>>,
    {
        TooLarge,
        Waiting {
            service: OnConnection<S>,
            request: Option<Request<ServedBody>>,
        },
        Calling { #[pin] future: S::Future },
    }
}

impl<S, R> Future for Answering<S, R>
where
    S: Service<Request<ServedBody>, Response = Response<R>> + Clone,
{
    type Output = Result<Response<AnsweredBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = loop {
            let future = match this.state.as_mut().project() {
                StateProjected::TooLarge => break too_large(),
                StateProjected::Calling { future } => {
                    break ready!(future.poll(context))?.map(GuardedBody::inner);
                }
                StateProjected::Waiting { service, request } => {
                    ready!(service.poll_ready(context))?;
                    match request.take() {
                        Some(request) => service.call(request),
                        // It was called already, and the future dropped: nobody asks.
                        None => return Poll::Pending,
                    }
                }
            };
            this.state.set(State::Calling { future });
        };
        let mut flight = this.flight.take();
        if let Some(flight) = &mut flight {
            flight.answered();
        }
        Poll::Ready(Ok(response.map(|inner| AnsweredBody { inner, flight })))
    }
}

/// RFC 6585 §5.
fn too_large<R>() -> Response<GuardedBody<R>> {
    let mut response = Response::new(GuardedBody::own(WholeBody::new(Bytes::new())));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

pin_project! {
    /// The body of a response that is being sent.
    pub(super) struct AnsweredBody<R> {
        #[pin]
        inner: GuardedBody<R>,
        flight: Option<InFlight>,
    }
}

impl<R: Body<Data = Bytes>> Body for AnsweredBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        if let Some(flight) = this.flight {
            flight.ask();
        }
        let frame = ready!(this.inner.poll_frame(context));
        if let (Some(flight), Some(Ok(_))) = (this.flight, &frame) {
            flight.hand_over();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
