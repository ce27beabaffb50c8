-- oncall: since when the statistics of this database count, and whether other servers read as well
WITH
-- include: counted
SELECT c.since_s, c.standbys, c.in_recovery FROM counted AS c
