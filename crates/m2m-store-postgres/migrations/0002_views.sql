-- Format 2: what operators read. No view shows a sealed byte.

CREATE VIEW {schema}.record_list AS
SELECT space, encode(id, 'escape') AS id, revision AS version, summary,
       octet_length(sealed) AS bytes, written_at
FROM {schema}.records
WHERE NOT deleted;

CREATE VIEW {schema}.tombstone_list AS
SELECT space, encode(id, 'escape') AS id, revision, written_at AS deleted_at
FROM {schema}.records
WHERE deleted;

CREATE VIEW {schema}.feed_state AS
SELECT h.revision AS head, h.floor, encode(h.incarnation, 'hex') AS incarnation,
       encode(m.store, 'hex') AS store, m.created_at,
       (SELECT max(version) FROM {schema}.migrations) AS format
FROM {schema}.head h CROSS JOIN {schema}.meta m;

-- Reads the whole table: for a look now and then.
CREATE VIEW {schema}.space_sizes AS
SELECT space, count(*) FILTER (WHERE NOT deleted) AS records,
       count(*) FILTER (WHERE deleted) AS tombstones,
       coalesce(sum(octet_length(sealed)), 0)::bigint AS bytes,
       max(revision) AS newest_revision, max(written_at) AS newest
FROM {schema}.records
GROUP BY space;
