//! `Session`: a connection that was checked and set up before anything is asked of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use m2m_store::{AnchorError, Reason, Revision, StoreError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTls;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{AsyncMessage, Client, Row, Socket};

use crate::config::{ConfigError, PostgresConfig};
use crate::failure::{Failure, Kind, described};
use crate::migrate::KNOWN_FORMAT;
use crate::schema::Schema;
use crate::tls::Tls;

/// Opens sessions.
pub(crate) struct Opener {
    config: PostgresConfig,
    tls: Option<Tls>,
}

/// An open connection. Closed when it is dropped.
pub(crate) struct Session {
    client: Client,
    driver: AbortHandle,
    backend: Option<Backend>,
}

/// The server's side of a connection.
#[derive(Clone)]
pub(crate) struct Backend {
    process: i32,
    // Numbers of processes are used again.
    started: String,
}

/// Why a database is of no use, or not now.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The configuration.
    #[error("{0}")]
    Config(ConfigError),
    /// Nobody answers there, or who answers cannot be trusted (TLS), or too slowly.
    #[error("the database cannot be reached: {reason}")]
    Unreachable {
        /// What was seen.
        reason: Reason,
    },
    /// The server refuses: password, rights, name of the database.
    #[error("the database refuses: {reason}")]
    Refused {
        /// What the server said.
        reason: Reason,
    },
    /// It is a standby, whose answers may be old.
    #[error("this server is a standby, whose answers may be old: name the primary, or all hosts")]
    Standby,
    /// The server does not write to its disk what it acknowledges.
    #[error(
        "this server runs with {setting} = off and would lose what it has acknowledged: turn it on"
    )]
    NotDurable {
        /// Which setting says so.
        setting: &'static str,
    },
    /// The tables are not there, or of an older program.
    #[error(
        "schema {schema} has format {found} and this program needs {KNOWN_FORMAT}: run PostgresStore::migrate first"
    )]
    NotMigrated {
        /// Which schema.
        schema: Box<str>,
        /// Its format; 0 if there are no tables.
        found: i32,
    },
    /// A newer program made the tables.
    #[error(
        "schema {schema} has format {found} and this program knows up to {KNOWN_FORMAT}: upgrade the program"
    )]
    TooNew {
        /// Which schema.
        schema: Box<str>,
        /// Its format.
        found: i32,
    },
    /// The data key was not created or opened.
    #[error("{0}")]
    Key(m2m_store::KeyEncryptionError),
    /// The database is an older copy: this node's anchor has seen more.
    #[error(
        "an older copy: it is at revision {found} and the anchor at {anchored}, so what was written in between (revocations too) is missing; find the newest, or begin a new incarnation"
    )]
    SetBack {
        /// How far the database is.
        found: Revision,
        /// How far it was.
        anchored: Revision,
    },
    /// The anchor belongs to another store.
    #[error("the anchor belongs to another store")]
    ForeignAnchor,
    /// The anchor did not answer.
    #[error("{0}")]
    Anchor(AnchorError),
    /// What is stored is damaged.
    #[error("{0}")]
    Store(StoreError),
}

impl Opener {
    pub(crate) fn new(config: PostgresConfig) -> Result<Self, ConfigError> {
        let tls = config.tls()?;
        Ok(Self { config, tls })
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.config.schema()
    }

    /// Connects to a store of the format that this program knows.
    pub(crate) async fn open(&self, wake: Option<Arc<Notify>>) -> Result<Session, ConnectError> {
        let session = self.open_any(wake).await?;
        session.check_format(self.schema()).await?;
        Ok(session)
    }

    /// Connects to whatever is in the database.
    pub(crate) async fn open_any(
        &self,
        wake: Option<Arc<Notify>>,
    ) -> Result<Session, ConnectError> {
        let limit = self.config.limits().connect;
        let opened = timeout(limit, self.start(wake)).await;
        opened.unwrap_or_else(|_| Err(too_slow(limit)))
    }

    async fn start(&self, wake: Option<Arc<Notify>>) -> Result<Session, ConnectError> {
        let driver = self.config.driver(self.tls.is_some());
        let started = match self.tls.clone() {
            Some(tls) => driver.connect(tls).await.map(|pair| start(pair, wake)),
            None => driver.connect(NoTls).await.map(|pair| start(pair, wake)),
        };
        let session = started.map_err(|error| refused(&error))?;
        session.set_up(&self.config).await
    }
}

fn too_slow(limit: Duration) -> ConnectError {
    ConnectError::Unreachable {
        reason: Reason::new(format_args!("no session within {limit:?}")),
    }
}

/// Whether it is another matter in a moment (starting, stopping, no connection or lock to be had), or
/// not before somebody changes something.
pub(crate) fn refused(error: &tokio_postgres::Error) -> ConnectError {
    const PASSING: [&str; 5] = ["08", "40", "53", "55", "57"];
    let reason = Reason::new(described(error));
    match error.code().map(SqlState::code) {
        Some(code) if !PASSING.iter().any(|class| code.starts_with(class)) => {
            ConnectError::Refused { reason }
        }
        _ => ConnectError::Unreachable { reason },
    }
}

/// What a row has there, if it is of the right type: not every engine that speaks the protocol
/// answers as PostgreSQL does.
pub(crate) fn column<T: FromSqlOwned>(row: &Row, place: usize) -> Result<T, ConnectError> {
    row.try_get(place).map_err(|error| refused(&error))
}

/// Drives the connection until its client is dropped.
fn start<T>(
    (client, mut connection): (Client, tokio_postgres::Connection<Socket, T>),
    wake: Option<Arc<Notify>>,
) -> Session
where
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    let driving = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let (AsyncMessage::Notification(_), Some(wake)) = (message, &wake) {
                wake.notify_one();
            }
        }
    });
    Session {
        client,
        driver: driving.abort_handle(),
        backend: None,
    }
}

impl Session {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.driver.is_finished()
    }

    pub(crate) fn backend(&self) -> Option<Backend> {
        self.backend.clone()
    }

    /// Names are looked up in no schema that others may write to (CVE-2018-1058), a server that has
    /// lost its client gives up its locks soon, and a commit is on disk when it is answered.
    async fn set_up(mut self, config: &PostgresConfig) -> Result<Self, ConnectError> {
        let limits = config.limits();
        let (statement, lock) = (
            limits.statement.as_millis().max(1),
            (limits.statement / 2).as_millis().max(1),
        );
        let settings = format!(
            "SET search_path = pg_catalog; SET statement_timeout = {statement}; \
             SET lock_timeout = {lock}; SET idle_in_transaction_session_timeout = {statement}"
        );
        // Where no other limit holds: between two messages that belong together, when this machine
        // is gone. Not every version and engine has each of them.
        let wished = [
            format!("SET transaction_timeout = {}", statement * 2),
            "SET client_connection_check_interval = 1000".into(),
            "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; \
             SET tcp_keepalives_count = 2"
                .into(),
            "SET tcp_user_timeout = 15000".into(),
        ];
        self.client
            .batch_execute(&settings)
            .await
            .map_err(|error| refused(&error))?;
        for wish in wished {
            match self.client.batch_execute(&wish).await {
                Err(error) if error.as_db_error().is_none() => return Err(refused(&error)),
                _ => {}
            }
        }
        let asked = "SELECT pg_is_in_recovery(), pg_backend_pid(), (SELECT backend_start::text \
                     FROM pg_stat_activity WHERE pid = pg_backend_pid())";
        let row = self
            .client
            .query_one(asked, &[])
            .await
            .map_err(|error| refused(&error))?;
        if column(&row, 0)? {
            return Err(ConnectError::Standby);
        }
        let started: Option<String> = column(&row, 2)?;
        let process = column(&row, 1)?;
        self.backend = started.map(|started| Backend { process, started });
        self.check_settings().await?;
        Ok(self)
    }

    /// Ends the server's side of a connection that was lost. It ends by itself as well; but until
    /// then it may hold a lock.
    pub(crate) async fn end(&self, other: &Backend) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE pid = $1 AND backend_start::text = $2";
        // A courtesy: it may have no right to, or the engine may not have it.
        let _ = self
            .client
            .query(end, &[&other.process, &other.started])
            .await;
    }

    async fn check_settings(&self) -> Result<(), ConnectError> {
        let asked = "SELECT name, setting FROM pg_settings \
                     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', \
                     'server_encoding')";
        let settings = self
            .client
            .query(asked, &[])
            .await
            .map_err(|error| refused(&error))?;
        for row in settings {
            let (name, setting): (String, String) = (column(&row, 0)?, column(&row, 1)?);
            match (name.as_str(), setting.as_str()) {
                ("fsync", "off") => return Err(ConnectError::NotDurable { setting: "fsync" }),
                ("full_page_writes", "off") => {
                    let setting = "full_page_writes";
                    return Err(ConnectError::NotDurable { setting });
                }
                ("synchronous_commit", "off") => {
                    let on = self.client.batch_execute("SET synchronous_commit = on");
                    on.await.map_err(|error| refused(&error))?;
                }
                // Another one does not have all characters of a summary.
                ("server_encoding", encoding) if encoding != "UTF8" => {
                    let reason = format_args!("its encoding is {encoding}, and not UTF8");
                    let reason = Reason::new(reason);
                    return Err(ConnectError::Refused { reason });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Which migrations were applied; 0 if there are no tables.
    pub(crate) async fn format(&self, schema: &Schema) -> Result<i32, ConnectError> {
        let asked = schema.fill("SELECT max(version) FROM {schema}.migrations");
        match self.client.query_one(&asked, &[]).await {
            Ok(row) => Ok(column::<Option<i32>>(&row, 0)?.unwrap_or(0)),
            Err(error) => match error.code() {
                Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => Ok(0),
                _ => Err(refused(&error)),
            },
        }
    }

    async fn check_format(&self, schema: &Schema) -> Result<(), ConnectError> {
        let found = self.format(schema).await?;
        let schema = || schema.name().into();
        match found.cmp(&KNOWN_FORMAT) {
            std::cmp::Ordering::Less => Err(ConnectError::NotMigrated {
                schema: schema(),
                found,
            }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(ConnectError::TooNew {
                schema: schema(),
                found,
            }),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closes the socket at once, whatever is still to come: the server rolls back what was not
        // committed as soon as it notices.
        self.driver.abort();
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::Unreachable { .. } | ConnectError::Standby => Kind::Lost,
            ConnectError::Store(StoreError::Corrupt { .. }) => Kind::Surprise,
            _ => Kind::Refused,
        };
        Self::new(kind, error)
    }
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<m2m_store::KeyEncryptionError> for ConnectError {
    fn from(error: m2m_store::KeyEncryptionError) -> Self {
        Self::Key(error)
    }
}
