FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = :pid
  AND a.backend_start = :'backend_start'
  AND a.query_start IS NOT DISTINCT FROM nullif(:'query_start', '')::timestamp with time zone
  AND a.xact_start IS NOT DISTINCT FROM nullif(:'xact_start', '')::timestamp with time zone
  AND a.state = :'state'
  AND a.backend_type = 'client backend'
  AND a.datname = pg_catalog.current_database()
  AND a.pid <> pg_catalog.pg_backend_pid()
  -- Its work is committed: a signal would only give up the standby's copy.
  AND a.wait_event IS DISTINCT FROM 'SyncRep'
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid = a.usesysid AND (r.rolsuper OR r.rolreplication)
  )
