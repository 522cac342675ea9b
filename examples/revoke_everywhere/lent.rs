//! Requests and responses with bodies that are lent, as the libraries take them.

use http::{Request, Response};

/// The same request, with a body that is lent.
pub(crate) fn lent<B: AsRef<[u8]>>(request: &Request<B>) -> Request<&[u8]> {
    let mut lent = Request::new(request.body().as_ref());
    *lent.method_mut() = request.method().clone();
    *lent.uri_mut() = request.uri().clone();
    *lent.headers_mut() = request.headers().clone();
    lent
}

/// The same response, with a body that is lent.
pub(crate) fn lent_response(response: &Response<Vec<u8>>) -> Response<&[u8]> {
    let mut lent = Response::new(response.body().as_slice());
    *lent.status_mut() = response.status();
    *lent.headers_mut() = response.headers().clone();
    lent
}
