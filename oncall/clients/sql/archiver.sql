-- oncall: whether WAL is archived, how far, and what waits
SELECT
  pg_catalog.current_setting('archive_mode') AS mode,
  pg_catalog.pg_is_in_recovery() AS replica,
  -- The command itself may hold a password; archive_library is of PostgreSQL 15 and later
  coalesce(pg_catalog.current_setting('archive_command'), '') <> ''
    OR coalesce(pg_catalog.current_setting('archive_library', true), '') <> '' AS has_command,
  s.archived_count,
  s.last_archived_wal,
  extract(epoch FROM pg_catalog.clock_timestamp() - s.last_archived_time)::double precision AS archived_ago_s,
  s.failed_count,
  s.last_failed_wal,
  extract(epoch FROM pg_catalog.clock_timestamp() - s.last_failed_time)::double precision AS failed_ago_s,
  extract(epoch FROM pg_catalog.clock_timestamp() - s.stats_reset)::double precision AS reset_ago_s,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())
  END AS current_wal,
  pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_bytes
FROM pg_catalog.pg_stat_archiver AS s
