"""What the report says to run next runs as it stands, and hits what was seen and nothing else."""

from pathlib import Path

import psycopg

from oncall.errors import Exit
from oncall.lab.process import wait_until
from tests.cli.page import served
from tests.cli.program import Program
from tests.cli.test_faults_postgres import SECRET, as_oncall, diagnosed
from tests.clients.pgstand import APP, Stand, begin
from tests.conftest import Varied


def alive(pg: Stand, link: "psycopg.Connection[tuple[object, ...]]") -> bool:
    return bool(pg.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", link.info.backend_pid))


def test_the_root_of_the_apps_own_waiters_is_ended_not_a_busier_one_elsewhere(
    postgres: Stand, program: Program
) -> None:
    """Another database of the server has more waiters behind another root; neither is touched."""
    postgres.admin.execute("CREATE DATABASE elsewhere")
    postgres.admin.execute("GRANT pg_signal_backend TO oncall")
    try:
        for database, waiters, app in (("postgres", 4, APP), ("elsewhere", 7, "other")):
            with postgres.session(dbname=database) as owner:
                owner.execute("CREATE TABLE stock (id int)")
                owner.execute("GRANT ALL ON stock TO oncall")
            holder = postgres.session("deploy", dbname=database, user="oncall", password=SECRET)
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE stock")
            links = [postgres.session(app, dbname=database) for _ in range(waiters)]
            for link in links:
                begin(link, "SELECT * FROM stock")
            for link in links:
                postgres.waiting(link)
            if database == "postgres":
                ours = holder
            else:
                theirs = holder
        postgres.running(links[-1], seconds=1)
        with served(active=4, waiting=3, size=4) as page:
            program.services(
                bot={"url": page.url, "postgres": {"dsn": as_oncall(postgres), "application_name": APP}}
            )
            found = diagnosed(program, "--interval", "200ms", "--output", "json").json
            assert found["causes"][0]["id"] == "pool.lock_contention"
            (step,) = found["causes"][0]["next"]
            assert f"--pid {ours.info.backend_pid}@" in step["command"]
            done = program.paste(f"{step['command']} --wait 5s")
        # The page goes on to say that somebody waits: it is done, and whether it helped is not proven.
        assert done.code == Exit.UNVERIFIED, done.all
        wait_until(lambda: not alive(postgres, ours), "the session at the root ended", seconds=10)
        assert alive(postgres, theirs)
    finally:
        postgres.clear()
        postgres.admin.execute("DROP TABLE stock")
        postgres.admin.execute("DROP DATABASE elsewhere")


def test_a_name_that_nobody_has_rules_nothing_out(postgres: Stand, program: Program) -> None:
    """The pool is full and Postgres shows no session of that name: that is no sign of idle rest."""
    with served(active=19, waiting=9) as page:
        program.services(
            bot={"url": page.url, "postgres": {"dsn": as_oncall(postgres), "application_name": "no-such-app"}}
        )
        said = diagnosed(program, "--interval", "200ms", "--output", "json")
    assert said.code == Exit.CRITICAL
    for cause in said.json["causes"]:
        if cause["id"] in ("pool.lock_contention", "pool.slow_queries", "pool.connection_leak"):
            assert cause["confidence"] in ("unknown", "possible")
            assert any("is application_name right?" in gap for gap in cause["missing"])


def test_a_service_that_has_died_is_not_healthy(varied: Varied) -> None:
    """Prometheus remembers the last samples; the service does not answer any more."""
    said = varied(url="http://127.0.0.1:9").run("diagnose", "pool", "--output", "json")
    assert said.code == Exit.UNKNOWN
    assert said.json["verdict"] == "inconclusive"
    assert any(gap["what"] == "scrape" for gap in said.json["unseen"])


def test_a_target_that_is_gone_is_stale_at_once(program: Program, tmp_path: Path) -> None:
    """Prometheus marks the series of a dead target as ended; its last value is not the present."""
    from oncall.lab.servers import start_prometheus, stop

    with served(active=3) as page:
        address = page.url.removeprefix("http://")
        server = start_prometheus(tmp_path / "prometheus", {"bot": [address]}, "1s")
        # It lives for seconds: points of its history closer together than that
        windows = {"baseline": "2m", "rate": "30s"}
        program.services(
            bot={"prometheus": {"url": server.url, "selector": {"job": "bot"}}, "windows": windows}
        )

        def pool() -> dict[str, object]:
            found = diagnosed(program, "--output", "json").json
            return next(s for s in found["signals"] if s["id"] == "pool_active")

        wait_until(lambda: pool()["value"] == 3, "the pool's gauge in Prometheus", seconds=30)
    try:
        wait_until(lambda: pool()["value"] is None, "the gauge of a dead target is unknown", seconds=15)
        assert "stale" in str(pool()["reason"])
    finally:
        stop(server)
