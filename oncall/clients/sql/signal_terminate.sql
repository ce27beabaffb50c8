-- oncall: ends a session, if it is still the one that was seen, and none that nobody may signal
SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) AS signalled
-- include: same_session
