"""Restart by a command of the service file: a real little service, commands that work, fail and hang."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from oncall.lab.process import free_port, wait_until
from oncall.model_acts import GuardState
from oncall.model_service import RestartBy, Service
from oncall.remediation.actions.restart import Restart
from tests.remediation.restartstand import acted, guard, healthy, plan, server_words, verdicts

# Ends the service, if one runs, and starts it anew; the new one keeps the script's output open
RESTART = """#!/bin/sh
old=$(cat {folder}/pid 2>/dev/null) && kill $old && while kill -0 $old 2>/dev/null; do sleep 0.05; done
{server} &
echo $! > {folder}/pid
echo started
"""


def script(folder: Path, text: str) -> tuple[str, ...]:
    file = folder / "restart"
    file.write_text(text)
    file.chmod(0o755)
    return (str(file),)


def by(words: tuple[str, ...], url: str | None = None) -> Service:
    return Service(restart=RestartBy(command=words), url=url)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service that runs, and can be restarted by its script."""
    port = free_port()
    words = script(tmp_path, RESTART.format(folder=tmp_path, server=" ".join(server_words(tmp_path, port))))
    service = by(words, f"http://127.0.0.1:{port}")
    assert acted(Restart(), by(words)).result.state == "done"
    wait_until(lambda: healthy(port), "the service")
    yield service
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    assert str(tmp_path) in " ".join(process.cmdline())
    process.kill()


def test_a_command_that_works(running: Service) -> None:
    told = acted(Restart(), running)
    assert running.restart is not None
    (line,) = told.found.does
    assert line == running.restart.command[0]
    assert told.found.title == "restarts service bot by its own command"
    assert dict(told.found.place)["command"] == f"{line} on this machine"
    assert verdicts(told.found) == {
        "rights": GuardState.PASSED,
        **dict.fromkeys(("empty-selection", "start-limit", "cooldown", "dependents"), GuardState.NOT_APPLICABLE),
    }  # fmt: skip
    assert told.result.state == "done"
    assert [(c.text, c.holds) for c in told.checks] == [
        ("/health: healthy twice in a row, a second apart", True),
        ("another process answers (process_start_time_seconds)", True),
    ]
    assert [n.command for n in told.offers] == ["oncall diagnose -s bot"]


def test_a_command_that_does_nothing_is_found_out(running: Service) -> None:
    told = acted(Restart(), replace(running, restart=RestartBy(command=("true",))), wait_s=3)
    assert told.result.state == "done"
    assert told.checks[0].holds is True
    assert (told.checks[1].text, told.checks[1].holds) == (
        "the process from before still answers (process_start_time_seconds)", False,
    )  # fmt: skip


def test_a_command_that_fails_says_its_last_line(tmp_path: Path) -> None:
    words = script(tmp_path, "#!/bin/sh\necho working\necho 'no such deployment' >&2\nexit 7\n")
    told = acted(Restart(), by(words))
    assert told.result.state == "failed"
    assert told.result.text == f"{words[0]} ended with code 7: no such deployment"
    assert told.offers[0].command == words[0]
    (check,) = told.checks
    assert check.holds is None
    assert "has no url" in check.text


def test_a_secret_of_the_service_is_not_said(tmp_path: Path) -> None:
    words = script(tmp_path, '#!/bin/sh\necho "token $1 is wrong"\nexit 1\n')
    service = replace(by((*words, "canary-9")), headers={"Authorization": "Bearer canary-9"})
    told = acted(Restart(), service)
    assert "token *** is wrong" in told.result.text
    assert "canary-9" not in repr(told)


def test_a_command_that_hangs(tmp_path: Path) -> None:
    text = f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n"
    words = script(tmp_path, text)
    told = acted(Restart(), by(words), patience_s=1)
    assert told.result.state == "unknown"
    assert told.result.text == "restart did not end within 1 s, and was ended: what it has done is not known"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert any("of at most 1 s" in line for line in told.lines)


def test_it_has_no_input_no_shell_and_takes_words_as_they_are(tmp_path: Path) -> None:
    code = "import sys; sys.exit(repr((sys.argv[1:], sys.stdin.read(), sys.stdin.isatty())))"
    words = (sys.executable, "-c", code, "$HOME; echo x", "a b")
    assert acted(Restart(), by(words)).result.text.endswith("(['$HOME; echo x', 'a b'], '', False)")


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc/passwd"])
def test_a_program_that_cannot_be_run_is_refused_before(program: str) -> None:
    service = by((program,))
    report = guard(plan(Restart(), service), "rights")
    assert report.state is GuardState.REFUSED
    assert f"{program} cannot be run" in report.text
    assert acted(Restart(), service).result.state == "failed"


def test_the_command_goes_before_the_unit(tmp_path: Path) -> None:
    found = plan(Restart(), replace(by(("true",)), unit="fine"))
    assert found.does == ("true",)
    other = plan(Restart(), by(("true", "again")))
    assert found.targets != other.targets


def test_a_program_of_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", "#!/bin/sh\nexit 0\n")
    monkeypatch.chdir(tmp_path)
    assert guard(plan(Restart(), by(("bin/restart",))), "rights").state is GuardState.REFUSED
