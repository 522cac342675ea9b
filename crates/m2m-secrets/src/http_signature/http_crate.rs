//! Signatures over the requests and responses of the `http` crate.

use http::{HeaderMap, request, response};

use super::HttpMessage;

/// The authority is that of the URI, or else that of `Host`, if there is exactly one. The scheme is that
/// of the URI, or else `https`. A target in absolute form is seen as one in origin form.
impl HttpMessage for request::Parts {
    fn method(&self) -> Option<&[u8]> {
        Some(self.method.as_str().as_bytes())
    }

    fn scheme(&self) -> Option<&[u8]> {
        Some(self.uri.scheme_str().unwrap_or("https").as_bytes())
    }

    fn authority(&self) -> Option<&[u8]> {
        if let Some(authority) = self.uri.authority() {
            return Some(authority.as_str().as_bytes());
        }
        let mut hosts = self.headers.get_all(http::header::HOST).iter();
        let host = hosts.next()?;
        hosts.next().is_none().then_some(host.as_bytes())
    }

    fn target(&self) -> Option<&[u8]> {
        let target = self.uri.path_and_query()?;
        Some(target.as_str().as_bytes())
    }

    fn path(&self) -> Option<&[u8]> {
        Some(self.uri.path().as_bytes())
    }

    fn query(&self) -> Option<&[u8]> {
        self.uri.query().map(str::as_bytes)
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn field_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        lines(&self.headers, name)
    }
}

impl HttpMessage for response::Parts {
    fn method(&self) -> Option<&[u8]> {
        None
    }

    fn scheme(&self) -> Option<&[u8]> {
        None
    }

    fn authority(&self) -> Option<&[u8]> {
        None
    }

    fn target(&self) -> Option<&[u8]> {
        None
    }

    fn path(&self) -> Option<&[u8]> {
        None
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn status(&self) -> Option<u16> {
        Some(self.status.as_u16())
    }

    fn field_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        lines(&self.headers, name)
    }
}

fn lines<'m>(headers: &'m HeaderMap, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
    let name = std::str::from_utf8(name).ok();
    let values = name.map(|name| headers.get_all(name));
    values
        .into_iter()
        .flat_map(|values| values.iter().map(http::HeaderValue::as_bytes))
}
