-- oncall: what has become of the sessions that were signalled
SELECT a.pid, a.backend_start, a.query_start, a.xact_start, a.state
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = ANY (pg_catalog.string_to_array(:'pids', ',')::integer[])
