-- oncall: every session that could be meant, and what protects it
WITH RECURSIVE
-- include: clients
,
-- include: waits
,
blocking AS MATERIALIZED (
  SELECT b.blocker, pg_catalog.count(DISTINCT w.pid) AS blocks
  FROM behind AS b
  JOIN waiter AS w ON w.queue = b.queue
  GROUP BY b.blocker
),
blocked AS MATERIALIZED (
  SELECT w.pid, pg_catalog.string_agg(DISTINCT f.blocker::varchar, ', ') AS blocked_by
  FROM waiter AS w
  LEFT JOIN front AS f ON f.queue = w.queue
  GROUP BY w.pid
),
meant AS (
  SELECT
    a.*,
    pg_catalog.pg_backend_pid() = a.pid AS own,
    a.pid = ANY (pg_catalog.string_to_array(:'pids', ',')::integer[]) AS named
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.pid = ANY (pg_catalog.string_to_array(:'pids', ',')::integer[])
    OR :wide = 1
      AND (:'application' = '' OR CASE
        WHEN pg_catalog.right(:'application', 1) = '*' THEN
          pg_catalog.starts_with(a.application_name, pg_catalog.rtrim(:'application', '*'))
        ELSE a.application_name = :'application'
      END)
      AND (a.pid IN (SELECT b.blocker FROM blocking AS b)
        OR a.pid <> pg_catalog.pg_backend_pid() AND a.state IN
          ('active', 'fastpath function call', 'idle in transaction', 'idle in transaction (aborted)'))
)
SELECT
  a.pid,
  NULL AS gid,
  a.named,
  a.backend_type,
  a.application_name,
  c.app IS TRUE AS app,
  a.usename,
  a.datname,
  a.state,
  a.backend_start,
  a.xact_start,
  a.query_start,
  greatest(extract(epoch FROM t.now - a.query_start), 0)::double precision AS query_s,
  greatest(extract(epoch FROM t.now - a.state_change), 0)::double precision AS state_s,
  greatest(extract(epoch FROM t.now - a.xact_start), 0)::double precision AS xact_s,
  coalesce(a.wait_event_type = 'Lock', false) AS waits,
  coalesce(a.wait_event = 'SyncRep', false) AS committed,
  w.blocked_by,
  coalesce(b.blocks, 0) AS blocks,
  b.blocks IS NOT NULL AND w.pid IS NULL AS root,
  a.own,
  coalesce(r.rolsuper, false) AS superuser,
  coalesce(r.rolreplication, false) AS replication,
  a.datname IS NOT NULL AND a.datname <> pg_catalog.current_database() AS elsewhere,
  -- The text of another database may be in another encoding, which no pattern can be held against
  a.state = 'active' AND (p.pid IS NOT NULL OR CASE WHEN a.datname = pg_catalog.current_database() THEN
    a.query ~* E'\\m(create\\s+(unique\\s+)?index\\s+|reindex\\M.*\\m)concurrently\\M' END) IS TRUE AS index_build,
  a.usesysid IS NOT NULL AND pg_catalog.pg_has_role(a.usesysid, 'USAGE') AS same_role,
  pg_catalog.count(*) OVER () AS found,
  a.query
FROM meant AS a
-- This session's view of the others stands still from its first look on: so does its clock
CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS now) AS t
LEFT JOIN clients AS c ON c.pid = a.pid
LEFT JOIN blocking AS b ON b.blocker = a.pid
LEFT JOIN blocked AS w ON w.pid = a.pid
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid
LEFT JOIN pg_catalog.pg_stat_progress_create_index AS p ON p.pid = a.pid AND p.command LIKE '%CONCURRENTLY'
UNION ALL
SELECT
  0, q.gid, false, 'prepared transaction', NULL, false, q.owner, q.database, NULL,
  q.prepared, q.prepared, q.prepared,
  x.age, x.age, x.age, false, false, NULL, b.blocks, true, false, false, false, false, false, false,
  0, NULL
FROM blocking AS b
JOIN (SELECT DISTINCT p.blocker, p.gid, p.owner, p.database, p.prepared FROM prepared AS p) AS q
  ON q.blocker = b.blocker
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM pg_catalog.clock_timestamp() - q.prepared)::double precision AS age) AS x
-- Those that were named first, then the roots, the oldest before the others
ORDER BY named DESC, root DESC, query_s DESC
LIMIT 400
