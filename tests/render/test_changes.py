"""What changed, on paper: nothing runs out of the page, nothing foreign is obeyed, little is said of nothing."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.model_changes import ChangeReport, Changes, LeftOut
from oncall.render.change_words import bars, changes_markdown, headline, lines, moved
from oncall.render.changes import changes_page
from oncall.render.json_out import changes_json
from tests.render.pages import printed
from tests.render.reports import TEXT

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC)


def change(metric: str = "pool_active", **changed: Any) -> ChangeReport:  # noqa: ANN401 - any field
    """A step from 4 to 18, eight minutes ago."""
    plain = ChangeReport(
        metric=metric,
        labels={"job": "bot"},
        before=4.0,
        now=18.0,
        shift=14.0,
        direction="up",
        onset=AT - timedelta(minutes=8),
        weak=False,
        history=(*[4.0] * 52, *[18.0] * 8),
    )
    return msgspec.structs.replace(plain, **changed)


def found(*changes: ChangeReport, **changed: Any) -> Changes:  # noqa: ANN401 - any field
    plain = Changes(
        service="bot-controller",
        at=AT,
        window_s=300.0,
        baseline_s=3600.0,
        compared=93,
        changes=changes,
        changed=sum(c.clear for c in changes),
        environment="production",
        first=changes[0] if changes else None,
        common={"job": "bot"},
    )
    return msgspec.structs.replace(plain, **changed)


def page(report: Changes, width: int = 80, *, ascii_only: bool = False) -> str:
    return printed(changes_page(report, width=width, ascii_only=ascii_only), width)


def test_the_answer_is_the_first_line() -> None:
    assert page(found(change(labels={"job": "bot", "pool": "a"}))).splitlines()[:2] == [
        '1 of 93 series changed; first at 03:04: pool_active{pool="a"} 4 → 18, ×4.5',
        "bot-controller · production · 03:12:00 UTC",
    ]


def test_nothing_changed() -> None:
    shown = page(found(change(clear=False, shift=0.5), first=None))
    assert shown.startswith("none of 93 series changed\n")
    assert "pool_active" not in shown


def test_nothing_known() -> None:
    report = found(compared=0, reason="connection refused", hint="is it running?")
    for shown in (page(report), changes_markdown(report)):
        assert shown.replace("*", "").startswith("changes unknown")
        assert shown.count("connection refused") == 1
        assert "is it running?" in shown


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "×4.5"),
        ({"now": 2.0, "direction": "down"}, "×0.5"),
        ({"before": 0.0}, "from 0"),
        ({"before": None, "new": True, "shift": None}, "new"),
        ({"now": None, "gone": True, "shift": None}, "gone"),
        ({"now": -3.0, "direction": "down"}, "-7"),
        ({"metric": "age(start)", "now": 1.0, "direction": "down"}, "anew"),
    ],
)
def test_how_far_in_a_word(changed: dict[str, Any], says: str) -> None:
    assert moved(change(**changed)) == says


def test_a_change_over_few_samples_is_marked() -> None:
    assert "×4.5 weak" in page(found(change(weak=True)), 120)


def test_of_one_metric_the_first_three_are_shown() -> None:
    report = found(*(change("requests_total", labels={"path": str(i)}) for i in range(12)), change())
    shown = lines(report)
    assert [(row.place, row.more) for row in shown] == [(1, 0), (2, 0), (3, 9), (13, 0)]
    assert "… and 9 more of requests_total, up" in page(report)
    assert len(json.loads(changes_json(report))["changes"]) == 13


def test_the_bars_show_where_the_baseline_ends() -> None:
    drawn = bars(change(), found(), 14)
    assert drawn == "▃▃▃▃▃▃▃▃▃▃▃█│█"
    fallen = change(direction="down", now=0.0, history=(*[9.0] * 56, *[0.0] * 4))
    assert bars(fallen, found(), 14).endswith("│▁")
    assert bars(change(history=()), found(), 14) == ""


def test_what_was_left_out_and_what_is_not_shown() -> None:
    report = found(
        change(),
        changed=30,
        left_out=tuple(LeftOut(series=9, reason="over the limit", metric=f"m{i}") for i in range(6)),
        notes=("the history begins at 02:00:00 UTC",),
    )
    shown = " ".join(page(report).split())
    assert "29 more changed: --top 30 shows them" in shown
    assert "54 series left out, over the limit: m0 (9), m1 (9), m2 (9), m3 (9) and 2 more metrics" in shown
    assert "the history begins at 02:00:00 UTC" in shown


def test_a_partial_answer_is_said() -> None:
    shown = page(found(change(), reason="partial answer: store is away"))
    assert "Could not be seen\n? partial answer: store is away" in shown


def test_on_a_small_screen_the_answer_stands_at_the_end_too() -> None:
    report = found(*(change(f"m{i}") for i in range(20)))
    shown = printed(changes_page(report, width=80, height=10), 80)
    assert shown.count(headline(report)[:20]) == 2


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(20, 140), st.booleans())
def test_any_text_at_any_width(metric: str, value: str, reason: str, width: int, ascii_only: bool) -> None:
    one = change(metric, labels={metric: value, "job": "bot"})
    report = found(one, one, reason=reason or None, notes=(value,), service=metric, common={value: reason})
    shown = page(report, width, ascii_only=ascii_only)
    assert not set(shown) & set("\x1b\x9b\x07\u202e\r\t")
    assert not ascii_only or shown.isascii()
    marked = changes_markdown(report)
    assert not set(marked) & set("\x1b\x9b\x07\u202e\r\t")
    assert "\u202e" not in changes_json(report).decode()
