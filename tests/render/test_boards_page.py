"""The dashboards as they stand on a screen: to the letter at three sizes, and within the screen at every other."""

import json
import math
import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group
from rich.text import Text
from syrupy.assertion import SnapshotAssertion

from oncall.model import Column, Severity, Table
from oncall.model_boards import Board, Line
from oncall.render.board import board_page, keys_line
from oncall.render.board_chart import Pen, chart
from oncall.render.board_panel import framed, shortened
from oncall.render.board_words import board_markdown
from oncall.render.json_out import board_json
from oncall.render.picture import html, svg
from oncall.render.text import cells
from tests.render.pages import printed
from tests.render.reports import TEXT
from tests.render.sample_boards import BOARDS, alone, board, database, overview, panel, requests

SIZES = [(80, 24), (120, 40), (200, 60)]
KEYS = keys_line(tuple(BOARDS), "overview", "30 min", paused=False)


def lines_of(page: Group) -> list[str]:
    return [text.plain for text in page.renderables if isinstance(text, Text)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", BOARDS)
def test_screen(name: str, size: tuple[int, int], golden: SnapshotAssertion) -> None:
    width, height = size
    page = board_page(BOARDS[name](), width=width, height=height, foot=KEYS)
    assert printed(page, width) == golden


@pytest.mark.parametrize("name", BOARDS)
def test_screen_in_ascii(name: str, golden: SnapshotAssertion) -> None:
    said = printed(board_page(BOARDS[name](), width=80, height=24, ascii_only=True), 80)
    assert said.isascii()
    assert said == golden


def test_printed_once_in_a_pipe(golden: SnapshotAssertion) -> None:
    assert printed(board_page(overview(), width=120), 120) == golden


def test_markdown(golden: SnapshotAssertion) -> None:
    assert "\n\n".join(board_markdown(make()) for make in BOARDS.values()) == golden


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("width", [20, 33, 40, 63, 64, 79, 80, 107, 108, 133, 200])
def test_everything_is_on_the_screen_at_each_size(name: str, width: int) -> None:
    found = BOARDS[name]()
    words = words_of(printed(board_page(found, width=400), 400))
    for height in (10, 18, 24, 31, 40, 60):
        lines = lines_of(board_page(found, width=width, height=height, foot=KEYS))
        assert len(lines) <= height
        assert max(map(cells, lines)) <= width
        if width >= 64 and height >= 24:
            assert len(lines) == height
            text = "\n".join(lines)
            assert all(
                (p.title if width >= 80 and width != 108 else p.title.split()[0]) in text
                for p in found.panels
            )
            # No word of the wide page begins at the end of a line of a panel and goes on below.
            inner = [line.strip("│ ") for line in lines]
            assert not [a for a, b in pairwise(inner) if joined(a, b) in words]


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{5,}", text))


def joined(above: str, below: str) -> str:
    ends, begins = re.search(r"[A-Za-z]+$", above), re.match(r"[A-Za-z]+", below)
    return ends[0] + begins[0] if ends and begins else ""


@pytest.mark.parametrize("name", BOARDS)
def test_each_panel_has_the_size_that_it_is_given(name: str) -> None:
    for one in BOARDS[name]().panels:
        for pen in (Pen(), Pen(ascii_only=True)):
            for width, height in [(20, 1), (24, 2), (24, 3), (38, 5), (40, 7), (66, 11), (66, 28), (198, 9)]:
                shown = framed(one, 3600, width, height, pen)
                assert [cells(text.plain) for text in shown] == [width] * height, (one.id, width, height)


def test_the_state_is_said_in_words_not_in_colour_alone() -> None:
    said = printed(board_page(overview(), width=80, height=24), 80)
    assert said.splitlines()[0].endswith("critical, 1 of 6 no data")
    assert said.count("critical ─╮") == 2
    assert said.count("warning ─╮") == 1
    assert said.count("no data ─╮") == 1


def test_a_share_of_what_is_known_is_not_said_of_all() -> None:
    (uptime, *_) = overview().panels
    young = msgspec.structs.replace(uptime, lines=(Line(name="", values=(*[None] * 81, *[1.0] * 40)),))
    said = "\n".join(t.plain for t in framed(young, 7 * 86_400, 66, 8, Pen()))
    assert "up 100% of the 2 d 8 h that are known" in said


def test_a_dashboard_without_bands_is_not_called_well() -> None:
    assert printed(board_page(requests(), width=120, height=40), 120).splitlines()[0].endswith("no bands")


def test_an_empty_panel_says_why_in_its_own_frame() -> None:
    text = "\n".join(lines_of(board_page(overview(), width=80, height=24)))
    memory = text[text.index("Memory") :]
    assert "no data for" in memory
    assert "process_resident_memory_bytes" in memory
    assert " 0 B" not in memory


def test_what_is_stale_still_shows_its_past() -> None:
    (_, pool, *_) = database().panels
    said = "\n".join(t.plain for t in framed(pool, 3600, 66, 18, Pen()))
    assert "stale: the newest sample is 412 s old" in said
    assert "1 h ago" in said


# --- charts ---------------------------------------------------------------------------------------------


def drawn(values: tuple[float | None, ...], width: int = 60, height: int = 10, **given: object) -> list[str]:
    one = panel("x", "X", "series", Severity.OK, lines=alone(values), **given)
    return [text.plain for text in chart(one, 3600, width, height, Pen(ascii_only=True))]


def test_a_gap_in_the_data_is_a_gap_in_the_line() -> None:
    whole = drawn((5.0,) * 121)
    cut = drawn(tuple(None if 40 <= at < 80 else 5.0 for at in range(121)))
    assert "*" * 50 in whole[0]
    assert re.search(r"\*+ {15,}\*+", cut[0])
    assert drawn(tuple(math.nan if 40 <= at < 80 else 5.0 for at in range(121))) == cut


def test_a_peak_of_one_point_is_seen() -> None:
    spike = drawn((*[1.0] * 50, 100.0, *[1.0] * 70), width=40)
    assert spike[0].count("*") == 1
    assert spike[0].lstrip().startswith("100")


def test_the_scale_holds_the_bounds_of_a_series() -> None:
    lines = drawn((0.001,) * 121, unit="ratio", warning=0.01, critical=0.05)
    assert lines[0].startswith("5% ---")
    assert any(line.startswith("1% ---") for line in lines)


@given(st.integers(1, 19), st.floats(0, 0.05), st.integers(5, 30))
@settings(max_examples=60)
def test_what_reaches_its_bound_is_not_drawn_under_it(bound: int, above: float, height: int) -> None:
    lines = drawn((bound * (1 + above),) * 9, height=height, warning=float(bound), critical=20.0)
    labels = [text.split(" ")[text[:1] == " "] for text in lines]
    assert str(bound) not in labels or "*" in "".join(lines[: labels.index(str(bound)) + 1])


def test_lines_are_told_apart_without_colour() -> None:
    (_, latency, *_) = requests().panels
    said = "\n".join(t.plain for t in chart(latency, 3600, 66, 12, Pen(ascii_only=True)))
    assert all(name in said for name in ("* P50 90 ms", "+ P95 4.2 s", "o P99 7.5 s"))


@given(
    st.lists(st.none() | st.floats(-1e300, 1e300), max_size=130),
    st.integers(1, 90),
    st.integers(0, 30),
    st.booleans(),
)
@settings(max_examples=150)
def test_a_chart_keeps_to_its_room(
    values: list[float | None], width: int, height: int, ascii_only: bool
) -> None:
    lines = tuple(Line(name=name, values=tuple(values), now=1.0) for name in ("", "P95"))
    one = panel("x", "X", "series", Severity.OK, lines=lines, warning=3.0)
    shown = chart(one, 3600, width, height, Pen(ascii_only))
    assert len(shown) <= height
    assert all(cells(text.plain) <= width for text in shown)


# --- foreign text, words ----------------------------------------------------------------------------------


@given(TEXT, st.integers(22, 90))
@settings(max_examples=60)
def test_foreign_text_is_inert_and_keeps_to_the_frame(text: str, width: int) -> None:
    table = Table(columns=(Column(name="calls"), Column(name="query")), rows=((3, text), (4, text)))
    found = board(
        "x",
        "X",
        Severity.OK,
        panel("a", "A", "table", Severity.OK, table=table),
        panel("b", "B", "gauge", Severity.UNKNOWN, reason=text, hint=text),
    )
    for line in lines_of(board_page(found, width=width, height=20)):
        assert line.isprintable()
        assert cells(line) <= width


def test_titles_lose_whole_words() -> None:
    assert shortened("Error rate by endpoint", 30) == "Error rate by endpoint"
    assert shortened("Error rate by endpoint", 15) == "Error rate by…"
    assert shortened("Error rate by endpoint", 13) == "Error rate…"


def test_the_keys_fit_a_screen_of_eighty() -> None:
    for name in BOARDS:
        for paused in (True, False):
            line = " · ".join(keys_line(tuple(BOARDS), name, "30 min", paused=paused))
            assert cells(line) <= 80


# --- documents ---------------------------------------------------------------------------------------------


def test_json_is_the_struct() -> None:
    found: Board = overview()
    told = json.loads(board_json(found))
    assert told["schema"] == "oncall/dashboard/1"
    assert told["at"] == "2026-01-01T03:12:41Z"
    assert [p["id"] for p in told["panels"]] == [p.id for p in found.panels]
    assert told["panels"][0]["lines"][0]["values"][90] is None


def test_json_of_what_is_no_number_is_null() -> None:
    line = Line(name="odd", values=(1.0, math.nan, math.inf, -math.inf), now=math.nan)
    odd = panel("odd", "Odd", "series", Severity.OK, lines=(line,), value=math.inf)
    encoded = board_json(board("odd", "Odd", Severity.OK, odd))
    told = json.loads(encoded, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    (shown,) = told["panels"]
    assert shown["value"] is None
    assert shown["lines"] == [{"name": "odd", "values": [1.0, None, None, None], "now": None}]


def test_pictures_ask_nothing_of_any_other_site() -> None:
    page = board_page(overview(), width=120)
    for text in (svg(page, "a <b>", 120), html(page, "a <b> {c}", 120)):
        assert "System" in text or "SYSTEM" in text
        assert not re.search(r"(?:src|href|url)\W+https?:", text)
        assert "<b>" not in text
