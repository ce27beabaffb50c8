"""What holds of a page whatever is in the report."""

import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from oncall.model import Diagnosis, Next
from oncall.render.command import continued
from oncall.render.diagnosis import WIDEST, diagnosis
from tests.render.pages import printed
from tests.render.reports import reports
from tests.render.samples import RESTART, SAMPLES, leak

WIDTHS = st.sampled_from([20, 40, 59, 60, 80, 100, 120, 200])
WORDS = st.text("ab -'\"\\$`;éx日=/", max_size=12)


def page(d: Diagnosis, width: int, *, ascii_only: bool = False) -> str:
    return printed(diagnosis(d, width=width, ascii_only=ascii_only), width)


@settings(max_examples=150, deadline=None)
@given(reports(), WIDTHS, st.booleans())
def test_no_text_reaches_the_terminal_as_a_command(d: Diagnosis, width: int, ascii_only: bool) -> None:
    shown = page(d, width, ascii_only=ascii_only)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert shown.isascii() or not ascii_only
    lines = shown.split("\n")
    assert max(map(cell_len, lines)) <= min(width, WIDEST)
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_answer_stands_first(name: str, width: int) -> None:
    lines = page(SAMPLES[name](), width).split("\n")
    starts = [line[:8].strip() for line in lines[:6] if line[:8].strip() in ("Cause", "Next")]
    assert lines[0].startswith(SAMPLES[name]().summary.headline)
    assert lines[1].startswith("Cause   ")
    assert starts == ["Cause", "Next"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc-=/.", min_size=1, max_size=20), min_size=1, max_size=8), st.integers(40, 140))
def test_a_command_that_fits_is_whole_on_one_line(words: list[str], width: int) -> None:
    command = " ".join(words)
    step = Next(command=command, why="why it helps")
    sample = leak()
    d = msgspec.structs.replace(sample, summary=msgspec.structs.replace(sample.summary, next=step))
    lines = [line.strip() for line in page(d, width).split("\n")]
    if len(command) <= width:
        assert any(command in line for line in lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(20, 60))
def test_a_longer_command_is_continued_as_a_shell_reads_it(words: list[str], width: int) -> None:
    """Asked of a real shell: the words arrive as they would from one line."""
    import shlex

    command = "printf '%s\\0' " + shlex.join(words)
    lines = continued(command, width)
    assert max(map(cell_len, lines)) <= width
    assert _said_by_shell("\n".join(lines)) == _said_by_shell(command)


def _said_by_shell(script: str) -> bytes:
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout


def test_severity_and_target_are_always_said() -> None:
    for width in (40, 60, 80, 90, 120):
        shown = page(leak(), width)
        assert "critical" in shown
        assert "db-1/deia_prod as oncall" in shown


def test_a_wide_terminal_does_not_stretch_the_page() -> None:
    assert page(leak(), 400) == page(leak(), WIDEST)


def test_steps_can_be_left_out() -> None:
    shown = printed(diagnosis(leak(), width=80, steps=False), 80)
    assert "Idle in transaction" not in shown
    assert RESTART.command in shown


def test_rows_are_bounded_and_say_so() -> None:
    assert "8 more rows" in page(leak(), 120)


def test_the_table_needs_little_of_rich() -> None:
    """Start-up is most of the time that the program takes."""
    script = (
        "import sys, oncall.render.diagnosis as _\n"
        "heavy = {'table', 'markdown', 'syntax', 'panel', 'live', 'progress', 'traceback', 'layout', 'tree'}\n"
        "print(sorted(m for m in sys.modules if m.startswith('rich.') and m[5:] in heavy))"
    )
    assert _python(script) == "[]"


def test_json_and_markdown_need_no_rich() -> None:
    script = (
        "import sys, oncall.render.json_out, oncall.render.markdown\n"
        "from tests.render.samples import leak\n"
        "oncall.render.json_out.diagnosis_json(leak()), oncall.render.markdown.diagnosis_markdown(leak())\n"
        "print([m for m in sys.modules if m.startswith('rich')])"
    )
    assert _python(script) == "[]"


def _python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_answer_stands_last_too_where_the_page_is_longer_than_the_screen(name: str) -> None:
    whole = printed(diagnosis(SAMPLES[name](), width=80), 80).rstrip().split("\n")
    short = printed(diagnosis(SAMPLES[name](), width=80, height=10), 80).rstrip().split("\n")
    tall = printed(diagnosis(SAMPLES[name](), width=80, height=500), 80).rstrip().split("\n")
    assert tall == whole
    answer = short[len(whole) + 1 :]
    assert answer == whole[: len(answer)]
    assert any(line.startswith("Cause") for line in answer)
