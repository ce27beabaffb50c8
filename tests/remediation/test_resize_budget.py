"""connections-budget: the arithmetic, and what real servers say of their slots."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.postgres import opened
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.run import planned
from oncall.model import Absence, SignalReading, Unavailable
from oncall.model_acts import GuardReport, GuardState
from oncall.model_service import PoolAt, PostgresAt, Service
from oncall.remediation.action import Found, Scene
from oncall.remediation.actions.pool_budget import Limit, Slots, judge
from oncall.remediation.actions.resize_pool import ResizePool, ResizeWork
from oncall.remediation.guards import passed
from oncall.remediation.planning import action_plan
from oncall.remediation.wanted import Before, Wanted
from oncall.runbook.loader import library
from tests.clients.pgstand import APP, Stand, pgbouncer, stand

PASSED, REFUSED, UNKNOWN = GuardState.PASSED, GuardState.REFUSED, GuardState.UNKNOWN


@pytest.fixture(scope="module", params=[15, 18])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server with 30 slots, 3 for superusers; on 18 also 4 reserved ones."""
    more: dict[str, Any] = {"reserved_connections": 4} if request.param == 18 else {}
    folder = tmp_path_factory.mktemp("small")
    with stand(folder, request.param, max_connections=30, superuser_reserved_connections=3, **more) as made:
        made.admin.execute("CREATE ROLE app LOGIN PASSWORD 'p'")
        made.admin.execute("CREATE ROLE other LOGIN PASSWORD 'p'")
        made.admin.execute("CREATE ROLE oncall LOGIN PASSWORD 'p'")
        made.admin.execute("GRANT pg_monitor TO oncall")
        yield made


@pytest.fixture
def pg(small: Stand) -> Iterator[Stand]:
    """Three sessions of the service, two of others besides the administrator's."""
    for name, role, count in ((APP, "app", 3), ("batch", "other", 2)):
        for _ in range(count):
            small.session(name, user=role, password="p")
    yield small
    small.clear()
    small.admin.execute("ALTER ROLE app CONNECTION LIMIT -1")
    small.admin.execute("ALTER DATABASE postgres CONNECTION LIMIT -1")
    small.admin.execute("GRANT pg_monitor TO oncall")


def free(pg: Stand) -> tuple[int, int]:
    """Slots that ordinary roles may have, and how many are reserved."""
    reserved = 7 if pg.value("SELECT current_setting('server_version_num')::int") >= 160000 else 3
    return 30 - reserved, reserved


def plan(
    folder: Path, to: int, dsn: str | None, *, instances: int = 1, app: str | None = APP, now: int = 5
) -> Found:
    path = folder / "app.yaml"
    path.write_text(f"pool: {now}\n")
    at = PostgresAt(dsn=dsn, application_name=app) if dsn else None
    service = Service(pool=PoolAt(file=str(path), key="pool", instances=instances), postgres=at)

    async def run() -> Found:
        action = ResizePool(to=to)
        if at is None:
            async with action.work(Scene("bot", service, None, 20)) as work:
                return work.found
        async with (
            opened(at, 20) as session,
            action.work(Scene("bot", service, session, 20)) as work,
        ):
            return work.found

    return asyncio.run(run())


def budget(found: Found) -> GuardReport:
    (one,) = (g for g in found.guards if g.name == "connections-budget")
    return one


def oncall(pg: Stand, **more: str | int) -> str:
    return pg.dsn(user="oncall", password="p", **more)


def test_what_fits_and_what_does_not(pg: Stand, tmp_path: Path) -> None:
    slots, reserved = free(pg)
    most = (slots - 3) // 2
    found = plan(tmp_path, most, oncall(pg), instances=2)
    sum_ = f"{most} × 2 instances = {most * 2}, others hold 3, {slots} free of 30 - {reserved} reserved"
    assert (budget(found).state, budget(found).text) == (PASSED, f"{sum_}: fits")
    assert found.does[1] == f"{sum_}: fits"
    assert found.losses == (
        "nothing until the restart, which drops the 3 connections that the service holds now",
    )
    one = budget(plan(tmp_path, most + 1, oncall(pg), instances=2))
    assert (one.state, one.overridable) == (REFUSED, True)
    assert f"{(most + 1) * 2 + 3 - slots} too many" in one.text
    assert f"at most --to {most} fits" in str(one.hint)


def test_the_limits_of_role_and_database_count(pg: Stand, tmp_path: Path) -> None:
    pg.admin.execute("ALTER ROLE app CONNECTION LIMIT 8")
    one = budget(plan(tmp_path, 9, oncall(pg)))
    assert (one.state, "too many for role app, which may have 8" in one.text) == (REFUSED, True)
    assert budget(plan(tmp_path, 8, oncall(pg))).state is PASSED
    pg.admin.execute("ALTER DATABASE postgres CONNECTION LIMIT 10")
    one = budget(plan(tmp_path, 8, oncall(pg)))
    assert one.state is REFUSED
    assert "too many for database postgres, which may have 10, of which others hold 3" in one.text
    assert "at most --to 7 fits" in str(one.hint)


def test_fewer_than_are_in_use(pg: Stand, tmp_path: Path) -> None:
    found = plan(tmp_path, 2, oncall(pg))
    assert budget(found).state is PASSED
    assert "the service holds 3 connections now, more than the 2" in found.losses[1]


def test_a_smaller_pool_fits_a_server_that_is_too_full_for_it(pg: Stand, tmp_path: Path) -> None:
    one = budget(plan(tmp_path, 50, oncall(pg), now=90))
    assert one.state is PASSED
    assert "takes no more than it may now" in one.text


def test_whose_sessions_they_are_is_not_guessed(pg: Stand, tmp_path: Path) -> None:
    """All sessions count as others' then: what fits even so, fits; what does not is not known."""
    slots, _ = free(pg)
    assert budget(plan(tmp_path, slots - 6, oncall(pg), app=None)).state is PASSED
    one = budget(plan(tmp_path, slots - 4, oncall(pg), app=None))
    assert (one.state, "application_name" in one.text) == (UNKNOWN, True)
    pg.admin.execute("REVOKE pg_monitor FROM oncall")
    one = budget(plan(tmp_path, slots - 4, oncall(pg)))
    assert (one.state, "hide whose they are" in one.text) == (UNKNOWN, True)
    assert "GRANT pg_monitor" in str(one.hint)
    assert budget(plan(tmp_path, slots - 6, oncall(pg))).state is PASSED


def test_more_sessions_than_the_pools_could_have_are_more_instances(pg: Stand, tmp_path: Path) -> None:
    """Two connections of a pool each, and three sessions: what fits once may not fit so many times."""
    one = budget(plan(tmp_path, 4, oncall(pg), now=2))
    assert (one.state, one.overridable) == (UNKNOWN, True)
    assert "the service holds 3 connections now, more than 2 × 1 instance = 2" in one.text
    assert "set pool.instances of the service file" in str(one.hint)
    assert budget(plan(tmp_path, 4, oncall(pg), now=2, instances=2)).state is PASSED
    assert budget(plan(tmp_path, 1, oncall(pg), now=2)).state is PASSED


@pytest.mark.parametrize(
    ("grows", "instances", "barred"), [(True, 1, True), (True, 3, False), (False, 1, False)]
)
def test_more_instances_in_prometheus_than_in_the_service_file(
    *, grows: bool, instances: int, barred: bool
) -> None:
    service = Service(pool=PoolAt(file="/x.yaml", key="pool", instances=instances))
    reading = SignalReading(id="pool_active", source="prometheus", query=None, now=19.0, instances=3)
    gathered = Gathered(at=0, window_s=1, baseline_s=1, signals={"pool_active": reading}, live={}, answers={})
    before = Before((), planned(service, library(), ()), gathered, 1)
    found = Found(title="", place=(), targets=(), guards=(passed("connections-budget", "fits"),), grows=grows)
    work = ResizeWork(Scene("bot", service, None, 20), found)
    made = action_plan("bot", service, Wanted(ResizePool(to=40)), before, work, ())
    (one,) = made.guards
    assert one.state is (UNKNOWN if barred else PASSED)
    assert ("Prometheus sees 3 instances with a pool, pool.instances says 1" in one.text) is barred


def test_a_server_that_does_not_answer_is_unknown(small: Stand, tmp_path: Path) -> None:
    for dsn, said in (
        (None, "postgres is not configured"),
        ("host=127.0.0.1 port=1 dbname=x", "unknown: "),
        (oncall(small, dbname="no-such"), "no-such"),
    ):
        one = budget(plan(tmp_path, 10, dsn))
        assert (one.state, one.overridable) == (UNKNOWN, True)
        assert said in one.text
        assert "10 × 1 instance = 10" in one.text


@pytest.mark.parametrize("small", [15], indirect=True)
def test_a_pooler_decides_what_the_server_sees(small: Stand, tmp_path: Path) -> None:
    with pgbouncer(small.server) as port:
        one = budget(plan(tmp_path, 10, f"host=127.0.0.1 port={port} user=postgres dbname=postgres"))
    assert (one.state, "pooler" in one.text) == (UNKNOWN, True)


# --- the arithmetic ------------------------------------------------------------------------------

SMALL = st.integers(0, 60)
LIMITS = st.lists(
    st.builds(Limit, kind=st.just("role"), name=st.just("app"), most=SMALL, others=SMALL), max_size=2
)
SLOTS = st.builds(
    Slots,
    most=st.integers(1, 100),
    reserved=st.integers(0, 10),
    app=SMALL,
    others=SMALL,
    guessed=st.sampled_from([None, "nobody knows"]),
    limits=LIMITS.map(tuple),
)


@given(SLOTS, st.integers(1, 100), st.integers(1, 100), st.integers(1, 4))
def test_it_passes_only_where_there_is_room(slots: Slots, now: int, to: int, instances: int) -> None:
    report, text = judge(slots, now, to, instances)
    if to > now and not slots.guessed and slots.app > now * instances:
        assert report.state is UNKNOWN
        return
    room = min(slots.most - slots.reserved - slots.others, *(x.most - x.others for x in slots.limits), 1000)
    fits = to * instances <= room
    assert (report.state is PASSED) == (fits or to <= now)
    assert f"{to} × {instances} instance" in text
    assert f"= {to * instances}" in text
    if report.state is REFUSED and room >= instances:
        assert f"--to {room // instances} fits" in str(report.hint)
        assert judge(slots, now, room // instances, instances)[0].state is PASSED


def test_without_slots_it_is_unknown() -> None:
    why = Unavailable(kind=Absence.DOWN, reason="db-1: refused", hint="start it")
    report, text = judge(why, 5, 10, 2)
    assert (report.state, report.hint, text) == (UNKNOWN, "start it", "10 × 2 instances = 20")
    assert "db-1: refused" in report.text
