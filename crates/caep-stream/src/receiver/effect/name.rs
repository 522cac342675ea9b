//! Distinguished names of certificates' issuers: the one in a certificate, and how people write it.

/// A name as it is compared: for each relative name its types and values, the outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(Vec<Vec<(String, String)>>);

/// The most relative names of one, and parts of one of these.
const MAX_PARTS: usize = 32;
/// The longest text or DER that is read.
const MAX_BYTES: usize = 4096;

/// Types that have a name (RFC 4514 §3, RFC 4519, and what OpenSSL writes), and the contents of their OIDs.
const TYPES: [(&str, &[u8]); 18] = [
    ("CN", &[0x55, 4, 3]),
    ("SN", &[0x55, 4, 4]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("TITLE", &[0x55, 4, 12]),
    ("GN", &[0x55, 4, 42]),
    (
        "DC",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
    ),
    (
        "UID",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
    ),
    (
        "EMAILADDRESS",
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
    ),
    // Other names of the same.
    ("S", &[0x55, 4, 8]),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
    ("GIVENNAME", &[0x55, 4, 42]),
    ("T", &[0x55, 4, 12]),
];

impl Name {
    /// Reads the DER of a `Name` (RFC 5280 §4.1.2.4). `None` if it is none.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let (mut rest, behind) = element(der, 0x30)?;
        if !behind.is_empty() || der.len() > MAX_BYTES {
            return None;
        }
        let mut name = Vec::new();
        while !rest.is_empty() {
            let (mut set, behind) = element(rest, 0x31)?;
            rest = behind;
            let mut parts = Vec::new();
            while !set.is_empty() {
                let (pair, behind) = element(set, 0x30)?;
                set = behind;
                let (oid, value) = element(pair, 0x06)?;
                parts.push((dotted(oid)?, value_of(value)?));
            }
            parts.sort();
            name.push(parts);
        }
        is_bounded(&name).then_some(Self(name))
    }

    /// Whether `text` writes this name: by RFC 4514, innermost first, or the other way round as OpenSSL
    /// and others do, with `,`, `;` or `/` between. Letters' case and repeated spaces do not matter
    /// (RFC 5280 §7.1).
    pub(super) fn is_written(&self, text: &str) -> bool {
        let Some(mut written) = read(text) else {
            return false;
        };
        let is_forward = written == self.0;
        written.reverse();
        is_forward || written == self.0
    }
}

fn is_bounded(name: &[Vec<(String, String)>]) -> bool {
    (1..=MAX_PARTS).contains(&name.len())
        && name
            .iter()
            .all(|parts| (1..=MAX_PARTS).contains(&parts.len()))
}

/// The content of the first element, which must have this tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = any_element(der)?;
    (found.0 == tag).then_some((found.1, rest))
}

/// Tag and content of an element, and what is behind it.
type Element<'d> = ((u8, &'d [u8]), &'d [u8]);

fn any_element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(((*tag, content), rest))
}

/// A value as it is compared: its text if it is one, else its DER in hexadecimal.
fn value_of(der: &[u8]) -> Option<String> {
    let ((tag, content), behind) = any_element(der)?;
    if !behind.is_empty() {
        return None;
    }
    let text = match tag {
        0x0c | 0x13 | 0x16 => std::str::from_utf8(content).ok().map(str::to_owned),
        // Teletex: in practice, Latin 1.
        0x14 => Some(content.iter().copied().map(char::from).collect()),
        0x1e => {
            let units = content.chunks_exact(2);
            let units = units.filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    };
    Some(text.map_or_else(|| hexadecimal(der), |text| prepared(&text)))
}

fn hexadecimal(der: &[u8]) -> String {
    let digits = der.iter().map(|byte| format!("{byte:02x}"));
    format!("#{}", digits.collect::<String>())
}

/// As values are compared (RFC 5280 §7.1): small letters, one space where there are several.
fn prepared(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// An OID in digits and dots.
fn dotted(oid: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            match numbers.is_empty() {
                true => {
                    let first = (number / 40).min(2);
                    numbers.extend([first, number - first * 40]);
                }
                false => numbers.push(number),
            }
            number = 0;
        }
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    (!numbers.is_empty()).then(|| numbers.join("."))
}

/// The OID of a type as people write it.
fn type_of(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = match text.split_at_checked(4) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("oid.") => rest,
        _ => text,
    };
    if bare.contains('.') && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some(bare.to_owned());
    }
    let mut types = TYPES.iter();
    let found = types.find(|(name, _)| name.eq_ignore_ascii_case(text))?;
    dotted(found.1)
}

/// Reads what people write.
fn read(text: &str) -> Option<Vec<Vec<(String, String)>>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let (text, separators): (&str, &[char]) = match text.trim().strip_prefix('/') {
        Some(rest) => (rest, &['/']),
        None => (text.trim(), &[',', ';']),
    };
    let mut name = Vec::new();
    for relative in split(text, separators)? {
        let mut parts = Vec::new();
        for pair in split(relative, &['+'])? {
            let (kind, value) = pair.split_once('=')?;
            parts.push((type_of(kind)?, unescaped(value.trim())?));
        }
        parts.sort();
        name.push(parts);
    }
    is_bounded(&name).then_some(name)
}

/// Splits where a separator stands that is neither escaped nor in quotation marks.
fn split<'t>(text: &'t str, separators: &[char]) -> Option<Vec<&'t str>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut is_escaped, mut is_quoted) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            other if separators.contains(&other) && !is_quoted => {
                pieces.push(text.get(start..at)?);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..)?);
    (!is_escaped && !is_quoted && pieces.len() <= MAX_PARTS).then_some(pieces)
}

/// A value as it is compared, from how RFC 4514 §2.4 writes it.
fn unescaped(text: &str) -> Option<String> {
    if let Some(digits) = text.strip_prefix('#') {
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = (0..digits.len() / 2)
            .map(|n| u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok())
            .collect();
        return is_hexadecimal.then(|| value_of(&bytes?)).flatten();
    }
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut bytes = Vec::new();
    let mut rest = inner.unwrap_or(text).bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let next = rest.next()?;
        match char::from(next).to_digit(16) {
            Some(high) => {
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            None => bytes.push(next),
        }
    }
    String::from_utf8(bytes).ok().map(|text| prepared(&text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn part(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
            der.extend(content);
            der
        };
        let pair = [wrap(6, oid), wrap(tag, value)].concat();
        wrap(0x31, &wrap(0x30, &pair))
    }

    fn der(parts: &[Vec<u8>]) -> Vec<u8> {
        let content = parts.concat();
        [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }

    fn issuing() -> Name {
        let parts = [
            part(&[0x55, 4, 6], 0x13, b"DE"),
            part(&[0x55, 4, 10], 0x0c, "Bäckerei Müller, Söhne".as_bytes()),
            part(&[0x55, 4, 3], 0x0c, b"Issuing  CA+1"),
        ];
        Name::from_der(&der(&parts)).unwrap()
    }

    #[test]
    fn a_name_is_known_however_it_is_written() {
        for text in [
            r"CN=Issuing CA\+1,O=Bäckerei Müller\, Söhne,C=DE",
            r#"cn = "issuing ca+1", o = "BÄCKEREI  MÜLLER, SÖHNE", c = de"#,
            r"C=DE; O=B\C3\A4ckerei M\C3\BCller\2C S\C3\B6hne; CN=Issuing CA\2B1",
            r"/C=DE/O=Bäckerei Müller, Söhne/CN=Issuing CA\+1",
            r"2.5.4.3=Issuing CA\+1,OID.2.5.4.10=Bäckerei Müller\, Söhne,2.5.4.6=#13024445",
        ] {
            assert!(issuing().is_written(text), "{text}");
        }
    }

    #[test]
    fn another_name_is_not_it() {
        for text in [
            "",
            "CN=Issuing CA",
            r"CN=Issuing CA\+1",
            r"CN=Issuing CA\+1,O=Bäckerei Müller\, Söhne",
            r"CN=Issuing CA\+1,C=DE,O=Bäckerei Müller\, Söhne",
            r"CN=Issuing CA\+1,O=Bäckerei Müller\, Söhne,C=DE,C=DE",
            r"XX=Issuing CA\+1,O=Bäckerei Müller\, Söhne,C=DE",
            r"CN=Issuing CA\+1,O=Bäckerei Müller\, Söhne,C=DE\",
            "CN=\"Issuing",
            "=,=",
        ] {
            assert!(!issuing().is_written(text), "{text}");
        }
        assert!(!issuing().is_written(&"CN=a,".repeat(10_000)));
    }

    #[test]
    fn what_is_no_name_is_not_read() {
        let good = der(&[part(&[0x55, 4, 3], 0x0c, b"a")]);
        assert!(Name::from_der(&good).is_some());
        for at in 0..good.len() {
            assert_eq!(Name::from_der(&good[..at]), None);
        }
        assert_eq!(Name::from_der(&[&good[..], &[0]].concat()), None);
        assert_eq!(Name::from_der(&[0x30, 0]), None, "nobody");
        assert_eq!(Name::from_der(&[0x30, 0x80, 0, 0]), None);
    }
}
