-- oncall: indexes that no query of this server has used since its statistics began, and those that are not valid.
-- Not those that enforce something (unique, primary, exclusion, a constraint, the replica identity), nor those of
-- partitions, which stand and fall with their parent.
WITH
-- include: locked
,
-- include: counted
,
building AS (
  SELECT p.relid FROM pg_catalog.pg_stat_progress_create_index AS p
),
unused AS MATERIALIZED (
  SELECT
    s.indexrelid, s.relid, s.schemaname, s.relname, s.indexrelname, c.relpages,
    CASE WHEN i.indisvalid THEN 'never used' ELSE 'not valid: its build failed' END AS reason
  FROM pg_catalog.pg_stat_user_indexes AS s
  JOIN pg_catalog.pg_index AS i ON i.indexrelid = s.indexrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = s.indexrelid
  WHERE NOT c.relispartition
    -- One that is being built now is no leftover
    AND (i.indisvalid AND s.idx_scan = 0 OR NOT i.indisvalid AND s.relid NOT IN (SELECT p.relid FROM building AS p))
    AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisreplident
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = s.indexrelid)
),
largest AS MATERIALIZED (
  SELECT * FROM unused AS u ORDER BY u.relpages DESC, u.indexrelname LIMIT 20
)
SELECT
  l.schemaname || '.' || l.indexrelname AS index,
  l.relname AS table,
  CASE
    WHEN l.relid IN (SELECT k.relid FROM locked AS k) THEN l.relpages::bigint * c.block
    ELSE pg_catalog.pg_relation_size(l.indexrelid)
  END AS size_bytes,
  l.reason,
  c.since_s,
  CASE
    WHEN c.in_recovery THEN 'a replica: what the primary uses is not known here'
    WHEN c.standbys > 0 THEN 'replicas count for themselves: ask there too'
  END AS note,
  (SELECT pg_catalog.count(*) FROM unused AS u) AS found,
  (SELECT pg_catalog.sum(u.relpages)::bigint FROM unused AS u) * c.block AS all_bytes
FROM largest AS l
CROSS JOIN counted AS c
ORDER BY 3 DESC, 1
