-- oncall: cancels what a session runs, if it is still the one that was seen, and none that nobody may signal
SELECT a.pid, pg_catalog.pg_cancel_backend(a.pid) AS signalled
-- include: same_session
  -- Where nothing runs, a cancel does nothing, or hits what begins in that moment.
  AND a.state = 'active'
