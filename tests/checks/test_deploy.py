"""Deploys of every kind, watched on a real Prometheus whose history is known."""

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oncall.checks.deploy import Asked, look, phase_of
from oncall.checks.deploy_measured import Span
from oncall.checks.deploy_probes import of_backups
from oncall.checks.deploy_rules import Rule
from oncall.lab.servers import free_port, start_prometheus, stop
from oncall.model import Severity
from oncall.model_checks import CheckLine
from oncall.model_deploy import Decision, DeployLine, DeployReport, Phase
from oncall.model_service import LogsAt, PrometheusAt, Service, Threshold
from oncall.runbook.loader import runbooks_of
from tests.checks.deploys import DAY_S, HOUR_S, MARK, MINUTE_S, WEEK_MARK, all_lines, stories
from tests.clients.promstand import KEEP, backfill

KEEP_IT, WATCH, ROLL_BACK, UNKNOWN = (
    Decision.KEEP,
    Decision.WATCH,
    Decision.ROLL_BACK,
    Decision.UNKNOWN,
)


class Stand:
    """The Prometheus of all stories, which end at `end` (Unix s)."""

    def __init__(self, url: str, end: int) -> None:
        self.url, self.end = url, end

    def at(self, ago: int) -> datetime:
        return datetime.fromtimestamp(self.end - ago, UTC)

    def look(
        self,
        job: str,
        *,
        since: int | None = None,
        phase: Phase | None = None,
        ago: int = 0,
        **service: object,
    ) -> DeployReport:
        at = PrometheusAt(url=self.url, selector={"job": job})
        chosen = Service(prometheus=at, **service)  # type: ignore[arg-type]  # any of its fields
        asked = Asked(
            since=None if since is None else self.at(since),
            at=self.at(ago),
            phase=phase,
            begun=self.end - ago,
            timeout_s=60,
        )
        return asyncio.run(look(job, chosen, runbooks_of(chosen, None), asked))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder, end = tmp_path_factory.mktemp("deploys"), int(time.time())
    backfill(folder, all_lines(stories(end)), "24h")
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield Stand(server.url, end)
    finally:
        stop(server)


def of(report: DeployReport, name: str) -> DeployLine:
    return next(line for line in report.lines if line.id == name)


# --- verdicts -----------------------------------------------------------------------------------------


def test_a_good_deploy_is_kept(stand: Stand) -> None:
    found = stand.look("good")
    assert (found.verdict, found.phase, found.summary) == (KEEP_IT, Phase.HOUR, "all 6 hold")
    assert found.mark.at == stand.at(MARK)
    assert not found.mark.given
    line = of(found, "error_rate")
    assert line.after == pytest.approx(0.001, rel=0.1)
    assert line.before == pytest.approx(0.001, rel=0.1)
    assert (line.target, line.weak) == ("below 0.5%", False)
    assert line.samples_before >= 240
    assert 0 < line.history_before < len(line.history) == 60
    assert of(found, "connections").target == "below 5 of 20"


def test_errors_after_it_are_a_roll_back(stand: Stand) -> None:
    found = stand.look("errors")
    assert (found.verdict, found.lines[0].id) == (ROLL_BACK, "error_rate")
    assert found.summary.startswith("Error rate: 8% misses the target")
    assert found.next is not None
    assert found.next.command == "oncall diagnose errors"
    assert [n.id for n in found.lines if n.decision is not KEEP_IT and n.counts] == ["error_rate"]


def test_what_was_as_bad_before_is_not_the_deploys_doing(stand: Stand) -> None:
    found = stand.look("bad-before")
    assert found.verdict is WATCH
    assert "the deploy is not to blame" in found.summary


def test_a_crash_loop_is_a_roll_back(stand: Stand) -> None:
    found = stand.look("loop")
    assert found.verdict is ROLL_BACK
    assert of(found, "crash_loop").decision is ROLL_BACK
    assert "app-1:8000 began 20 times since the deploy" in found.summary
    assert found.mark.at == found.mark.settled == stand.at(MARK)
    assert of(found, "uptime").decision is ROLL_BACK


def test_a_crash_loop_that_was_there_before_is_not_the_deploys(stand: Stand) -> None:
    found = stand.look("loop", since=10 * MINUTE_S)
    assert of(found, "crash_loop").decision is WATCH
    assert of(found, "uptime").decision is WATCH
    assert found.verdict is WATCH


def test_a_rolling_deploy_shows_its_first_and_its_last_start(stand: Stand) -> None:
    found = stand.look("rolling")
    assert found.verdict is KEEP_IT
    assert (found.mark.at, found.mark.settled) == (stand.at(MARK), stand.at(MARK - 300))
    assert [n.instance for n in found.mark.instances] == [f"app-{n}:8000" for n in (1, 2, 3)]
    assert of(found, "connections").target == "below 15 of 60"


def test_a_canary_is_named(stand: Stand) -> None:
    found = stand.look("canary")
    assert found.mark.untouched == ("app-2:8000", "app-3:8000")
    assert any("1 of 3 instances restarted" in note for note in found.notes)


def test_an_instance_that_was_replaced_is_down_only_as_long_as_it_was_there(stand: Stand) -> None:
    found = stand.look("replaced")
    assert found.verdict is WATCH
    # Three times three or four scrapes of three times 160
    assert of(found, "uptime").after == pytest.approx(0.98, abs=0.01)
    assert "met now" in of(found, "uptime").text
    assert len(found.mark.instances) == 3


def test_a_restart_in_the_time_before_acquits_nobody(stand: Stand) -> None:
    found = stand.look("by-and-by")
    assert found.verdict is WATCH
    assert of(found, "error_rate").text.endswith("in that time there was another restart")
    assert any("tell it with --since" in note for note in found.notes)
    whole = stand.look("by-and-by", since=56 * MINUTE_S)
    assert (whole.verdict, whole.lines[0].id) == (ROLL_BACK, "error_rate")


def test_one_slow_request_of_four_rolls_nothing_back(stand: Stand) -> None:
    found = stand.look("few")
    line = of(found, "response_time")
    assert (found.verdict, line.decision, line.weak) == (WATCH, WATCH, True)
    assert line.text.endswith("misses the target, over 4 requests only")


def test_where_all_of_few_requests_are_slow_it_is_no_chance(stand: Stand) -> None:
    found = stand.look("few-slow")
    assert (found.verdict, of(found, "response_time").decision) == (ROLL_BACK, ROLL_BACK)


def test_a_slow_leak_shows_on_the_first_day(stand: Stand) -> None:
    found = stand.look("leak")
    assert (found.verdict, found.phase) == (ROLL_BACK, Phase.DAY)
    assert found.summary.startswith("Memory: it grows without end")
    assert "before the deploy it did not" in found.summary
    assert of(found, "backups").counts is False


def test_the_first_hour_of_that_deploy_was_good(stand: Stand) -> None:
    found = stand.look("leak", phase=Phase.HOUR)
    assert (found.verdict, found.over) == (KEEP_IT, True)
    assert found.since_s == pytest.approx(HOUR_S, abs=1)
    assert abs(found.at - stand.at(5 * HOUR_S)) <= timedelta(seconds=1)
    assert any("not what is now" in note for note in found.notes)


def test_a_daily_rush_is_no_regression(stand: Stand) -> None:
    found = stand.look("rhythm")
    assert found.verdict is WATCH
    assert "as it did at this time yesterday" in of(found, "response_time").text
    # Yesterday may have had a fault of its own.
    assert of(found, "response_time").text.endswith("it may not be the deploy's doing")
    week = stand.look("rhythm", phase=Phase.WEEK)
    line = of(week, "response_time")
    assert (week.verdict, line.decision, line.telling) == (KEEP_IT, KEEP_IT, True)
    assert line.text == "not as just before, but as at this time on other days"
    assert line.day_ago == pytest.approx(0.12, rel=0.2)
    assert line.week_ago == pytest.approx(0.12, rel=0.2)


def test_the_same_rush_that_other_days_did_not_have_is_one(stand: Stand) -> None:
    found = stand.look("rush")
    assert (found.verdict, found.lines[0].id) == (ROLL_BACK, "response_time")
    assert found.lines[0].day_ago is None


def test_a_minute_after_it_nothing_is_sure(stand: Stand) -> None:
    found = stand.look("early")
    assert found.verdict is WATCH
    assert "over 5 samples only" in found.summary
    assert of(found, "error_rate").weak


# --- the first day and the first week -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "watched"),
    [
        ("more", {"traffic": "×3", "traffic_peak": "×3"}),
        ("fewer", {"traffic": "lower than before the deploy: ×0.2"}),
        ("spike", {"traffic_peak": "but not now"}),
        ("clients", {"error_patterns": "higher than before the deploy: ×6"}),
    ],
)
def test_the_first_day_watches_traffic_and_client_errors(
    stand: Stand, job: str, watched: dict[str, str]
) -> None:
    found = stand.look(job)
    assert (found.verdict, found.phase) == (WATCH, Phase.DAY)
    assert_watched(found, watched)


def test_where_nothing_changed_the_first_day_keeps(stand: Stand) -> None:
    found = stand.look("good", phase=Phase.DAY)
    assert found.verdict is KEEP_IT
    kept = {"traffic", "traffic_peak", "error_patterns", "memory", "error_rate", "connections", "restarts"}
    assert kept <= {n.id for n in found.lines if n.decision is KEEP_IT and n.counts}


def test_the_peak_is_that_of_minutes_and_not_of_all_the_time(stand: Stand) -> None:
    found = stand.look("spike")
    assert_moved(of(found, "traffic_peak"), 41, 200)
    assert_moved(of(found, "traffic"), 40, 46.7)


def assert_moved(line: DeployLine, before: float, after: float) -> None:
    assert line.before == pytest.approx(before, rel=0.1)
    assert line.after == pytest.approx(after, rel=0.1)


@pytest.mark.parametrize(
    ("job", "watched"),
    [
        (
            "week-errors",
            {"error_trend": "it grows without end: 0.3", "pool": "×4", "restarts": "began 2 times"},
        ),
        ("week-size", {"memory_level": "×2", "cpu": "×3", "response_time": "×2"}),
    ],
)
def test_the_first_week_watches_trends_and_resources(stand: Stand, job: str, watched: dict[str, str]) -> None:
    found = stand.look(job, since=WEEK_MARK)
    assert (found.verdict, found.phase) == (WATCH, Phase.WEEK)
    assert_watched(found, watched)


def assert_watched(found: DeployReport, watched: dict[str, str]) -> None:
    """These lines and no others, each with these words."""
    told = {n.id: n.text for n in found.lines if n.counts and n.decision is not KEEP_IT}
    assert told.keys() == watched.keys()
    for name, says in watched.items():
        assert of(found, name).decision is WATCH
        assert says in told[name]


def test_the_week_tells_each_rule_by_its_own_signal(stand: Stand) -> None:
    errors, size = (stand.look(job, since=WEEK_MARK) for job in ("week-errors", "week-size"))
    values = {
        "pool": (errors, 3, 12),
        "memory_level": (size, 4e8, 8e8),
        "cpu": (size, 0.2, 0.6),
        "response_time": (size, 0.025, 0.05),
    }
    for name, (report, before, after) in values.items():
        assert_moved(of(report, name), before, after)


def test_a_trend_is_told_while_the_target_is_still_met(stand: Stand) -> None:
    found = stand.look("week-errors", since=WEEK_MARK)
    assert of(found, "error_rate").decision is KEEP_IT
    assert of(found, "error_rate").recent == pytest.approx(0.004, rel=0.05)


def test_a_day_after_the_deploy_is_no_witness_of_what_was_usual(stand: Stand) -> None:
    found = stand.look("week-errors", since=WEEK_MARK)
    assert all(n.day_ago is None for n in found.lines)


@pytest.mark.parametrize(
    ("after", "ago", "known"),
    [(HOUR_S, DAY_S, True), (DAY_S, DAY_S, True), (2 * DAY_S, DAY_S, False), (7 * DAY_S, 7 * DAY_S, True)],
)
def test_another_day_is_one_before_the_deploy(after: int, ago: int, known: bool) -> None:
    begin = 1_700_000_000.0
    span = Span(
        before=begin - after - 60,
        before_end=begin - 60,
        begin=begin,
        end=begin + after,
        recent_s=300,
        interval_s=15,
    )
    assert span.other(ago) == (span.end - ago if known else None)


def test_what_no_number_tells_is_said_in_the_week_alone(stand: Stand) -> None:
    notes = {phase: stand.look("good", phase=phase).notes for phase in Phase}
    assert any("user complaints" in note for note in notes[Phase.WEEK])
    assert not any("complaints" in note for phase in (Phase.HOUR, Phase.DAY) for note in notes[phase])


# --- what is not known ------------------------------------------------------------------------------------


def test_no_restart_found(stand: Stand) -> None:
    found = stand.look("still")
    assert (found.verdict, found.lines, found.mark.at) == (UNKNOWN, (), None)
    assert found.summary.startswith("no restart in the 3 hours")
    assert "--since" in (found.mark.hint or "")


def test_a_moment_that_is_told_needs_no_restart(stand: Stand) -> None:
    found = stand.look("still", since=30 * MINUTE_S)
    assert (found.verdict, found.mark.at, found.mark.given) == (KEEP_IT, stand.at(30 * MINUTE_S), True)
    assert any("was it deployed" in note for note in found.notes)


def test_a_history_that_is_younger_than_the_deploy(stand: Stand) -> None:
    found = stand.look("young")
    assert found.verdict is UNKNOWN
    assert found.mark.at == stand.at(MARK)
    assert "the history begins 20 min" in of(found, "error_rate").text
    assert of(found, "error_rate").before is None


def test_a_deploy_of_long_ago_is_not_too_much_to_ask_for(stand: Stand) -> None:
    found = stand.look("good", since=400 * DAY_S)
    assert found.verdict is UNKNOWN
    assert "the history begins after the deploy" in found.summary


def test_a_share_of_what_nobody_knows_says_what_to_set(stand: Stand) -> None:
    line = of(stand.look("no-size"), "connections")
    assert (line.decision, line.target) == (UNKNOWN, "below 25% of all")
    assert "limits.pool" in (line.hint or "")


def test_a_metric_that_is_missing(stand: Stand) -> None:
    found = stand.look("bare")
    assert found.verdict is UNKNOWN
    assert "http_request_duration_seconds_bucket" in found.summary
    assert [n.id for n in found.lines if n.decision is UNKNOWN and n.counts] == ["response_time"]


def test_a_service_that_is_gone(stand: Stand) -> None:
    found = stand.look("gone")
    assert found.verdict is UNKNOWN
    assert "stale" in found.summary


def test_no_service_of_that_name(stand: Stand) -> None:
    found = stand.look("nobody")
    assert (found.verdict, found.summary) == (UNKNOWN, "no start time of the service in Prometheus")
    told = stand.look("nobody", since=600)
    assert (told.verdict, told.lines[0].decision) == (UNKNOWN, UNKNOWN)


def test_prometheus_that_is_down_or_not_configured(stand: Stand) -> None:
    down = Stand(f"http://127.0.0.1:{free_port()}", stand.end).look("good")
    assert (down.verdict, down.lines) == (UNKNOWN, ())
    assert "refused" in down.summary
    none = Service()
    found = asyncio.run(look("bot", none, runbooks_of(none, None), Asked()))
    assert (found.verdict, found.summary) == (UNKNOWN, "prometheus: not configured")


def test_a_prometheus_that_never_answers_takes_no_longer_than_told() -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def work() -> DeployReport:
        mute = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = mute.sockets[0].getsockname()[1]
        service = Service(prometheus=PrometheusAt(url=f"http://127.0.0.1:{port}"))
        found = await look("bot", service, runbooks_of(service, None), Asked(timeout_s=1))
        mute.close()
        return found

    found = asyncio.run(work())
    assert (found.verdict, found.lines) == (UNKNOWN, ())
    assert found.duration_ms < 20_000
    # What is left of the second, in as many figures as help
    assert re.search(r"(?:answer|connection) within (?:1|0\.\d{1,3}) s", found.summary), found.summary


def test_thresholds_of_alerts_are_not_the_targets_of_a_deploy(stand: Stand) -> None:
    found = stand.look("good", thresholds={"pool_active": Threshold(warning=1, critical=2)})
    assert of(found, "connections").bound == 5


# --- log lines and backups ----------------------------------------------------------------------------------


def log(folder: Path, stand: Stand, fresh: str, ago: int) -> LogsAt:
    """An old error each ten minutes, and another one five times, some seconds before the end."""
    lines = [
        f"{stand.at(before):%Y-%m-%dT%H:%M:%SZ} ERROR cache miss for key {before}"
        for before in range(2 * HOUR_S, 0, -600)
    ]
    lines += [f"{stand.at(ago - n):%Y-%m-%dT%H:%M:%SZ} ERROR {fresh} {n}" for n in range(5)]
    file = folder / "bot.log"
    file.write_text("\n".join(sorted(lines)) + "\n")
    return LogsAt(file=str(file))


def test_new_error_lines_are_watched(stand: Stand, tmp_path: Path) -> None:
    found = stand.look("good", logs=log(tmp_path, stand, "KeyError: tenant", 300))
    line = of(found, "new_errors")
    assert (found.verdict, line.decision, line.after) == (WATCH, WATCH, 1)
    assert "KeyError: tenant" in line.text
    assert line.detail is not None
    assert line.detail.rows[0][1] == 5


def test_errors_that_the_log_knew_are_not_new(stand: Stand, tmp_path: Path) -> None:
    found = stand.look("good", logs=log(tmp_path, stand, "KeyError: tenant", HOUR_S))
    assert (found.verdict, of(found, "new_errors").decision) == (KEEP_IT, KEEP_IT)


def line(severity: Severity, **changed: Any) -> CheckLine:  # noqa: ANN401 - any field
    plain = CheckLine(id="b", title="Nightly", severity=severity, why="", source="file")
    return msgspec.structs.replace(plain, **changed)


def test_backups_become_a_count_of_those_that_are_not_well() -> None:
    rule = Rule(id="backups", title="Backups", why="", weight="watches", probe="backups", below=1)
    good, bad = line(Severity.OK, text="3 h old"), line(Severity.WARNING, text="2 d old")
    dark = line(Severity.UNKNOWN, reason="cannot be read")
    assert of_backups(rule, (good,)).after == 0
    assert (of_backups(rule, (good, bad)).after, of_backups(rule, (good, bad)).text) == (
        1,
        "Nightly: 2 d old",
    )
    assert (of_backups(rule, (good, dark)).after, of_backups(rule, (dark,)).reason) == (
        None,
        "cannot be read",
    )
    assert of_backups(rule, ()).reason == "no backup is configured"
    aside = of_backups(rule, (line(Severity.UNKNOWN, reason="not configured", counts=False),))
    assert (aside.counts, aside.reason) == (False, "not configured")


@pytest.mark.parametrize(
    ("since_s", "phase"),
    [
        (0, Phase.HOUR),
        (3599, Phase.HOUR),
        (3601, Phase.DAY),
        (2 * DAY_S, Phase.WEEK),
        (9 * DAY_S, Phase.WEEK),
    ],
)
def test_the_phase_follows_from_the_time_since_the_deploy(since_s: int, phase: Phase) -> None:
    assert phase_of(since_s) is phase
