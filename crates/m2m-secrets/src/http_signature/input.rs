//! Reads `Signature-Input` and `Signature` (RFC 9421 §4): dictionaries whose labels must agree.

use super::HttpMessage;
use super::component::{Component, ComponentError, Components, MAX_COMPONENTS};
use super::structured::{Bare, Cursor, Malformed};
use super::{SIGNATURE, SIGNATURE_INPUT};

/// The most bytes of all `Signature-Input` lines of a message together, and of all `Signature` lines.
pub const MAX_SIGNATURE_FIELD_BYTES: usize = 8 * 1024;

/// The most signatures on one message: two during an overlap, and some of the proxies on its way.
pub const MAX_SIGNATURE_LABELS: usize = 8;

/// Why `Signature-Input` or `Signature` cannot be read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFieldError {
    /// One of the two is missing.
    #[error("the message has no {field}")]
    Missing {
        /// `signature-input` or `signature`.
        field: &'static str,
    },
    /// One of the two is too long. Nothing of its last line was looked at.
    #[error("{field} has more than the {MAX_SIGNATURE_FIELD_BYTES} bytes that are read")]
    TooLong {
        /// `signature-input` or `signature`.
        field: &'static str,
    },
    /// Not a dictionary of the right kind, or not as a serializer writes it (RFC 9651 §4.1).
    #[error("a line of signature-input or signature is malformed at byte {at}")]
    Malformed {
        /// Where in its line that shows, in bytes.
        at: usize,
    },
    /// There are more signatures than are looked at.
    #[error("the message has more than {MAX_SIGNATURE_LABELS} signatures")]
    TooManyLabels,
    /// A label is there twice. Whoever reads the first and whoever reads the last disagree.
    #[error("a label is in signature-input or signature twice")]
    LabelTwice,
    /// A label is in one of the two fields and not in the other (RFC 9421 §4).
    #[error("signature-input and signature have not the same labels")]
    LabelsDiffer,
    /// A signature covers something that is no component.
    #[error("{0}")]
    Component(ComponentError),
    /// A signature covers more than [`MAX_COMPONENTS`].
    #[error("a signature covers more than {MAX_COMPONENTS} components")]
    TooManyComponents,
    /// A signature covers something twice (RFC 9421 §2).
    #[error("a signature covers a component twice")]
    ComponentTwice,
    /// A parameter is there twice, not of its type, or has an escape in it.
    #[error("a parameter of a signature is there twice, or is not of its type")]
    Parameter,
}

impl From<Malformed> for SignatureFieldError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed { at: malformed.at }
    }
}

/// What one member of `Signature-Input` says.
pub(super) struct Input<'a> {
    /// The list with its parameters, as it was written: what `@signature-params` is.
    pub(super) raw: &'a [u8],
    pub(super) components: Components<'a>,
    pub(super) created: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) algorithm: Option<&'a [u8]>,
    pub(super) key_id: Option<&'a [u8]>,
    pub(super) tag: Option<&'a [u8]>,
}

impl<'a> Input<'a> {
    /// To be read into: it is large, and so is not moved.
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            raw: &[],
            components: Components::new(),
            created: None,
            expires: None,
            nonce: None,
            algorithm: None,
            key_id: None,
            tag: None,
        }
    }

    /// Reads one from where `cursor` stands into a new one.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), SignatureFieldError> {
        let input = self;
        let start = cursor.at();
        cursor.expect(b'(')?;
        if !cursor.eat(b')') {
            loop {
                input.cover(Component::read(cursor)?.map_err(SignatureFieldError::Component)?)?;
                if cursor.eat(b')') {
                    break;
                }
                cursor.expect(b' ')?;
            }
        }
        let mut unknown = [&b""[..]; 4];
        let mut unknown_count = 0;
        while let Some((key, value)) = cursor.parameter()? {
            let fits = match (key, value) {
                (b"created", Bare::Integer(time)) => input.created.replace(time).is_none(),
                (b"expires", Bare::Integer(time)) => input.expires.replace(time).is_none(),
                (b"nonce", Bare::String(text)) => fill(&mut input.nonce, text),
                (b"alg", Bare::String(text)) => fill(&mut input.algorithm, text),
                (b"keyid", Bare::String(text)) => fill(&mut input.key_id, text),
                (b"tag", Bare::String(text)) => fill(&mut input.tag, text),
                (b"created" | b"expires" | b"nonce" | b"alg" | b"keyid" | b"tag", _) => false,
                // Signed like the others, and of no meaning here.
                (other, _) => {
                    let new = !unknown.contains(&other);
                    match unknown.get_mut(unknown_count) {
                        Some(place) => *place = other,
                        None => return Err(SignatureFieldError::Parameter),
                    }
                    unknown_count += 1;
                    new
                }
            };
            if !fits {
                return Err(SignatureFieldError::Parameter);
            }
        }
        input.raw = cursor.since(start);
        Ok(())
    }

    #[inline]
    fn cover(&mut self, component: Component<'a>) -> Result<(), SignatureFieldError> {
        if self.components.cover(&component) {
            return Err(SignatureFieldError::ComponentTwice);
        }
        match self.components.push(component) {
            true => Ok(()),
            false => Err(SignatureFieldError::TooManyComponents),
        }
    }
}

/// Whether `text` could be put into the empty `place`. An escape could be written in two ways where the
/// text is looked up, so there must be none.
#[inline]
fn fill<'a>(place: &mut Option<&'a [u8]>, text: &'a [u8]) -> bool {
    place.replace(text).is_none() && !text.contains(&b'\\')
}

/// Where each label's list and signature are.
pub(super) struct Labels<'a> {
    inputs: List<'a, Cursor<'a>>,
    signatures: List<'a, &'a [u8]>,
}

struct List<'a, T> {
    all: [Option<(&'a [u8], T)>; MAX_SIGNATURE_LABELS],
    count: usize,
}

impl<'a, T: Copy> List<'a, T> {
    fn new() -> Self {
        Self {
            all: [None; MAX_SIGNATURE_LABELS],
            count: 0,
        }
    }

    #[inline]
    fn push(&mut self, label: &'a [u8], value: T) -> Result<(), SignatureFieldError> {
        if self.find(label).is_some() {
            return Err(SignatureFieldError::LabelTwice);
        }
        let place = self
            .all
            .get_mut(self.count)
            .ok_or(SignatureFieldError::TooManyLabels)?;
        *place = Some((label, value));
        self.count += 1;
        Ok(())
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], T)> + '_ {
        self.all.iter().take(self.count).flatten().copied()
    }

    #[inline]
    fn find(&self, label: &[u8]) -> Option<T> {
        let mut all = self.iter();
        all.find(|(found, _)| *found == label)
            .map(|(_, value)| value)
    }
}

impl<'a> Labels<'a> {
    /// Reads both fields of `message`. Each list is read by `visit`, where it stands: what does not
    /// interest anyone must be well-formed too.
    pub(super) fn read<M: HttpMessage>(
        message: &'a M,
        mut visit: impl FnMut(&'a [u8], &mut Cursor<'a>) -> Result<(), SignatureFieldError>,
    ) -> Result<Self, SignatureFieldError> {
        let mut labels = Self {
            inputs: List::new(),
            signatures: List::new(),
        };
        each_line(message, SIGNATURE_INPUT, |label, cursor| {
            cursor.expect(b'=')?;
            labels.inputs.push(label, *cursor)?;
            visit(label, cursor)
        })?;
        each_line(message, SIGNATURE, |label, cursor| {
            cursor.expect(b'=')?;
            let at = cursor.at();
            let Bare::Bytes(text) = cursor.bare()? else {
                return Err(SignatureFieldError::Malformed { at });
            };
            while cursor.parameter()?.is_some() {}
            labels.signatures.push(label, text)
        })?;
        let paired = labels
            .inputs
            .iter()
            .all(|(label, _)| labels.signatures.find(label).is_some());
        if !paired || labels.inputs.count != labels.signatures.count {
            return Err(SignatureFieldError::LabelsDiffer);
        }
        Ok(labels)
    }

    /// The base64 of the signature that is called `label`.
    pub(super) fn signature(&self, label: &[u8]) -> Option<&'a [u8]> {
        self.signatures.find(label)
    }

    /// Reads the list of each label again, from the second on.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&'a [u8], Cursor<'a>)> + '_ {
        self.inputs.iter()
    }
}

/// Calls `visit` with the label of each member of each line, and with what follows it.
#[inline]
fn each_line<'a, M: HttpMessage>(
    message: &'a M,
    field: &'static str,
    mut visit: impl FnMut(&'a [u8], &mut Cursor<'a>) -> Result<(), SignatureFieldError>,
) -> Result<(), SignatureFieldError> {
    let mut length = 0;
    for line in message.field_lines(field.as_bytes()) {
        length += line.len();
        if length > MAX_SIGNATURE_FIELD_BYTES {
            return Err(SignatureFieldError::TooLong { field });
        }
        let mut cursor = Cursor::new(line);
        let mut first = true;
        while let Some(label) = cursor.next_key(first)? {
            first = false;
            visit(label, &mut cursor)?;
        }
    }
    match length {
        0 => Err(SignatureFieldError::Missing { field }),
        _ => Ok(()),
    }
}
