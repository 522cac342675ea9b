//! Where in a path a certificate stands, and what its holder is in the handshake.

use std::fmt;

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a path has two ends and a middle")]
pub enum Place {
    /// First: the peer's own.
    Leaf,
    /// Between: the one that issued the leaf is 1, its issuer is 2, and so on.
    Intermediate(usize),
    /// Last: in the trust bundle.
    Authority,
}

/// What the holder of the leaf is in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "TLS has two sides")]
pub enum PeerRole {
    /// It called us: its certificate must be good for `id-kp-clientAuth`.
    Client,
    /// We called it: its certificate must be good for `id-kp-serverAuth`.
    Server,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => f.write_str("leaf"),
            Self::Intermediate(number) => write!(f, "intermediate {number}"),
            Self::Authority => f.write_str("authority"),
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}
