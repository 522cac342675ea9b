//! What operators do to a store, and what they see of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use m2m_crypto::SecureRandom;
use m2m_store::{Cursor, KeyEncryption, Revision, Sealer};

use crate::config::PostgresConfig;
use crate::schema;
use crate::session::{ConnectError, Opener, Session, column, refused};
use crate::store::PostgresStore;
use crate::transaction::number;

/// How many tombstones are removed while the head is locked.
const PRUNE_ROWS: i64 = 1_000;

/// What is done by hand may take longer than what a caller waits for.
const PATIENCE: &str = "SET statement_timeout = '60s'";

/// How far a new incarnation goes beyond the last revision that is known of. More than can have been
/// committed and lost; few enough to restore two thousand million times.
const JUMP: i64 = 1 << 32;

/// What a [`PostgresStore`] did and sees, for metrics. Costs nothing: nothing is asked of the
/// database.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresStats {
    /// The newest place that this process has seen.
    pub newest: Option<Cursor>,
    /// How long ago the database was last heard of: how old what is known of it may be.
    pub age: Option<Duration>,
    /// How many batches wait to be committed.
    pub queued: usize,
    /// How many reads wait for a connection.
    pub waiting_reads: usize,
    /// How many wait for a change.
    pub waiting_followers: usize,
    /// How many batches were answered, conflicts included.
    pub commits: u64,
    /// In how many transactions.
    pub groups: u64,
    /// How often something was tried again.
    pub retries: u64,
    /// How often it was not known at first whether a transaction was committed.
    pub unknown_outcomes: u64,
    /// How many connections were opened for writing: one, and one for each that was lost.
    pub write_connections: u64,
}

/// How much a store holds.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresSize {
    /// Records that are there.
    pub records: u64,
    /// Records that are not, of which the feed still tells.
    pub tombstones: u64,
    /// Bytes of sealed values.
    pub bytes: u64,
}

impl PostgresStore {
    /// What this process did and sees.
    pub fn stats(&self) -> PostgresStats {
        let shared = &self.shared;
        let counters = &shared.counters;
        PostgresStats {
            newest: shared.head.newest(),
            age: shared.head.age(),
            queued: self.queued(),
            waiting_reads: shared.pool.waiting(),
            waiting_followers: shared.head.waiting(),
            commits: counters.commits.load(Ordering::Relaxed),
            groups: counters.groups.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            unknown_outcomes: counters.unknown.load(Ordering::Relaxed),
            write_connections: counters.connections.load(Ordering::Relaxed),
        }
    }

    /// How much the store holds. Reads the whole table, so it is for a look now and then.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn size(&self) -> Result<PostgresSize, ConnectError> {
        let session = self.shared.opener.open(None).await?;
        let patient = session.client().batch_execute(PATIENCE).await;
        patient.map_err(|error| refused(&error))?;
        let query = self.shared.opener.schema().fill(schema::SIZE);
        let row = session.client().query_one(&query, &[]).await;
        let row = row.map_err(|error| refused(&error))?;
        let number =
            |place| column::<i64>(&row, place).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(PostgresSize {
            records: number(0)?,
            tombstones: number(1)?,
            bytes: number(2)?,
        })
    }

    /// Forgets which records were deleted up to `until`; returns how many. Followers that are behind
    /// it are told to load anew from then on.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. What was forgotten until then stays so; call it again.
    pub async fn prune_tombstones(&self, until: Revision) -> Result<u64, ConnectError> {
        let opener = &self.shared.opener;
        let session = opener.open(None).await?;
        let (client, schema) = (session.client(), opener.schema());
        let prune = client.prepare(&schema.fill(schema::PRUNE)).await;
        let prune = prune.map_err(|error| refused(&error))?;
        let mut pruned = 0;
        loop {
            // With the head locked, so that no commit decides upon a tombstone that goes away.
            let head = locked(&session, opener).await?;
            let until = number(until.min(head.revision()));
            let raise = schema.fill(schema::RAISE_FLOOR);
            client
                .execute(&raise, &[&until])
                .await
                .map_err(|error| refused(&error))?;
            let rows = client.execute(&prune, &[&until, &PRUNE_ROWS]).await;
            let rows = rows.map_err(|error| refused(&error))?;
            client
                .batch_execute("COMMIT")
                .await
                .map_err(|error| refused(&error))?;
            pruned += rows;
            if i64::try_from(rows).is_ok_and(|rows| rows < PRUNE_ROWS) {
                return Ok(pruned);
            }
        }
    }

    /// Begins a new incarnation: every follower is told to load anew. To be called after the
    /// database was restored from an older copy, before any program connects to it again; what was
    /// committed after that copy was made is lost. Revisions go on far above those, so that none
    /// ever means two states.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn begin_new_incarnation(
        config: PostgresConfig,
        random: &dyn SecureRandom,
    ) -> Result<(), ConnectError> {
        let mut incarnation = [0; 16];
        let drawn = random.fill(&mut incarnation);
        drawn.map_err(|_| ConnectError::Store(m2m_store::StoreError::Random))?;
        let opener = Opener::new(config)?;
        let session = opener.open(None).await?;
        let statement = opener.schema().fill(schema::REINCARNATE);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&incarnation.as_slice(), &JUMP];
        let changed = session.client().execute(&statement, &parameters).await;
        match changed.map_err(|error| refused(&error))? {
            1 => Ok(()),
            _ => Err(ConnectError::Store(m2m_store::StoreError::Corrupt {
                reason: m2m_store::Reason::new("there is no store yet"),
            })),
        }
    }

    /// Wraps the data key anew, for another outer key; the old one opens nothing from then on but
    /// older copies. Values stay as they are, and stores that are open go on.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Key`] if `old` is not the outer key, and the rest of [`ConnectError`].
    pub async fn change_outer_key(
        config: PostgresConfig,
        old: &dyn KeyEncryption,
        new: &dyn KeyEncryption,
    ) -> Result<(), ConnectError> {
        let opener = Opener::new(config)?;
        let session = opener.open(None).await?;
        let (client, schema) = (session.client(), opener.schema());
        let nothing = || {
            ConnectError::Store(m2m_store::StoreError::Corrupt {
                reason: m2m_store::Reason::new("there is no store yet, or its key was changed"),
            })
        };
        let row = client.query_opt(&schema.fill(schema::READ_META), &[]).await;
        let row = row.map_err(|error| refused(&error))?.ok_or_else(nothing)?;
        let (store, before): (Vec<u8>, Vec<u8>) = (column(&row, 0)?, column(&row, 1)?);
        let store = <[u8; 16]>::try_from(store).map_err(|_| nothing())?;
        let after = Sealer::rewrap(store, old, new, &before)?;
        let rewrap = schema.fill(schema::REWRAP);
        let changed = client.execute(&rewrap, &[&after, &before]).await;
        match changed.map_err(|error| refused(&error))? {
            1 => Ok(()),
            _ => Err(nothing()),
        }
    }
}

/// Begins a transaction and locks the head.
async fn locked(session: &Session, opener: &Opener) -> Result<Cursor, ConnectError> {
    let client = session.client();
    client
        .batch_execute("BEGIN")
        .await
        .map_err(|error| refused(&error))?;
    let lock = opener.schema().fill(schema::LOCK_HEAD);
    let row = client
        .query_one(&lock, &[])
        .await
        .map_err(|error| refused(&error))?;
    crate::read::head(&row).map_err(|failure| ConnectError::Refused {
        reason: failure.reason,
    })
}
