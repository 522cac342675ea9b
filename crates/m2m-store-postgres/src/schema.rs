//! `Schema`: where the tables are, and the statements about them.

use std::fmt;

/// The longest name of a schema: what PostgreSQL keeps of an identifier.
const MAX_SCHEMA_BYTES: usize = 63;

/// The name of a schema, quoted, so that it can stand in a statement.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Schema(Box<str>);

impl Schema {
    /// Takes lower-case letters, digits and `_`, not beginning with a digit or `pg_`: names that
    /// mean the same quoted and unquoted, so that operators need not think of it.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let first = name.bytes().next()?;
        let fits = name.len() <= MAX_SCHEMA_BYTES
            && name.bytes().all(allowed)
            && !first.is_ascii_digit()
            && !name.starts_with("pg_");
        fits.then(|| Self(name.into()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `statement`, where `{schema}` is this one.
    pub(crate) fn fill(&self, statement: &str) -> String {
        statement.replace("{schema}", &self.to_string())
    }

    /// The channel on which commits are announced.
    pub(crate) fn channel(&self) -> String {
        format!("m2m_store_{}", self.0)
            .chars()
            .take(MAX_SCHEMA_BYTES)
            .collect()
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Each statement is one snapshot (PostgreSQL 13.2.1), so a page and the head it belongs to are
/// read together.
pub(crate) const GET: &str = "
SELECT revision, summary, sealed
FROM {schema}.records
WHERE space = $1 AND id = $2 AND NOT deleted";

/// $1 space, $2 first id, $3 end of ids, $4 limit, $5 bytes, $6 what sealing adds to a value.
///
/// One row more than the limit is looked at, to see whether there is more. Values are neither read
/// nor sent for rows that do not fit: `octet_length` reads the length alone.
pub(crate) const SCAN: &str = "
SELECT h.incarnation, h.revision AS head, h.floor, p.id, p.revision, p.summary, p.sealed, p.seen
FROM {schema}.head h
LEFT JOIN (
    SELECT id, revision, summary, sealed, seen
    FROM (
        SELECT id, revision, summary, sealed,
            count(*) OVER () AS seen,
            row_number() OVER (ORDER BY id) AS number,
            sum(octet_length(sealed) - $6::int8) OVER (
                ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS before
        FROM (
            SELECT id, revision, summary, sealed
            FROM {schema}.records
            WHERE space = $1 AND id >= $2 AND id < $3 AND NOT deleted
            ORDER BY id
            LIMIT $4::int8 + 1
        ) AS looked_at
    ) AS numbered
    WHERE number <= $4 AND coalesce(before, 0) < $5::int8
) AS p ON true
ORDER BY p.id";

/// $1 space, $2 since, $3 limit, $4 bytes, $5 what sealing adds, $6 the most a commit writes.
///
/// A page holds each commit whole: what counts is how much the commits before it wrote.
pub(crate) const CHANGES: &str = "
SELECT h.incarnation, h.revision AS head, h.floor,
    p.id, p.revision, p.deleted, p.summary, p.sealed, p.newest
FROM {schema}.head h
LEFT JOIN (
    SELECT id, revision, place, deleted, summary, sealed, newest
    FROM (
        SELECT id, revision, place, deleted, summary, sealed,
            max(revision) OVER () AS newest,
            count(*) OVER earlier AS count_before,
            sum(octet_length(sealed) - $5::int8) OVER earlier AS bytes_before
        FROM (
            SELECT id, revision, place, deleted, summary, sealed
            FROM {schema}.records
            WHERE space = $1 AND revision > $2
            ORDER BY revision, place
            LIMIT $3::int8 + $6::int8 + 1
        ) AS looked_at
        WINDOW earlier AS (
            ORDER BY revision GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
    ) AS counted
    WHERE count_before < $3 AND coalesce(bytes_before, 0) < $4::int8
) AS p ON true
ORDER BY p.revision, p.place";

pub(crate) const HEAD: &str = "SELECT incarnation, revision, floor FROM {schema}.head";

/// The first statement of each transaction that writes: whoever has this row is alone.
pub(crate) const LOCK_HEAD: &str =
    "SELECT incarnation, revision, floor FROM {schema}.head WHERE one FOR UPDATE";

/// $1 idempotency keys.
pub(crate) const REMEMBERED: &str = "
SELECT idempotency, fingerprint, revision
FROM {schema}.requests
WHERE idempotency = ANY($1::bytea[])";

/// $1 spaces, $2 ids; tells of those that are there, by their place in the arrays.
pub(crate) const VERSIONS: &str = "
SELECT k.place, r.revision, r.deleted
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (space, id, place)
JOIN {schema}.records r ON r.space = k.space AND r.id = k.id";

/// Everything a group of commits writes, in one statement that fails unless it finds exactly what
/// the group was decided upon: rows that were there are updated in the version that was seen, rows
/// that were not are inserted, and all are counted.
///
/// $1 spaces, $2 ids, $3 revisions, $4 places, $5 summaries, $6 sealed values, $7 versions seen
/// (null for none); $8 idempotency keys, $9 fingerprints, $10 revisions; $11 head seen, $12 new
/// head, $13 rows to update.
pub(crate) const WRITE: &str = "
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::bytea[], $3::int8[], $4::int4[], $5::text[], $6::bytea[], $7::int8[]
    ) AS w (space, id, revision, place, summary, sealed, seen)
), updated AS (
    UPDATE {schema}.records r
    SET revision = w.revision, place = w.place, deleted = w.sealed IS NULL,
        summary = w.summary, sealed = w.sealed, written_at = now()
    FROM wanted w
    WHERE r.space = w.space AND r.id = w.id AND r.revision = w.seen
    RETURNING 1
), inserted AS (
    INSERT INTO {schema}.records (space, id, revision, place, deleted, summary, sealed)
    SELECT space, id, revision, place, sealed IS NULL, summary, sealed
    FROM wanted
    WHERE seen IS NULL
), remembered AS (
    INSERT INTO {schema}.requests (idempotency, fingerprint, revision)
    SELECT * FROM unnest($8::bytea[], $9::bytea[], $10::int8[])
)
UPDATE {schema}.head
SET revision = CASE
    WHEN revision = $11::int8 AND (SELECT count(*) FROM updated) = $13::int8 THEN $12::int8
    ELSE -1
END";

/// $1 channel.
pub(crate) const NOTIFY: &str = "SELECT pg_notify($1::text, '')";

/// $1 how many commits to remember, $2 how many rows at most. Counted, since revisions may jump.
pub(crate) const FORGET_REQUESTS: &str = "
DELETE FROM {schema}.requests
WHERE idempotency IN (
    SELECT idempotency FROM {schema}.requests
    WHERE revision < (
        SELECT revision FROM {schema}.requests ORDER BY revision DESC OFFSET $1::int8 LIMIT 1
    )
    ORDER BY revision
    LIMIT $2::int8
)";

/// $1 until which revision, $2 how many rows at most.
pub(crate) const PRUNE: &str = "
DELETE FROM {schema}.records
WHERE (space, id) IN (
    SELECT space, id FROM {schema}.records
    WHERE deleted AND revision <= $1::int8
    ORDER BY revision
    LIMIT $2::int8
)";

/// $1 floor.
pub(crate) const RAISE_FLOOR: &str =
    "UPDATE {schema}.head SET floor = greatest(floor, $1::int8) WHERE one";

/// $1 incarnation, $2 by how much revisions jump.
pub(crate) const REINCARNATE: &str =
    "UPDATE {schema}.head SET incarnation = $1, revision = revision + $2::int8 WHERE one";

pub(crate) const SIZE: &str = "
SELECT count(*) FILTER (WHERE NOT deleted) AS records,
    count(*) FILTER (WHERE deleted) AS tombstones,
    coalesce(sum(octet_length(sealed)), 0)::int8 AS bytes
FROM {schema}.records";

pub(crate) const READ_META: &str = "SELECT store, wrapped_key FROM {schema}.meta";
pub(crate) const CREATE_META: &str =
    "INSERT INTO {schema}.meta (store, wrapped_key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
/// Fails if there is one: a head without its key is a store that was tampered with.
pub(crate) const CREATE_HEAD: &str =
    "INSERT INTO {schema}.head (incarnation, revision, floor) VALUES ($1, 0, 0)";
/// $1 the new one, $2 the old one.
pub(crate) const REWRAP: &str = "UPDATE {schema}.meta SET wrapped_key = $1 WHERE wrapped_key = $2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sto_017_a_schema_is_a_plain_name_and_always_quoted() {
        for name in [
            "",
            "1a",
            "a b",
            "a\"b",
            "A",
            "a.b",
            "pg_x",
            "a\0",
            "é",
            &"a".repeat(64),
        ] {
            assert!(Schema::new(name).is_none(), "{name:?}");
        }
        let schema = Schema::new("select").unwrap();
        assert_eq!(
            schema.fill(HEAD),
            "SELECT incarnation, revision, floor FROM \"select\".head"
        );
        assert_eq!(Schema::new(&"a".repeat(63)).unwrap().channel().len(), 63);
    }
}
