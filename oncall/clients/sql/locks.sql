-- oncall: the sessions (or prepared transactions) that others wait for and that wait for nobody
WITH RECURSIVE
-- include: clients
,
-- include: waits
,
rooted AS MATERIALIZED (
  SELECT b.queue, b.blocker AS root, pg_catalog.count(*) OVER (PARTITION BY b.queue) AS roots
  FROM behind AS b
  WHERE b.blocker NOT IN (SELECT v.pid FROM waiter AS v)
),
counted AS MATERIALIZED (
  SELECT
    r.root,
    pg_catalog.count(*) AS waiting,
    pg_catalog.count(*) FILTER (WHERE w.app) AS app_waiting,
    pg_catalog.count(*) FILTER (WHERE r.roots = 1) AS freed,
    pg_catalog.max(coalesce(w.wait_s, w.query_s)) AS longest_wait_s
  FROM rooted AS r
  JOIN waiter AS w ON w.queue = r.queue
  GROUP BY r.root
  ORDER BY 2 DESC, 5 DESC
  -- Some of them may be gone meanwhile
  LIMIT 20
),
wanted AS (
  SELECT
    f.blocker AS root,
    pg_catalog.left(pg_catalog.string_agg(DISTINCT l.mode || ' on ' || CASE
      WHEN l.locktype = 'advisory' THEN 'advisory lock ' || pg_catalog.concat_ws(',', l.classid, l.objid)
      WHEN l.locktype = 'transactionid' AND t.relation IS NULL THEN 'a row'
      WHEN coalesce(l.relation, t.relation) IS NULL THEN l.locktype
      WHEN l.database NOT IN (0, d.oid) OR t.database <> d.oid THEN 'a relation of another database'
      WHEN l.relation IS NULL OR l.locktype = 'tuple' THEN
        'a row of ' || coalesce(l.relation, t.relation)::pg_catalog.regclass::varchar
      ELSE l.relation::pg_catalog.regclass::varchar
    END, ', '), 200) AS wants
  FROM front AS f
  JOIN asked AS q ON q.queue = f.queue AND greatest(f.blocker, 0) = ANY (q.blockers)
  JOIN locks AS l ON l.pid = q.one AND NOT l.granted
  -- Who waits for a transaction to end holds the lock of the row that it wants to change
  LEFT JOIN locks AS t ON t.pid = q.one AND t.granted AND t.locktype = 'tuple' AND l.locktype = 'transactionid'
  CROSS JOIN (SELECT b.oid FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database()) AS d
  WHERE f.blocker IN (SELECT c.root FROM counted AS c)
  GROUP BY f.blocker
)
SELECT
  greatest(c.root, 0) AS pid,
  CASE
    WHEN c.root < 0 THEN 'prepared'
    WHEN coalesce(a.backend_type, 'client backend') = 'client backend' THEN 'session'
    ELSE a.backend_type
  END AS kind,
  CASE WHEN c.root < 0 THEN 'prepared transaction ' || p.gid ELSE pg_catalog.concat(
    'pid ', c.root, ' (', coalesce(nullif(a.application_name, ''), a.usename, a.backend_type), ')') END AS who,
  p.gid,
  s.app IS TRUE AS app,
  a.application_name,
  coalesce(a.usename, p.owner) AS usename,
  coalesce(a.datname, p.database) AS datname,
  CASE WHEN c.root < 0 THEN 'prepared' ELSE a.state END AS state,
  extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared))::double precision AS xact_s,
  extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.state_change, p.prepared))::double precision AS state_s,
  c.waiting,
  c.app_waiting,
  -- So many wait for nobody else: they go on when it is gone.
  c.freed,
  c.longest_wait_s,
  w.wants,
  (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles AS r WHERE r.oid = a.usesysid) AS superuser,
  pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS xact_start,
  -- To end it; nothing where this role may
  CASE WHEN NOT (pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') OR pg_catalog.pg_has_role(a.usesysid, 'USAGE'))
    THEN 'GRANT pg_signal_backend TO ' || pg_catalog.quote_ident(current_user) || ';' END AS right_needed,
  a.query
FROM counted AS c
LEFT JOIN wanted AS w ON w.root = c.root
LEFT JOIN clients AS s ON s.pid = c.root
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = c.root
LEFT JOIN (
  SELECT DISTINCT q.blocker, q.gid, q.owner, q.database, q.prepared FROM prepared AS q
) AS p ON p.blocker = c.root
WHERE p.gid IS NOT NULL OR a.pid IS NOT NULL
-- Who holds back the app comes first, whatever else waits on this server
ORDER BY c.app_waiting DESC, c.waiting DESC, c.longest_wait_s DESC
LIMIT 10
