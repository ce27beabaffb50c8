"""One operator at a time on this machine; a lock of a dead process is none."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oncall.errors import AuditError, Exit
from oncall.model_acts import GuardState
from oncall.remediation import lock
from oncall.remediation.audit_who import who

HOLDER = """
import sys, time
from pathlib import Path
from oncall.remediation.lock import operator_lock
with operator_lock("bot", "kill-queries", Path(sys.argv[1])) as taken:
    print(taken, flush=True)
    sys.stdin.read()
"""


@contextmanager
def elsewhere(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process that holds the lock of `bot` until its input ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == "None\n"
        yield child
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "oncall" / "locks"


def test_who_has_it_since_when_is_told_at_once(folder: Path) -> None:
    before = datetime.now(UTC)
    with elsewhere(folder) as child:
        with lock.operator_lock("bot", "restart", folder) as taken:
            assert taken is not None
            assert (taken.pid, taken.action, taken.host) == (child.pid, "kill-queries", who().host)
            assert before <= taken.since <= datetime.now(UTC)
        assert lock.look("bot", folder) == taken
        report = lock.report(taken)
        assert report.state is GuardState.REFUSED
        assert "has been at work with kill-queries since " in report.text
        assert f"process {child.pid}" in report.text
        # Whoever was refused has taken nothing away.
        assert lock.look("bot", folder) == taken
    assert lock.look("bot", folder) is None


def test_two_services_are_two_locks(folder: Path) -> None:
    with elsewhere(folder), lock.operator_lock("web", "restart", folder) as taken:
        assert taken is None
        assert lock.report(taken).state is GuardState.PASSED


def test_a_dead_process_holds_nothing(folder: Path) -> None:
    with elsewhere(folder) as child:
        child.kill()
        child.wait()
        assert b"kill-queries" in (folder / "bot.lock").read_bytes()
        assert lock.look("bot", folder) is None
        with lock.operator_lock("bot", "restart", folder) as taken:
            assert taken is None
            again = lock.look("bot", folder)
            assert again is not None
            assert again.action == "restart"
    assert (folder / "bot.lock").read_bytes() == b""


def test_a_child_that_lives_on_does_not_keep_it(folder: Path) -> None:
    with lock.operator_lock("bot", "restart", folder):
        child = subprocess.Popen(["sleep", "100"])
    try:
        assert lock.look("bot", folder) is None
    finally:
        child.kill()
        child.wait()


def test_an_error_lets_it_go(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.operator_lock("bot", "restart", folder):
        raise ZeroDivisionError
    assert lock.look("bot", folder) is None


def test_a_look_changes_nothing(folder: Path) -> None:
    assert lock.look("bot", folder) is None
    assert not folder.exists()


def test_who_it_is_may_not_be_readable(folder: Path) -> None:
    with elsewhere(folder):
        (folder / "bot.lock").write_bytes(b"{")
        with lock.operator_lock("bot", "restart", folder) as taken:
            assert taken is not None
            assert str(taken).startswith("another process on this machine acts on this service")


def test_where_it_cannot_be_made_nothing_is_done(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with (
        pytest.raises(AuditError, match="nothing was done") as caught,
        lock.operator_lock("bot", "x", folder),
    ):
        pass
    assert caught.value.exit_code == Exit.REFUSED
    assert lock.look("bot", folder) is None


def test_what_cannot_be_looked_at_counts_as_taken(folder: Path) -> None:
    folder.mkdir(parents=True)
    loop = folder / "bot.lock"
    loop.symlink_to(loop)
    taken = lock.look("bot", folder)
    assert str(taken).startswith("whether somebody else acts cannot be told")
    assert lock.report(taken).state is GuardState.REFUSED
