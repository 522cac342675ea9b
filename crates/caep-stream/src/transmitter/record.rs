//! `Stream`: what is kept of a stream, and how it is written.

use std::sync::Arc;

use caep_set::StreamStatus;
use m2m_store::{Record, Revision};
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::management::{Delivery, DeliveryMethod, SecretHeader, StreamConfiguration};

/// Whether a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "SSF 1.0 §8.1.2 has these three")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It sends.
    Enabled,
    /// It does not send, and holds what is to be sent, as far as there is room.
    Paused,
    /// It neither sends nor holds.
    Disabled,
}

impl Status {
    /// The word that is sent.
    pub fn word(self) -> StreamStatus {
        StreamStatus::from(match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        })
    }

    /// What the word says; `None` for one that is none of the three.
    pub fn of_word(word: &StreamStatus) -> Option<Self> {
        let all = [Self::Enabled, Self::Paused, Self::Disabled];
        all.into_iter().find(|status| status.word() == *word)
    }
}

/// A stream, as it is in the store.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: Box<str>,
    pub(crate) said: Said,
    /// What pushes show. Kept behind the JSON, so that no copy of it is made while that is written.
    pub(crate) secret: Option<Arc<SecretHeader>>,
    /// The revision that wrote it.
    pub(crate) version: Revision,
}

/// What is written as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) receiver: Box<str>,
    pub(crate) audience: Box<str>,
    /// Which of the receiver's streams it is.
    pub(crate) slot: u32,
    pub(crate) push: Option<Box<str>>,
    pub(crate) requested: Option<Vec<Box<str>>>,
    pub(crate) description: Option<Box<str>>,
    pub(crate) status: Status,
    pub(crate) reason: Option<Box<str>>,
    /// When its receiver last said something (SSF 1.0 §8.1.1, `inactivity_timeout`).
    pub(crate) heard: u64,
    /// When a verification was last asked for.
    pub(crate) verified: Option<u64>,
    /// When it was last enabled.
    pub(crate) enabled: u64,
    /// What was queued in an earlier life of the queue is not sent: the stream was disabled since.
    pub(crate) life: u32,
    /// Since when something was not held that should have been sent.
    pub(crate) gap: Option<u64>,
}

impl Stream {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and numbers can be written.
        let json = serde_json::to_vec(&self.said).unwrap_or_default();
        let secret = self.secret.as_ref().map(|secret| secret.expose_secret());
        let secret = secret.unwrap_or_default();
        let mut bytes = Vec::with_capacity(4 + json.len() + secret.len());
        // At most 256 KiB, as the request was.
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&json);
        bytes.extend_from_slice(secret);
        bytes
    }

    pub(crate) fn decode(record: &Record) -> Option<Self> {
        let (length, rest) = record.value().as_bytes().split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (json, secret) = rest.split_at_checked(length)?;
        let secret = match secret {
            [] => None,
            bytes => Some(Arc::new(
                SecretHeader::new(std::str::from_utf8(bytes).ok()?).ok()?,
            )),
        };
        Some(Self {
            id: Box::from(std::str::from_utf8(record.key().id()).ok()?),
            said: serde_json::from_slice(json).ok()?,
            secret,
            version: record.version(),
        })
    }

    pub(crate) fn method(&self) -> DeliveryMethod {
        match self.said.push {
            Some(_) => DeliveryMethod::Push,
            None => DeliveryMethod::Poll,
        }
    }

    /// The types of events that it delivers: those that are supported and were asked for, or all.
    pub(crate) fn delivers(&self, uri: &str) -> bool {
        let requested = self.said.requested.as_ref();
        requested.is_none_or(|uris| uris.iter().any(|known| **known == *uri))
    }

    pub(crate) fn enabled_at(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.said.enabled).unwrap_or(Timestamp::MAX)
    }
}

/// What the configuration of a stream takes from its transmitter.
pub(crate) struct Ours<'t> {
    pub(crate) issuer: &'t str,
    pub(crate) poll_endpoint: &'t str,
    pub(crate) supported: &'t [Box<str>],
    pub(crate) min_verification_interval: Option<u32>,
    pub(crate) inactivity_timeout: Option<u32>,
}

impl Stream {
    /// How its receiver sees it.
    pub(crate) fn configuration(&self, ours: &Ours<'_>) -> StreamConfiguration {
        let delivered = ours.supported.iter().filter(|uri| self.delivers(uri));
        let delivery = match &self.said.push {
            Some(url) => Delivery::push(url, None),
            None => Delivery::poll_at(&poll_url(ours.poll_endpoint, &self.id)),
        };
        StreamConfiguration {
            stream_id: self.id.clone(),
            issuer: Box::from(ours.issuer),
            audience: vec![self.said.audience.clone()],
            delivery,
            events_supported: Some(ours.supported.to_vec()),
            events_requested: self.said.requested.clone(),
            events_delivered: delivered.cloned().collect(),
            min_verification_interval: ours.min_verification_interval,
            inactivity_timeout: ours.inactivity_timeout,
            description: self.said.description.clone(),
        }
    }
}

/// Where a stream is polled: each has its own address (SSF 1.0 §6.1.2).
pub(crate) fn poll_url(endpoint: &str, stream: &str) -> String {
    format!("{endpoint}/{stream}")
}
