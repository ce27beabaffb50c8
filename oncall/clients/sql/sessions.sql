-- oncall: what the app's sessions do
WITH
-- include: clients
SELECT
  :'application_name' <> '' AS named,
  pg_catalog.count(*) FILTER (WHERE c.app) AS total,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.active) AS active,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.idle) AS idle,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.in_xact) AS in_xact,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.lock_waiting AND NOT c.standing_by) AS lock_waiting,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.standing_by) AS standing_by,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.sync_waiting) AS sync_waiting,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.client_waiting) AS client_waiting,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.working) AS running,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.working AND c.query_s > 1) AS running_over_1s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.working AND c.query_s > 5) AS running_over_5s,
  pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.query_s)
    FILTER (WHERE c.app AND c.working) AS running_median_s,
  pg_catalog.max(c.query_s) FILTER (WHERE c.app AND c.working) AS running_longest_s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.in_xact AND c.state_s > 10) AS in_xact_over_10s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.in_xact AND c.state_s > 30) AS in_xact_over_30s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.in_xact AND c.state_s > 60) AS in_xact_over_60s,
  pg_catalog.max(c.state_s) FILTER (WHERE c.app AND c.in_xact) AS in_xact_longest_s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.idle AND c.state_s > 10) AS idle_over_10s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.idle AND c.state_s > 30) AS idle_over_30s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.idle AND c.state_s > 60) AS idle_over_60s,
  pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.state_s) FILTER (WHERE c.app AND c.idle) AS idle_median_s,
  -- pg_locks is read only when somebody waits. Before PostgreSQL 14 it does not say since when: then the query's start
  CASE WHEN pg_catalog.bool_or(c.app AND c.lock_waiting AND NOT c.standing_by) THEN (
    SELECT pg_catalog.max(coalesce(
      extract(epoch FROM pg_catalog.clock_timestamp()
        - pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(l), 'waitstart')::timestamp with time zone
      )::double precision,
      w.query_s))
    FROM clients AS w
    LEFT JOIN pg_catalog.pg_locks AS l ON l.pid = w.pid AND NOT l.granted
    WHERE w.app AND w.lock_waiting AND NOT w.standing_by
  ) END AS lock_wait_longest_s,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.active AND c.wait_event_type = 'IO') AS io_waiting,
  pg_catalog.count(*) FILTER (WHERE c.app AND c.hidden) AS hidden,
  pg_catalog.count(*) FILTER (WHERE c.app IS NOT TRUE AND c.active AND c.application_name <> 'oncall') AS others_active,
  pg_catalog.min(c.backend_s) FILTER (WHERE c.app) AS newest_backend_s,
  pg_catalog.max(c.backend_s) FILTER (WHERE c.app) AS oldest_backend_s
FROM clients AS c
