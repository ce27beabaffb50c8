-- oncall: tables with more dead rows than autovacuum should leave, and when they were vacuumed last
WITH tables AS (
  SELECT
    t.schemaname, t.relname, t.n_dead_tup, t.n_live_tup, t.autovacuum_count,
    greatest(t.last_autovacuum, t.last_vacuum) AS vacuumed,
    coalesce(o.enabled, true) AS enabled,
    coalesce(o.threshold, pg_catalog.current_setting('autovacuum_vacuum_threshold')::double precision)
      + coalesce(o.scale, pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::double precision)
      * greatest(c.reltuples, t.n_live_tup) AS due
  FROM pg_catalog.pg_stat_user_tables AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
  LEFT JOIN LATERAL (
    SELECT
      pg_catalog.bool_and(r.option_value::boolean) FILTER (WHERE r.option_name = 'autovacuum_enabled') AS enabled,
      pg_catalog.max(r.option_value::double precision) FILTER (WHERE r.option_name = 'autovacuum_vacuum_threshold')
        AS threshold,
      pg_catalog.max(r.option_value::double precision)
        FILTER (WHERE r.option_name = 'autovacuum_vacuum_scale_factor') AS scale
    FROM pg_catalog.pg_options_to_table(c.reloptions) AS r
  ) AS o ON true
)
SELECT
  t.schemaname || '.' || t.relname AS table,
  t.n_dead_tup AS dead,
  t.n_live_tup AS live,
  t.n_dead_tup::double precision / nullif(t.n_dead_tup + t.n_live_tup, 0) AS dead_ratio,
  t.n_dead_tup / t.due AS times_due,
  extract(epoch FROM pg_catalog.clock_timestamp() - t.vacuumed)::double precision AS vacuumed_s,
  CASE
    WHEN NOT t.enabled THEN 'autovacuum is switched off for it'
    WHEN NOT pg_catalog.current_setting('autovacuum')::boolean THEN 'autovacuum is switched off'
    WHEN t.vacuumed IS NULL THEN 'not vacuumed since the statistics began'
    ELSE 'autovacuum does not keep up'
  END AS reason
FROM tables AS t
WHERE t.n_dead_tup >= 10000 AND t.n_dead_tup > 2 * t.due
ORDER BY t.n_dead_tup DESC
LIMIT 10
