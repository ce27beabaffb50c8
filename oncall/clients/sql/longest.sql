-- oncall: the statements that have run longest
WITH
-- include: clients
,
longest AS MATERIALIZED (
  SELECT * FROM clients AS c
  WHERE c.active AND c.application_name <> 'oncall'
  ORDER BY c.query_s DESC
  LIMIT 10
)
SELECT
  l.pid,
  l.app IS TRUE AS app,
  l.application_name,
  l.usename,
  l.client,
  l.datname,
  l.query_s AS running_s,
  l.wait_event_type || ':' || l.wait_event AS wait,
  CASE WHEN l.lock_waiting THEN pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(l.pid), ', ') END AS blocked_by,
  -- To cancel it; nothing where this role may
  CASE WHEN NOT (pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') OR pg_catalog.pg_has_role(l.usename, 'USAGE'))
    THEN 'GRANT pg_signal_backend TO ' || pg_catalog.quote_ident(current_user) || ';' END AS right_needed,
  l.query
FROM longest AS l
ORDER BY l.query_s DESC
