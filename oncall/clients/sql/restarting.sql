-- oncall: since when this server runs, and who would lose a connection or a transaction by its restart
SELECT
  extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS started,
  extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time()) AS up_s,
  pg_catalog.count(*) AS connections,
  pg_catalog.count(a.xact_start) AS transactions,
  pg_catalog.count(DISTINCT a.datname) AS databases
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
  -- Without pg_monitor the type of others' sessions is hidden
  AND (a.backend_type = 'client backend' OR a.backend_type IS NULL)
