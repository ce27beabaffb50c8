"""A status and health on paper, to the letter; and with anything in them at any width."""

import json
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from oncall.render.fleet import Row, fleet
from oncall.render.health import health_of_all_page, health_page
from oncall.render.json_out import status_json
from oncall.render.status import status_of_all_page, status_page
from oncall.render.status_words import (
    health_markdown,
    health_of_all_markdown,
    status_markdown,
    status_of_all_markdown,
)
from oncall.render.text import cells
from tests.render.pages import printed
from tests.render.reports import TEXT, changed
from tests.render.sample_status import (
    ILL,
    OK,
    STATUSES,
    WARNING,
    WELL,
    bad,
    calm,
    everyone,
    health_of_everyone,
)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", STATUSES)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert printed(status_page(STATUSES[name](), width=width), width) == golden


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_service(width: int, golden: SnapshotAssertion) -> None:
    assert printed(status_of_all_page(everyone(), width=width), width) == golden


@pytest.mark.parametrize("width", [40, 80])
def test_health(width: int, golden: SnapshotAssertion) -> None:
    shown = [health_page(ILL, width=width), health_page(WELL, width=width)]
    shown.append(health_of_all_page(health_of_everyone(), width=width))
    assert "=====\n".join(printed(page, width) for page in shown) == golden


def test_markdown(golden: SnapshotAssertion) -> None:
    shown = [status_markdown(bad()), status_of_all_markdown(everyone()), health_markdown(ILL)]
    shown.append(health_of_all_markdown(health_of_everyone()))
    assert "=====\n".join(shown) == golden


def test_in_ascii_and_colour() -> None:
    for page in (status_page(bad(), width=80, ascii_only=True), health_page(ILL, width=80, ascii_only=True)):
        assert printed(page, 80).isascii()
    assert "\x1b[1;31m" in printed(status_page(bad(), width=80), 80, terminal=True)


def test_the_answer_is_the_first_two_lines_and_stands_at_the_end_of_a_long_page_too() -> None:
    first, following = printed(status_page(bad(), width=100), 100).splitlines()[:2]
    assert first.startswith("POOL IN USE 19/20, AND 2 MORE   bot-controller · production · 03:12:41 UTC")
    assert first.endswith("critical")
    assert following.startswith("Next    oncall diagnose pool -s bot-controller")
    last = printed(status_page(bad(), width=100, height=12), 100).splitlines()[-2:]
    assert last == [first, following]


def test_all_well_says_so_and_offers_nothing() -> None:
    shown = printed(status_page(calm(), width=80), 80)
    assert shown.startswith("ALL WELL   bot-controller")
    assert "Next" not in shown
    assert "none by this machine's audit log" in shown


def test_json_is_one_document() -> None:
    found = json.loads(status_json(everyone()))
    assert found["schema"] == "oncall/status-all/1"
    assert [s["service"] for s in found["services"]][:1] == ["bot-controller"]
    assert found["services"][0]["at"] == "2026-01-01T03:12:41Z"
    assert json.loads(status_json(ILL))["endpoints"][0]["state"] == "down"


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_a_line_a_service_fits(width: int) -> None:
    rows = [
        Row(WARNING, f"service-{n:03}", "production", "pool in use 19/20", "2 critical") for n in range(9)
    ]
    shown = [line.plain for line in fleet(rows, width)]
    assert max(map(cells, shown)) <= width
    if width >= 80:
        assert len(shown) == 10


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=6), st.floats(), st.integers(20, 150), st.booleans())
def test_any_text_at_any_width(texts: list[str], number: float, width: int, ascii_only: bool) -> None:
    pages: list[tuple[Any, Callable[..., Any], Callable[[Any], str]]] = [
        (bad(), status_page, status_markdown),
        (everyone(), status_of_all_page, status_of_all_markdown),
        (ILL, health_page, health_markdown),
        (health_of_everyone(), health_of_all_page, health_of_all_markdown),
    ]
    for report, page, marked in pages:
        drawn = cycle(texts)
        odd = changed(report, lambda _, drawn=drawn: next(drawn), lambda _: number)  # type: ignore[misc]
        shown = printed(page(odd, width=width, ascii_only=ascii_only), width)
        assert not set(shown) & set("\x1b\x9b\x07\u202e\r\t")
        assert not ascii_only or shown.isascii()
        assert max(map(cells, shown.splitlines()), default=0) <= width
        assert not set(marked(odd)) & set("\x1b\x9b\x07\u202e\r\t")
        json.loads(status_json(odd))


def test_severities_are_words_of_their_own() -> None:
    assert fleet([], 80) == []
    assert fleet([Row(OK, "a", "b", "c")], 80)[1].plain.startswith("ok")
