//! As much HTTP/1.1 as two services need: one request, one answer, and the connection is closed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// The most that is read of either.
const LIMIT: u64 = 64 << 10;

/// First line, fields in lower case, and body.
pub(crate) struct Message {
    pub(crate) first: String,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(found, _)| found == name);
        field.map(|(_, value)| value.as_str())
    }
}

pub(crate) fn read(stream: &TcpStream) -> Outcome<Message> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream.take(LIMIT));
    let first = line(&mut lines)?;
    let mut fields = Vec::new();
    loop {
        let text = line(&mut lines)?;
        let Some((name, value)) = text.split_once(':') else {
            break;
        };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut message = Message {
        first,
        fields,
        body: Vec::new(),
    };
    let length: u64 = message.field("content-length").unwrap_or("0").parse()?;
    message.body = vec![0; usize::try_from(length.min(LIMIT))?];
    lines.read_exact(&mut message.body)?;
    Ok(message)
}

fn line(lines: &mut impl BufRead) -> Outcome<String> {
    let mut text = String::new();
    lines.read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
}

pub(crate) fn write(
    mut stream: &TcpStream,
    first: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Outcome<()> {
    let mut text = format!("{first}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!(
        "connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    let bytes = [text.as_bytes(), body].concat();
    Ok(stream.write_all(&bytes)?)
}

pub(crate) fn call(to: SocketAddr, fields: &[(&str, &str)], body: &[u8]) -> Outcome<Message> {
    let stream = TcpStream::connect(to)?;
    write(&stream, "POST /orders HTTP/1.1", fields, body)?;
    read(&stream)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect()
}
