//! Frames of HTTP/2 (RFC 9113 §4) that no client would send.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// `GET path` in HPACK (RFC 7541), of fields that are in no table.
fn request(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'x', 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block
}

/// Writes until the server closes the connection.
pub(super) async fn flood(kind: &str, stream: &mut TcpStream) {
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut begin, SETTINGS, 0, 0, &[]);
    if kind == "continuations" {
        frame(&mut begin, HEADERS, END_STREAM, 1, &request("/"));
    }
    if stream.write_all(&begin).await.is_err() {
        return;
    }
    let mut next = 1;
    loop {
        let mut frames = Vec::new();
        for _ in 0..200 {
            match kind {
                "continuations" => frame(&mut frames, CONTINUATION, 0, 1, &[0; 16]),
                "pings" => frame(&mut frames, PING, 0, 0, &[7; 8]),
                _ => {
                    let path = if kind == "rapid_reset" { "/" } else { "/hangs" };
                    let flags = END_STREAM | END_HEADERS;
                    frame(&mut frames, HEADERS, flags, next, &request(path));
                    frame(&mut frames, RST_STREAM, 0, next, &8u32.to_be_bytes());
                    next += 2;
                }
            }
        }
        if stream.write_all(&frames).await.is_err() {
            return;
        }
    }
}
