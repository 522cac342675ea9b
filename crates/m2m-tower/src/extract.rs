//! `Identified`: the caller of a request, for handlers of axum.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use m2m_guard::{Caller, Rejection, Remedy};

use crate::answer::answer_to;
use crate::authenticate::NotAdmitted;

/// The caller of a request, which was admitted. A handler that takes one is not reached by a request that
/// was not: it is answered as the layer would have. A handler that takes an `Option` of it decides itself.
#[derive(Clone, Debug)]
pub struct Identified(pub Caller);

/// The request has no caller: it was not admitted, or there is no [`crate::Authenticate`] in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotIdentified(Rejection);

impl NotIdentified {
    fn of(parts: &Parts) -> Self {
        let rejection = parts.extensions.get::<NotAdmitted>();
        // Without a layer in front nobody was asked, so nobody is known.
        Self(rejection.map_or(Rejection::Unavailable, |NotAdmitted(rejection)| *rejection))
    }
}

impl IntoResponse for NotIdentified {
    fn into_response(self) -> Response {
        answer_to(Some(self.0), &Remedy::Nothing, false).map(Body::new)
    }
}

impl<S: Sync> FromRequestParts<S> for Identified {
    type Rejection = NotIdentified;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotIdentified> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(|| NotIdentified::of(parts))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Identified {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(parts.extensions.get::<Caller>().cloned().map(Self))
    }
}
