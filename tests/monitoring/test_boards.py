"""The dashboards' files: the document's 24 panels are there, a mistake is told with file:line, a team's own win."""

from dataclasses import replace
from pathlib import Path

import pytest

from oncall.errors import RunbookError, UsageFault
from oncall.model import Absence, Severity, StepReading, Unavailable
from oncall.model_boards import Panel
from oncall.model_service import Limits, Service, SignalSpec, Threshold
from oncall.monitoring.board_judge import Judged, Scene, panels, verdict
from oncall.monitoring.board_metrics import Measured, Reading, Split, signals_of
from oncall.monitoring.board_model import BoardSpec
from oncall.monitoring.board_promql import split, whole_of
from oncall.monitoring.boards import NAMES, board, board_files
from oncall.runbook.loader import Library, library
from oncall.units import Size

# The monitoring document's panels, dashboard by dashboard, in its order: the document's name, ours where it is
# shorter, how it is drawn, and in which unit; and the bands that it gives them.
DOCUMENT: dict[str, tuple[str, list[tuple[str, str, str, str | None]]]] = {
    "overview": (
        "System Overview",
        [
            ("Uptime", "", "state", "ratio"),
            ("Response Time P95", "P95 response time", "gauge", "seconds"),
            ("Error Rate", "", "series", "ratio"),
            ("Active Requests", "", "gauge", "requests"),
            ("Database Connections", "", "gauge", "connections"),
            ("Memory Usage", "Memory", "gauge", "bytes"),
        ],
    ),
    "requests": (
        "Request Metrics",
        [
            ("Request Rate", "", "series", "per_second"),
            ("Response Time Distribution", "Response time", "series", "seconds"),
            ("Request Size", "", "gauge", "bytes"),
            ("Response Size", "", "gauge", "bytes"),
            ("Top Slow Endpoints", "Slowest endpoints (P95)", "bars", "seconds"),
            ("Error Rate by Endpoint", "", "bars", "ratio"),
        ],
    ),
    "database": (
        "Database Performance",
        [
            ("Query Execution Time", "Query time", "series", "seconds"),
            ("Connection Pool Status", "Connection pool", "gauge", "connections"),
            ("Slow Queries", "", "table", None),
            ("Database Size", "", "gauge", "bytes"),
            ("Cache Hit Ratio", "", "gauge", "ratio"),
            ("Transaction Rate", "", "series", "per_second"),
        ],
    ),
    "operations": (
        "Operational Metrics",
        [
            ("CPU Usage", "CPU", "gauge", "ratio"),
            ("Memory Usage", "Memory", "gauge", "bytes"),
            ("Disk Space", "Disk space free", "gauge", "bytes"),
            ("Network I/O", "Network", "series", "bytes_per_second"),
            ("Active Bot Instances", "Active bots", "gauge", "bots"),
            ("Uptime", "Time since restart", "counter", "seconds"),
        ],
    ),
}
BANDS = {
    ("overview", "latency_p95"): (0.5, 2.0),
    ("overview", "error_ratio"): (0.01, 0.05),
    ("overview", "pool"): (10, 16),
    ("overview", "memory"): (1.2e9, 1.6e9),
    ("database", "pool"): (10, 16),
    ("operations", "cpu"): (0.7, None),
    ("operations", "memory"): (1.5e9, None),
}
SERVICE = Service(limits=Limits(memory=Size(2e9), pool=20))


@pytest.fixture(scope="module")
def books() -> Library:
    return library()


def scene(found: BoardSpec, service: Service = SERVICE, **values: float | Unavailable) -> Scene:
    """A refresh in which these signals had these values, and all others 1."""
    specs = signals_of(found, service)
    signals = {n: Reading(now=values.get(n, 1.0), source="prometheus", query=n) for n in specs}
    splits = {n: Split(found=(("/a", 1.0),), query="q") for n, p in found.panels.items() if p.by}
    return Scene(found, service, specs, Measured(signals=signals, splits=splits, end=1e9))


def shown(found: BoardSpec, service: Service = SERVICE, **values: float | Unavailable) -> dict[str, Panel]:
    return {p.id: p for p in panels(scene(found, service, **values))[0]}


def absent(kind: Absence) -> Unavailable:
    return Unavailable(kind=kind, reason=f"because {kind}")


# --- the document ----------------------------------------------------------------------------------


def test_the_documents_24_panels(books: Library) -> None:
    assert tuple(board_files(books))[:4] == NAMES
    for name, (title, wanted) in DOCUMENT.items():
        one = board(name, books)
        assert one.title.lower() == title.lower()
        told = [(p.title.lower(), p.kind, p.unit) for p in every_panel(one)]
        assert told == [((ours or theirs).lower(), kind, unit) for theirs, ours, kind, unit in wanted]
    assert sum(len(wanted) for _, wanted in DOCUMENT.values()) == 24


def test_numbers_beside_a_chart_and_the_lines_of_it_have_names(books: Library) -> None:
    """Errors a minute beside the error rate; the percentiles, both ways of the network."""
    found = {(name, p.id): p for name in NAMES for p in every_panel(board(name, books))}
    (aside,) = found["overview", "error_ratio"].asides
    assert (aside.name, aside.unit) == ("errors per minute", "errors")
    names = {key: [line.name for line in p.lines] for key, p in found.items() if p.kind == "series"}
    assert names == {
        ("overview", "error_ratio"): ["failing"],
        ("requests", "request_rate"): ["requests"],
        ("requests", "latency"): ["P50", "P95", "P99"],
        ("database", "query_time"): ["P50", "P95", "P99"],
        ("database", "transactions"): ["transactions"],
        ("operations", "network"): ["in", "out"],
    }


def test_the_bands_are_those_of_the_documents_dashboards(books: Library) -> None:
    for (name, panel), (warning, critical) in BANDS.items():
        one = _panel(board(name, books), panel)
        assert [one.warning, one.critical] == pytest.approx([warning, critical])
        assert one.judged


def every_panel(found: BoardSpec) -> tuple[Panel, ...]:
    """All of them, where Postgres answered nothing."""
    answer = absent(Absence.DOWN)
    rows = {
        n: StepReading(source="postgres", query="q", answer=answer) for n, p in found.panels.items() if p.sql
    }
    return panels(replace(scene(found), rows=rows))[0]


def _panel(found: BoardSpec, panel: str) -> Panel:
    """One panel of a board, without those that Postgres is asked for."""
    kept = {n: p for n, p in found.panels.items() if p.kind != "table"}
    whole = BoardSpec(name=found.name, title=found.title, panels=kept, signals=found.signals)
    return shown(whole, pool_size=20.0)[panel]


def test_bands_that_differ_from_the_alerts_say_why(books: Library) -> None:
    for name in NAMES:
        for panel in board(name, books).panels.values():
            if panel.bands is not None:
                assert len(panel.bands.why) > 20
                assert len(panel.signals) == 1


def test_an_unknown_name_says_which_there_are(books: Library) -> None:
    with pytest.raises(UsageFault) as failed:
        board("ovreview", books)
    assert "overview, requests, database, operations" in (failed.value.hint or "")


# --- a team's own ---------------------------------------------------------------------------------

GOOD = """\
dashboard: mine
title: Mine
signals:
  depth:
    title: Depth
    unit: messages
    gauge: queue_depth
    warning: 5
panels:
  depth:
    title: Queue
    kind: gauge
    why: w
    signals: [depth]
"""


def own(tmp_path: Path, text: str, name: str = "mine") -> Library:
    folder = tmp_path / "dashboards"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return library(tmp_path)


def test_a_team_adds_and_replaces(tmp_path: Path) -> None:
    text = GOOD.replace("dashboard: mine", "dashboard: overview")
    books = own(tmp_path, GOOD)
    assert tuple(board_files(books)) == (*NAMES, "mine")
    assert shown(board("mine", books), depth=6.0)["depth"].severity is Severity.WARNING
    assert board("overview", own(tmp_path, text, "overview")).title == "Mine"


MISTAKES = {
    "a name that the file does not have": ("dashboard: mine", "dashboard: other", 1, "the file's name"),
    "an unknown key": ("    why: w", "    wy: w", 13, "wy"),
    "an unknown kind": ("kind: gauge", "kind: dial", 12, "dial"),
    "a signal that is none": ("signals: [depth]", "signals: [dept]", 14, "'dept' is no signal"),
    "two signals of a gauge": ("signals: [depth]", "signals: [depth, cpu]", 10, "exactly one"),
    "names that do not fit": ("signals: [depth]", "signals: [depth]\n    names: [a, b]", 15, "expected one"),
    "bars without a label": ("kind: gauge", "kind: bars", 10, "by"),
    "a label that is none": ("kind: gauge", "kind: bars\n    by: 1x", 13, "label"),
    "a table without sql": ("kind: gauge", "kind: table", 10, "needs `sql`"),
    "sql that writes": ("signals: [depth]", "signals: [depth]\n    sql: DELETE FROM a", 15, "sql"),
    "a bad share": (
        "signals: [depth]",
        "signals: [depth]\n    bands: {why: w, warning: 1, share_of: 'a +'}",
        15,
        "share_of",
    ),
    "no form": ("    gauge: queue_depth\n", "", 4, "exactly one"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_its_line(case: str, tmp_path: Path) -> None:
    before, after, line, told = MISTAKES[case]
    assert before in GOOD
    with pytest.raises(RunbookError) as failed:
        board("mine", own(tmp_path, GOOD.replace(before, after)))
    assert f"mine.yaml:{line}" in str(failed.value), str(failed.value)
    assert told in str(failed.value)


# --- judging -----------------------------------------------------------------------------------------


def test_a_teams_threshold_wins_over_the_documents_band(books: Library) -> None:
    found = board("overview", books)
    assert shown(found, latency_p95=0.6, pool_size=20.0)["latency_p95"].severity is Severity.WARNING
    moved = Service(limits=SERVICE.limits, thresholds={"latency_p95": Threshold(warning=3, critical=8)})
    one = shown(found, moved, latency_p95=0.6, pool_size=20.0)["latency_p95"]
    assert (one.severity, one.warning, one.bands_note) == (Severity.OK, 3, None)


def test_a_share_of_what_is_not_known_has_no_bands_and_says_so(books: Library) -> None:
    one = shown(board("overview", books), Service(), memory=1.9e9, pool_size=20.0)["memory"]
    assert (one.value, one.judged, one.severity) == (1.9e9, False, Severity.UNKNOWN)
    assert any("limits.memory" in note for note in one.notes)


def test_the_whole_is_shown_of_what_is_a_part_of_it(books: Library) -> None:
    found = shown(board("overview", books), pool_active=17.0, pool_size=20.0, memory=1.3e9)
    assert (found["pool"].of, found["memory"].of) == (20.0, 2e9)
    assert found["pool"].severity is Severity.CRITICAL


def test_time_since_restart_counts_the_restarts(books: Library) -> None:
    found = board("operations", books)
    base = scene(found)
    at = {**base.measured.signals}
    starts = (*[1e9 - 9000.0] * 60, None, *[1e9 - 1800.0] * 60)
    at["uptime"] = Reading(now=1e9 - 1800.0, source="prometheus", values=starts)
    measured = Measured(signals=at, splits={}, end=1e9)
    one = {p.id: p for p in panels(Scene(found, SERVICE, base.specs, measured))[0]}["uptime"]
    assert (one.value, one.unit) == (1800.0, "seconds")
    assert one.notes == ("1 restart within 1 h",)


def _judged(severity: Severity, absence: Absence | None = None, *, banded: bool = True) -> Judged:
    panel = Panel(id="x", title="X", kind="gauge", severity=severity, judged=banded)
    return Judged(panel, absence)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([_judged(Severity.OK), _judged(Severity.WARNING)], Severity.WARNING),
        ([_judged(Severity.CRITICAL), _judged(Severity.UNKNOWN, Absence.DOWN)], Severity.CRITICAL),
        ([_judged(Severity.OK), _judged(Severity.UNKNOWN, Absence.DOWN)], Severity.UNKNOWN),
        ([_judged(Severity.OK), _judged(Severity.UNKNOWN, Absence.STALE)], Severity.UNKNOWN),
        ([_judged(Severity.OK), _judged(Severity.UNKNOWN, Absence.NO_DATA)], Severity.OK),
        ([_judged(Severity.UNKNOWN, Absence.NO_DATA)], Severity.UNKNOWN),
        ([_judged(Severity.OK, banded=False)], Severity.OK),
        (
            [_judged(Severity.OK, banded=False), _judged(Severity.UNKNOWN, Absence.DOWN, banded=False)],
            Severity.OK,
        ),
        # The only one with bands is not there: what is left decides nothing.
        ([_judged(Severity.OK, banded=False), _judged(Severity.UNKNOWN, Absence.NO_DATA)], Severity.UNKNOWN),
        ([], Severity.UNKNOWN),
    ],
)
def test_the_verdict_is_the_worst_band_that_was_read(found: list[Judged], wanted: Severity) -> None:
    assert verdict(found) is wanted


@pytest.mark.parametrize("name", NAMES)
def test_nothing_read_is_unknown_and_never_a_zero(name: str, books: Library) -> None:
    found = board(name, books)
    base = scene(found)
    nothing = {n: Reading(now=absent(Absence.DOWN), source="prometheus") for n in base.specs}
    rows = _no_rows(found)
    told, severity = panels(
        Scene(found, SERVICE, base.specs, Measured(signals=nothing, splits={}, end=1e9), rows)
    )
    assert severity is Severity.UNKNOWN
    assert all(p.value is None and p.reason and not p.bars for p in told)
    assert all(p.severity is Severity.UNKNOWN for p in told)


@pytest.mark.parametrize(
    ("name", "signal", "wanted"),
    [
        ("overview", "pool_active", Severity.UNKNOWN),
        ("overview", "instances_up", Severity.UNKNOWN),
        ("operations", "memory", Severity.UNKNOWN),
        # Of the node exporter, which need not be there
        ("operations", "host_cpu", Severity.OK),
    ],
)
def test_what_every_service_has_is_missed(name: str, signal: str, wanted: Severity, books: Library) -> None:
    well: dict[str, float | Unavailable] = {
        "error_ratio": 0.0,
        "latency_p95": 0.1,
        "pool_active": 0.0,
        "host_cpu": 0.1,
        "disk_free": 1e11,
    }
    found = board(name, books)
    rows = _no_rows(found)
    base = scene(found, SERVICE, **{**well, signal: absent(Absence.NO_DATA)})
    assert panels(replace(base, rows=rows))[1] is wanted


def _no_rows(found: BoardSpec) -> dict[str, StepReading]:
    why = absent(Absence.DOWN)
    return {
        n: StepReading(source="postgres", query=p.sql, answer=why) for n, p in found.panels.items() if p.sql
    }


# --- split by a label ----------------------------------------------------------------------------------


FORMS: dict[str, tuple[SignalSpec, str]] = {
    "gauge": (SignalSpec(gauge="depth", across="max"), 'topk(3, (max by (queue) (depth{job="bot"})) > 0)'),
    "rate": (SignalSpec(rate="x_total"), 'topk(3, (sum by (queue) (rate(x_total{job="bot"}[300s]))) > 0)'),
    "mean": (
        SignalSpec(mean="x_seconds"),
        'topk(3, (sum by (queue) (rate(x_seconds_sum{job="bot"}[300s]))'
        ' / sum by (queue) (rate(x_seconds_count{job="bot"}[300s]))) > 0)',
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_signal_is_split_by_a_label(form: str) -> None:
    spec, wanted = FORMS[form]
    assert split(spec, "queue", {"job": "bot"}, 300, 3) == wanted
    assert whole_of(spec, "queue", {"job": "bot"}).startswith("count(")


def test_an_expression_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        split(SignalSpec(promql="vector(1)"), "queue", {}, 300, 3)
