-- Format 1: what is stored. `{schema}` stands for the quoted name of the schema.

-- Which store this is, and the key of its values, which only the outer key opens.
CREATE TABLE {schema}.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    store bytea NOT NULL CHECK (octet_length(store) = 16),
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row, which each commit locks first: that is what puts commits in an order. Revisions up to
-- `floor` may lack their tombstones. A commit that finds anything but what it decided upon sets a
-- revision below zero, and with it undoes itself.
CREATE TABLE {schema}.head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    incarnation bytea NOT NULL CHECK (octet_length(incarnation) = 16),
    revision bigint NOT NULL CHECK (revision >= 0),
    floor bigint NOT NULL CHECK (floor >= 0)
);

-- Values are sealed by the program. `deleted` rows are tombstones, of which the feed tells.
CREATE TABLE {schema}.records (
    space text COLLATE "C" NOT NULL,
    id bytea NOT NULL,
    revision bigint NOT NULL,
    place integer NOT NULL,
    deleted boolean NOT NULL,
    summary text,
    sealed bytea,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space, id),
    CHECK (deleted = (sealed IS NULL))
);
CREATE INDEX records_feed ON {schema}.records (space, revision, place);
CREATE INDEX records_tombstones ON {schema}.records (revision) WHERE deleted;

-- The idempotency keys of the last commits.
CREATE TABLE {schema}.requests (
    idempotency bytea PRIMARY KEY CHECK (octet_length(idempotency) = 16),
    fingerprint bytea NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX requests_age ON {schema}.requests (revision);
