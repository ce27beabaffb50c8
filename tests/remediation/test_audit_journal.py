"""Entries of the audit log in the journal: as fields, and no text adds one of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oncall.lab.process import wait_until
from oncall.remediation import audit
from oncall.remediation.audit_journal import SOCKET, datagram, fields, send
from tests.remediation.auditstand import intent, outcome, refusal

JOURNALD = Path("/lib/systemd/systemd-journald")
# A journal of its own in a namespace of its own: it sees neither the machine's kernel log nor its programs
_START = """
mount -t tmpfs none /run
mount --bind /dev/null /dev/kmsg
mkdir -p /run/systemd/journal /run/log/journal
exec "$0"
"""


def parsed(data: bytes) -> dict[str, str]:
    """The fields of a datagram, read as the journal reads it."""
    found: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[9 + size :]
        assert name.decode() not in found
        found[name.decode()] = value.decode()
    return found


def test_what_is_appended_is_sent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(20)
        first = audit.append(intent(), tmp_path, tmp_path / "socket")
        assert parsed(journal.recv(65536)) == {
            "MESSAGE": "restart on bot-controller (production) begins: restarts deia-bot-controller.service "
            "[by ana, audit entry 1]",
            "PRIORITY": "5",
            "SYSLOG_IDENTIFIER": "oncall",
            "ONCALL_ACTION": "restart",
            "ONCALL_SERVICE": "bot-controller",
            "ONCALL_PLAN": "4f2a91c0de",
            "ONCALL_OUTCOME": "intent",
            "ONCALL_AUDIT": "1",
        }
        audit.append(outcome(first.number), tmp_path, tmp_path / "socket")
        done = parsed(journal.recv(65536))
        assert (done["ONCALL_OUTCOME"], done["PRIORITY"]) == ("done", "5")


@pytest.mark.parametrize(
    ("entry", "word", "priority"),
    [
        (refusal(3), "refused", "4"),
        (outcome(1, outcome="failed"), "failed", "4"),
        (outcome(1, outcome="unknown"), "unknown", "4"),
        (outcome(1, outcome="unchanged"), "unchanged", "5"),
    ],
)
def test_what_did_not_go_well_is_a_warning(entry: Any, word: str, priority: str) -> None:  # noqa: ANN401 - an entry
    found = fields(entry)
    assert (found["ONCALL_OUTCOME"], found["PRIORITY"]) == (word, priority)


def test_a_text_adds_no_field() -> None:
    found = fields(refusal(1, text="x\nPRIORITY=0\nMESSAGE=all is well\n"))
    assert parsed(datagram(found)) == found
    assert len(datagram(fields(refusal(1, text="é" * 100_000)))) < 16_000


def test_no_journal_is_no_matter(tmp_path: Path) -> None:
    assert not send(intent(1), tmp_path / "none")
    (tmp_path / "file").touch()
    assert not send(intent(1), tmp_path / "file")
    assert audit.append(intent(), tmp_path, tmp_path / "none").number == 1


def test_a_journal_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        begun = time.monotonic()
        sent = [send(intent(1), tmp_path / "socket") for _ in range(3000)]
    assert not sent[-1]
    assert time.monotonic() - begun < 60


def lacking() -> str | None:
    if os.geteuid() != 0:
        return "a journal of its own needs root"
    missing = not JOURNALD.exists() or shutil.which("journalctl") is None or shutil.which("unshare") is None
    return "systemd-journald is not installed" if missing else None


@pytest.fixture
def journald() -> Iterator[Path]:
    """The root folder, as a journal in a namespace of its own sees it."""
    why = lacking()
    if why:
        pytest.skip(why)
    child = subprocess.Popen(
        ["unshare", "--mount", "sh", "-euc", _START, JOURNALD], stderr=subprocess.DEVNULL
    )
    root = Path(f"/proc/{child.pid}/root")
    mine = (root / "run").stat

    def ready() -> bool:
        return mine().st_dev != Path("/run").stat().st_dev and (root / SOCKET.relative_to("/")).exists()

    try:
        wait_until(ready, "the journal", child=child, seconds=60)
        yield root
    finally:
        child.kill()
        child.wait()


def test_a_real_journal_takes_it(journald: Path, tmp_path: Path) -> None:
    path = journald / SOCKET.relative_to("/")
    audit.append(intent(), tmp_path, path)
    audit.append(outcome(1, text="two\nPRIORITY=0\nlines"), tmp_path, path)
    command = [
        "journalctl",
        "--no-pager",
        "-o",
        "json",
        "-D",
        str(journald / "run/log/journal"),
        "ONCALL_ACTION=restart",
    ]

    def entries() -> list[dict[str, Any]]:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    wait_until(lambda: len(entries()) == 2, "both entries", seconds=60)
    begun, ended = entries()
    assert (begun["SYSLOG_IDENTIFIER"], begun["PRIORITY"], begun["ONCALL_AUDIT"]) == ("oncall", "5", "1")
    assert (ended["ONCALL_OUTCOME"], ended["PRIORITY"]) == ("done", "5")
    assert "two\nPRIORITY=0\nlines" in ended["MESSAGE"]
