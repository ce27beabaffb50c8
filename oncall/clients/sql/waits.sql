-- Who waits for whom. The locks are read only where somebody waits, or hides whether it does.
locks AS MATERIALIZED (
  SELECT
    l.*,
    -- PostgreSQL 14 and later
    pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(l), 'waitstart')::timestamp with time zone AS since
  FROM pg_catalog.pg_locks AS l
  WHERE (NOT l.granted OR l.pid IS NULL OR l.locktype = 'tuple')
    AND EXISTS (SELECT FROM clients AS c WHERE c.lock_waiting OR c.hidden)
),
-- Each waiter once, and the queue that it stands in: all who wait for the same thing
waiter AS MATERIALIZED (
  SELECT
    l.pid, l.mode, c.app, c.query_s,
    pg_catalog.dense_rank() OVER (ORDER BY l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid,
      l.transactionid::varchar, l.classid, l.objid, l.objsubid) AS queue,
    greatest(extract(epoch FROM pg_catalog.clock_timestamp() - l.since), 0)::double precision AS wait_s
  FROM locks AS l
  LEFT JOIN clients AS c ON c.pid = l.pid
  WHERE NOT l.granted
),
-- Who stands in front of a queue is the same for all in it that want the same: two of them are asked for.
-- pg_blocking_pids holds up the lock manager for a moment, so it is called at most 200 times, the longest queues first.
asked AS MATERIALIZED (
  SELECT q.queue, q.one, pg_catalog.pg_blocking_pids(q.one)
    || CASE WHEN q.other <> q.one THEN pg_catalog.pg_blocking_pids(q.other) END AS blockers
  FROM (
    SELECT w.queue, pg_catalog.min(w.pid) AS one, pg_catalog.max(w.pid) AS other
    FROM waiter AS w
    GROUP BY w.queue, w.mode
    ORDER BY pg_catalog.count(*) DESC
    LIMIT 100
  ) AS q
),
-- A prepared transaction has no process (pid 0): it stands as minus its transaction id
prepared AS MATERIALIZED (
  SELECT DISTINCT q.queue, p.gid, p.owner, p.database, p.prepared, -(p.transaction::varchar::bigint) AS blocker
  FROM asked AS q
  JOIN locks AS w ON w.pid = q.one AND NOT w.granted
  JOIN locks AS h ON h.pid IS NULL AND h.granted
    AND (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
      IS NOT DISTINCT FROM
      (h.locktype, h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
    AND CASE w.mode
      WHEN 'AccessShareLock' THEN h.mode = 'AccessExclusiveLock'
      WHEN 'RowShareLock' THEN h.mode IN ('ExclusiveLock', 'AccessExclusiveLock')
      WHEN 'RowExclusiveLock' THEN
        h.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      ELSE true
    END
  -- Its locks carry the virtual transaction that made it; one of them is on its transaction id
  JOIN locks AS t ON t.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = h.virtualtransaction
  JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = t.transactionid
  WHERE 0 = ANY (q.blockers)
),
front AS MATERIALIZED (
  SELECT DISTINCT q.queue, b.pid::bigint AS blocker
  FROM asked AS q CROSS JOIN LATERAL pg_catalog.unnest(q.blockers) AS b (pid)
  WHERE b.pid > 0 AND NOT EXISTS (SELECT FROM waiter AS w WHERE w.queue = q.queue AND w.pid = b.pid)
  UNION ALL
  SELECT p.queue, p.blocker FROM prepared AS p
),
-- Pairs, each once: a circle ends by itself
behind (queue, blocker) AS (
  SELECT f.queue, f.blocker FROM front AS f
  UNION
  SELECT b.queue, f.blocker
  FROM behind AS b
  JOIN waiter AS w ON w.pid = b.blocker
  JOIN front AS f ON f.queue = w.queue
)
