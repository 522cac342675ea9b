//! What a signature can cover (RFC 9421 §2): fields, and what is derived from a message.

use super::structured::{Bare, Cursor, FIELD_NAME, Malformed, is};

/// The most components that one signature covers.
pub const MAX_COMPONENTS: usize = 24;

/// The value itself, encoded (RFC 9421 §2.1.3).
pub(super) const BS: u8 = 1;
/// Of the request that is answered (§2.4).
pub(super) const REQ: u8 = 2;
/// From the trailers (§2.1.4).
pub(super) const TR: u8 = 4;
/// One member of a dictionary (§2.1.2).
pub(super) const KEY: u8 = 8;
/// One parameter of a query (§2.2.8).
pub(super) const NAME: u8 = 16;

/// A component identifier (§2): what is covered, and how.
#[derive(Clone, Copy)]
pub(super) struct Component<'a> {
    /// As it was written, quotes and parameters included.
    pub(super) raw: &'a [u8],
    pub(super) name: &'a [u8],
    /// Of `key` or `name`.
    pub(super) argument: &'a [u8],
    pub(super) flags: u8,
    pub(super) source: Source,
}

/// Where a component's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Field,
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    QueryParam,
    Status,
}

/// Why something is no component that can be covered here.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Not a string with parameters, in its canonical form.
    #[error("a component is not a string with parameters, in canonical form")]
    Malformed,
    /// Neither a derived component that RFC 9421 §2.2 defines nor a field name in lower case.
    #[error("a component is neither a field name in lower case nor known")]
    Unknown,
    /// A parameter that is not understood, or `sf`: whether a field is a list, a dictionary or an item
    /// cannot be seen from its bytes.
    #[error("a component has a parameter that is not supported")]
    UnsupportedParameter,
    /// A parameter twice, without its value, or on a component that does not take it.
    #[error("a component's parameters do not fit it, or each other")]
    Parameters,
}

const NONE: Component<'static> = Component {
    raw: &[],
    name: &[],
    argument: &[],
    flags: 0,
    source: Source::Field,
};

impl<'a> Component<'a> {
    /// Reads one from where `cursor` stands.
    #[inline]
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Result<Self, ComponentError>, Malformed> {
        let start = cursor.at();
        let name = cursor.string()?;
        let mut component = Self { name, ..NONE };
        let mut wrong = None;
        while let Some((key, value)) = cursor.parameter()? {
            let flag = match (key, value) {
                (b"bs", Bare::Boolean(true)) => BS,
                (b"req", Bare::Boolean(true)) => REQ,
                (b"tr", Bare::Boolean(true)) => TR,
                (b"key", Bare::String(text)) => {
                    component.argument = text;
                    KEY
                }
                (b"name", Bare::String(text)) => {
                    component.argument = text;
                    NAME
                }
                (b"bs" | b"req" | b"tr" | b"key" | b"name", _) => {
                    wrong = wrong.or(Some(ComponentError::Parameters));
                    continue;
                }
                _ => {
                    wrong = wrong.or(Some(ComponentError::UnsupportedParameter));
                    continue;
                }
            };
            if component.flags & flag != 0 {
                wrong = wrong.or(Some(ComponentError::Parameters));
            }
            component.flags |= flag;
        }
        component.raw = cursor.since(start);
        if let Some(wrong) = wrong {
            return Ok(Err(wrong));
        }
        Ok(component.checked())
    }

    fn checked(mut self) -> Result<Self, ComponentError> {
        let allowed = match self.name {
            [b'@', derived @ ..] => {
                self.source = source(derived).ok_or(ComponentError::Unknown)?;
                match self.source {
                    Source::Status => 0,
                    Source::QueryParam => REQ | NAME,
                    _ => REQ,
                }
            }
            name => {
                if !is_field_name(name) {
                    return Err(ComponentError::Unknown);
                }
                BS | REQ | TR | KEY
            }
        };
        let fits = self.flags & !allowed == 0
            && (self.source == Source::QueryParam) == (self.flags & NAME != 0)
            && self.flags & (BS | KEY) != BS | KEY
            // What is escaped could be written in two ways where it is looked up.
            && !self.argument.contains(&b'\\');
        match fits {
            true => Ok(self),
            false => Err(ComponentError::Parameters),
        }
    }

    /// Reads one as a person writes it: `@method` or `content-type`, or in full,
    /// `"@query-param";name="id"`.
    pub(super) fn from_text(text: &'a str) -> Result<Self, ComponentError> {
        if !text.starts_with('"') {
            // Its canonical form is written when it is needed.
            return Self {
                name: text.as_bytes(),
                ..NONE
            }
            .checked();
        }
        let mut cursor = Cursor::new(text.as_bytes());
        let component = Self::read(&mut cursor).map_err(|_| ComponentError::Malformed)??;
        match cursor.peek() {
            None => Ok(component),
            Some(_) => Err(ComponentError::Malformed),
        }
    }

    /// The canonical form.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        if self.raw.is_empty() {
            to.push(b'"');
            to.extend_from_slice(self.name);
            to.push(b'"');
        } else {
            to.extend_from_slice(self.raw);
        }
    }

    /// Whether both cover the same; the order of parameters does not matter (§2).
    #[inline]
    pub(super) fn is_same_as(&self, other: &Component<'_>) -> bool {
        self.flags == other.flags && self.name == other.name && self.argument == other.argument
    }
}

/// A [`Component`] of its own, for a policy to keep.
pub(super) struct OwnedComponent {
    raw: Box<[u8]>,
    name: Box<[u8]>,
    argument: Box<[u8]>,
    flags: u8,
    source: Source,
}

impl OwnedComponent {
    pub(super) fn from_text(text: &str) -> Result<Self, ComponentError> {
        Component::from_text(text).map(|component| Self {
            raw: component.raw.into(),
            name: component.name.into(),
            argument: component.argument.into(),
            flags: component.flags,
            source: component.source,
        })
    }

    #[inline]
    pub(super) fn borrowed(&self) -> Component<'_> {
        Component {
            raw: &self.raw,
            name: &self.name,
            argument: &self.argument,
            flags: self.flags,
            source: self.source,
        }
    }
}

/// The components that a signature covers, in their order.
pub(super) struct Components<'a> {
    all: [Option<Component<'a>>; MAX_COMPONENTS],
    count: usize,
}

impl<'a> Components<'a> {
    pub(super) fn new() -> Self {
        Self {
            all: [None; MAX_COMPONENTS],
            count: 0,
        }
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Component<'a>> {
        self.all.iter().take(self.count).flatten()
    }

    /// Whether `component` is covered.
    pub(super) fn cover(&self, component: &Component<'_>) -> bool {
        self.iter().any(|covered| covered.is_same_as(component))
    }

    /// `false` if there is no room.
    #[inline]
    pub(super) fn push(&mut self, component: Component<'a>) -> bool {
        match self.all.get_mut(self.count) {
            Some(place) => {
                *place = Some(component);
                self.count += 1;
                true
            }
            None => false,
        }
    }
}

fn source(derived: &[u8]) -> Option<Source> {
    Some(match derived {
        b"method" => Source::Method,
        b"target-uri" => Source::TargetUri,
        b"authority" => Source::Authority,
        b"scheme" => Source::Scheme,
        b"request-target" => Source::RequestTarget,
        b"path" => Source::Path,
        b"query" => Source::Query,
        b"query-param" => Source::QueryParam,
        b"status" => Source::Status,
        _ => return None,
    })
}

#[inline]
fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is(*byte, FIELD_NAME))
}
