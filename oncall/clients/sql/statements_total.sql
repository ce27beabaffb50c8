-- oncall: the statements that took most of this database's time since its statistics were reset
WITH own AS (
  SELECT s.query, s.calls, s.rows, s.:"statements_mean" AS mean_ms, s.:"statements_total" AS total_ms
  FROM :"statements_schema".pg_stat_statements AS s
  JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid
  WHERE d.datname = pg_catalog.current_database()
)
SELECT
  o.total_ms / nullif((SELECT pg_catalog.sum(a.total_ms) FROM own AS a), 0) AS total_ratio,
  o.total_ms / 1000 AS total_s,
  o.calls,
  o.mean_ms,
  o.rows::double precision / o.calls AS rows_per_call,
  o.query
FROM own AS o
WHERE o.calls >= 1 AND pg_catalog.strpos(o.query, '-- oncall:') <> 1
ORDER BY o.total_ms DESC
LIMIT 10
