-- oncall: what the app's sessions run now, by statement, with values masked
WITH
-- include: clients
,
masked AS (
  SELECT
    c.lock_waiting, c.query_s,
    pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        pg_catalog.regexp_replace(
          -- The app's sessions are of this database: their text is whole in its encoding
          pg_catalog.left(c.query, 300),
          E'\'([^\']|\'\')*(\'|$)', '?', 'g'),
        E'\\m[0-9]+([.][0-9]+)?\\M', '?', 'g'),
      E'\\s+', ' ', 'g') AS query
  FROM clients AS c
  WHERE c.app AND c.active
)
SELECT
  pg_catalog.count(*) AS sessions,
  pg_catalog.count(*) FILTER (WHERE m.lock_waiting) AS lock_waiting,
  pg_catalog.max(m.query_s) AS longest_s,
  pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY m.query_s) AS median_s,
  m.query
FROM masked AS m
GROUP BY m.query
ORDER BY 1 DESC, 3 DESC
LIMIT 10
