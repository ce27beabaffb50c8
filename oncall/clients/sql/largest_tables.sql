-- oncall: the largest tables with their indexes; found by the pages of the last vacuum or analyze, then measured
WITH
-- include: locked
,
-- include: counted
,
estimated AS (
  SELECT
    t.relid, t.schemaname, t.relname, t.n_live_tup,
    coalesce(c.relpages, 0) + coalesce(o.relpages, 0) + coalesce(
      (
        SELECT pg_catalog.sum(x.relpages)
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
        WHERE i.indrelid = t.relid
      ), 0) AS pages
  FROM pg_catalog.pg_stat_user_tables AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
  LEFT JOIN pg_catalog.pg_class AS o ON o.oid = c.reltoastrelid
),
largest AS MATERIALIZED (
  -- Never vacuumed or analyzed: no page is known, but its rows are counted
  SELECT * FROM estimated AS e ORDER BY greatest(e.pages, e.n_live_tup / 100) DESC LIMIT 30
),
measured AS MATERIALIZED (
  SELECT
    l.schemaname, l.relname, l.n_live_tup, l.pages, l.relid,
    CASE WHEN l.relid NOT IN (SELECT k.relid FROM locked AS k) THEN
      pg_catalog.pg_table_size(l.relid) END AS table_bytes,
    CASE WHEN l.relid NOT IN (SELECT k.relid FROM locked AS k) THEN
      pg_catalog.pg_indexes_size(l.relid) END AS index_bytes
  FROM largest AS l
)
SELECT
  m.schemaname || '.' || m.relname AS table,
  coalesce(m.table_bytes + m.index_bytes, m.pages * c.block)::bigint AS size_bytes,
  m.index_bytes,
  m.n_live_tup AS rows,
  CASE WHEN m.table_bytes IS NULL THEN 'locked now: its size at the last vacuum or analyze' END AS note
FROM measured AS m
CROSS JOIN counted AS c
ORDER BY 2 DESC, 1
LIMIT 10
