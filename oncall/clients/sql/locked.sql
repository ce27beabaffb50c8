-- Tables of this database that somebody locks, or wants to lock, so that even a look at their size would wait:
-- they, or an index of theirs.
locked AS MATERIALIZED (
  SELECT DISTINCT coalesce(i.indrelid, l.relation) AS relid
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_database AS d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
  LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = l.relation
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
)
