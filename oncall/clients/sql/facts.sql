-- oncall: what this server is, and what this role may see
SELECT
  pg_catalog.current_setting('server_version_num')::integer AS version_num,
  pg_catalog.current_setting('server_version') AS version,
  pg_catalog.current_database() AS database,
  current_user AS role,
  pg_catalog.pg_backend_pid() AS pid,
  pg_catalog.current_setting('default_transaction_read_only') AS read_only,
  pg_catalog.current_setting('lock_timeout') AS lock_timeout,
  r.rolsuper AS is_superuser,
  pg_catalog.pg_is_in_recovery() AS in_recovery,
  pg_catalog.current_setting('max_connections')::integer AS max_connections,
  pg_catalog.current_setting('superuser_reserved_connections')::integer AS superuser_reserved,
  -- PostgreSQL 16 and later
  coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::integer AS reserved,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS has_pg_monitor,
  pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') AS can_signal,
  pg_catalog.current_setting('track_activities')::boolean AS track_activities,
  -- Shown as 1kB or 1500B; before PostgreSQL 16 pg_size_bytes does not know the latter
  pg_catalog.pg_size_bytes(pg_catalog.regexp_replace(
    pg_catalog.current_setting('track_activity_query_size'), '([0-9])B$', E'\\1')) AS track_activity_query_size,
  extract(epoch FROM pg_catalog.clock_timestamp()) AS clock,
  CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') THEN 0 ELSE (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a
    WHERE a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL
  ) END AS hidden,
  -- Its settings exist only where the library was loaded when the server started
  pg_catalog.current_setting('pg_stat_statements.max', true) IS NOT NULL AS statements_loaded,
  s.schema AS statements_schema,
  s.readable AS statements_readable,
  -- The columns follow the extension's version, not the server's
  s.mean AS statements_mean,
  s.total AS statements_total
FROM pg_catalog.pg_roles AS r
LEFT JOIN LATERAL (
  SELECT
    n.nspname AS schema,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    pg_catalog.max(a.attname) FILTER (WHERE a.attname IN ('mean_exec_time', 'mean_time')) AS mean,
    pg_catalog.max(a.attname) FILTER (WHERE a.attname IN ('total_exec_time', 'total_time')) AS total
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements'
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE e.extname = 'pg_stat_statements'
  GROUP BY n.oid, n.nspname, c.oid
) AS s ON true
WHERE r.rolname = current_user
