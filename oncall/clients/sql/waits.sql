-- Who waits for whom. pg_blocking_pids takes the lock manager's partitions: only for those that wait, at most 200.
-- A prepared transaction has no process (pid 0): it stands as minus its transaction id.
waiting AS MATERIALIZED (
  SELECT w.pid, w.app, w.query_s, pg_catalog.pg_blocking_pids(w.pid) AS blockers
  FROM (
    SELECT c.pid, c.app, c.query_s
    FROM clients AS c
    WHERE c.lock_waiting
      OR c.hidden AND c.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE NOT l.granted)
    ORDER BY c.query_start
    LIMIT 200
  ) AS w
),
locks AS MATERIALIZED (
  SELECT
    l.*,
    -- PostgreSQL 14 and later
    pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(l), 'waitstart')::timestamp with time zone AS since
  FROM pg_catalog.pg_locks AS l
  WHERE NOT l.granted OR l.pid IS NULL OR l.locktype = 'tuple'
),
prepared AS MATERIALIZED (
  SELECT DISTINCT w.pid AS waiter, p.gid, p.owner, p.database, p.prepared, -(p.transaction::varchar::bigint) AS blocker
  FROM waiting AS b
  JOIN locks AS w ON w.pid = b.pid AND NOT w.granted
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
  WHERE 0 = ANY (b.blockers)
),
edge AS MATERIALIZED (
  SELECT DISTINCT w.pid AS waiter, b.pid AS blocker
  FROM waiting AS w CROSS JOIN LATERAL pg_catalog.unnest(w.blockers) AS b (pid)
  WHERE b.pid > 0
  UNION ALL
  SELECT DISTINCT p.waiter, p.blocker FROM prepared AS p
)
