-- oncall: connection slots of the whole server, this session included in `used`
WITH
-- include: clients
,
limits AS (
  SELECT
    pg_catalog.current_setting('max_connections')::integer AS max_connections,
    pg_catalog.current_setting('superuser_reserved_connections')::integer AS superuser_reserved,
    -- PostgreSQL 16 and later
    coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::integer AS reserved
),
held AS (
  SELECT
    pg_catalog.count(*) + 1 AS used,
    pg_catalog.count(*) FILTER (WHERE c.app) AS app,
    pg_catalog.count(*) FILTER (WHERE c.app IS NOT TRUE) AS others,
    pg_catalog.count(*) FILTER (WHERE c.app IS NOT TRUE AND c.idle) AS idle_others
  FROM clients AS c
),
top AS (
  SELECT coalesce(nullif(c.application_name, ''), c.usename) AS name, pg_catalog.count(*) AS sessions
  FROM clients AS c
  WHERE c.app IS NOT TRUE
  GROUP BY 1
  ORDER BY 2 DESC, 1
  LIMIT 1
)
SELECT
  l.max_connections,
  l.superuser_reserved,
  l.reserved,
  h.used,
  l.max_connections - l.superuser_reserved - l.reserved AS available,
  h.used::double precision / greatest(l.max_connections - l.superuser_reserved - l.reserved, 1) AS used_ratio,
  h.app,
  h.others,
  t.name AS top_other,
  coalesce(t.sessions, 0) AS top_other_sessions,
  h.idle_others
FROM limits AS l
CROSS JOIN held AS h
LEFT JOIN top AS t ON true
