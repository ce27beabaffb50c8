"""Dashboards asked of real servers: a Prometheus whose past is known, a service's own page, a Postgres."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oncall.lab.process import free_port
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Severity
from oncall.model_boards import Board, Panel
from oncall.model_service import Limits, PostgresAt, PrometheusAt, Service, SignalSpec
from oncall.monitoring.board_data import Looking, Source
from oncall.monitoring.boards import NAMES, board
from oncall.runbook.loader import library
from oncall.units import Size
from tests.cli.page import served
from tests.clients.pgstand import Stand, stand
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Asked, reply
from tests.clients.webstand import Stand as Web
from tests.monitoring.boardstand import History, history
from tests.monitoring.counting import asked_between, requests_of

LIMITS = Limits(memory=Size(2e9))
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with history(tmp_path_factory.mktemp("boards")) as made:
        yield made


@pytest.fixture(scope="module", params=[15, 18])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("postgres"), request.param) as made:
        made.admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        yield made


def looked(service: Service, name: str, looking: Looking, range_s: float = HOUR_S) -> Board:
    """One look at one dashboard."""

    async def look() -> Board:
        async with Source("bot", service, looking) as source:
            return await source.look(board(name, library()), range_s)

    return asyncio.run(look())


def by_id(found: Board) -> dict[str, Panel]:
    return {panel.id: panel for panel in found.panels}


def then(past: History, name: str, range_s: float = HOUR_S) -> dict[str, Panel]:
    service = Service(prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}), limits=LIMITS)
    return by_id(looked(service, name, Looking(at=past.end, timeout_s=30), range_s))


# --- Prometheus -----------------------------------------------------------------------------------------


def test_the_overview_of_a_known_moment(past: History) -> None:
    found = then(past, "overview")
    assert (found["uptime"].value, found["uptime"].severity) == (1.0, Severity.OK)
    assert (found["pool"].value, found["pool"].of, found["pool"].severity) == (17, 20, Severity.CRITICAL)
    assert found["memory"].value == pytest.approx(1.3e9, rel=0.01)
    assert found["memory"].severity is Severity.WARNING
    assert found["latency_p95"].value == pytest.approx(0.47, rel=0.1)
    assert found["error_ratio"].value == pytest.approx(0.0044, rel=0.1)
    (aside,) = found["error_ratio"].asides
    assert aside.value == pytest.approx(60 * 0.0044 * 33, rel=0.1)
    assert all(p.source == "prometheus" and p.queries for p in found.values())
    assert all(p.age_s is not None and p.age_s < 1 for p in found.values())


def test_a_course_is_the_range_that_was_asked_for(past: History) -> None:
    hour = then(past, "overview")["pool"].lines[0].values
    assert len(hour) == 121
    assert hour[-1] == 17
    assert hour[60] == 6
    # The history is two hours long: before it there is nothing, which is not zero.
    whole = then(past, "overview", 4 * HOUR_S)["pool"].lines[0].values
    assert whole[10] is None
    assert whole[100] == 6


def test_the_requests_of_a_known_moment(past: History) -> None:
    found = then(past, "requests")
    assert [line.name for line in found["latency"].lines] == ["P50", "P95", "P99"]
    assert found["request_size"].value == pytest.approx(2000, rel=0.05)
    assert found["response_size"].value == pytest.approx(31_000, rel=0.05)
    slow = found["slow_endpoints"].bars
    assert [bar.name for bar in slow[:2]] == [
        "/api/export",
        "/api/bots/{id}/conversations/{conversation}/messages",
    ]
    assert [bar.severity for bar in slow[:2]] == [Severity.CRITICAL, Severity.OK]
    failing = found["failing_endpoints"].bars
    assert [(b.name, b.severity) for b in failing[:1]] == [("/api/export", Severity.CRITICAL)]
    assert failing[0].value == pytest.approx(0.06, rel=0.05)
    assert len(failing) == 2, "an endpoint without errors has no bar"


def test_the_machine_of_a_known_moment(past: History) -> None:
    found = then(past, "operations")
    assert found["cpu"].value == pytest.approx(0.75, rel=0.05)
    assert found["cpu"].severity is Severity.WARNING
    assert found["disk"].value == 1.4e10, "not /boot, which never had 20 GB"
    assert found["disk"].severity is Severity.WARNING
    ends = {line.name: line.now for line in found["network"].lines}
    assert ends["in"] is not None
    assert ends["in"] < 1e6, "not what the machine says to itself"
    assert (found["bots"].value, found["uptime"].value) == (12, 3000)
    assert found["uptime"].notes == ("1 restart within 1 h",)


def test_the_database_by_its_exporter(past: History) -> None:
    found = then(past, "database")
    assert found["size"].value == pytest.approx(5e9, rel=0.01), "not that of the database postgres"
    assert found["cache_hit"].value == pytest.approx(0.99, rel=0.01)
    assert found["transactions"].value == pytest.approx(121, rel=0.6)
    assert found["slow_queries"].reason == "postgres: not configured"


def test_what_no_service_exports_is_said_in_its_panel(past: History) -> None:
    at = PrometheusAt(url=past.server.url, selector={"job": "nobody"})
    found = looked(Service(prometheus=at), "overview", Looking(at=past.end, timeout_s=30))
    assert found.severity is Severity.UNKNOWN
    assert all(p.value is None and "no data for" in (p.reason or "") for p in found.panels)


def test_an_outage_between_two_points_is_not_lost(tmp_path: Path) -> None:
    end = int(time.time()) - 60
    # Down for twelve minutes, and a point of a week is 84.
    down = range(end - 50_000, end - 50_000 + 720)
    lines = [f'up{{job="bot"}} {int(t not in down)} {t}' for t in range(end - 604_800, end, 60)]
    backfill(tmp_path, ["# TYPE up gauge", *lines], "168h")
    server = start_prometheus(tmp_path, {}, keep=KEEP)
    try:
        service = Service(prometheus=PrometheusAt(url=server.url, selector={"job": "bot"}))
        found = by_id(looked(service, "overview", Looking(at=end, timeout_s=30), 604_800))["uptime"]
    finally:
        stop(server)
    known = [v for v in found.lines[0].values if v is not None]
    assert sum(known) / len(known) == pytest.approx(1 - 720 / 604_800, abs=2e-4)
    assert sum(v < 1 for v in known) in (1, 2)


def test_an_expression_with_several_values_is_no_number(past: History) -> None:
    at = PrometheusAt(url=past.server.url, selector={"job": "bot"})
    service = Service(prometheus=at, signals={"memory": SignalSpec(promql="pg_database_size_bytes")})
    found = by_id(looked(service, "overview", Looking(at=past.end, timeout_s=30)))["memory"]
    assert (found.value, found.severity, found.lines) == (None, Severity.UNKNOWN, ())
    assert "2 values, and a signal is one number" in (found.reason or "")


def test_a_history_that_ended_is_stale_and_is_no_present(past: History) -> None:
    service = Service(prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}))
    found = by_id(looked(service, "overview", Looking(at=past.end + 200, timeout_s=30)))
    assert found["pool"].value is None
    assert "stale: the newest sample is 200 s old" in (found["pool"].reason or "")
    assert any(v is not None for v in found["pool"].lines[0].values), "its past is shown"


def test_a_service_that_is_gone_is_not_one_that_exports_nothing(past: History) -> None:
    service = Service(prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}))
    found = looked(service, "database", Looking(at=past.end + 900, timeout_s=30))
    assert "stale: it ended more than" in (by_id(found)["pool"].reason or "")
    assert found.severity is Severity.UNKNOWN


# --- without Prometheus ----------------------------------------------------------------------------------


def test_without_prometheus_the_gauges_are_from_the_page() -> None:
    with served(active=17) as page:
        dead = PrometheusAt(url=f"http://127.0.0.1:{free_port()}")
        service = Service(url=page.url, prometheus=dead, limits=LIMITS)
        found = looked(service, "overview", Looking(interval_s=0.5, timeout_s=30))
    panels = by_id(found)
    assert (panels["uptime"].value, panels["uptime"].source) == (1.0, "scrape")
    assert (panels["pool"].value, panels["pool"].source) == (17.0, "scrape")
    assert panels["pool"].severity is Severity.CRITICAL
    assert panels["memory"].value is None
    assert "connection refused" in found.notes[0]
    assert "/metrics" in found.notes[0]


def test_a_service_that_is_down_is_down() -> None:
    service = Service(url=f"http://127.0.0.1:{free_port()}")
    found = looked(service, "overview", Looking(interval_s=0.5, timeout_s=30))
    uptime = by_id(found)["uptime"]
    assert (uptime.value, uptime.severity) == (0.0, Severity.CRITICAL)
    assert found.severity is Severity.CRITICAL
    assert by_id(found)["pool"].value is None


def test_a_watch_without_prometheus_keeps_what_it_saw() -> None:
    async def watch(url: str, grow: Callable[[], None]) -> list[Board]:
        async with Source("bot", Service(url=url), Looking(live=True, timeout_s=30)) as source:
            found = []
            for _ in range(3):
                found.append(await source.look(board("overview", library()), 300))
                grow()
            return found

    with served(active=5) as page:
        first, *_, last = asyncio.run(watch(page.url, page.active.inc))
    assert by_id(first)["error_ratio"].value is None, "a rate needs two looks"
    assert by_id(last)["pool"].value == 7
    known = [v for v in by_id(last)["pool"].lines[0].values if v is not None]
    assert known[-1] == 7
    assert by_id(last)["error_ratio"].reason is not None, "no request came: undefined, not zero"


def test_nothing_is_configured() -> None:
    found = looked(Service(), "database", Looking())
    assert found.severity is Severity.UNKNOWN
    assert all("not configured" in (p.reason or "") for p in found.panels)


# --- Postgres ----------------------------------------------------------------------------------------------


def of_database(database: Stand) -> Service:
    return Service(postgres=PostgresAt(dsn=database.dsn()))


def test_slow_queries_with_how_often_and_how_long(database: Stand) -> None:
    database.admin.execute("SELECT pg_stat_statements_reset()")
    database.admin.execute("SELECT pg_sleep(1.1)")
    found = by_id(looked(of_database(database), "database", Looking(timeout_s=30)))
    table = found["slow_queries"].table
    assert table is not None, found["slow_queries"].reason
    assert [c.name for c in table.columns] == ["calls", "mean_ms", "total_ms", "query"]
    ((calls, mean, _, query),) = table.rows
    assert calls == 1
    assert isinstance(mean, float)
    assert mean > 1000
    assert "pg_sleep" in str(query)


def test_size_cache_and_transactions_of_postgres_itself(database: Stand) -> None:
    found = by_id(looked(of_database(database), "database", Looking(timeout_s=30, interval_s=0.5)))
    size = database.value("SELECT pg_database_size(current_database())")
    assert found["size"].value == pytest.approx(size, rel=0.1)
    assert found["cache_hit"].source == "postgres"
    assert found["cache_hit"].notes == ("since its statistics were reset",)
    assert 0 < (found["cache_hit"].value or 0) <= 1
    assert found["transactions"].value is not None
    assert found["transactions"].value >= 0
    assert found["transactions"].source == "postgres"
    assert "prometheus: not configured" in (found["pool"].reason or "")


def test_the_size_is_that_of_the_services_own_database(past: History, database: Stand) -> None:
    """The exporter's largest database is 5 GB: Postgres itself knows better, and that course is not this one's."""
    service = Service(
        prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}),
        postgres=PostgresAt(dsn=database.dsn()),
    )
    found = by_id(looked(service, "database", Looking(timeout_s=30)))["size"]
    assert (found.value or 5e9) < 1e8
    assert found.lines == ()


def test_one_connection_is_kept_from_look_to_look(database: Stand) -> None:
    async def watch() -> tuple[set[int], Board]:
        pids = set[int]()
        looking = Looking(live=True, timeout_s=30, fresh_s=0)
        async with Source("bot", of_database(database), looking) as source:
            for _ in range(2):
                await source.look(board("database", library()), 300)
                pids |= {row[0] for row in database.admin.execute(OURS).fetchall()}
            # The server goes on without us: the next look says so, the one after it connects anew.
            database.admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS o")
            lost = await source.look(board("database", library()), 300)
            assert by_id(lost)["slow_queries"].reason
            return pids, await source.look(board("database", library()), 300)

    pids, again = asyncio.run(watch())
    assert len(pids) == 1
    assert by_id(again)["slow_queries"].reason is None
    database.until(f"SELECT count(*) = 0 FROM ({OURS}) AS o")


OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'oncall'"


def test_a_watch_of_postgres_alone_keeps_what_it_saw(database: Stand) -> None:
    async def watch() -> Board:
        looking = Looking(live=True, timeout_s=30, fresh_s=0)
        async with Source("bot", of_database(database), looking) as source:
            for _ in range(2):
                await source.look(board("database", library()), 300)
            return await source.look(board("database", library()), 300)

    found = by_id(asyncio.run(watch()))
    assert found["transactions"].value is not None
    assert any(v is not None for v in found["transactions"].lines[0].values)
    assert found["size"].lines[0].values[-1] == found["size"].value


def test_a_database_that_is_down_is_said_and_the_rest_is_there(past: History) -> None:
    service = Service(
        prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}),
        postgres=PostgresAt(dsn=f"postgresql://x@127.0.0.1:{free_port()}/x"),
    )

    found = by_id(looked(service, "database", Looking(timeout_s=30)))
    assert "refused" in (found["slow_queries"].reason or "")
    # What Prometheus holds of the same board: its history ended a while ago, and its courses are all there.
    for name in ("query_time", "pool", "size", "cache_hit", "transactions"):
        assert any(v is not None for v in found[name].lines[0].values), name
        assert found[name].queries


def test_the_past_is_not_asked_of_the_present(past: History, database: Stand) -> None:
    service = Service(
        prometheus=PrometheusAt(url=past.server.url, selector={"job": "bot"}),
        postgres=PostgresAt(dsn=database.dsn()),
    )
    found = by_id(looked(service, "database", Looking(at=past.end, timeout_s=30)))
    assert "knows only the present" in (found["slow_queries"].reason or "")
    assert found["size"].source == "prometheus"


@pytest.mark.parametrize("status", ["400 Bad Request", "503 Service Unavailable"])
def test_a_secret_that_a_server_quotes_is_masked(status: str) -> None:
    """In the reasons of the panels where each question is refused, in the board's note where nothing is answered."""

    def answer(asked: Asked) -> bytes:
        said = f"no tenant for {asked.headers['authorization']}"
        return reply(json.dumps({"status": "error", "errorType": "bad_data", "error": said}), status)

    async def ask() -> Board:
        async with Web(answer) as web:
            service = Service(prometheus=PrometheusAt(url=web.url, bearer="canary-secret"))
            async with Source("bot", service, Looking(timeout_s=30)) as source:
                return await source.look(board("overview", library()), HOUR_S)

    found = asyncio.run(ask())
    told = [panel.reason or "" for panel in found.panels] + list(found.notes)
    assert any("no tenant for Bearer ***" in text for text in told), told
    assert "canary-secret" not in str(found)


# --- how much is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_refresh_is_one_round_of_three_questions(past: History, name: str) -> None:
    """All values, all courses, all ages; and the next refresh asks no more than that."""
    at = PrometheusAt(url=past.server.url, selector={"job": "bot"})

    async def watch(times: int) -> None:
        async with Source(
            "bot", Service(prometheus=at, limits=LIMITS), Looking(live=True, timeout_s=30)
        ) as s:
            for _ in range(times):
                await s.look(board(name, library()), HOUR_S)

    for times in (1, 2):
        before = requests_of(past.server.url)
        asyncio.run(watch(times))
        asked = asked_between(before, requests_of(past.server.url))
        assert asked == {"/api/v1/query": 2 * times, "/api/v1/query_range": times}
