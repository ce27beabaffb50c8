"""Backups that a command tells of: real programs with every kind of end."""

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.checks.backups import look
from oncall.checks.backups.command import moment, parse
from oncall.model import Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt, Service
from oncall.units import Duration, Size


def seen(*words: str, deadline_s: float = 20) -> CheckLine:
    (found,) = asyncio.run(look(Service(backups={"bucket": BackupAt(command=words)}), deadline_s))
    return found


def says(text: str, code: int = 0) -> CheckLine:
    return seen("python3", "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})")


def test_its_code_alone() -> None:
    found = seen("true")
    assert (found.severity, found.text, found.value) == ("ok", "it ended with code 0", None)
    assert found.notes == ("it does not say when the backup ended: its age is not judged",)
    assert found.target is None
    found = seen("sh", "-c", "echo all is well; echo the bucket is away >&2; exit 3")
    assert (found.severity, found.text) == ("critical", "it ended with code 3: the bucket is away")
    assert says("3 objects, all fresh\n").text == "3 objects, all fresh"


def test_what_it_says() -> None:
    at = time.time() - 7200
    found = says(f'working...\n{{"finished": {at}, "size": 5000000, "ok": true, "more": [1]}}\n')
    assert (found.severity, found.text) == ("ok", "the newest ended 2 h ago, 5 MB")
    assert found.value == pytest.approx(7200, abs=60)
    old = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30 * 3600))
    assert says(f'{{"finished": "{old}"}}').severity == "warning"
    assert says('{"finished": "2020-01-01T00:00:00+02:00",\n "size": 0}').severity == "critical"


def test_ok_and_error_outweigh_its_code() -> None:
    found = says('{"ok": false}')
    assert (found.severity, found.text) == ("critical", "it says that it is not well")
    found = says('{"error": "no space left"}')
    assert (found.severity, found.text) == ("critical", "it says that it is not well: no space left")
    found = says('{"ok": true, "error": null}', 1)
    assert (found.severity, found.text) == ("critical", "it ended with code 1")


@pytest.mark.parametrize(
    "text", ['{"finished": "yesterday"}', '{"finished": 1e300}', '{"finished": true}', '{"size": "5 GB"}']
)
def test_json_that_is_not_as_it_should_be_is_unknown(text: str) -> None:
    found = says(text)
    assert (found.severity, found.value) == ("unknown", None)
    assert (found.reason or "").startswith("its JSON is not as it should be: ")


def test_what_cannot_be_run_is_unknown(tmp_path: Path) -> None:
    for program in ("no-such-program", str(tmp_path / "away"), "./here"):
        found = seen(program)
        assert found.severity == "unknown"
        assert found.reason == f"{program} cannot be run on this machine: there is no such program"


def test_no_shell_reads_its_words() -> None:
    assert seen("echo", "$(id)", ";", "*").text == "$(id) ; *"


def test_one_that_says_without_end_or_never_ends() -> None:
    found = seen("sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x; exit 1")
    assert (found.severity, len(found.text or "") < 400) == ("critical", True)
    found = seen("sh", "-c", "exec sleep 100", deadline_s=2)
    assert (found.severity, found.reason) == ("unknown", "sh did not end within 1.8 s")


@given(st.none() | st.floats() | st.text())
def test_any_moment_is_a_number_or_a_reason(said: float | str | None) -> None:
    found = moment(said)
    assert (found is None) == (said is None)
    assert found is None or isinstance(found, float | Unavailable)


@given(st.text())
def test_any_words_are_read(text: str) -> None:
    parse(text)
    parse("{" + text)


def test_a_size_below_nothing_is_not_one() -> None:
    found = says('{"finished": "2026-01-01T00:00:00Z", "size": -5}')
    assert (found.severity, found.reason) == ("unknown", "its JSON is not as it should be: size is -5")


def test_what_is_asked_of_it_and_not_told_is_unknown() -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    words = ("sh", "-c", f'echo \'{{"finished": "{now}"}}\'')
    wanted: dict[str, BackupAt | str] = {
        "small": BackupAt(command=words, least=Size(1e9)),
        "old": BackupAt(command=("true",), within=Duration(3600)),
        "bad": BackupAt(command=("false",), within=Duration(3600)),
    }
    small, old, bad = asyncio.run(look(Service(backups=wanted), 20))
    assert small.severity == "unknown"
    assert (small.text or "").startswith(
        "its size is not known: whether it is 1 GB cannot be said; the newest"
    )
    assert old.severity == "unknown"
    assert (old.text or "").startswith("when it ended is not known: whether within 1h cannot be said")
    assert (bad.severity, bad.text) == ("critical", "it ended with code 1")
