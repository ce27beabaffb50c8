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
  l.query
FROM longest AS l
ORDER BY l.query_s DESC
