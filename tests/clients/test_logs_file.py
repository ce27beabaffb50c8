"""Error lines of real files, at fixed times: now and usual, within a budget, and every way not to have them."""

import asyncio
import gzip
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oncall.clients import log_file, log_times
from oncall.clients.logs import Budget, LogSource, Span, look
from oncall.model import Absence, Scalar, StepReading, Table, Unavailable

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC).timestamp()
SPAN = Span(end=AT, window_s=300, baseline_s=3600)
CALM = Budget(cpu_s=60.0)
DB = {"db": "connection refused", "disk": "no space"}


def ask(
    path: Path | str, budget: Budget = CALM, span: Span = SPAN, ssh: str | None = None
) -> dict[str, StepReading] | Unavailable:
    source = LogSource(file=str(path), ssh=ssh)
    return asyncio.run(look(source, span, DB, ["errors", "templates"], 20, budget=budget))


def table(found: Mapping[str, StepReading] | Unavailable, word: str) -> Table:
    assert not isinstance(found, Unavailable), found
    answer = found[word].answer
    assert isinstance(answer, Table)
    return answer


def row(
    found: Mapping[str, StepReading] | Unavailable, word: str = "errors", at: int = 0
) -> dict[str, Scalar]:
    shown = table(found, word)
    return dict(zip((c.name for c in shown.columns), shown.rows[at], strict=True))


def absent(found: object) -> Unavailable:
    assert isinstance(found, Unavailable)
    return found


def line(ago_s: float, level: str = "info", msg: str = "served") -> str:
    at = datetime.fromtimestamp(AT - ago_s, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": at, "level": level, "msg": msg})


def write(path: Path, lines: Sequence[str], at: float = AT) -> Path:
    path.write_text("".join(f"{one}\n" for one in lines))
    os.utime(path, (at, at))
    return path


def usual(end_ago_s: int = 0) -> list[str]:
    """A line each second over 80 minutes; one error a minute, and in the window a new one each second."""
    lines = []
    for ago in range(4800, end_ago_s, -1):
        lines.append(line(ago))
        if ago % 60 == 0:
            lines.append(line(ago, "error", f"job {ago} failed"))
        if ago <= 300:
            lines.append(line(ago, "error", f"connection refused by 10.0.0.{ago % 9}:5432"))
    return lines


def test_now_against_the_baseline(tmp_path: Path) -> None:
    found = ask(write(tmp_path / "a.log", usual()))
    assert row(found) | {"lines": 0} == {
        "lines": 0, "errors": 305, "per_s": pytest.approx(305 / 300), "usual_per_s": pytest.approx(1 / 60, rel=0.05),
        "ratio": pytest.approx(61, rel=0.05), "new_templates": 1, "top": "connection refused by *",
        "top_share": pytest.approx(300 / 305), "db": 300, "db_usual": 0.0,
        "db_example": "connection refused by 10.0.0.1:5432",
        "disk": 0, "disk_usual": 0.0, "disk_example": None,
    }  # fmt: skip
    assert table(found, "errors").notes == ()
    assert len(table(found, "templates").rows) == 2
    first, second = row(found, "templates"), row(found, "templates", 1)
    assert (first["template"], first["new"], first["first_age_s"]) == ("connection refused by *", True, 300)
    assert (second["template"], second["new"]) == ("job * failed", False)
    assert second["usual"] == pytest.approx(5, rel=0.05)


def test_a_budget_that_ends_first_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", usual())
    found = ask(path, Budget(bytes=120_000, cpu_s=60.0, block=8192))
    assert row(found)["errors"] == 305
    short = float(str(row(found)["usual_per_s"]))
    assert short == pytest.approx(1 / 60, rel=0.2)
    notes = table(found, "errors").notes
    assert any("the budget of one look ended" in note for note in notes)
    assert any("instead of 1 h" in note for note in notes)


def test_a_baseline_shorter_than_the_window_is_none(tmp_path: Path) -> None:
    found = ask(write(tmp_path / "a.log", usual()), Budget(bytes=60_000, cpu_s=60.0, block=4096))
    shown = row(found)
    assert shown["errors"] == 305
    assert [shown[n] for n in ("usual_per_s", "ratio", "new_templates", "db_usual")] == [None] * 4
    assert row(found, "templates")["usual"] is None
    assert row(found, "templates")["new"] is None


def test_a_budget_that_ends_in_the_window_is_told(tmp_path: Path) -> None:
    found = ask(write(tmp_path / "a.log", usual()), Budget(bytes=8192, cpu_s=60.0, block=2048))
    assert float(str(row(found)["per_s"])) == pytest.approx(1.0, rel=0.15)
    assert any("too low" in note for note in table(found, "errors").notes)
    assert row(found)["disk"] is None, "none in what was read is not none in the window"


def test_no_processor_time_left(tmp_path: Path) -> None:
    found = ask(write(tmp_path / "a.log", usual()), Budget(cpu_s=0.0, block=4096))
    assert any("budget" in note for note in table(found, "errors").notes)
    assert row(found)["ratio"] is None


def test_a_look_at_the_past(tmp_path: Path) -> None:
    lines = [*usual(), *(line(-ago) for ago in range(1, 20_000))]
    found = ask(write(tmp_path / "a.log", lines, at=AT + 20_000), Budget(bytes=900_000, cpu_s=60.0))
    assert row(found)["errors"] == 305
    assert row(found)["ratio"] is not None


def test_the_file_before_the_rotation(tmp_path: Path) -> None:
    lines = usual()
    write(tmp_path / "a.log.1", lines[:4700])
    found = ask(write(tmp_path / "a.log", lines[4700:]))
    assert row(found) | {"lines": 0} == row(ask(write(tmp_path / "b.log", lines))) | {"lines": 0}


def test_a_log_that_begins_in_the_baseline(tmp_path: Path) -> None:
    lines = [text for text in usual() if text >= line(1200)]
    found = ask(write(tmp_path / "a.log", lines))
    assert row(found)["usual_per_s"] == pytest.approx(1 / 60, rel=0.1)
    assert "it begins at 02:52:00 UTC" in table(found, "errors").notes


def test_nothing_written_lately(tmp_path: Path) -> None:
    found = ask(write(tmp_path / "a.log", [line(10_900, "error", "old"), line(10_800)], at=AT - 10_800))
    assert (row(found)["errors"], row(found)["db"], row(found)["usual_per_s"]) == (0, 0, None)
    assert any("newest line is 3 h old" in note for note in table(found, "errors").notes)


def test_lines_without_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", ["started", "connection refused by 1", "connection refused by 2"])
    found = ask(path)
    assert (row(found)["errors"], row(found)["per_s"], row(found)["db"], row(found)["ratio"]) == (None,) * 4
    assert row(found)["db_example"] == "connection refused by 2" or row(found)["db_example"]
    assert row(found, "templates")["now"] == 2
    assert any("no line has a time" in note for note in table(found, "errors").notes)
    os.utime(path, (AT - 900, AT - 900))
    assert row(ask(path))["errors"] == 0, "nothing was written in the window"


def test_times_in_utc_that_do_not_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    log_times._minute.cache_clear()
    log_times._usual_minute.cache_clear()
    time.tzset()
    try:
        local = write(
            tmp_path / "l.log", ["2026-01-01 08:41:00 ERROR a", "2026-01-01 08:41:30 INFO a"], at=AT - 30
        )
        assert row(ask(local))["errors"] == 1
        assert not any("UTC," in note for note in table(ask(local), "errors").notes)
        other = write(
            tmp_path / "u.log", ["2026-01-01 03:11:00 ERROR a", "2026-01-01 03:11:30 INFO a"], at=AT - 30
        )
        assert row(ask(other))["errors"] == 1
        assert any("taken as UTC" in note for note in table(ask(other), "errors").notes)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
        log_times._minute.cache_clear()
        log_times._usual_minute.cache_clear()


def test_secrets_of_the_log_are_not_shown(tmp_path: Path) -> None:
    text = "connection refused: postgresql://app:c4nary@db/x token=c4nary"
    assert "c4nary" not in str(ask(write(tmp_path / "a.log", [line(4000), line(10, "error", text)])))


def test_a_huge_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", [*usual(), line(5, "error", "x" * 3_000_000)])
    assert row(ask(path, Budget(bytes=2**23, cpu_s=60.0)))["errors"] == 306
    beyond = ask(path, Budget(bytes=10_000, cpu_s=60.0, block=1000))
    assert row(beyond)["ratio"] is None


# --- ways not to have it -----------------------------------------------------------------------------


def test_missing_empty_or_not_a_file(tmp_path: Path) -> None:
    assert absent(ask(tmp_path / "none.log")).kind == Absence.NO_DATA
    assert absent(ask(write(tmp_path / "empty.log", []))).reason.endswith("is empty")
    assert "is a directory" in absent(ask(tmp_path)).reason
    os.mkfifo(tmp_path / "fifo")
    assert "is a FIFO" in absent(ask(tmp_path / "fifo")).reason
    assert "is a device" in absent(ask("/dev/zero")).reason
    assert absent(ask("a\0b")).kind == Absence.NO_DATA
    assert absent(asyncio.run(look(LogSource(), SPAN, {}, ["errors"], 1))).kind == Absence.NOT_CONFIGURED
    wrong = asyncio.run(look(LogSource(file="/x"), SPAN, {"a": "("}, ["errors"], 1))
    assert absent(wrong).kind == Absence.BAD_QUERY


def test_binary_garbage(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(os.urandom(100_000)))
    assert absent(ask(path)).kind == Absence.BAD_ANSWER
    holes = tmp_path / "holes.log"
    holes.write_bytes(b"\0" * 200_000 + "".join(f"{one}\n" for one in usual()).encode())
    assert row(ask(holes))["errors"] == 305


@pytest.fixture
def stranger() -> Iterator[Path]:
    """A folder that all may enter, and a user without rights."""
    folder = Path(tempfile.mkdtemp(prefix="oncall-logs-"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_without_the_right_to_read(stranger: Path) -> None:
    secret = write(stranger / "a.log", usual())
    secret.chmod(0o040 if os.geteuid() == 0 else 0)
    closed = stranger / "closed"
    closed.mkdir()
    write(closed / "a.log", usual())
    closed.chmod(0)
    if os.geteuid() == 0:
        os.chown(secret, 0, 4)  # adm, as Debian's logs
        os.seteuid(65534)
    try:
        found, below = absent(ask(secret)), absent(ask(closed / "a.log"))
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        closed.chmod(0o700)
    assert found.kind == below.kind == Absence.DENIED
    if os.getuid() == 0:
        assert "usermod -aG adm" in str(found.hint)
    assert "closed" in below.reason


def test_truncated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.log", usual())
    real, calls = log_file._pread, []

    def truncate_then_read(opened: int, at: int, count: int) -> bytes:
        calls.append(at)
        if len(calls) == 4:
            os.truncate(path, 100)
        return real(opened, at, count)

    monkeypatch.setattr(log_file, "_pread", truncate_then_read)
    found = ask(path, Budget(cpu_s=60.0, block=4096))
    assert any("truncated while it was read" in note for note in table(found, "errors").notes)


# --- elsewhere -----------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that gives its last word to a shell, as sshd does."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shim = programs / "ssh"
    shim.write_text('#!/bin/sh\nfor word; do :; done\nTZ=UTC-2 exec sh -c "$word"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def test_a_file_of_another_machine(elsewhere: Path) -> None:
    name = elsewhere / "a 'b' $(touch pwned); x.log"
    found = ask(write(name, usual()), ssh="ops@app-1")
    assert row(found) | {"lines": 0} == row(ask(name)) | {"lines": 0}
    assert any("read on ops@app-1" in note and "+0200" in note for note in table(found, "errors").notes)
    assert not list(elsewhere.rglob("pwned"))


def test_local_times_of_another_machine(elsewhere: Path) -> None:
    lines = ["2026-01-01 05:11:00 ERROR a", "2026-01-01 03:11:00 ERROR b"]
    found = ask(write(elsewhere / "a.log", lines), ssh="ops@app-1")
    assert [r[0] for r in table(found, "templates").rows] == ["a"]


def test_another_machine_reads_no_more_than_the_budget(elsewhere: Path) -> None:
    write(elsewhere / "a.log.1", usual(2400))
    write(elsewhere / "a.log", [text for text in usual() if text > line(2400)])
    whole = ask(elsewhere / "a.log", ssh="h")
    assert row(whole)["usual_per_s"] == pytest.approx(1 / 60, rel=0.1)
    part = ask(elsewhere / "a.log", Budget(bytes=60_000, cpu_s=60.0), ssh="h")
    assert (row(part)["errors"], row(part)["ratio"]) == (305, None)
    assert any("budget" in note for note in table(part, "errors").notes)


def test_what_is_wrong_there(elsewhere: Path) -> None:
    assert absent(ask(elsewhere / "none", ssh="h")).kind == Absence.NO_DATA
    assert "is a directory" in absent(ask(elsewhere, ssh="h")).reason
    os.mkfifo(elsewhere / "fifo")
    assert absent(ask(elsewhere / "fifo", ssh="h")).kind == Absence.CONFIG
    (elsewhere / "bin" / "ssh").write_text("#!/bin/sh\necho 'no route to host' >&2; exit 255\n")
    assert absent(ask(elsewhere / "a.log", ssh="h")).kind == Absence.DOWN
