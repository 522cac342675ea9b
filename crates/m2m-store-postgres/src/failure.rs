//! `Failure`: what an error of the driver or the server says about what was done.

use std::error::Error as _;

use m2m_store::{Reason, StoreError};
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why something did not work, sorted by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The transaction was rolled back because of others, and may work the next time.
    Contention,
    /// The connection is gone, or did not answer in time. What the server did is not known.
    Lost,
    /// The server has too many connections.
    Busy,
    /// Too many wait in this process.
    Crowded,
    /// The server has no space.
    Full,
    /// This server takes no writes (any more).
    ReadOnly,
    /// The statement was refused for another reason: rights, a missing table.
    Refused,
    /// What is stored cannot be so.
    Surprise,
}

impl Failure {
    pub(crate) fn new(kind: Kind, reason: impl std::fmt::Display) -> Self {
        let reason = Reason::new(reason);
        Self { kind, reason }
    }

    pub(crate) fn timed_out(what: &str) -> Self {
        Self::new(Kind::Lost, format_args!("{what} took too long"))
    }

    /// Whether the connection can be used on.
    pub(crate) fn spares_the_connection(&self) -> bool {
        !matches!(self.kind, Kind::Lost | Kind::ReadOnly | Kind::Busy)
    }

    /// Whether another attempt, on a new connection perhaps, may succeed.
    pub(crate) fn is_worth_another_attempt(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Crowded | Kind::Full | Kind::Refused | Kind::Surprise
        )
    }

    /// For whoever asked, where nothing was written.
    pub(crate) fn into_error(self) -> StoreError {
        let reason = self.reason;
        match self.kind {
            Kind::Busy | Kind::Crowded => StoreError::Overloaded { reason },
            Kind::Full => StoreError::Full { reason },
            Kind::Surprise => StoreError::Corrupt { reason },
            Kind::Contention | Kind::Lost | Kind::ReadOnly | Kind::Refused => {
                StoreError::Unavailable { reason }
            }
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => from_server(said),
            None => Self::new(Kind::Lost, described(&error)),
        }
    }
}

/// Without detail and hint, which may quote a row.
fn from_server(said: &DbError) -> Failure {
    let fatal = matches!(
        said.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    let reason = format_args!("{} (SQLSTATE {})", said.message(), said.code().code());
    Failure::new(kind(said.code(), fatal), reason)
}

fn kind(code: &SqlState, fatal: bool) -> Kind {
    match code.code() {
        "53300" | "57P03" => Kind::Busy,
        "25006" => Kind::ReadOnly,
        // After these one cannot know whether a commit happened.
        "40003" | "08007" => Kind::Lost,
        _ if fatal => Kind::Lost,
        // Deadlocks, serialisation failures, locks that were not got in time, cancelled statements;
        // and rows that the head's lock should have kept from changing: somebody else's hand.
        "40001" | "40P01" | "55P03" | "57014" | "23505" | "23514" => Kind::Contention,
        "53000" | "53100" | "53200" | "53400" => Kind::Full,
        code if code.starts_with("08") || code.starts_with("57P") => Kind::Lost,
        _ => Kind::Refused,
    }
}

/// The error and what is behind it: the driver alone says "error connecting to server".
pub(crate) fn described(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_is_to_be_done() {
        for (code, fatal, expected) in [
            ("40001", false, Kind::Contention),
            ("40P01", false, Kind::Contention),
            ("55P03", false, Kind::Contention),
            ("40003", false, Kind::Lost),
            ("57P01", true, Kind::Lost),
            ("25P03", true, Kind::Lost),
            ("53300", true, Kind::Busy),
            ("53100", false, Kind::Full),
            ("25006", false, Kind::ReadOnly),
            ("42501", false, Kind::Refused),
            ("23514", false, Kind::Contention),
        ] {
            assert_eq!(kind(&SqlState::from_code(code), fatal), expected, "{code}");
        }
    }
}
