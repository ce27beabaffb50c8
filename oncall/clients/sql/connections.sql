-- oncall: who holds the connections of this server
WITH
-- include: clients
SELECT
  c.application_name,
  c.usename,
  c.client,
  c.datname,
  pg_catalog.count(*) AS sessions,
  pg_catalog.count(*) FILTER (WHERE c.active) AS active,
  pg_catalog.count(*) FILTER (WHERE c.in_xact) AS in_xact,
  pg_catalog.count(*) FILTER (WHERE c.idle) AS idle,
  pg_catalog.count(*) FILTER (WHERE c.hidden) AS hidden,
  pg_catalog.max(c.backend_s) AS oldest_s,
  c.app IS TRUE AS app
FROM clients AS c
GROUP BY c.application_name, c.usename, c.client, c.datname, c.app IS TRUE
ORDER BY 5 DESC, 1, 2, 3, 4
LIMIT 15
