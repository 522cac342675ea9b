//! Migrations: the tables, brought up to date one format after the other.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::PostgresConfig;
use crate::schema::Schema;
use crate::session::{ConnectError, Opener, refused};

/// In their order, without gaps: the first makes format 1 of nothing. Never changed once released.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/0001_records.sql"),
    include_str!("../migrations/0002_views.sql"),
];

/// The format that this program reads and writes.
pub(crate) const KNOWN_FORMAT: i32 = MIGRATIONS.len() as i32;

/// Several programs may start at once; whoever comes second finds the work done. What `IF NOT
/// EXISTS` does not settle between two of them fails with a unique violation, and is tried again.
const BOOTSTRAP: &str = "
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.migrations (version) VALUES (0) ON CONFLICT DO NOTHING;";

/// How often an attempt is repeated that others were in the way of.
const ATTEMPTS: usize = 20;

/// Brings the tables up to date. Which format was found, and which is there now.
pub(crate) async fn migrate(config: PostgresConfig) -> Result<(i32, i32), ConnectError> {
    let opener = Opener::new(config)?;
    let schema = opener.schema();
    let session = opener.open_any(None).await?;
    // A migration may take as long as it takes.
    let unlimited = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
    let unlimited = session.client().batch_execute(unlimited).await;
    unlimited.map_err(|error| refused(&error))?;
    let found = session.format(schema).await?;
    if found == 0 {
        retried(session.client(), &schema.fill(BOOTSTRAP)).await?;
    }
    for (version, migration) in (1..).zip(MIGRATIONS) {
        apply(session.client(), schema, version, migration).await?;
    }
    match session.format(schema).await? {
        now if now > KNOWN_FORMAT => Err(ConnectError::TooNew {
            schema: schema.name().into(),
            found: now,
        }),
        now => Ok((found, now)),
    }
}

/// The row of version 0 is the lock: a plain row, which every engine that speaks the protocol has.
async fn apply(
    client: &Client,
    schema: &Schema,
    version: i32,
    migration: &str,
) -> Result<(), ConnectError> {
    let begin = "BEGIN; SELECT 1 FROM {schema}.migrations WHERE version = 0 FOR UPDATE";
    retried(client, &schema.fill(begin)).await?;
    let applied = schema.fill("SELECT 1 FROM {schema}.migrations WHERE version >= $1");
    let applied = client.query(&applied, &[&version]).await;
    if !applied.map_err(|error| refused(&error))?.is_empty() {
        return client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| refused(&error));
    }
    let remember = format!("INSERT INTO {{schema}}.migrations (version) VALUES ({version})");
    let statements = schema.fill(&format!("{migration};\n{remember};\nCOMMIT"));
    client
        .batch_execute(&statements)
        .await
        .map_err(|error| refused(&error))
}

async fn retried(client: &Client, statements: &str) -> Result<(), ConnectError> {
    let mut attempt = 1;
    loop {
        let Err(error) = client.batch_execute(statements).await else {
            return Ok(());
        };
        let in_the_way = matches!(
            error.code(),
            Some(
                &SqlState::UNIQUE_VIOLATION
                    | &SqlState::DUPLICATE_SCHEMA
                    | &SqlState::DUPLICATE_TABLE
                    | &SqlState::T_R_SERIALIZATION_FAILURE
                    | &SqlState::T_R_DEADLOCK_DETECTED
                    | &SqlState::LOCK_NOT_AVAILABLE
                    | &SqlState::INTERNAL_ERROR // "tuple concurrently updated"
            )
        );
        if !in_the_way || attempt == ATTEMPTS {
            return Err(refused(&error));
        }
        // Ends the transaction that the failure may have left open.
        client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| refused(&error))?;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_name_no_schema_of_their_own() {
        for migration in MIGRATIONS {
            let tables = migration.matches("CREATE ").count();
            assert!(migration.matches("{schema}.").count() >= tables);
            assert!(!migration.contains("m2m."));
        }
    }
}
