"""Listings, texts to paste, the progress line, pictures, what a stream can show, and evidence in words."""

import io
import json
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from oncall.model import Confidence, EvidenceReport
from oncall.render.diagnosis import diagnosis
from oncall.render.json_out import diagnosis_json
from oncall.render.look import Look, look
from oncall.render.markdown import diagnosis_markdown
from oncall.render.picture import svg
from oncall.render.progress import waiting
from oncall.render.runbook import Block, commands, listing
from oncall.render.table import Field, table
from oncall.render.text import safe
from oncall.render.words import best_against, mark, points, ranked_causes
from tests.render.pages import printed
from tests.render.samples import cause, evidence, leak

SQL = (
    "SELECT pid, state\n  FROM pg_stat_activity\n WHERE application_name = 'bot-controller' AND " + "x " * 60
)


# --- listings and texts to paste ---------------------------------------------------------------


def test_a_listing_wraps_and_cuts_nothing() -> None:
    rows = [("pool", "the connection pool is exhausted or close to it", 9), ("errors", "too many errors", 5)]
    wide = printed(listing(("issue", "title", "steps"), rows, 100), 100)
    assert wide.split("\n")[1] == "pool    the connection pool is exhausted or close to it  9"
    narrow = printed(listing(("issue", "title", "steps"), rows, 40), 40)
    for word in ["the", "connection", "pool", "is", "exhausted", "or", "close", "to", "it"]:
        assert word in narrow
    assert max(map(len, narrow.split("\n"))) <= 40


def test_an_empty_listing_says_so() -> None:
    assert printed(listing(("issue",), [], 80), 80) == "none\n"


def test_code_to_paste_is_never_broken() -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, color_system=None)
    console.print(
        commands("Connection pool", [Block("Sessions", SQL, "to see \x1b what is held")]), soft_wrap=True
    )
    lines = file.getvalue().split("\n")
    assert [line[4:] for line in lines if line.startswith("    ")] == [
        line.rstrip() for line in SQL.split("\n")
    ]
    assert r"to see \x1b what is held" in lines


FIELDS = st.integers(1, 6).flatmap(
    lambda rows: st.lists(
        st.builds(
            Field,
            st.text("abc_", min_size=1, max_size=12),
            st.lists(st.text(max_size=40).map(safe), min_size=rows, max_size=rows).map(tuple),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)


@settings(max_examples=150, deadline=None)
@given(FIELDS, st.integers(20, 140), st.booleans(), st.sampled_from([0, 2]))
def test_any_table_fits_its_width(fields: list[Field], width: int, whole: bool, indent: int) -> None:
    lines = table(fields, width, indent=indent, whole=whole)
    assert all(cell_len(line.plain) <= width for line in lines)


def test_columns_that_do_not_fit_are_named() -> None:
    fields = [Field(name, ("twelve chars", "another one!")) for name in ("one", "two", "three", "four")]
    shown = "\n".join(line.plain for line in table(fields, 44))
    assert "not shown at this width: four" in shown
    blocks = table(fields, 24)
    assert blocks[0].plain == "- one twelve chars"


def test_what_every_row_says_is_said_once_where_there_is_no_room() -> None:
    fields = [
        Field("pid", ("1", "2"), figures=True),
        Field("application", ("bot-controller", "bot-controller")),
        Field("query", ("SELECT 1 FROM exports", "SELECT 2 FROM exports")),
    ]
    assert [line.plain for line in table(fields, 40)] == [
        "pid  query",
        "  1  SELECT 1 FROM exports",
        "  2  SELECT 2 FROM exports",
        "in these rows: application",
        "bot-controller",
    ]
    assert "application" in table(fields, 60)[0].plain


def test_a_single_row_that_does_not_fit_becomes_a_block() -> None:
    fields = [Field(f"column_{n}", (str(n),), figures=True) for n in range(8)]
    lines = [line.plain for line in table(fields, 40)]
    assert lines[0] == "- column_0 0 · column_1 1 · column_2 2"
    assert " ".join(lines).count("column_") == 8


# --- the progress line ------------------------------------------------------------------------


def test_progress_names_who_has_not_answered() -> None:
    states = {"prometheus": "answered", "postgres": "asked", "http": "failed", "redis": "late"}
    assert waiting(states, 0.84).plain == "asking  prometheus ✓  postgres …  http ✗  redis ✗ late  0.8 s"
    assert (
        waiting(states, ascii_only=True).plain
        == "asking  prometheus ok  postgres ...  http failed  redis late"
    )
    assert cell_len(waiting(states, 0.8, width=30).plain) <= 30
    assert waiting({"x\x1b[2J": "\x1b"}).plain == r"asking  x\x1b[2J \x1b"


# --- pictures ------------------------------------------------------------------------------------


def test_a_picture_asks_no_other_site_for_anything() -> None:
    picture = svg(diagnosis(leak(), width=100), "oncall diagnose pool", 100)
    ET.fromstring(picture)
    assert "POOL&#160;EXHAUSTED" in picture
    assert "@font-face" not in picture
    assert picture.replace("http://www.w3.org/2000/svg", "").count("http") == 0


# --- what a stream can show -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "encoding", "terminal", "shown"),
    [
        ({"TERM": "xterm"}, "utf-8", True, Look(color=True, ascii_only=False)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "utf-8", True, Look(color=False, ascii_only=False)),
        ({"TERM": "xterm", "NO_COLOR": ""}, "utf-8", True, Look(color=True, ascii_only=False)),
        ({"TERM": "dumb"}, "utf-8", True, Look(color=False, ascii_only=True)),
        ({"TERM": "xterm"}, "utf-8", False, Look(color=False, ascii_only=False)),
        ({}, "ANSI_X3.4-1968", False, Look(color=False, ascii_only=True)),
        ({}, None, False, Look(color=False, ascii_only=True)),
        ({}, "no such encoding", False, Look(color=False, ascii_only=True)),
    ],
)
def test_what_a_stream_can_show(
    env: dict[str, str], encoding: str | None, terminal: bool, shown: Look
) -> None:
    assert look(env, encoding=encoding, terminal=terminal) == shown


# --- evidence in words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "sign"),
    [
        (evidence("there", holds=True), "+"),
        (evidence("not there", holds=False), "−"),
        (evidence("against", holds=True, supports=False), "−"),
        (evidence("not against", holds=False, supports=False), None),
        (evidence("unread", holds=None), "?"),
    ],
)
def test_the_mark_of_evidence(item: EvidenceReport, sign: str | None) -> None:
    assert mark(item) == sign


def test_evidence_stands_for_against_unread_with_the_decisive_first() -> None:
    found = cause(
        "pool.slow_queries",
        Confidence.LIKELY,
        evidence("unread", holds=None),
        evidence("against", holds=False),
        evidence("weak"),
        evidence("strong", decisive=True),
        missing=("redis: connection refused", "unread"),
    )
    assert points(found) == [
        ("+", "strong"),
        ("+", "weak"),
        ("−", "against"),
        ("?", "unread"),
        ("?", "missing: redis: connection refused"),
    ]


def test_ruled_out_by_what_speaks_against_rather_than_by_what_is_absent() -> None:
    found = cause(
        "pool.slow_queries",
        Confidence.RULED_OUT,
        evidence("no slow query", holds=False),
        evidence("all of them wait for a lock", supports=False),
    )
    assert best_against(found) == "all of them wait for a lock"


def test_unknown_causes_stand_before_those_ruled_out_and_ties_keep_their_order() -> None:
    order = [
        Confidence.RULED_OUT,
        Confidence.UNKNOWN,
        Confidence.LIKELY,
        Confidence.CONFIRMED,
        Confidence.LIKELY,
    ]
    found = [cause(id, confidence) for id, confidence in zip(_IDS, order, strict=True)]
    assert [c.id for c in ranked_causes(found)] == [_IDS[3], _IDS[2], _IDS[4], _IDS[1], _IDS[0]]


_IDS = [
    "pool.slow_queries",
    "pool.connection_leak",
    "pool.too_many_requests",
    "pool.too_small",
    "pool.lock_contention",
]


# --- over which time -----------------------------------------------------------------------------


def test_the_foot_says_what_rates_are_over_where_that_is_not_the_window() -> None:
    def foot(rate_s: float | None) -> str:
        return printed(diagnosis(replace(leak(), rate_s=rate_s), width=120), 120).rstrip().split("\n")[-1]

    assert "window 5 min · rates over 1 min · usual: the 1 h before" in foot(60)
    assert foot(300) == foot(None)
    assert "window 5 min · usual: the 1 h before" in foot(300)


def test_what_began_before_all_that_was_looked_at_says_before() -> None:
    found = leak()
    start = found.at - timedelta(seconds=found.window_s + found.baseline_s)
    oldest = replace(found, signals=tuple(replace(s, since=start) for s in found.signals))
    pages = [printed(diagnosis(oldest, width=width), width) for width in (120, 50)]
    for page in (*pages, diagnosis_markdown(oldest)):
        assert f"before {start:%H:%M}" in page
    assert {s["since"] for s in json.loads(diagnosis_json(oldest))["signals"]} == {None}
    assert f"before {start:%H:%M}" not in printed(diagnosis(found, width=120), 120)
