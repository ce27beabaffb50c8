"""Sessions to be killed on real servers, and `kill-queries` looked at, let act and proven."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from oncall.clients.postgres import opened
from oncall.model import Next
from oncall.model_acts import Check, GuardReport, GuardState, TargetResult
from oncall.model_service import PostgresAt, Service
from oncall.remediation.action import Found, Scene
from oncall.remediation.actions.kill_queries import KillQueries, KillWork, PidAt
from tests.clients.pgstand import APP, Link, Stand, begin

PASSWORD = "secret-canary"  # the tests' own
ROLES = {
    "app": "",
    "pager": "",
    "seer": "",
    "repl": "REPLICATION",
    "chief": "SUPERUSER",
}
ADDRESS = ("-s", "bot")
ABOUT = ("--issue", "pool")


def furnish(stand: Stand) -> None:
    """Roles: the app; one who may see and signal; one who may see only; one for replication; a superuser."""
    for role, rights in ROLES.items():
        if not stand.value("SELECT true FROM pg_roles WHERE rolname = %s", role):
            stand.admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' {rights}")
    stand.admin.execute("GRANT pg_monitor, pg_signal_backend TO pager")
    stand.admin.execute("GRANT pg_monitor TO seer")
    stand.admin.execute("DROP SCHEMA IF EXISTS app CASCADE")
    stand.admin.execute("CREATE SCHEMA AUTHORIZATION app")
    with_table = "CREATE TABLE app.things AS SELECT i AS id, 0 AS n FROM generate_series(1, 100) AS i"
    stand.admin.execute(with_table)
    stand.admin.execute("ALTER TABLE app.things OWNER TO app")


def dsn(stand: Stand, role: str = "pager", **options: str | int) -> str:
    return stand.dsn(user=role, password=PASSWORD, **options)


def session(stand: Stand, app: str = APP, role: str = "app", **options: str | int) -> Link:
    return stand.session(app, user=role, password=PASSWORD, **options)


def pid(link: Link) -> int:
    return link.info.backend_pid


def named(*links: Link) -> tuple[PidAt, ...]:
    return tuple(PidAt(pid=pid(link)) for link in links)


def running(stand: Stand, app: str = APP, role: str = "app", statement: str = "SELECT pg_sleep(60)") -> Link:
    """A session that runs a statement."""
    link = session(stand, app, role)
    begin(link, statement)
    stand.running(link)
    return link


def idling(stand: Stand, statement: str = "SELECT 1", app: str = APP) -> Link:
    """A session that is idle in transaction."""
    link = session(stand, app)
    link.execute("BEGIN")
    link.execute(statement)
    return link


def error(link: Link) -> str | None:
    """The SQLSTATE that the statement ended with, which `begin` sent; None where it succeeded."""
    from psycopg.pq import DiagnosticField, ExecStatus

    result = link.pgconn.get_result()
    assert result is not None
    if result.status != ExecStatus.FATAL_ERROR:
        return None
    return (result.error_field(DiagnosticField.SQLSTATE) or b"lost").decode()


@asynccontextmanager
async def scene(at: str, deadline_s: float = 20, app: str | None = APP) -> AsyncIterator[Scene]:
    backend = PostgresAt(dsn=at, application_name=app)
    async with opened(backend, deadline_s) as found:
        yield Scene("bot", Service(postgres=backend), found, deadline_s, ADDRESS, ABOUT)


@dataclass(frozen=True)
class Done:
    """What became of a plan. `sent`: statements after the look, and after the act."""

    found: Found
    results: tuple[TargetResult, ...]
    checks: tuple[Check, ...]
    offers: tuple[Next, ...]
    sent: tuple[int, int]

    @property
    def states(self) -> list[str]:
        return [r.state for r in self.results]


def silent(line: str) -> None:
    """Nobody waits."""


def planned(at: str, action: KillQueries, app: str | None = APP) -> Found:
    async def look() -> Found:
        async with scene(at, app=app) as here, action.work(here) as work:
            return work.found

    return asyncio.run(look())


def done(
    at: str, action: KillQueries, between: Callable[[], object] = lambda: None, wait_s: float = 20
) -> Done:
    """Looks, lets something happen, acts, and awaits the proof."""

    async def act() -> Done:
        async with scene(at) as here, action.work(here) as work:
            assert here.session is not None
            assert not barred(work.found), barred(work.found)
            looked = here.session.sent
            between()
            results = await applied(work)
            acted = here.session.sent
            until = asyncio.get_running_loop().time() + wait_s
            checks = await work.checks(results, until, silent)
            return Done(work.found, results, checks, work.offers(results), (looked, acted))

    return asyncio.run(act())


async def applied(work: KillWork) -> tuple[TargetResult, ...]:
    return tuple([result async for result in work.apply(silent)])


def guard(found: Found, name: str) -> GuardReport:
    (report,) = [g for g in found.guards if g.name == name]
    return report


def barred(found: Found) -> dict[str, str]:
    """The guards that stand in the way, and what each says."""
    states = (GuardState.REFUSED, GuardState.UNKNOWN)
    return {g.name: f"{g.text} {g.hint or ''}".strip() for g in found.guards if g.state in states}


def targets(found: Found) -> list[int]:
    return [int(target.id.removeprefix("pid ")) for target in found.targets]
