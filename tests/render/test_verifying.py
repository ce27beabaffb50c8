"""The live table while it is measured: few lines, none too wide, always what is waited for."""

import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from syrupy.assertion import SnapshotAssertion

from oncall.model_acts import Check, SymptomChange
from oncall.render.act_words import change_of
from oncall.render.verifying import verifying
from tests.render.pages import printed
from tests.render.samples import HOSTILE
from tests.render.samples_acts import (
    CHECKS,
    CRITICAL,
    DARK,
    LATENCY,
    OK,
    POOL,
    POOL_STILL,
    hostile,
    hostile_outcome,
    restart,
    symptom,
)

Symptoms = tuple[SymptomChange, ...]
LOOKS: dict[str, tuple[Symptoms, tuple[Check, ...], float]] = {
    "first": ((), (), 0.3),
    "waiting": ((POOL_STILL, LATENCY, DARK), (), 24.3),
    "well": ((POOL, LATENCY), CHECKS, 31.8),
    "over": ((POOL_STILL,), (Check(text="6 of 8 sessions are gone", holds=False),), 120.4),
}


def look(name: str, width: int, *, ascii_only: bool = False) -> str:
    symptoms, checks, elapsed = LOOKS[name]
    table = verifying(restart(), symptoms, checks, elapsed, 120.0, width, ascii_only)
    return printed(table, width)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", LOOKS)
def test_table(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert look(name, width) == golden


def test_table_in_ascii(golden: SnapshotAssertion) -> None:
    assert look("waiting", 80, ascii_only=True) == golden


def test_table_in_colour(golden: SnapshotAssertion) -> None:
    symptoms, _, elapsed = LOOKS["waiting"]
    shown = printed(verifying(restart(), symptoms, CHECKS, elapsed, 120.0, 80), 80, terminal=True)
    assert shown.replace("\x1b", "ESC") == golden


def test_what_is_waited_for_and_how_long_still() -> None:
    assert "waiting for Pool in use, Errors; 1 min 36 s left" in look("waiting", 80)
    assert "well; looking once more; 1 min 28 s left" in look("well", 80)
    assert "waiting for Pool in use, 6 of 8 sessions are gone; the time is up" in look("over", 80)


def test_the_rows_stay_where_they_are() -> None:
    lines = look("waiting", 80).split("\n")
    assert [line.split("  ")[0] for line in lines[2:5]] == ["Pool in use", "P95 latency", "Errors"]


@pytest.mark.parametrize(
    ("width", "elapsed"), [(20, math.nan), (40, math.inf), (59, -1.0), (80, 0.0), (120, 1e12), (20, 30.0)]
)
def test_never_many_lines_never_too_wide(width: int, elapsed: float) -> None:
    r = hostile_outcome()
    assert r.verification is not None
    symptoms, checks = r.verification.symptoms, r.verification.checks
    for ascii_only in (False, True):
        table = verifying(hostile(), symptoms, checks, elapsed, 120.0, width, ascii_only)
        shown = printed(table, width)
        assert shown.count("\n") <= 20
        assert all(char == "\n" or char.isprintable() for char in shown)
        assert shown.isascii() or not ascii_only
        assert max(map(cell_len, shown.split("\n"))) <= width


def test_it_can_be_shown_live() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None, markup=False)
    bad = Check(text=HOSTILE, holds=None)
    with Live(console=console, auto_refresh=False) as live:
        for name, (symptoms, checks, elapsed) in LOOKS.items():
            table = verifying(restart(), symptoms, (*checks, bad), elapsed, 120.0, 80)
            live.update(table, refresh=True)
            assert name in LOOKS
    assert "\x1b]0;" not in file.getvalue()
    assert "the time is up" in file.getvalue()


def test_what_no_longer_applies_has_no_value_and_is_well() -> None:
    left = symptom("Time until the limit", "seconds", (2400, None), (86_400, 3600), (CRITICAL, OK),
                   reason="does not apply: memory does not grow steadily")  # fmt: skip
    assert change_of(left) == ("40 min", "–")
    assert change_of(DARK)[1] == "unknown"
