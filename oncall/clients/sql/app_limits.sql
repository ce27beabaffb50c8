-- oncall: connection limits of the roles and databases that the service's sessions use; superusers have none
WITH
-- include: clients
,
app AS (
  SELECT DISTINCT c.usename, c.datname FROM clients AS c WHERE c.app
)
SELECT
  'role' AS kind,
  r.rolname AS name,
  r.rolconnlimit AS most,
  (SELECT pg_catalog.count(*) FROM clients AS c WHERE c.usename = r.rolname AND c.app IS NOT TRUE) AS others
FROM pg_catalog.pg_roles AS r
WHERE r.rolconnlimit >= 0 AND NOT r.rolsuper AND r.rolname IN (SELECT a.usename FROM app AS a)
UNION ALL
SELECT
  'database',
  d.datname,
  d.datconnlimit,
  (SELECT pg_catalog.count(*) FROM clients AS c WHERE c.datname = d.datname AND c.app IS NOT TRUE)
FROM pg_catalog.pg_database AS d
WHERE d.datconnlimit >= 0 AND d.datname IN (SELECT a.datname FROM app AS a)
ORDER BY 1, 2
