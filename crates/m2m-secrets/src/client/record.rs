//! How a client's keys are written down: hashes, numbers and times, and nothing that opens anything.

use m2m_types::ServiceId;

use super::{ClientKeys, EndedKey, KeyEnd, KeyVersion, LiveKey, REMEMBERED_KEYS};
use crate::rotation::encoding::{Reader, Writer};
use crate::{ApiKeyId, KEY_ID_BYTES, KeyHash, PepperVersion};

/// What these bytes are. Another layout needs another one.
const RECORD: &[u8] = b"m2m-secrets client 1";

impl ClientKeys {
    /// To be kept: what [`ClientKeys::from_record`] reads. Has no secret in it, and no key can be made
    /// of it.
    pub fn to_record(&self) -> Vec<u8> {
        Writer::of(RECORD)
            .bytes(self.owner.as_str().as_bytes())
            .number(self.last.number().into())
            .time(self.latest)
            .each(
                [&self.current, &self.older].into_iter(),
                |to, key| match key {
                    None => to.byte(0),
                    Some(key) => key.write(to.byte(1)),
                },
            )
            .each(self.ended.iter(), |to, key| key.write(to))
            .done()
    }

    /// What [`ClientKeys::to_record`] gave; [`None`] if these bytes are no such record, or one that
    /// cannot be: with two keys of one id, or a key that was never given a number.
    pub fn from_record(record: &[u8]) -> Option<Self> {
        let mut from = Reader::of(RECORD, record)?;
        let owner: ServiceId = std::str::from_utf8(from.bytes()?).ok()?.parse().ok()?;
        let last = read_version(&mut from)?;
        let latest = from.time()?;
        let live = from.each(2, |from| match from.byte()? {
            0 => Some(None),
            1 => LiveKey::read(from).map(Some),
            _ => None,
        })?;
        let [current, older] = <[Option<LiveKey>; 2]>::try_from(live).ok()?;
        let ended = from.each(REMEMBERED_KEYS, EndedKey::read)?;
        from.end()?;
        let client = Self {
            owner,
            last,
            current,
            older,
            ended,
            latest,
        };
        client.is_possible().then_some(client)
    }

    fn is_possible(&self) -> bool {
        let live = self.live().map(|key| (key.id, key.version));
        let ended = self.ended.iter().map(|key| (key.id, key.version));
        let all: Vec<(ApiKeyId, KeyVersion)> = live.chain(ended).collect();
        let alone = |(at, (id, version)): (usize, &(ApiKeyId, KeyVersion))| {
            let mut others = all.iter().skip(at + 1);
            *version <= self.last && others.all(|(other, number)| other != id && number != version)
        };
        all.iter().enumerate().all(alone)
    }
}

impl LiveKey {
    fn write(&self, to: Writer) -> Writer {
        write_key(to, self.id, self.version, &self.hash)
            .time(self.made_at)
            .optional_time(self.accepted_until)
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (id, version, hash) = read_key(from)?;
        Some(Self {
            id,
            version,
            hash,
            made_at: from.time()?,
            accepted_until: from.optional_time()?,
        })
    }
}

impl EndedKey {
    fn write(&self, to: Writer) -> Writer {
        let why = match self.why {
            KeyEnd::Expired => 1,
            KeyEnd::Superseded => 2,
            KeyEnd::Revoked => 3,
            KeyEnd::Leaked => 4,
        };
        write_key(to, self.id, self.version, &self.hash)
            .time(self.ended_at)
            .byte(why)
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (id, version, hash) = read_key(from)?;
        Some(Self {
            id,
            version,
            hash,
            ended_at: from.time()?,
            why: match from.byte()? {
                1 => KeyEnd::Expired,
                2 => KeyEnd::Superseded,
                3 => KeyEnd::Revoked,
                4 => KeyEnd::Leaked,
                _ => return None,
            },
        })
    }
}

fn write_key(to: Writer, id: ApiKeyId, version: KeyVersion, hash: &KeyHash) -> Writer {
    to.fixed(id.as_bytes())
        .number(version.number().into())
        .number(hash.pepper().number().into())
        .fixed(hash.as_bytes())
}

fn read_key(from: &mut Reader<'_>) -> Option<(ApiKeyId, KeyVersion, KeyHash)> {
    let id = ApiKeyId::from_bytes(&from.fixed::<KEY_ID_BYTES>()?).ok()?;
    let version = read_version(from)?;
    let pepper = PepperVersion::new(u32::try_from(from.number()?).ok()?)?;
    Some((id, version, KeyHash::from_parts(pepper, from.fixed()?)))
}

fn read_version(from: &mut Reader<'_>) -> Option<KeyVersion> {
    KeyVersion::new(u32::try_from(from.number()?).ok()?)
}
