//! `ServeLimits`: how much of what one server takes, and for how long.

use std::time::Duration;

/// How much a [`Server`](super::Server) takes, and for how long. What is beyond it is refused or ended; what
/// is within goes on.
///
/// | what | unless said otherwise |
/// |---|---|
/// | connections | 8,192; from one address 1,024 |
/// | connections of which nothing is known yet (no request, or no handshake that is complete) | 1,024; from one address 128 |
/// | time from the connection to the end of the handshake | the [`Acceptor`](crate::Acceptor)'s |
/// | head of a request | 16 KiB, 100 fields, 10 seconds from its first byte |
/// | body of a request | no pause longer than 10 seconds, and no slower than 1 KiB a second |
/// | response | read by the client without a pause longer than 30 to 45 seconds |
/// | connection without a request | 60 seconds |
/// | HTTP/2: requests at once on one connection | 100 |
/// | HTTP/2: requests that a client takes back | 100 more than were answered |
/// | end of what is under way when the server stops | 10 seconds |
///
/// One address is one of IPv4, or a /64 of IPv6: whoever has one address of that has them all.
///
/// There must be more descriptors (`ulimit -n`) than connections. Where there are not, the server waits for
/// one without ending.
///
/// ```
/// use std::time::Duration;
/// use m2m_tower::ServeLimits;
///
/// // Everybody comes through one proxy.
/// let limits = ServeLimits::new()
///     .with_connections(2_000)
///     .without_limits_by_address()
///     .with_head(8 << 10, Duration::from_secs(5));
/// # let _ = limits;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ServeLimits {
    pub(super) connections: usize,
    pub(super) connections_by_address: usize,
    pub(super) openings: usize,
    pub(super) openings_by_address: usize,
    pub(super) head_bytes: usize,
    pub(super) head_fields: usize,
    pub(super) head_time: Duration,
    pub(super) body_pause: Duration,
    pub(super) body_rate: u32,
    pub(super) response_pause: Duration,
    pub(super) idle: Duration,
    pub(super) streams: u32,
    pub(super) cancellations: u32,
    pub(super) drain: Duration,
}

impl ServeLimits {
    /// Fields of a head: hyper keeps so many on the stack.
    pub(super) const FIELDS: usize = 100;
    /// No head is shorter than this allows: hyper reads so much at once.
    const SMALLEST_HEAD: usize = 8 << 10;

    /// What the table says.
    pub const fn new() -> Self {
        Self {
            connections: 8192,
            connections_by_address: 1024,
            openings: 1024,
            openings_by_address: 128,
            head_bytes: 16 << 10,
            head_fields: Self::FIELDS,
            head_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(10),
            body_rate: 1 << 10,
            response_pause: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            streams: 100,
            cancellations: 100,
            drain: Duration::from_secs(10),
        }
    }

    /// Takes `connections` at once. Who comes when they are there is reset, and told nothing.
    pub const fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Of those, takes `connections` from one address.
    pub const fn with_connections_by_address(mut self, connections: usize) -> Self {
        self.connections_by_address = connections;
        self
    }

    /// Takes `openings` connections at once whose handshake is not complete, or, without TLS, that have
    /// said nothing yet; `by_address` of them from one address.
    pub const fn with_openings(mut self, openings: usize, by_address: usize) -> Self {
        self.openings = openings;
        self.openings_by_address = by_address;
        self
    }

    /// Lets one address have all there is: behind a proxy, or on loopback, there is only one.
    pub const fn without_limits_by_address(mut self) -> Self {
        self.connections_by_address = usize::MAX;
        self.openings_by_address = usize::MAX;
        self
    }

    /// Reads heads of up to `bytes` (8 KiB at least), within `time` from the first byte; the first head
    /// within `time` from the handshake.
    pub const fn with_head(mut self, bytes: usize, time: Duration) -> Self {
        self.head_bytes = match bytes < Self::SMALLEST_HEAD {
            true => Self::SMALLEST_HEAD,
            false => bytes,
        };
        self.head_time = at_most_a_year(time);
        self
    }

    /// Takes heads of up to `fields` fields.
    pub const fn with_head_fields(mut self, fields: usize) -> Self {
        self.head_fields = fields;
        self
    }

    /// Waits for more of a body no longer than `pause`, and in all no longer than `pause` and what its
    /// bytes take at `bytes_a_second` (one at least). Only waiting counts, not what the service does with
    /// what came.
    ///
    /// See [`ServedBody::unhurried`](super::ServedBody::unhurried) for calls that last.
    pub const fn with_body_pace(mut self, pause: Duration, bytes_a_second: u32) -> Self {
        self.body_pause = at_most_a_year(pause);
        self.body_rate = match bytes_a_second {
            0 => 1,
            rate => rate,
        };
        self
    }

    /// Ends a connection whose client reads nothing of a response that is there, for this long and at most
    /// half as long again.
    pub const fn with_response_pause(mut self, pause: Duration) -> Self {
        self.response_pause = at_most_a_year(pause);
        self
    }

    /// Ends connections on which nothing was asked for this long.
    pub const fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = at_most_a_year(idle);
        self
    }

    /// HTTP/2: answers `streams` requests at once on one connection.
    pub const fn with_streams(mut self, streams: u32) -> Self {
        self.streams = streams;
        self
    }

    /// HTTP/2: ends a connection whose client took back `cancellations` requests more than were answered.
    pub const fn with_cancellations(mut self, cancellations: u32) -> Self {
        self.cancellations = cancellations;
        self
    }

    /// When the server stops, gives what is under way this long.
    pub const fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = at_most_a_year(drain);
        self
    }
}

/// Longer than any connection; a time that can be added to any other.
pub(super) const fn at_most_a_year(time: Duration) -> Duration {
    const YEAR: u64 = 365 * 86_400;
    match time.as_secs() < YEAR {
        true => time,
        false => Duration::from_secs(YEAR),
    }
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self::new()
    }
}
