"""Whole screens as a terminal of that size shows them, to the letter: the program at a pty, a real Prometheus behind.

After a wanted change: pytest tests/cli/test_screens.py --snapshot-update, and look."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pyte
import pytest
from syrupy.assertion import SnapshotAssertion

from oncall.errors import Exit
from oncall.lab.servers import Server
from tests.checks.stories import Stories
from tests.cli.program import Program
from tests.monitoring.alertstand import rule, ruled
from tests.monitoring.fleetstand import STORIES, fields, fleet

SCROLLED = 300
"""Lines of a page that is longer than the window."""
_CHANGES = [
    re.compile(r"\d{4}-\d\d-\d\d"),
    re.compile(r"\b\d\d:\d\d(:\d\d)?(?= UTC)"),
    re.compile(r"(?<=127\.0\.0\.1:)\d+"),
]
_TOOK = re.compile(r"(?<=asked in )[\d.]+ m?s$", re.MULTILINE)
_SPARK = re.compile(r"[▁▂▃▄▅▆▇█]{20,}")


def masked(text: str, *, sparks: bool) -> str:
    """The screen without what changes from run to run, everything in its place: digits of dates, clocks and ports are
    `#`, and how long it took, which ends its line. `sparks`: the small charts too, whose end is the present."""
    for changing in _CHANGES:
        text = changing.sub(lambda found: re.sub(r"\d", "#", found[0]), text)
    text = _TOOK.sub("# ms", text)
    return _SPARK.sub(lambda found: "~" * len(found[0]), text) if sparks else text


def test_a_mask_leaves_everything_in_its_place() -> None:
    line = "well · 03:12:41 UTC │ 127.0.0.1:9090 │ ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁████ │ up 98.1% │ 2026-01-01"
    shown = masked(f"{line}\nasked in 1.2 s\nasked in 107 ms", sparks=True).splitlines()
    assert len(shown[0]) == len(line)
    assert shown[0] == f"well · ##:##:## UTC │ 127.0.0.1:#### │ {'~' * 24} │ up 98.1% │ ####-##-##"
    assert shown[1:] == ["asked in # ms"] * 2


def on_screen(program: Program, *words: str, columns: int, rows: int, scrolled: int = 0) -> tuple[str, int]:
    """What stands on a window of that size when the program is over, and its exit code.

    `scrolled`: so many lines of it, with those that the window itself no longer shows."""
    child = program.start(*words, columns=columns, rows=rows)
    received = child.read()
    child.close()
    shown = pyte.Screen(columns, scrolled or rows)
    pyte.ByteStream(shown).feed(received)
    lines = "\n".join(line.rstrip() for line in shown.display).rstrip("\n")
    return lines + "\n", int(child.exitstatus if child.exitstatus is not None else -1)


@pytest.fixture
def bad(program: Program, week: Stories) -> Program:
    """The service that is ill for a day: its history ends when the stories end, and is looked at then."""
    at = {"url": week.url, "selector": {"job": "bad"}}
    limits = {"memory": "2GB", "pool": 20}
    program.services(bad={"prometheus": at, "limits": limits, "windows": {"rate": "30m"}})
    return program


def told_at(week: Stories) -> str:
    return datetime.fromtimestamp(week.end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "code"), [("overview", Exit.CRITICAL), ("database", Exit.OK)])
def test_dashboard(
    bad: Program, week: Stories, golden: SnapshotAssertion, name: str, code: Exit, size: tuple[int, int]
) -> None:
    words = ("dashboard", name, "--at", told_at(week), "--range", "48h")
    shown, ended = on_screen(bad, *words, columns=size[0], rows=size[1])
    assert ended == code
    assert masked(shown, sparks=False) == golden


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_daily_check(bad: Program, week: Stories, golden: SnapshotAssertion, size: tuple[int, int]) -> None:
    words = ("daily-check", "--at", told_at(week))
    shown, ended = on_screen(bad, *words, columns=size[0], rows=size[1], scrolled=SCROLLED)
    assert ended == Exit.CRITICAL
    assert masked(shown, sparks=True) == golden


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus whose history goes on beyond now: `status` looks at nothing but the present."""
    with fleet(tmp_path_factory.mktemp("fleet"), {"full": STORIES["full"]}) as started:
        ruled(started, [rule("NeverFires", "vector(0) > 0")])
        yield started


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_status(program: Program, present: Server, golden: SnapshotAssertion, size: tuple[int, int]) -> None:
    program.services(full=fields(present.url, "full"))
    shown, ended = on_screen(program, "status", columns=size[0], rows=size[1], scrolled=SCROLLED)
    assert ended == Exit.CRITICAL
    assert masked(shown, sparks=True) == golden
