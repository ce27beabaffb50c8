-- Client sessions of the whole server but this one; `app` marks those of the service.
-- Without pg_monitor the sessions of others have neither type nor state: they count as hidden clients.
clients AS (
  SELECT
    a.pid, a.datname, a.usename, a.application_name, a.state, a.query,
    CASE WHEN a.backend_type IS NOT NULL THEN coalesce(pg_catalog.host(a.client_addr), 'local') END AS client,
    a.backend_type IS NULL AS hidden,
    a.state IN ('active', 'fastpath function call') AS active,
    a.state = 'idle' AS idle,
    a.state IN ('idle in transaction', 'idle in transaction (aborted)') AS in_xact,
    a.wait_event_type, a.wait_event, a.query_start,
    a.state IN ('active', 'fastpath function call') AND a.wait_event_type IS NOT DISTINCT FROM 'Lock' AS lock_waiting,
    -- For an advisory lock nobody waits minutes but by design: the second in a leader election, a queue of jobs.
    a.state IN ('active', 'fastpath function call') AND a.wait_event_type IS NOT DISTINCT FROM 'Lock'
      AND a.wait_event IS NOT DISTINCT FROM 'advisory' AND c.now - a.query_start > interval '5 minutes' AS standing_by,
    -- Done, but for the word of a standby; or the client does not take the rows, or does not send them: no work of ours.
    a.state IN ('active', 'fastpath function call') AND a.wait_event IS NOT DISTINCT FROM 'SyncRep' AS sync_waiting,
    a.state IN ('active', 'fastpath function call') AND a.wait_event_type IS NOT DISTINCT FROM 'Client' AS client_waiting,
    a.state IN ('active', 'fastpath function call') AND a.wait_event_type IS DISTINCT FROM 'Lock'
      AND a.wait_event_type IS DISTINCT FROM 'Client' AND a.wait_event IS DISTINCT FROM 'SyncRep' AS working,
    greatest(extract(epoch FROM c.now - a.query_start), 0)::double precision AS query_s,
    greatest(extract(epoch FROM c.now - a.state_change), 0)::double precision AS state_s,
    greatest(extract(epoch FROM c.now - a.xact_start), 0)::double precision AS xact_s,
    greatest(extract(epoch FROM c.now - a.backend_start), 0)::double precision AS backend_s,
    a.datname = pg_catalog.current_database()
      AND CASE
        WHEN :'application_name' = '' THEN a.application_name !~* (
          '^(oncall|psql|pg_(dump|dumpall|restore|basebackup|receivewal|recvlogical|activity)|pgcli|pgadmin'
          '|pghero|pgmetrics|postgres_exporter|check_postgres|dbeaver|datagrip|tableplus|postico|heidisql|navicat)')
        WHEN pg_catalog.right(:'application_name', 1) = '*' THEN
          pg_catalog.starts_with(a.application_name, pg_catalog.rtrim(:'application_name', '*'))
        ELSE a.application_name = :'application_name'
      END AS app
  FROM pg_catalog.pg_stat_activity AS a
  -- This session's view of the others stands still from its first look on: so does its clock.
  CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS now) AS c
  WHERE a.pid <> pg_catalog.pg_backend_pid()
    AND (a.backend_type = 'client backend'
      OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL)
)
