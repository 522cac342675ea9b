//! The header of a signed request: `v1 KEY-ID TIME NONCE TAG`, in one encoding.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_types::Timestamp;

/// The most bytes of the header: a key id of 128 has 214.
pub(super) const MAX_HEADER_BYTES: usize = 256;
/// The most bytes of a key id: more than a [`KeyId`](crate::KeyId) has.
pub(super) const MAX_KEY_ID_BYTES: usize = 128;

/// What a header says.
pub(super) struct Header<'a> {
    pub(super) key_id: &'a str,
    pub(super) time: Timestamp,
    pub(super) nonce: [u8; 16],
    pub(super) tag: [u8; 32],
}

impl<'a> Header<'a> {
    pub(super) fn parse(header: &'a [u8]) -> Option<Self> {
        if header.len() > MAX_HEADER_BYTES {
            return None;
        }
        let mut parts = header.strip_prefix(b"v1 ")?.split(|byte| *byte == b' ');
        let key_id = parts.next()?;
        let time = parts.next()?;
        let nonce = decode(parts.next()?)?;
        let tag = decode(parts.next()?)?;
        let visible = key_id.iter().all(u8::is_ascii_graphic);
        if parts.next().is_some() || !visible || !(1..=MAX_KEY_ID_BYTES).contains(&key_id.len()) {
            return None;
        }
        Some(Self {
            key_id: std::str::from_utf8(key_id).ok()?,
            time: parse_seconds(time)?,
            nonce,
            tag,
        })
    }

    pub(super) fn write(&self) -> String {
        let mut text = format!("v1 {} {} ", self.key_id, self.time.unix_seconds());
        URL_SAFE_NO_PAD.encode_string(self.nonce, &mut text);
        text.push(' ');
        URL_SAFE_NO_PAD.encode_string(self.tag, &mut text);
        text
    }
}

/// base64url without padding of exactly `N` bytes.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut room = [0; 36]; // the library asks for room for a byte or two more than come out
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok()?;
    room.get(..length)?.try_into().ok()
}

/// Decimal seconds: no sign, no leading zero, at most the twelve digits of the year 9999.
pub(crate) fn parse_seconds(text: &[u8]) -> Option<Timestamp> {
    let digits = (1..=12).contains(&text.len())
        && text.iter().all(u8::is_ascii_digit)
        && (text.len() == 1 || !text.starts_with(b"0"));
    let seconds = text
        .iter()
        .filter(|_| digits)
        .fold(0, |seconds: u64, digit| {
            seconds * 10 + u64::from(digit - b'0')
        });
    digits.then(|| Timestamp::from_unix_seconds(seconds).ok())?
}
