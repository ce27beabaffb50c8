-- oncall: large tables that are often read as a whole
WITH
-- include: counted
,
scanned AS (
  SELECT
    t.schemaname, t.relname, t.n_live_tup, t.seq_scan, t.seq_tup_read, coalesce(t.idx_scan, 0) AS idx_scan,
    c.relpages,
    t.seq_tup_read::double precision / t.seq_scan AS rows_per_scan,
    t.seq_scan / (k.since_s / 86400) AS scans_per_day,
    k.since_s, k.block
  FROM pg_catalog.pg_stat_user_tables AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
  CROSS JOIN counted AS k
  WHERE t.seq_scan >= 50
)
SELECT
  s.schemaname || '.' || s.relname AS table,
  -- Not known before its first vacuum or analyze
  nullif(greatest(s.relpages, 0), 0)::bigint * s.block AS size_bytes,
  s.n_live_tup AS rows,
  s.seq_scan AS whole_scans,
  s.scans_per_day,
  s.rows_per_scan,
  s.seq_tup_read AS rows_read,
  s.idx_scan::double precision / (s.idx_scan + s.seq_scan) AS by_index_ratio,
  CASE
    WHEN s.idx_scan = 0 THEN 'no index is ever used'
    WHEN s.idx_scan < s.seq_scan THEN 'read as a whole more often than by an index'
    ELSE 'some statement reads all of it'
  END AS reason,
  s.since_s
FROM scanned AS s
-- A dump reads each table once a day; a small table is read faster as a whole
WHERE s.rows_per_scan >= 10000 AND s.n_live_tup >= 10000 AND s.scans_per_day >= 10
ORDER BY s.seq_tup_read DESC
LIMIT 10
