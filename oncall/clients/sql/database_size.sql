-- oncall: how large this database and the others of the server are; a database that this role may not connect to
-- does not tell
SELECT
  pg_catalog.pg_database_size(pg_catalog.current_database()) AS size_bytes,
  (
    SELECT pg_catalog.sum(pg_catalog.pg_database_size(d.oid))::bigint
    FROM pg_catalog.pg_database AS d
    WHERE d.datallowconn AND (
      pg_catalog.has_database_privilege(d.oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))
  ) AS server_bytes,
  (
    SELECT pg_catalog.count(*)
    FROM pg_catalog.pg_database AS d
    WHERE d.datallowconn AND NOT pg_catalog.has_database_privilege(d.oid, 'CONNECT')
      AND NOT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
  ) AS untold,
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_user_tables) AS tables
