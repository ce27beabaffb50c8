-- oncall: sequences by how much of their range is used; the column that they fill may be narrower than they are.
-- Reading one takes the lock that nextval takes.
WITH limited AS MATERIALIZED (
  SELECT
    q.seqrelid, q.seqincrement, q.seqmin, q.seqmax,
    CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 END AS column_max,
    pg_catalog.has_sequence_privilege(q.seqrelid, 'SELECT, USAGE') AS readable,
    d.refobjid, a.attname
  FROM pg_catalog.pg_sequence AS q
  JOIN pg_catalog.pg_class AS c ON c.oid = q.seqrelid AND c.relpersistence <> 't'
  LEFT JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = q.seqrelid AND d.objsubid = 0
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE NOT q.seqcycle
  -- The narrowest first: of very many the others are left out, and counted
  ORDER BY least(q.seqmax, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE q.seqmax END)
),
few AS MATERIALIZED (
  SELECT * FROM limited AS l WHERE l.readable LIMIT 2000
),
busy AS MATERIALIZED (
  SELECT l.relation
  FROM pg_catalog.pg_locks AS l
  WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
),
seen AS MATERIALIZED (
  SELECT
    f.*,
    CASE WHEN f.seqrelid NOT IN (SELECT b.relation FROM busy AS b) THEN
      pg_catalog.pg_sequence_last_value(f.seqrelid) END AS last,
    CASE WHEN f.seqincrement > 0 THEN least(f.seqmax, coalesce(f.column_max, f.seqmax))
      ELSE greatest(f.seqmin, coalesce(-f.column_max - 1, f.seqmin)) END AS bound
  FROM few AS f
)
SELECT
  f.seqrelid::pg_catalog.regclass::varchar AS sequence,
  f.refobjid::pg_catalog.regclass::varchar || '.' || f.attname AS column,
  f.last AS last_value,
  f.bound AS most,
  coalesce(greatest(f.last / nullif(f.bound, 0)::double precision, 0), 0) AS used_ratio,
  CASE WHEN f.column_max < f.seqmax THEN 'its column is narrower than it is' END AS note,
  t.unreadable,
  t.left_out
FROM seen AS f
RIGHT JOIN (
  SELECT
    pg_catalog.count(*) FILTER (WHERE NOT l.readable) AS unreadable,
    greatest(pg_catalog.count(*) FILTER (WHERE l.readable) - 2000, 0) AS left_out,
    pg_catalog.count(*) AS all_of_them
  FROM limited AS l
) AS t ON true
WHERE t.all_of_them > 0
ORDER BY 5 DESC, 1
LIMIT 10
