-- oncall: sessions that hold a transaction open and do nothing, and who waits behind them
WITH RECURSIVE
-- include: clients
,
-- include: waits
,
oldest AS MATERIALIZED (
  SELECT * FROM clients AS c WHERE c.in_xact ORDER BY c.state_s DESC LIMIT 10
)
SELECT
  o.pid,
  o.app IS TRUE AS app,
  o.application_name,
  o.usename,
  o.client,
  o.datname,
  o.state,
  o.state_s AS idle_s,
  o.xact_s,
  (
    SELECT pg_catalog.count(*) FROM behind AS b JOIN waiter AS w ON w.queue = b.queue WHERE b.blocker = o.pid
  ) AS blocks,
  o.query
FROM oldest AS o
ORDER BY o.state_s DESC
