-- Since when the counters of this database count, and who else reads. From PostgreSQL 15 on the database does not
-- say it unless it was reset; then the server does, which began anew with its last crash or its first start.
counted AS MATERIALIZED (
  SELECT
    greatest(extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(d.stats_reset, b.stats_reset)), 1)
      ::double precision AS since_s,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication AS r WHERE r.application_name <> 'pg_basebackup')
      AS standbys,
    pg_catalog.current_setting('block_size')::integer AS block
  FROM pg_catalog.pg_stat_database AS d
  CROSS JOIN pg_catalog.pg_stat_bgwriter AS b
  WHERE d.datname = pg_catalog.current_database()
)
