-- oncall: how old the oldest transaction and multixact ids are, of 2^31 that there are, and what keeps them
WITH aged AS MATERIALIZED (
  SELECT
    d.datname,
    pg_catalog.age(d.datfrozenxid)::bigint AS xids,
    pg_catalog.mxid_age(d.datminmxid)::bigint AS mxids
  FROM pg_catalog.pg_database AS d
),
settings AS (
  SELECT
    pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS xid_max,
    pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint AS mxid_max
),
oldest_table AS MATERIALIZED (
  SELECT c.oid::pg_catalog.regclass::varchar AS name, pg_catalog.age(c.relfrozenxid)::bigint AS xids
  FROM pg_catalog.pg_class AS c
  WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
  ORDER BY 2 DESC
  LIMIT 1
),
holders AS (
  SELECT pg_catalog.age(a.backend_xmin)::bigint AS xids, 'session ' || a.pid AS who
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
  UNION ALL
  SELECT greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin)), 'replication slot ' || s.slot_name
  FROM pg_catalog.pg_replication_slots AS s
  WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
  UNION ALL
  SELECT pg_catalog.age(p.transaction), 'prepared transaction ' || p.gid
  FROM pg_catalog.pg_prepared_xacts AS p
),
oldest_holder AS (
  SELECT h.who, h.xids FROM holders AS h ORDER BY h.xids DESC LIMIT 1
)
SELECT
  a.datname AS database,
  a.xids AS xid_age,
  a.mxids AS mxid_age,
  pg_catalog.round(greatest(a.xids, a.mxids) / 2147483648.0, 4) AS used_ratio,
  pg_catalog.round(pg_catalog.max(greatest(a.xids, a.mxids)) OVER () / 2147483648.0, 4) AS worst_ratio,
  pg_catalog.round(greatest(a.xids / s.xid_max::numeric, a.mxids / s.mxid_max::numeric), 3) AS behind,
  t.name AS oldest_table,
  t.xids AS table_age,
  CASE WHEN h.xids > 1000000 THEN h.who END AS held_by,
  CASE WHEN h.xids > 1000000 THEN h.xids END AS held_age
FROM aged AS a
CROSS JOIN settings AS s
LEFT JOIN oldest_table AS t ON a.datname = pg_catalog.current_database()
LEFT JOIN oldest_holder AS h ON true
ORDER BY behind DESC, 1
LIMIT 10
