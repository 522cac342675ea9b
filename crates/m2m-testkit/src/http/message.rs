//! Requests and answers, read from sockets and written to them (RFC 9112), within bounds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

/// The longest body that is read, in bytes: a page of a thousand large SETs.
pub const MAX_BODY: usize = 17 << 20;
/// The longest head that is read, in bytes.
const MAX_HEAD: u64 = 64 << 10;

pub(super) fn read_request(stream: &TcpStream) -> io::Result<Request<Vec<u8>>> {
    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (method, target, words.next(), words.next())
    else {
        return Err(wrong("the first line is none of a request"));
    };
    let body = match content_length(&headers)? {
        Some(length) => read_exactly(&mut reader, length)?,
        None => Vec::new(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(body)
        .map_err(|_| wrong("the method or the target"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

pub(super) fn read_response(stream: &TcpStream) -> io::Result<Response<Vec<u8>>> {
    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader)?;
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let body = match content_length(&headers)? {
        Some(length) => read_exactly(&mut reader, length)?,
        None => {
            let mut body = Vec::new();
            let limit = MAX_BODY as u64 + 1;
            reader.take(limit).read_to_end(&mut body)?;
            within_bounds(body.len())?;
            body
        }
    };
    let mut response = Response::builder()
        .status(status.unwrap_or_default())
        .body(body)
        .map_err(|_| wrong("the status"))?;
    *response.headers_mut() = headers;
    Ok(response)
}

pub(super) fn write_request(stream: &TcpStream, request: &Request<Vec<u8>>) -> io::Result<()> {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    let host = uri.authority().map_or("localhost", |host| host.as_str());
    write_field(&mut head, &HOST, host.as_bytes());
    write_rest(stream, head, request.headers(), request.body())
}

pub(super) fn write_response(stream: &TcpStream, response: &Response<Vec<u8>>) -> io::Result<()> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    write_rest(stream, head, response.headers(), response.body())
}

/// Everything in one write, so that it arrives in as few packets as may be.
fn write_rest(
    mut stream: &TcpStream,
    mut bytes: Vec<u8>,
    headers: &HeaderMap,
    body: &[u8],
) -> io::Result<()> {
    for (name, value) in headers {
        if ![HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            write_field(&mut bytes, name, value.as_bytes());
        }
    }
    write_field(&mut bytes, &CONNECTION, b"close");
    write_field(
        &mut bytes,
        &CONTENT_LENGTH,
        body.len().to_string().as_bytes(),
    );
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)
}

fn write_field(bytes: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

/// The first line and the fields behind it.
fn read_head(reader: &mut impl BufRead) -> io::Result<(String, HeaderMap)> {
    let mut lines = reader.take(MAX_HEAD);
    let first = read_line(&mut lines)?;
    let mut headers = HeaderMap::new();
    loop {
        let line = read_line(&mut lines)?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let field = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = field.ok_or_else(|| wrong("a line is no field"))?;
        headers.append(name, value);
    }
}

fn read_line(lines: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(wrong("a line does not end, or the head is too long")),
    }
}

/// `None` if there is no word about it.
fn content_length(headers: &HeaderMap) -> io::Result<Option<usize>> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(wrong("`Transfer-Encoding` is not understood"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    let number = length.to_str().ok().and_then(|text| text.parse().ok());
    match (number, lengths.next()) {
        (Some(length), None) => within_bounds(length).map(Some),
        _ => Err(wrong("`Content-Length` is not one number")),
    }
}

fn within_bounds(length: usize) -> io::Result<usize> {
    match length <= MAX_BODY {
        true => Ok(length),
        false => Err(wrong("the body is too long")),
    }
}

fn read_exactly(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
