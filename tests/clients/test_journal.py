"""The journal of a unit: real journal files, made by systemd-journal-remote and read by journalctl."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.journal_entries import LONGEST_ENTRY, entries
from oncall.clients.logs import Budget, LogSource, Span, look
from oncall.model import Absence, Scalar, StepReading, Table, Unavailable

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC).timestamp()
SPAN = Span(end=AT, window_s=300, baseline_s=3600)
REMOTE = Path("/lib/systemd/systemd-journal-remote")
UNIT = "app.service"
CALM = Budget(cpu_s=60.0)
Fields: TypeAlias = Mapping[str, str | bytes]
Make: TypeAlias = Callable[[Sequence[tuple[float, Fields]]], Path]


def entry(
    ago_s: float, message: str | bytes | None, priority: int = 6, **fields: str
) -> tuple[float, Fields]:
    said: Fields = {} if message is None else {"MESSAGE": message}
    base = {
        "PRIORITY": str(priority),
        "_SYSTEMD_UNIT": UNIT,
        "_PID": "7",
        "_TRANSPORT": "stdout",
        "_UID": "0",
    }
    return ago_s, {**base, **fields, **said}


def export(lines: Sequence[tuple[float, Fields]]) -> bytes:
    """The export format of the journal."""
    parts = []
    for ago, fields in sorted(lines, key=lambda one: -one[0]):
        stamp = round((AT - ago) * 1e6)
        parts.append(
            b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n" % (stamp, stamp - 1_700_000_000_000_000)
        )
        parts.append(b"_BOOT_ID=" + b"a" * 32 + b"\n_MACHINE_ID=" + b"b" * 32 + b"\n")
        for name, value in fields.items():
            data = value if isinstance(value, bytes) else value.encode()
            parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        parts.append(b"\n")
    return b"".join(parts)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a folder with a journal of these entries."""
    if not REMOTE.exists() or not shutil.which("journalctl"):
        pytest.fail(
            "needs journalctl and systemd-journal-remote. Debian: apt-get install systemd-journal-remote"
        )
    folder = Path(tempfile.mkdtemp(prefix="oncall-journal-"))
    folder.chmod(0o755)

    def made(lines: Sequence[tuple[float, Fields]]) -> Path:
        source = folder / "lines.export"
        source.write_bytes(export(lines))
        subprocess.run(
            [REMOTE, "-o", folder / "x.journal", source], check=True, capture_output=True, timeout=60
        )
        return folder

    yield made
    shutil.rmtree(folder)


def ask(folder: Path, budget: Budget = CALM, unit: str = UNIT) -> dict[str, StepReading] | Unavailable:
    patterns = {"db": "connection refused"}
    source, words = LogSource(unit=unit), ["errors", "templates"]
    return asyncio.run(look(source, SPAN, patterns, words, 20, budget=budget, more=("-D", str(folder))))


def table(found: dict[str, StepReading] | Unavailable, word: str = "errors") -> Table:
    assert not isinstance(found, Unavailable), found
    answer = found[word].answer
    assert isinstance(answer, Table)
    return answer


def row(found: dict[str, StepReading] | Unavailable) -> dict[str, Scalar]:
    shown = table(found)
    return dict(zip((c.name for c in shown.columns), shown.rows[0], strict=True))


def counts(found: dict[str, StepReading] | Unavailable) -> dict[Scalar, Scalar]:
    return {r[0]: r[2] for r in table(found, "templates").rows}


def test_now_against_the_baseline(make: Make) -> None:
    lines = [entry(ago, "served", 6) for ago in range(3, 4500, 10)]
    lines += [entry(ago, "job 7 failed", 3, _TRANSPORT="syslog") for ago in range(5, 4000, 100)]
    lines += [entry(ago, f"connection refused by 10.0.0.{ago}:1") for ago in range(1, 50)]
    lines += [entry(ago, "connection refused", _SYSTEMD_UNIT="b.service") for ago in range(1, 50)]
    found = ask(make(lines))
    shown = row(found)
    assert (shown["errors"], shown["db"], shown["db_usual"], shown["new_templates"]) == (52, 49, 0.0, 1)
    assert shown["usual_per_s"] == pytest.approx(0.01)
    assert table(found).notes == ()
    assert not isinstance(found, Unavailable)
    assert found["errors"].source == "journal"
    assert "journalctl --no-pager -u app.service --since '2026-01-01 02:07:00 UTC'" in str(
        found["errors"].query
    )


def test_priorities_and_levels(make: Make) -> None:
    lines = [
        entry(10, "by its priority", 2),
        entry(20, '{"level":"error","msg":"in json"}'),
        entry(30, '{"level":"info","msg":"failed once"}'),
        entry(40, "failed, says a program of its own", 6, _TRANSPORT="journal"),
        entry(50, "2026-01-01 03:11:10,000 ERROR app: in text"),
        entry(60, "a warning that failed", 4, _TRANSPORT="syslog"),
        entry(70, "old"),
    ]
    assert counts(ask(make(lines))) == {"by its priority": 1, "in json": 1, "app: in text": 1}


def test_what_messages_can_be(make: Make) -> None:
    lines = [
        entry(10, b"blob \x1b[31m\xff\xfe failed", 3),
        entry(20, "x" * 200_000 + " end", 3),
        entry(30, b"y" * 190_000 + b"\xff", 3),
        entry(40, None, 3),
        entry(50, "it broke\nTraceback (most recent call last):\n  File x\nValueError: no", 3),
        entry(4000, "fine"),
    ]
    found = ask(make(lines))
    assert row(found)["errors"] == 5
    said = list(counts(found))
    assert any(str(text).startswith("blob") and "failed" in str(text) for text in said)
    assert any(str(text).startswith("xxxx") and len(str(text)) <= 300 for text in said)
    assert any(str(text).startswith("yyyy") for text in said)
    assert "it broke: ValueError: no" in said


def test_a_traceback_of_a_program_that_prints(make: Make) -> None:
    trace = ["ERROR it broke", "Traceback (most recent call last):", '  File "x.py"', "ValueError: no 7"]
    lines = [entry(100 - n, text) for n, text in enumerate(trace)]
    lines += [entry(99.5 - n, "INFO served", _PID="8") for n in range(4)]
    assert counts(ask(make(lines))) == {"it broke: ValueError: no *": 1}


def test_a_budget_that_ends_first_is_told(make: Make) -> None:
    lines = [entry(ago, "connection refused" if ago < 300 else "served") for ago in range(1, 4500, 5)]
    found = ask(make(lines), Budget(bytes=30_000, cpu_s=60.0))
    assert row(found)["db"] == 60
    assert row(found)["db_usual"] is None
    assert any("budget" in note for note in table(found).notes)


def test_a_silent_unit(make: Make) -> None:
    found = ask(make([entry(8000, "stopped", 6)]))
    assert (row(found)["errors"], row(found)["usual_per_s"]) == (0, None)
    assert any("newest line is 2 h 13 min old" in note for note in table(found).notes)


def test_a_unit_without_a_line(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make([entry(10, "x")])
    shim = tmp_path / "systemctl"
    for said, kind in (
        ("not-found", Absence.CONFIG),
        ("masked", Absence.CONFIG),
        ("loaded", Absence.NO_DATA),
    ):
        shim.write_text(f"#!/bin/sh\necho LoadState={said}\n")
        shim.chmod(0o755)
        with monkeypatch.context() as at:
            at.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            found = ask(folder, unit="other.service")
        assert isinstance(found, Unavailable)
        assert found.kind == kind
        assert "other.service" in found.reason


@pytest.mark.parametrize(
    "unit", ["o*.service", "../x", "a;b", "-x", "--file=/etc/passwd", "a b", "a?", "[ab]", "a\n"]
)
def test_names_that_are_refused(unit: str) -> None:
    found = ask(Path("/nowhere"), unit=unit)
    assert isinstance(found, Unavailable)
    assert found.kind == Absence.CONFIG


def test_no_journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = ask(tmp_path)
    assert isinstance(found, Unavailable)
    assert found.kind == Absence.NOT_INSTALLED


def test_without_the_right_to_read(make: Make) -> None:
    folder = make([entry(10, "x", 3)])
    (folder / "x.journal").chmod(0o000)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        found = ask(folder)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    assert isinstance(found, Unavailable)
    assert found.kind == Absence.DENIED
    assert "systemd-journal" in str(found.hint)


HINT = """Hint: You are currently not seeing messages from other users and the system.
      Users in groups 'adm', 'systemd-journal' can see all messages.
      Pass -q to turn off this notice."""


def test_only_ones_own_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "journalctl"
    shim.write_text(f'#!/bin/sh\necho "{HINT}" >&2\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = ask(tmp_path)
    assert isinstance(found, Unavailable)
    assert (found.kind, found.hint) == (
        Absence.DENIED, "sudo usermod -aG systemd-journal $USER, then log in again (adm does too)"
    )  # fmt: skip


def test_a_journalctl_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "journalctl"
    shim.write_text("#!/bin/sh\nexec sleep 60\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = asyncio.run(look(LogSource(unit=UNIT), SPAN, {}, ["errors"], 0.5))
    assert isinstance(found, Unavailable)
    assert found.kind == Absence.TIMEOUT


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_answer_is_survived(data: bytes) -> None:
    list(entries(data + b'\n{"__REALTIME_TIMESTAMP":"1","MESSAGE":' + data))


def test_an_entry_that_lost_its_middle() -> None:
    half = LONGEST_ENTRY // 2
    text = b'{"__REALTIME_TIMESTAMP":"1000000","MESSAGE":"' + b"a\\n" * half
    cut = text[:half] + (b"a" * half + b'","PRIORITY":"3"}')[-half:]
    (found,) = entries(cut)
    assert (found.time, found.priority) == (1.0, 3)
    assert found.message.startswith("a\na\n")
