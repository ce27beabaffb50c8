"""The weekly and monthly checks of five weeks of a real Prometheus, of Postgres and of Redis."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace as with_changes
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis import Redis

from oncall.checks import capacity, endpoints, links, rules_audit, weeks
from oncall.checks.days import Days, days
from oncall.checks.engine import When, run
from oncall.checks.loader import check
from oncall.checks.measured import Asked
from oncall.checks.model import DAY_S, LineSpec, Probe
from oncall.checks.scene import Scene
from oncall.clients.prometheus import Prometheus
from oncall.model import Severity, Unavailable
from oncall.model_checks import CheckLine, CheckReport
from oncall.model_service import Limits, PostgresAt, PrometheusAt, RedisAt, Service, SignalSpec, Threshold
from oncall.runbook.loader import library
from oncall.units import Duration
from tests.checks.month import SCRAPE_S
from tests.checks.monthstand import Months, told
from tests.clients.pgstand import Stand, standby
from tests.clients.redisstand import redis
from tests.clients.webstand import Asked as Request
from tests.clients.webstand import Stand as Web
from tests.clients.webstand import reply

BOOKS = library()
Look = Callable[[Scene, str, LineSpec], Awaitable[tuple[CheckLine, ...]]]
RULES = {
    "Fine": 'up{job="calm"} == 0',
    "NoErrorsYet": 'rate(http_requests_total{status="599"}[5m]) > 0',
    "Gone": 'once{job="calm"} > 0',
    "Typo": "http_requets_total > 5 and up",
    "Either": "no_such_metric > 0 or up == 0",
    "Neither": "no_such_metric > 0 or no_other_metric > 0",
    "Absent": "absent(no_such_metric)",
    "ByName": '{__name__="no_such_metric"} > 0',
}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    with told(tmp_path_factory.mktemp("month")) as made:
        yield made


def looked(service: Service, look: Look, spec: LineSpec, at: float | None = None) -> list[CheckLine]:
    """The lines of one look, as the engine calls it."""

    async def ask() -> tuple[CheckLine, ...]:
        what = check("monthly", BOOKS)
        scene = Scene(
            name="bot", service=service, check=what, books=BOOKS, now=time.time(), deadline_s=60, at=at
        )
        if service.prometheus is None:
            return await look(scene, "x", spec)
        async with Prometheus(service.prometheus) as server:
            return await look(with_changes(scene, server=server), "x", spec)

    return list(asyncio.run(ask()))


def ahead(
    service: Service, *of: str, at: float | None = None, optional: bool = False
) -> dict[str, CheckLine]:
    spec = LineSpec(why="w", probe="capacity", of=of, optional=optional)
    return {line.id.removeprefix("x."): line for line in looked(service, capacity.look, spec, at)}


def trends(service: Service, *of: str, at: float | None = None) -> dict[str, CheckLine]:
    spec = LineSpec(why="w", probe="trends", of=of)
    return {line.id.removeprefix("x."): line for line in looked(service, weeks.look, spec, at)}


# --- days ------------------------------------------------------------------------------------------


def test_a_day_is_a_whole_one(month: Months) -> None:
    """Days that history has not, or not whole, are unknown; what is known is the peak, whatever hour it had."""

    async def ask() -> Days | Unavailable:
        spec = SignalSpec(gauge="db_connection_pool_active")
        async with Prometheus(PrometheusAt(url=month.url)) as server:
            asked = {"pool": Asked(spec=spec, over_s=DAY_S, by="max")}
            return (await days(server, asked, {"job": "fresh"}, month.end - DAY_S / 2, 5, 60))["pool"]

    found = asyncio.run(ask())
    assert isinstance(found, Days)
    # Three days end half a day after the moment that is looked at: two whole ones and a half of one.
    assert found.values == (None, None, None, 4.0, 4.0)
    assert found.points[0] == (month.end - 1.5 * DAY_S, month.end - 0.5 * DAY_S)


# --- capacity ---------------------------------------------------------------------------------------


def test_time_until_the_bound_that_pages(month: Months) -> None:
    found = ahead(month.service("grows"), "memory", "pool_active")
    memory = found["memory"]
    # 20 MB a day, and 400 MB are left of 95 % of 2 GB.
    assert memory.text == "1.5 GB, +20 MB a day: 1.9 GB in about 3 weeks"
    assert memory.value == pytest.approx(20 * DAY_S, rel=0.02)
    assert (memory.severity, memory.title) == (Severity.WARNING, "Ahead: Memory")
    assert len([v for v in memory.history if v is not None]) == 34 + (memory.history[-35] is not None)
    # The rhythm of a day is not in the daily peaks.
    assert found["pool_active"].text == "11, +0.05 a day: 16 in about 14 weeks"
    assert found["pool_active"].severity is Severity.OK


def test_how_the_database_grows(month: Months) -> None:
    """Of the exporter of another job, and not of Postgres's own database; its limit is the service file's."""
    service = month.service("grows")
    size = ahead(service, "db_size")["db_size"]
    assert (size.severity, size.value, size.title) == (Severity.OK, None, "Ahead: Database size")
    assert size.text == "40 GB, +1 GB a day; no limit is set"
    assert "pg_database_size_bytes" in (size.query or "")
    near = replace(service, thresholds={"db_size": Threshold(warning=45e9, critical=6e10)})
    size = ahead(near, "db_size")["db_size"]
    assert (size.severity, size.text) == (Severity.WARNING, "40 GB, +1 GB a day: 60 GB in about 3 weeks")
    assert size.value == pytest.approx(20 * DAY_S, rel=0.02)
    critical = replace(service, thresholds={"db_size": Threshold(critical=44e9)})
    assert ahead(critical, "db_size")["db_size"].severity is Severity.CRITICAL


def test_what_does_not_grow_and_what_is_too_young(month: Months) -> None:
    calm = ahead(month.service("calm"), "memory", "pool_active", "request_rate")
    assert [line.text for line in calm.values()] == [
        "400 MB, does not grow",
        "6, does not grow",
        "33/s, does not grow",
    ]
    assert {line.severity for line in calm.values()} == {Severity.OK}
    fresh = ahead(month.service("fresh"), "memory")["memory"]
    assert (fresh.severity, fresh.text) == (Severity.UNKNOWN, None)
    assert fresh.reason == "history too short: 3 days, 7 are needed"


def test_a_bound_that_is_not_known_is_said(month: Months) -> None:
    service = replace(month.service("grows"), limits=Limits())
    memory = ahead(service, "memory")["memory"]
    assert (memory.severity, memory.reason) == (Severity.UNKNOWN, "limits.memory is not known")
    assert memory.text == "1.5 GB, +20 MB a day; no limit is set"


def test_what_is_not_exported_counts_only_where_it_must_be_there(month: Months) -> None:
    must = ahead(month.service("calm"), "queue_depth")["queue_depth"]
    may = ahead(month.service("calm"), "queue_depth", optional=True)["queue_depth"]
    assert (must.counts, may.counts, may.reason) == (True, False, "not exported")
    assert "message_queue_depth" in (must.reason or "")
    assert "message_queue_depth" in (may.query or "")


# --- week over week ----------------------------------------------------------------------------------


def test_what_changed_this_week_is_told_in_words(month: Months) -> None:
    found = trends(month.service("grows"), "error_ratio", "request_rate", "latency_p95")
    errors = found["error_ratio"]
    assert errors.value == pytest.approx(0.008, rel=0.05)
    assert errors.week_ago == pytest.approx(0.001, rel=0.05)
    assert errors.severity is Severity.WARNING
    assert errors.notes[0].startswith("rose ×8: a day has 0.8%, in the weeks before 0.1%; ")
    assert (found["request_rate"].severity, found["request_rate"].notes) == (Severity.OK, ())
    # A week ago nothing of this was there.
    before = trends(month.service("grows"), "error_ratio", at=month.end - 7 * DAY_S - 2 * SCRAPE_S)
    assert (before["error_ratio"].severity, before["error_ratio"].notes) == (Severity.OK, ())


def test_without_weeks_to_compare_with_only_its_bound_can_judge_a_week(month: Months) -> None:
    found = trends(month.service("fresh"), "error_ratio")["error_ratio"]
    assert (found.severity, found.value) == (Severity.UNKNOWN, None)
    assert found.reason == "only 3 of the last 7 days are known"
    young = trends(month.service("calm"), "error_ratio", at=month.end - 26 * DAY_S)["error_ratio"]
    assert young.severity is Severity.OK
    assert young.notes in (
        ("nothing to compare with: 8 days are known",),
        ("nothing to compare with: 9 days are known",),
    )
    unbound = trends(month.service("calm"), "request_rate", at=month.end - 26 * DAY_S)["request_rate"]
    assert (unbound.severity, unbound.counts) == (Severity.UNKNOWN, False)
    assert unbound.value is not None


def test_a_service_that_is_gone_has_no_good_week(month: Months) -> None:
    """Half a day after its last sample it had six good days, and nobody knows the seventh."""
    later = month.end + DAY_S / 2
    found = trends(month.service("calm"), "error_ratio", at=later)["error_ratio"]
    assert (found.severity, found.reason) == (Severity.UNKNOWN, "the last day is not known")
    memory = ahead(month.service("calm"), "memory", at=later)["memory"]
    assert (memory.severity, memory.reason) == (Severity.UNKNOWN, "the last day is not known")
    grows = ahead(month.service("grows"), "memory", at=later)["memory"]
    assert grows.severity is Severity.WARNING


# --- endpoints ---------------------------------------------------------------------------------------


def of_endpoints(service: Service, probe: Probe, at: float | None = None) -> CheckLine:
    spec = LineSpec(why="w", probe=probe, of=("latency_p95",))
    (line,) = looked(service, endpoints.look, spec, at)
    return line


def test_which_endpoint_became_slower(month: Months) -> None:
    line = of_endpoints(month.service("grows"), "endpoints")
    assert line.severity is Severity.WARNING
    # Four times, as far as the buckets tell.
    assert line.value == pytest.approx(4.5, abs=1)
    assert (line.text or "").startswith(f"/export ×{line.value:.1f}: p95 ")
    assert line.detail is not None
    assert [row[0] for row in line.detail.rows] == ["/export", "/api"]
    assert line.detail.rows[0][4] == pytest.approx(DAY_S, rel=0.02)
    calm = of_endpoints(month.service("calm"), "endpoints")
    assert calm.severity is Severity.OK
    assert (calm.text or "").startswith("none slower than last week; slowest /api")


def test_no_week_before_is_not_well(month: Months) -> None:
    line = of_endpoints(month.service("fresh"), "endpoints")
    assert line.severity is Severity.UNKNOWN
    assert line.reason == "no endpoint has a week before to compare with"


def test_where_the_time_goes(month: Months) -> None:
    line = of_endpoints(month.service("grows"), "optimise")
    # 20 × 0.06 s of 20 × 0.06 + 1 × 0.4 s.
    assert line.value == pytest.approx(0.75, abs=0.01)
    assert line.text == "/api takes 75% of all request time, 60 ms each"
    assert line.detail is not None
    assert line.detail.rows[1][0] == "/export"
    assert line.detail.rows[1][3] == pytest.approx(0.4)


def test_nothing_to_tell_endpoints_apart_by(month: Months) -> None:
    nobody = of_endpoints(month.service("nobody"), "endpoints")
    assert nobody.reason == "no data for http_request_duration_seconds_count"
    assert nobody.severity is Severity.UNKNOWN
    form = SignalSpec(quantile=0.95, of="up")
    other = replace(month.service("calm"), signals={"latency_p95": form})
    assert of_endpoints(other, "endpoints").reason == "no data for up_count"
    formless = replace(month.service("calm"), signals={"latency_p95": SignalSpec(gauge="up")})
    assert "is no quantile or mean" in (of_endpoints(formless, "optimise").reason or "")


# --- rules and their links ----------------------------------------------------------------------------


def test_rules_whose_metric_is_gone(month: Months) -> None:
    spec = LineSpec(why="w", probe="rules")
    month.rules(RULES)
    (line,) = looked(month.service("calm"), rules_audit.look, spec)
    assert line.severity is Severity.WARNING
    assert line.detail is not None
    assert {row[0]: (row[2], row[3]) for row in line.detail.rows} == {
        "Gone": ("once", None),
        "Typo": ("http_requets_total", "up"),
        "Neither": ("no_such_metric, no_other_metric", None),
        "ByName": ("no_such_metric", None),
    }
    assert line.text == "4 of 8 ask for a metric that is gone: Gone, Typo, Neither …"
    # It was there eleven days ago.
    longer = replace(spec, over=Duration(15 * DAY_S))
    (line,) = looked(month.service("calm"), rules_audit.look, longer)
    assert line.value == 3
    month.rules({"Fine": RULES["Fine"]})
    (line,) = looked(month.service("calm"), rules_audit.look, spec)
    assert (line.severity, line.text) == (Severity.OK, "all 1 ask for metrics that are there")


def test_links_that_rules_name(month: Months) -> None:
    """The rules come from a real Prometheus, the pages from a server here: what is dead is told, no secret is."""

    def answer(asked: Request) -> bytes:
        assert "authorization" not in asked.headers
        return reply("<html>how to</html>", Content_Type="text/html") if asked.path == "/ok" else GONE

    async def ask() -> None:
        async with Web(answer) as web:
            host = web.url.removeprefix("http://")
            annotations = {
                "Fine": {"runbook_url": f"http://me:canary@{host}/ok"},
                "Typo": {"runbook_url": f"{web.url}/old"},
                "Gone": {"runbook_url": web.url + "/{{ $labels.job }}"},
            }
            await asyncio.to_thread(month.rules, RULES, annotations)
            spec = LineSpec(why="w", probe="links")
            what = check("monthly", BOOKS)
            scene = Scene(
                name="bot", service=month.service("calm"), check=what, books=BOOKS, now=0, deadline_s=60
            )
            (line,) = await links.look(scene, "x", spec)
        assert (line.severity, line.text) == (Severity.WARNING, f"1 of 2 dead: {web.url}/old")
        assert line.detail is not None
        assert [row[1:] for row in line.detail.rows] == [
            ("dead", "404 Not Found", "Typo"),
            ("alive", "200 OK", "Fine"),
        ]
        assert "canary" not in str(line)

    asyncio.run(ask())


GONE = reply("", status="404 Not Found")


# --- the whole checks -----------------------------------------------------------------------------------


def whole(name: str, service: Service, at: float | None = None) -> CheckReport:
    what = check(name, BOOKS)
    return asyncio.run(run("bot", service, what, BOOKS, When(at=at, timeout_s=60), address=("-s", "bot")))


@pytest.fixture(scope="module")
def cared(month: Months, postgres: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The growing service with a database whose sequence is nearly at its end, and a cache."""
    admin = postgres.admin
    admin.execute("CREATE TABLE orders (id serial, n int)")
    admin.execute("SELECT setval('orders_id_seq', 2000000000)")
    with redis(tmp_path_factory.mktemp("cache")) as cache:
        yield replace(
            month.service("grows"), postgres=PostgresAt(dsn=postgres.server.url), redis=RedisAt(url=cache.url)
        )
    admin.execute("DROP TABLE orders")


def test_the_monthly_check_as_shipped(cared: Service) -> None:
    report = whole("monthly", cared)
    lines = {line.id: line for line in report.lines}
    assert len(lines) == len(report.lines)
    assert report.severity is Severity.CRITICAL
    assert not [line for line in report.lines if "a bug in oncall" in (line.reason or "")]
    sequence = lines["sequence"]
    assert (sequence.severity, sequence.text) == (Severity.CRITICAL, "93.1% of orders_id_seq")
    assert sequence.detail is not None
    assert lines["capacity_more.memory"].severity is Severity.WARNING
    assert lines["capacity_more.db_size"].text == "40 GB, +1 GB a day; no limit is set"
    assert lines["review.error_ratio"].severity is Severity.WARNING
    well = ("database", "wraparound", "freezing", "missing", "dead", "cache_memory", "cache_fragmentation")
    assert {lines[name].severity for name in (*well, "cache_evicted", "unused")} == {Severity.OK}
    # Nobody has asked this cache for anything yet.
    assert (lines["cache_hits"].counts, lines["cache_hits"].severity) == (False, Severity.UNKNOWN)
    assert lines["slowest"].counts is False, "pg_stat_statements is not in this database"


def test_the_weekly_check_as_shipped(cared: Service) -> None:
    report = whole("weekly", cared)
    lines = {line.id: line for line in report.lines}
    assert report.severity is Severity.WARNING
    assert not [line for line in report.lines if "a bug in oncall" in (line.reason or "")]
    assert lines["trends.error_ratio"].severity is Severity.WARNING
    assert lines["endpoints"].next is not None
    assert lines["endpoints"].next.command == "oncall diagnose latency -s bot"
    assert lines["server_slots"].severity is Severity.OK


def only(name: str, service: Service, *ids: str) -> dict[str, CheckLine]:
    """These lines alone of a check as shipped."""
    what = check(name, BOOKS)
    some = replace(what, lines={i: what.lines[i] for i in ids})
    report = asyncio.run(run("bot", service, some, BOOKS, When(timeout_s=60)))
    return {line.id: line for line in report.lines}


def test_the_statements_of_a_database_with_their_statistics(postgres: Stand) -> None:
    """The slowest by its mean, the heaviest by all its time: not the same one here."""
    admin = postgres.admin
    service = Service(postgres=PostgresAt(dsn=postgres.server.url))
    admin.execute("CREATE EXTENSION pg_stat_statements")
    try:
        admin.execute("SELECT pg_stat_statements_reset()")
        for _ in range(5):
            admin.execute("SELECT pg_sleep(0.06), 1 AS slow")
        for _ in range(40):
            admin.execute("SELECT pg_sleep(0.02), 1 AS often, 2 AS often_too")
        monthly = only("monthly", service, "slowest", "heaviest")
        weekly = only("weekly", service, "statements")
    finally:
        admin.execute("DROP EXTENSION pg_stat_statements")
    slowest, heaviest = monthly["slowest"], monthly["heaviest"]
    assert (slowest.severity, slowest.source, slowest.unit) == (Severity.OK, "postgres", "ms")
    assert slowest.value is not None
    assert 60 <= slowest.value < 1000
    assert slowest.detail is not None
    assert slowest.detail.rows[0][-1] == "SELECT pg_sleep($1), $2 AS slow"
    assert heaviest.detail is not None
    assert heaviest.detail.rows[0][-1] == "SELECT pg_sleep($1), $2 AS often, $3 AS often_too"
    for found in (heaviest, weekly["statements"]):
        assert found.severity is Severity.OK
        assert found.value is not None
        assert 0.4 < found.value < 0.9
        assert re.fullmatch(r"[\d.]+% of the database's time, [\d.]+ ms each", found.text or "")


def test_a_cache_that_is_too_small_evicts(tmp_path: Path) -> None:
    settings = {"maxmemory": "3mb", "maxmemory-policy": "allkeys-lru"}
    ids = ("cache_memory", "cache_evicted", "cache_fragmentation")
    with redis(tmp_path, settings) as server, Redis.from_url(server.url) as admin:
        service = Service(redis=RedisAt(url=server.url))
        before = only("monthly", service, *ids)
        with admin.pipeline(transaction=False) as pipe:
            for number in range(600):
                pipe.set(f"page:{number}", b"x" * 10_000)
            pipe.execute()
        evicted = int(admin.info("stats")["evicted_keys"])
        full = only("monthly", service, *ids)
    assert (before["cache_evicted"].severity, before["cache_evicted"].value) == (Severity.OK, 0)
    assert evicted > 100
    assert (full["cache_evicted"].severity, full["cache_evicted"].value) == (Severity.WARNING, 1)
    # A look needs room as well, and may evict a few more.
    said = re.match(r"(\d+) evicted, 0 expired, in \d+ s", full["cache_evicted"].text or "")
    assert said is not None
    assert evicted <= int(said[1]) < evicted + 50
    assert full["cache_memory"].severity in (Severity.WARNING, Severity.CRITICAL)
    # Of 3 MB most of what the server takes is the program: that is no fragmentation.
    assert full["cache_fragmentation"].severity is Severity.OK


def test_the_peaks_of_a_week(month: Months) -> None:
    lines = {line.id: line for line in whole("weekly", month.service("grows"), month.end).lines}
    assert lines["pool_peak"].value == pytest.approx(11, abs=0.1)
    assert lines["pool_peak"].week_ago == pytest.approx(10.65, abs=0.1)
    assert lines["memory_peak"].value == pytest.approx(1.5e9, rel=0.01)


def test_what_is_hidden_is_not_empty(cared: Service, postgres: Stand) -> None:
    """pg_monitor may not read sequences: nobody knows how full they are, and how to see it is said."""
    limited = PostgresAt(dsn=postgres.dsn(user="oncall", password="secret-canary"))
    lines = {line.id: line for line in whole("monthly", replace(cared, postgres=limited)).lines}
    assert (lines["sequence"].severity, lines["sequence"].counts) == (Severity.UNKNOWN, True)
    assert "GRANT pg_read_all_data" in (lines["sequence"].reason or "")
    assert lines["wraparound"].severity is Severity.OK


def test_what_only_a_primary_knows_is_not_asked_of_a_replica(cared: Service, postgres: Stand) -> None:
    with standby(postgres.server) as dsn:
        report = whole("monthly", replace(cared, postgres=PostgresAt(dsn=dsn)))
    lines = {line.id: line for line in report.lines}
    assert (lines["dead"].severity, lines["dead"].counts) == (Severity.UNKNOWN, False)
    assert lines["dead"].reason == "not applicable on a replica"
    assert lines["sequence"].severity is Severity.CRITICAL


@pytest.mark.parametrize("name", ["weekly", "monthly"])
def test_without_anything_nothing_is_well(name: str) -> None:
    report = whole(name, Service())
    assert report.severity is Severity.UNKNOWN
    assert {line.severity for line in report.lines if line.id != "runbooks"} == {Severity.UNKNOWN}


@pytest.mark.parametrize("name", ["weekly", "monthly"])
def test_a_dead_prometheus_takes_nothing_else_with_it(name: str, cared: Service) -> None:
    report = whole(name, replace(cared, prometheus=PrometheusAt(url="http://127.0.0.1:9")))
    lines = {line.id: line for line in report.lines}
    dead = [line for line in report.lines if line.source == "prometheus"]
    assert len(dead) > 5
    assert {line.severity for line in dead} == {Severity.UNKNOWN}
    assert lines["cache_memory"].severity is Severity.OK
