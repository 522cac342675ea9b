//! The little HTTP that tests and examples speak on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use m2m_testkit::http::{Loopback, MAX_BODY, Server, call};

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers with what was asked.
fn mirror(request: Request<Vec<u8>>) -> Response<Vec<u8>> {
    let mut response = Response::builder().status(StatusCode::IM_A_TEAPOT);
    let field = |name: &str| request.headers().get(name).cloned();
    for (name, value) in [("x-host", field("host")), ("x-sent", field("x-sent"))] {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    let first = format!("{} {}\n", request.method(), request.uri());
    let body = [first.into_bytes(), request.into_body()].concat();
    response.body(body).unwrap()
}

/// What `server` says to these bytes.
fn say(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_arrives_as_it_was_sent_and_so_does_its_answer() {
    let server = Server::start(mirror).unwrap();
    let names = Loopback::new();
    names.tell("transmitter.example", server.address());
    let request = Request::put("https://transmitter.example/streams?stream_id=7")
        .header("x-sent", "a b")
        .body(b"{}".to_vec())
        .unwrap();
    let response = names.call(&request, PATIENCE).unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["x-host"], "transmitter.example");
    assert_eq!(response.headers()["x-sent"], "a b");
    assert_eq!(response.body(), b"PUT /streams?stream_id=7\n{}");
}

#[test]
fn only_names_that_were_told_are_called() {
    let names = Loopback::new();
    let request = Request::get("https://127.0.0.1:22/")
        .body(Vec::new())
        .unwrap();
    let error = names.call(&request, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn what_is_no_request_or_too_long_is_refused() {
    let server = Server::start(mirror).unwrap();
    let too_long = format!(
        "POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    for bytes in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nno field\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &too_long,
    ] {
        let answer = say(&server, bytes.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
}

#[test]
fn a_server_that_is_dropped_leaves_its_port() {
    let server = Server::start(mirror).unwrap();
    let address = server.address();
    drop(server);
    let request = Request::get("/").body(Vec::new()).unwrap();
    assert!(call(address, &request, PATIENCE).is_err());
    let server = Server::start_on(address.port(), mirror).unwrap();
    assert!(call(server.address(), &request, PATIENCE).is_ok());
}

#[test]
fn whoever_waits_too_long_hears_of_it() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Response::new(Vec::new())
    });
    let server = server.unwrap();
    let request = Request::get("/").body(Vec::new()).unwrap();
    assert!(call(server.address(), &request, Duration::from_millis(50)).is_err());
}
