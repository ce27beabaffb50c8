"""`oncall audit list|show|verify` as a person and a script meet them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oncall.cli.main import run
from oncall.errors import Exit
from tests.cli.program import Program, Said, screen
from tests.remediation.auditstand import intent, outcome, refusal, write


class Here:
    """The command in this process: a start of Python for each line would take longer than what is tested."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> Said:
        code = run(list(words))
        return Said(code, *self._capsys.readouterr())

    def json(self, *words: str) -> tuple[dict[str, Any], int]:
        said = self.run("--output", "json", *words)
        return said.json, said.code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "state" / "oncall"


@pytest.fixture
def oncall(folder: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


@pytest.fixture
def full(folder: Path) -> Path:
    """Two actions with their outcomes, a refusal, and one that was killed in the middle."""
    now = datetime.now(UTC)
    old = now - timedelta(days=3)
    write(
        folder, intent(at=old), outcome(1, at=old), intent(action="kill-queries", at=now), outcome(3, at=now)
    )
    write(folder, refusal(at=now), intent(action="flush-cache", service="web", at=now))
    return folder


@pytest.mark.parametrize("output", ["table", "markdown"])
def test_an_empty_log_is_said_plainly(oncall: Here, folder: Path, output: str) -> None:
    said = oncall.run("audit", "list", "--output", output)
    assert (said.code, said.err) == (Exit.OK, "")
    assert "The audit log is empty: nothing was done from here." in said.out
    assert str(folder / "audit.jsonl") in said.out.replace("\n", "").replace("`", "")
    assert not folder.exists()


def test_the_list(oncall: Here, full: Path) -> None:
    document, code = oncall.json("audit", "list")
    assert (document["schema"], code) == ("oncall/audit/1", Exit.OK)
    assert [entry["number"] for entry in document["entries"]] == [6, 5, 4, 3, 2, 1]
    assert (document["open"], document["total"], document["path"]) == ([6], 6, str(full / "audit.jsonl"))
    shown = oncall.run("audit", "list").out
    assert "entry 6 has no outcome: it was killed in the middle, or it still runs" in shown
    assert "done, fixed" in shown


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--last", "2"], [6, 5]),
        (["--last", "3"], [6, 5, 4, 3]),
        (["--action", "restart"], [5, 2, 1]),
        (["--action", "restart", "--last", "1"], [5]),
        (["--since", "1h"], [6, 5, 4, 3]),
        (["--since", "30d"], [6, 5, 4, 3, 2, 1]),
        (["-s", "web"], [6]),
        (["--action", "resize-pool"], []),
    ],
)
def test_a_part_of_the_list(oncall: Here, full: Path, words: list[str], numbers: list[int]) -> None:
    document, _ = oncall.json("audit", "list", *words)
    assert [entry["number"] for entry in document["entries"]] == numbers
    if not numbers:
        assert "No action of the log fits." in oncall.run("audit", "list", *words).out


@pytest.mark.parametrize("number", ["3", "4"])
def test_one_action_by_either_number(oncall: Here, full: Path, number: str) -> None:
    document, code = oncall.json("audit", "show", number)
    assert code == Exit.OK
    assert (document["entry"]["number"], document["outcome"]["number"], document["open"]) == (3, 4, False)
    shown = oncall.run("audit", "show", number).out
    for text in (
        "KILL QUERIES",
        "ana on jump-1, as root (uid 0), from 10.0.0.7",
        "cooldown",
        "Evidence",
        "fixed",
    ):
        assert text in shown


def test_an_action_without_an_end(oncall: Here, full: Path) -> None:
    document, _ = oncall.json("audit", "show", "6")
    assert (document["open"], document["outcome"]) == (True, None)
    assert "no outcome was written" in oncall.run("audit", "show", "6").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "7"], "the audit log has no entry 7: its entries are 1 to 6"),
        (["show", "0"], "'0' is not a whole number"),
        (["show", "x"], "'x' is not a whole number"),
        (["list", "--last", "0"], "--last: '0' is not a whole number"),
        (["list", "--since", "soon"], "--since: 'soon' is not a time"),
        (["list", "--action", "reboot"], "--action: no action 'reboot'; there is restart"),
    ],
)
def test_wrong_usage(oncall: Here, full: Path, words: list[str], said: str) -> None:
    got = oncall.run("audit", *words)
    assert got.code == Exit.USAGE
    assert said in got.err


def test_a_whole_log_is_whole_and_an_open_intent_named(oncall: Here, full: Path) -> None:
    document, code = oncall.json("audit", "verify")
    assert (code, document["whole"], document["entries"], document["open"]) == (Exit.OK, True, 6, [6])
    said = oncall.run("audit", "verify")
    assert said.code == Exit.OK
    assert said.out.startswith("The audit log is whole: its 6 entries are what was written\n")
    assert "oncall audit show 6" in said.out


@pytest.mark.parametrize("output", ["table", "markdown", "json"])
def test_a_changed_log_is_told_with_its_line(oncall: Here, full: Path, output: str) -> None:
    path = full / "audit.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace("ana", "eve"), *lines[3:]]))
    said = oncall.run("audit", "verify", "--output", output)
    assert said.code == Exit.CRITICAL
    assert "its text does not fit its hash: it was changed" in said.out
    assert ("line 3" in said.out) or said.json["line"] == 3
    # The rest of it can still be looked at, and what cannot is said.
    listed = oncall.run("audit", "list")
    assert listed.code == Exit.OK
    assert "a line cannot be relied on" in listed.out
    assert "flush-cache" in listed.out


def test_a_log_cut_off_is_told(oncall: Here, full: Path) -> None:
    path = full / "audit.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    document, code = oncall.json("audit", "verify")
    assert (code, document["line"]) == (Exit.CRITICAL, 5)
    assert "ends with entry 4, and 6 had been written" in document["reason"]


@pytest.mark.parametrize("command", [["verify"], ["list"], ["show", "1"]])
def test_a_log_that_cannot_be_read_is_unknown(oncall: Here, folder: Path, command: list[str]) -> None:
    (folder / "audit.jsonl").mkdir(parents=True)
    document, code = oncall.json("audit", *command)
    assert (code, document["schema"]) == (Exit.UNKNOWN, "oncall/error/1")
    assert "cannot be read: it is no regular file" in document["error"]


def test_as_a_program(program: Program) -> None:
    folder = program.folder / "state" / "oncall"
    assert program.run("audit", "list").out.startswith(
        "The audit log is empty: nothing was done from here.\n"
    )
    write(folder, intent(), outcome(1))
    assert program.run("audit", "verify").code == Exit.OK
    shown, code = program.at_terminal("audit", "show", "1", columns=40)
    assert code == Exit.OK
    assert max(map(len, screen(shown, 40))) <= 40
    assert any(line.startswith("RESTART") for line in screen(shown, 40))
    path = folder / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    assert program.run("audit", "verify").code == Exit.CRITICAL
