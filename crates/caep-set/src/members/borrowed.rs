//! `Borrowed`: a JSON object while it is read, every name and value where it stands in the text.

use std::borrow::Cow;

use m2m_token::Claims;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{MAX_MEMBERS, Members, MembersError};

/// The members of a JSON object, borrowed from its text. What is not read into something becomes
/// [`Members`] in the end; most often that is nothing, and nothing was copied.
#[derive(Default)]
pub(crate) struct Borrowed<'t> {
    list: Vec<(Cow<'t, str>, Json<'t>)>,
}

/// A text that was found to be one JSON value: what is in it need not be looked at as closely again.
#[derive(Clone, Copy)]
pub(crate) struct Json<'t>(&'t str);

impl<'t> Json<'t> {
    /// Looks at all of `text`, which must be one value and nothing behind it.
    pub(crate) fn new(text: &'t str) -> Result<Self, MembersError> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self(text.trim_ascii()))
    }

    pub(crate) fn get(self) -> &'t str {
        self.0
    }

    /// The members, if it is an object; `None` also if there are too many, or one comes twice.
    pub(crate) fn members(self) -> Option<Borrowed<'t>> {
        let mut list: Vec<(Cow<'t, str>, Self)> = Vec::new();
        let mut split = Split::new(self.0, b'{')?;
        while let Some(name) = split.value()? {
            let (name, value) = (Self(name).name()?, Self(split.value()??));
            if list.len() == MAX_MEMBERS || list.iter().any(|(known, _)| *known == name) {
                return None;
            }
            if list.is_empty() {
                list.reserve_exact(USUAL_MEMBERS);
            }
            list.push((name, value));
        }
        Some(Borrowed { list })
    }

    /// The values, if it is an array.
    pub(crate) fn values(self) -> Option<Vec<Self>> {
        let mut list = Vec::new();
        let mut split = Split::new(self.0, b'[')?;
        while let Some(value) = split.value()? {
            list.push(Self(value));
        }
        Some(list)
    }

    /// The text that a string stands for.
    fn name(self) -> Option<Cow<'t, str>> {
        let text = self.0.strip_prefix('"')?.strip_suffix('"')?;
        match text.contains('\\') {
            false => Some(Cow::Borrowed(text)),
            true => serde_json::from_str(self.0).ok().map(Cow::Owned),
        }
    }
}

impl<'t> Borrowed<'t> {
    /// The claims of a token: found and looked at, down to the last member, when it was verified.
    pub(crate) fn of_claims(claims: &Claims<'t>) -> Self {
        let mut list = Vec::with_capacity(USUAL_MEMBERS);
        list.extend(claims.iter().map(|(name, json)| (name, Json(json))));
        Self { list }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The member `name`.
    pub(crate) fn get(&self, name: &str) -> Option<Json<'t>> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Takes the member `name` out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Json<'t>> {
        let at = self.list.iter().position(|(known, _)| known == name)?;
        Some(self.list.remove(at).1)
    }

    pub(crate) fn push(&mut self, name: Cow<'t, str>, value: Json<'t>) {
        self.list.push((name, value));
    }

    /// Names and values, in their order.
    pub(crate) fn into_list(self) -> Vec<(Cow<'t, str>, Json<'t>)> {
        self.list
    }

    /// What is to be kept of a text that is not kept itself.
    pub(crate) fn to_members(&self) -> Members {
        let own = |(name, value): &(Cow<'_, str>, Json<'_>)| {
            // Each was found to be JSON before.
            let value = RawValue::from_string(value.get().to_owned()).ok()?;
            Some((Box::from(&**name), value))
        };
        Members {
            list: self.list.iter().filter_map(own).collect(),
        }
    }
}

/// As many as most objects in a SET have at most: room for them is made at once.
const USUAL_MEMBERS: usize = 8;

/// Goes through what is between the brackets of an object or array that is known to be sound: a string, a
/// bracket or anything else can only stand where it may, and separators only separate.
struct Split<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Split<'t> {
    fn new(text: &'t str, bracket: u8) -> Option<Self> {
        (text.as_bytes().first() == Some(&bracket)).then_some(Self { text, at: 1 })
    }

    /// The next name or value; an inner `None` at the end.
    fn value(&mut self) -> Option<Option<&'t str>> {
        let bytes = self.text.as_bytes();
        let mut start = self.at;
        let first = loop {
            match *bytes.get(start)? {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => start += 1,
                first => break first,
            }
        };
        self.at = match first {
            b'}' | b']' => return Some(None),
            b'"' => behind_string(bytes, start + 1)?,
            b'{' | b'[' => behind_nested(bytes, start)?,
            _ => behind_word(bytes, start),
        };
        Some(Some(self.text.get(start..self.at)?))
    }
}

/// Behind the object or array that begins at `at`.
fn behind_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match *bytes.get(at)? {
            b'"' => {
                at = behind_string(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Behind the number, `true`, `false` or `null` that begins at `at`.
fn behind_word(bytes: &[u8], at: usize) -> usize {
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is_inside(byte)).count()
}

/// Behind the string whose first character is at `at`.
#[inline]
fn behind_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        // Eight at a time, as long as none of them is a quote or a backslash.
        while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*eight);
            let found = marks(word, b'"') | marks(word, b'\\');
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The highest bit of the first byte of `word` that is `byte`, and no bit below it.
fn marks(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let differ = word ^ (ONES * u64::from(byte));
    differ.wrapping_sub(ONES) & !differ & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Splits all of it, and says what serde_json says of each part.
    fn splits_as_serde_reads(text: &str) {
        let json = Json::new(text).unwrap();
        match serde_json::from_str(text).unwrap() {
            Value::Object(expected) => {
                let found = json.members().unwrap().into_list();
                assert_eq!(found.len(), expected.len(), "{text}");
                for (name, value) in found {
                    let value: Value = serde_json::from_str(value.get()).unwrap();
                    assert_eq!(expected.get(&*name), Some(&value), "{text}");
                }
                json.members()
                    .unwrap()
                    .into_list()
                    .iter()
                    .for_each(|(_, value)| {
                        splits_as_serde_reads(value.get());
                    });
            }
            Value::Array(expected) => {
                let found = json.values().unwrap();
                let read = |value: &Json<'_>| serde_json::from_str::<Value>(value.get()).unwrap();
                assert_eq!(
                    found.iter().map(read).collect::<Vec<_>>(),
                    expected,
                    "{text}"
                );
                found
                    .iter()
                    .for_each(|value| splits_as_serde_reads(value.get()));
            }
            _ => {
                assert!(
                    json.members().is_none() && json.values().is_none(),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_sound_text_is_split_where_serde_splits_it() {
        for text in [
            "{}",
            " { } ",
            "[]",
            "[ [ ], [[]] , {} ]",
            r#"{"a":"b","\u0061b":"\"}","c":[1,-2.5e+3,true,null],"d":{"e":"\\"}}"#,
            "{\n\t\"long name, with {brackets} and \\\"quotes\\\"\" : \"[1,2]\" ,\r \"x\":0 }",
            r#"["1234567\"","12345678\\","123456\\\"7","è più, 1234567è"]"#,
            r#""only a text""#,
            "1.5",
        ] {
            splits_as_serde_reads(text);
        }
    }

    #[test]
    fn no_name_comes_twice_however_it_is_written() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"":1,"b":[],"":{}}"#,
        ] {
            assert!(Json::new(text).unwrap().members().is_none(), "{text}");
        }
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!(r#""{at}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Json::new(&many(MAX_MEMBERS)).unwrap().members().is_some());
        assert!(
            Json::new(&many(MAX_MEMBERS + 1))
                .unwrap()
                .members()
                .is_none()
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            r#"[\[\]{},:\\" ]{0,20}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_sound_text_is_split_where_serde_splits_it(value in any_json(), pretty in any::<bool>()) {
            let text = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            splits_as_serde_reads(&text);
        }
    }
}
