"""Restart of a real Postgres by a command: one that runs, one that is dead; and of a unit that is another."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from oncall.errors import ConfigError, UsageFault
from oncall.lab.postgres import accepts, other_user, start_postgres
from oncall.lab.process import Server, end, free_port, stop, wait_until
from oncall.model_acts import Check, GuardState
from oncall.model_service import PostgresAt, RestartBy, Service
from oncall.remediation.action import Scene
from oncall.remediation.actions.restart_database import RestartDatabase, _elsewhere
from oncall.remediation.actions.restart_proofs import database_back
from oncall.units import Duration
from tests.clients.systemdstand import Systemd, manager_with
from tests.remediation.restartstand import acted, guard, path_with, plan


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield made
    pid = int((made.folder / "data" / "postmaster.pid").read_text().split()[0])
    end(pid, _created(pid))
    stop(made)


def _created(pid: int) -> float:
    import psutil

    process = psutil.Process(pid)
    assert process.name() == "postgres"
    return process.create_time()


def pg_ctl(database: Server, *words: str) -> tuple[str, ...]:
    """pg_ctl as the server's own user. The new server keeps its output: nothing may wait for that to end."""
    user = other_user()
    as_user = ("setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups") if user else ()
    assert database.binaries is not None
    return (*as_user, str(database.binaries / "pg_ctl"), "-D", str(database.folder / "data"), "-w", *words)


def of(database: Server, *words: str) -> Service:
    by = RestartBy(command=words or pg_ctl(database, "-m", "fast", "restart"))
    return Service(postgres=PostgresAt(dsn=database.url, restart=by))


def test_a_database_that_runs(database: Server) -> None:
    wait_until(lambda: accepts(database.url), "postgres")
    with psycopg.connect(database.url) as busy:
        busy.execute("SELECT 1")  # leaves a transaction open
        told = acted(RestartDatabase(), of(database))
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
    assert told.found.title == "restarts the database of bot by its own command"
    (shown,) = [text for label, text in told.found.place if label == "database"]
    assert shown.startswith(database.url.rpartition("@")[2])
    assert told.found.losses[:2] == (
        "every connection of every client of this server (1 now)",
        "all open transactions (1 now), which are rolled back",
    )
    assert told.result.state == "done", told.result
    assert [(c.text, c.holds) for c in told.checks] == [
        ("the database lets us in, and the server is a new one (pg_postmaster_start_time)", True)
    ]
    password = database.url.split(":")[2].split("@")[0]
    assert password not in repr(told)


def test_a_restart_is_another_plan(database: Server) -> None:
    before = plan(RestartDatabase(), of(database)).targets
    assert plan(RestartDatabase(), of(database)).targets == before
    acted(RestartDatabase(), of(database))
    assert plan(RestartDatabase(), of(database)).targets != before


def test_a_command_that_does_nothing_is_found_out(database: Server) -> None:
    told = acted(RestartDatabase(), of(database, "true"), wait_s=3)
    assert told.result.state == "done"
    (check,) = told.checks
    assert check.holds is False
    assert "the server from before still answers" in check.text


def test_a_dead_database(database: Server) -> None:
    pid = int((database.folder / "data" / "postmaster.pid").read_text().split()[0])
    end(pid, _created(pid))
    told = acted(RestartDatabase(), of(database))
    assert "every connection of every client" in told.found.losses[0]
    assert told.found.notes[0].startswith("the database was not looked at before: ")
    (check,) = told.checks
    assert check.holds is True
    assert "the server is a new one" in check.text


def test_a_server_that_was_not_read_before_is_told_from_a_new_one(database: Server) -> None:
    at = PostgresAt(dsn=database.url)
    wait_until(lambda: age(database) > 2, "a server of some age")
    proof = database_back(at, None)

    async def proven(wait_s: float) -> Check:
        return await proof(asyncio.get_running_loop().time() + wait_s, lambda _: None)

    assert asyncio.run(proven(1)).holds is False
    acted(RestartDatabase(), of(database))
    assert asyncio.run(proven(20)).holds is True


def age(database: Server) -> float:
    with psycopg.connect(database.url) as link:
        row = link.execute("SELECT extract(epoch FROM now() - pg_postmaster_start_time())").fetchone()
    assert row is not None
    return float(row[0])


def test_one_that_does_not_come_back() -> None:
    at = PostgresAt(dsn=f"postgresql://x@127.0.0.1:{free_port()}/x", restart=RestartBy(command=("true",)))
    told = acted(RestartDatabase(), Service(postgres=at), wait_s=1)
    (check,) = told.checks
    assert check.holds is False
    assert check.text.startswith("no connection: ")


# --- by its unit -----------------------------------------------------------------------------------

# Debian's: a unit that runs nothing stands for one instance behind it
UNITS = {
    "db.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\n",
    "pg.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    "pg@.service": "[Unit]\nPartOf=pg.service\n[Service]\nExecStart=/bin/sleep 1000\n",
}


@pytest.fixture(scope="module")
def systemd() -> Iterator[Systemd]:
    yield from manager_with(UNITS)


@pytest.fixture
def manager(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    monkeypatch.setenv("PATH", path_with(systemd.shim.parent))
    return systemd


def by_unit(database: Server, unit: str) -> Service:
    at = PostgresAt(dsn=database.url, unit=unit)
    return Service(unit="other", postgres=at, cooldown=Duration(0.001))


def test_a_unit_that_is_not_the_one_of_this_database(database: Server, manager: Systemd) -> None:
    manager.ctl("start", "db")
    told = acted(RestartDatabase(), by_unit(database, "db"), wait_s=4)
    assert told.found.title == "restarts the database of bot: db.service on this machine"
    assert told.result.state == "done"
    assert [c.holds for c in told.checks] == [True, False]
    assert "the server from before still answers" in told.checks[1].text


def test_a_unit_that_stands_for_its_instance(database: Server, manager: Systemd) -> None:
    manager.ctl("start", "pg", "pg@15-main")
    before = manager.shown("pg@15-main", "InvocationID")
    report = guard(plan(RestartDatabase(), by_unit(database, "pg")), "dependents")
    assert (report.state, report.text) == (
        GuardState.PASSED, "pg.service stands for pg@15-main.service and nothing else",
    )  # fmt: skip
    assert acted(RestartDatabase(), by_unit(database, "pg"), wait_s=1).result.state == "done"
    assert manager.shown("pg@15-main", "InvocationID") != before
    manager.ctl("start", "pg@16-main")
    report = guard(plan(RestartDatabase(), by_unit(database, "pg")), "dependents")
    assert report.state is GuardState.REFUSED


def test_what_is_not_configured(database: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="does not say how the database of bot is restarted") as fault:
        plan(RestartDatabase(), Service(unit="other", postgres=PostgresAt(dsn=database.url)))
    assert "under postgres" in (fault.value.hint or "")
    with pytest.raises(UsageFault):
        plan(RestartDatabase(), Service(unit="other"))
    with pytest.raises(ConfigError):
        plan(RestartDatabase(), replace(by_unit(database, "d*")))


@pytest.mark.parametrize(
    ("ssh", "dsn", "refuses"),
    [
        (None, "host=127.0.0.1", False),
        (None, "host=/run/postgresql", False),
        (None, "dbname=x", False),
        (None, "host=db-1", True),
        (None, "host=127.0.0.1,db-2", True),
        ("ops@db-1", "host=db-1", False),
        ("ssh://ops@db-1:22", "host=db-1", False),
        ("ops@app-1", "host=db-1", True),
        ("ops@app-1", "host=127.0.0.1", True),
    ],
)
def test_a_unit_of_another_machine_than_the_databases_is_refused(
    ssh: str | None, dsn: str, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    at = PostgresAt(dsn=dsn, unit="postgresql")
    scene = Scene("bot", Service(postgres=at, ssh=ssh), None, 5.0)
    assert [g.name for g in _elsewhere(scene, at)] == (["identity"] if refuses else [])
