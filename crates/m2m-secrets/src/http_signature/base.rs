//! The signature base (RFC 9421 §2.5): the bytes that are signed, line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::HttpMessage;
use super::component::{BS, Component, KEY, REQ, Source, TR};
use super::input::{Input, SignatureFieldError};
use super::structured::Cursor;

/// The longest signature base, in bytes: headers of 8 KiB and what is said about them.
pub const MAX_SIGNATURE_BASE_BYTES: usize = 16 * 1024;

/// Why a message does not have what a signature covers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureBaseError {
    /// A component is not there.
    #[error("covered component {position} is not in the message")]
    Missing {
        /// Which of the covered components, counted from 0.
        position: usize,
    },
    /// A component is there more than once where it must be unique: a query parameter, a member.
    #[error("covered component {position} is in the message more than once")]
    Ambiguous {
        /// Which of the covered components, counted from 0.
        position: usize,
    },
    /// A component's value has bytes in it that could be taken for another line, or are not ASCII.
    #[error("covered component {position} has bytes that are not visible ASCII; use `bs`")]
    Unprintable {
        /// Which of the covered components, counted from 0.
        position: usize,
    },
    /// A field of which one member is covered is no dictionary in canonical form.
    #[error("covered component {position} is of a field that is no dictionary in canonical form")]
    NoDictionary {
        /// Which of the covered components, counted from 0.
        position: usize,
    },
    /// The base is longer than [`MAX_SIGNATURE_BASE_BYTES`].
    #[error("the signature base has more than {MAX_SIGNATURE_BASE_BYTES} bytes")]
    TooLong,
    /// What is to be covered cannot be read.
    #[error("{0}")]
    Input(SignatureFieldError),
}

/// The bytes that a signature of `message` is made over, where `member` is the value of one member of
/// `Signature-Input`: the list of components with its parameters, as in
/// `("@method" "@authority");created=1618884473;keyid="key"`.
///
/// To find out why another implementation disagrees; verifying does not need it.
///
/// # Errors
///
/// [`SignatureBaseError`].
pub fn signature_base(
    message: &impl HttpMessage,
    member: &[u8],
) -> Result<Vec<u8>, SignatureBaseError> {
    let mut cursor = Cursor::new(member);
    let mut input = Input::new();
    input.read(&mut cursor).map_err(SignatureBaseError::Input)?;
    if cursor.peek().is_some() {
        let at = cursor.at();
        let malformed = SignatureFieldError::Malformed { at };
        return Err(SignatureBaseError::Input(malformed));
    }
    let mut base = Vec::new();
    write_base(&mut base, &input, message, None::<&super::HttpRequest<'_>>)?;
    Ok(base)
}

/// Writes the base of `input` into the empty `base`.
pub(super) fn write_base<M: HttpMessage, R: HttpMessage>(
    base: &mut Vec<u8>,
    input: &Input<'_>,
    message: &M,
    request: Option<&R>,
) -> Result<(), SignatureBaseError> {
    for (position, component) in input.components.iter().enumerate() {
        component.write(base);
        base.extend_from_slice(b": ");
        let written = match (component.flags & REQ != 0, request) {
            (false, _) => write_value(base, component, message),
            (true, Some(request)) => write_value(base, component, request),
            (true, None) => Err(Fault::Missing),
        };
        written.map_err(|fault| fault.at(position))?;
        base.push(b'\n');
        if base.len() > MAX_SIGNATURE_BASE_BYTES {
            return Err(SignatureBaseError::TooLong);
        }
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(input.raw);
    match base.len() > MAX_SIGNATURE_BASE_BYTES {
        true => Err(SignatureBaseError::TooLong),
        false => Ok(()),
    }
}

enum Fault {
    Missing,
    Ambiguous,
    Unprintable,
    NoDictionary,
    TooLong,
}

impl Fault {
    fn at(self, position: usize) -> SignatureBaseError {
        match self {
            Self::Missing => SignatureBaseError::Missing { position },
            Self::Ambiguous => SignatureBaseError::Ambiguous { position },
            Self::Unprintable => SignatureBaseError::Unprintable { position },
            Self::NoDictionary => SignatureBaseError::NoDictionary { position },
            Self::TooLong => SignatureBaseError::TooLong,
        }
    }
}

#[inline]
fn write_value<M: HttpMessage>(
    base: &mut Vec<u8>,
    component: &Component<'_>,
    message: &M,
) -> Result<(), Fault> {
    let start = base.len();
    match component.source {
        Source::Field => return write_field(base, component, message),
        Source::Method => base.extend_from_slice(message.method().ok_or(Fault::Missing)?),
        Source::TargetUri => {
            write_scheme(base, message)?;
            base.extend_from_slice(b"://");
            write_authority(base, message)?;
            write_path(base, message)?;
            if let Some(query) = message.query() {
                base.push(b'?');
                base.extend_from_slice(query);
            }
        }
        Source::Authority => write_authority(base, message)?,
        Source::Scheme => write_scheme(base, message)?,
        Source::RequestTarget => base.extend_from_slice(message.target().ok_or(Fault::Missing)?),
        Source::Path => write_path(base, message)?,
        Source::Query => {
            message.method().ok_or(Fault::Missing)?;
            base.push(b'?');
            base.extend_from_slice(message.query().unwrap_or_default());
        }
        Source::QueryParam => {
            let query = message.query().ok_or(Fault::Missing)?;
            return write_query_parameter(base, query, component.argument);
        }
        Source::Status => match message.status().ok_or(Fault::Missing)? {
            status @ 100..=999 => {
                for digit in [status / 100, status / 10 % 10, status % 10] {
                    base.push(b'0' + digit as u8);
                }
            }
            _ => return Err(Fault::Unprintable),
        },
    }
    check(base.get(start..).unwrap_or_default())
}

/// All lines of a field, without the white space around them, joined (§2.1).
#[inline]
fn write_field<M: HttpMessage>(
    base: &mut Vec<u8>,
    component: &Component<'_>,
    message: &M,
) -> Result<(), Fault> {
    if component.flags & TR != 0 {
        write_lines(base, component, message.trailer_lines(component.name))
    } else {
        write_lines(base, component, message.field_lines(component.name))
    }
}

#[inline]
fn write_lines<'m>(
    base: &mut Vec<u8>,
    component: &Component<'_>,
    lines: impl Iterator<Item = &'m [u8]>,
) -> Result<(), Fault> {
    if component.flags & KEY != 0 {
        return write_member(base, component.argument, lines);
    }
    let start = base.len();
    let mut found = false;
    for line in lines {
        if found {
            base.extend_from_slice(b", ");
        }
        found = true;
        if base.len() + line.len() > MAX_SIGNATURE_BASE_BYTES {
            return Err(Fault::TooLong);
        }
        if component.flags & BS != 0 {
            write_encoded(base, trim(line));
        } else {
            base.extend_from_slice(trim(line));
        }
    }
    if !found {
        return Err(Fault::Missing);
    }
    check(base.get(start..).unwrap_or_default())
}

/// `:base64:` (§2.1.3).
fn write_encoded(base: &mut Vec<u8>, line: &[u8]) {
    base.push(b':');
    let start = base.len();
    base.resize(start + line.len().div_ceil(3) * 4, 0);
    let place = base.get_mut(start..).unwrap_or_default();
    let written = STANDARD.encode_slice(line, place);
    debug_assert_eq!(written, Ok(line.len().div_ceil(3) * 4));
    base.push(b':');
}

/// The one member of a dictionary that is called `name` (§2.1.2). Where a field is not in its canonical
/// form it is refused, so what is signed is what stands there.
fn write_member<'m>(
    base: &mut Vec<u8>,
    name: &[u8],
    lines: impl Iterator<Item = &'m [u8]>,
) -> Result<(), Fault> {
    let mut found = None;
    for line in lines {
        let mut cursor = Cursor::new(trim(line));
        let mut first = true;
        while let Some(key) = cursor.next_key(first).map_err(|_| Fault::NoDictionary)? {
            first = false;
            let value = cursor.member_value().map_err(|_| Fault::NoDictionary)?;
            if key == name && found.replace(value).is_some() {
                return Err(Fault::Ambiguous);
            }
        }
    }
    let value = found.ok_or(Fault::Missing)?;
    // A member without a value is true (RFC 9651 §3.2).
    if !matches!(value.first(), Some(first) if *first != b';') {
        base.extend_from_slice(b"?1");
    }
    base.extend_from_slice(value);
    Ok(())
}

fn write_scheme<M: HttpMessage>(base: &mut Vec<u8>, message: &M) -> Result<(), Fault> {
    let start = base.len();
    base.extend_from_slice(message.scheme().ok_or(Fault::Missing)?);
    base.get_mut(start..)
        .unwrap_or_default()
        .make_ascii_lowercase();
    Ok(())
}

/// In lower case, without the port that its scheme means anyway (§2.2.3).
fn write_authority<M: HttpMessage>(base: &mut Vec<u8>, message: &M) -> Result<(), Fault> {
    let authority = message.authority().ok_or(Fault::Missing)?;
    if authority.is_empty() {
        return Err(Fault::Missing);
    }
    let port: &[u8] = match message.scheme() {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => b":443",
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => b":80",
        _ => b"",
    };
    let start = base.len();
    base.extend_from_slice(authority.strip_suffix(port).unwrap_or(authority));
    base.get_mut(start..)
        .unwrap_or_default()
        .make_ascii_lowercase();
    Ok(())
}

/// An empty path is `/` (§2.2.6).
fn write_path<M: HttpMessage>(base: &mut Vec<u8>, message: &M) -> Result<(), Fault> {
    match message.path().ok_or(Fault::Missing)? {
        [] => base.push(b'/'),
        path => base.extend_from_slice(path),
    }
    Ok(())
}

/// The value of the one parameter whose encoded name is `name`, decoded and encoded anew (§2.2.8).
fn write_query_parameter(base: &mut Vec<u8>, query: &[u8], name: &[u8]) -> Result<(), Fault> {
    let start = base.len();
    let mut found = None;
    for pair in query.split(|byte| *byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (key, value) = (halves.next(), halves.next());
        write_anew(base, key.unwrap_or_default());
        let matches = base.get(start..) == Some(name);
        base.truncate(start);
        if matches && found.replace(value.unwrap_or_default()).is_some() {
            return Err(Fault::Ambiguous);
        }
    }
    write_anew(base, found.ok_or(Fault::Missing)?);
    Ok(())
}

/// Decodes what a form has encoded, and encodes it as a URL does: letters, digits and `*-._` stay.
fn write_anew(base: &mut Vec<u8>, encoded: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = encoded;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let byte = match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => byte,
        };
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            base.push(byte);
        } else {
            let digit = |half: u8| HEX.get(usize::from(half & 15)).copied().unwrap_or(b'0');
            base.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Without the white space around it (RFC 9110 §5.5).
#[inline]
fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = line {
        line = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// A line break in a value would be a line of the signer's choice (RFC 9421 §7.5.7).
#[inline]
fn check(value: &[u8]) -> Result<(), Fault> {
    // Looks at every byte, which is quicker than to stop at the first that is wrong.
    let wrong = value.iter().fold(false, |wrong, byte| {
        wrong | ((*byte < 0x20) & (*byte != b'\t')) | (*byte >= 0x7f)
    });
    match wrong {
        true => Err(Fault::Unprintable),
        false => Ok(()),
    }
}
