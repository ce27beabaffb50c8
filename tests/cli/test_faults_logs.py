"""Row 39 of the matrix of faults, as the engineer sees it: blobs and huge lines, in a file and in a journal."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from oncall.errors import Exit
from tests.cli.bright import Bright
from tests.cli.darkness import WELL, shims
from tests.cli.program import Program, Said, rows, step
from tests.clients.test_journal import REMOTE

Entry = tuple[float, bytes | None, int]
"""Seconds ago, the message, the priority."""
HUGE = 3 * 2**20
BLOB = b"\x1b]0;owned\x07 caf\xe9 \x00\xff [/red] lost"
TOO_WIDE = 5_000
"""Characters that nothing on a page is longer than."""


def both(program: Program) -> tuple[Said, dict[str, Any]]:
    words = ("diagnose", "errors", "--timeout", "60s")
    said, as_json = program.run(*words, timeout=120), program.run(*words, "--output", "json", timeout=120)
    assert said.code == as_json.code
    return said, as_json.json


def inert(said: Said, report: dict[str, Any]) -> None:
    assert "\x1b" not in said.out
    assert "\x07" not in said.out
    assert max(len(line) for line in said.first) < TOO_WIDE
    assert len(json.dumps(step(report, "templates"))) < 20 * TOO_WIDE


def _stamp(ago_s: float) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s)).encode()


def test_row_39_a_file_with_a_blob_and_a_huge_line(well: Bright, program: Program, tmp_path: Path) -> None:
    log = tmp_path / "odd.log"
    calm = [b"%s INFO request served" % _stamp(ago) for ago in range(1200, 60, -5)]
    odd = [b"%s ERROR blob %s" % (_stamp(20), BLOB), b"%s ERROR huge %s" % (_stamp(10), b"x" * HUGE)]
    last = [b"%s INFO request served" % _stamp(1)]
    log.write_bytes(b"\n".join([*calm, *odd, *last, b""]))
    said, report = both(well.program(program, logs={"file": str(log)}))
    assert said.code == Exit.OK
    (errors,) = rows(report, "errors")
    assert errors["errors"] == 2
    examples = [row["example"] for row in rows(report, "templates")]
    assert any("blob" in example and "[/red] lost" in example for example in examples)
    assert any("huge xxx" in example for example in examples)
    inert(said, report)


# --- the journal ------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A real journal: a calm half hour, then a message that is a blob, a huge one, and none at all."""
    if not REMOTE.exists() or not shutil.which("journalctl"):
        pytest.fail("needs systemd-journal-remote. Debian: apt-get install systemd-journal-remote")
    entries: list[Entry] = [(float(ago), b"request served", 6) for ago in range(1200, 60, -5)]
    entries += [(20.0, BLOB, 3), (10.0, b"huge " + b"x" * HUGE, 3), (5.0, None, 3)]
    folder = tmp_path / "journal"
    folder.mkdir()
    made = folder / "system.journal"
    subprocess.run([REMOTE, "-o", made, "-"], input=_export(entries), check=True, capture_output=True)
    return made


def _export(entries: list[Entry]) -> bytes:
    """The journal's export format."""
    parts, now = [], time.time()
    for ago, message, priority in entries:
        stamp = round((now - ago) * 1e6)
        parts.append(
            b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n" % (stamp, stamp - 1_700_000_000_000_000)
        )
        parts.append(b"_BOOT_ID=" + b"a" * 32 + b"\n_MACHINE_ID=" + b"b" * 32 + b"\n")
        fields = {
            b"PRIORITY": b"%d" % priority,
            b"_SYSTEMD_UNIT": b"bot.service",
            b"_PID": b"7",
            b"_UID": b"0",
        }
        fields |= {b"_TRANSPORT": b"journal"} | ({} if message is None else {b"MESSAGE": message})
        for name, value in fields.items():
            parts.append(name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
        parts.append(b"\n")
    return b"".join(parts)


def test_row_39_a_journal_with_a_blob_and_a_huge_line(
    well: Bright, program: Program, tmp_path: Path, journal: Path
) -> None:
    there = well.program(program, logs=None, unit="bot.service")
    asks_ours = f'exec {shutil.which("journalctl")} --file {journal} "$@"'
    path = shims(tmp_path / "bin", {**WELL, "journalctl": asks_ours})
    said, report = both(there.under(PATH=f"{path}:{there.env['PATH']}"))
    assert said.code == Exit.OK
    assert step(report, "errors")["probe"] == "journal"
    (errors,) = rows(report, "errors")
    assert errors["errors"] >= 2
    examples = [row["example"] for row in rows(report, "templates")]
    assert any("[/red] lost" in example for example in examples), examples
    inert(said, report)
