"""A command line loads the command that it means, and no other."""

import subprocess
import sys
from typing import Any

import pytest
import typer

from oncall.cli.commands import COMMANDS, meant
from oncall.cli.main import whole
from tests.cli.program import Program


def test_every_command_is_there_and_the_help_is_that_of_all_of_them(program: Program) -> None:
    command: Any = typer.main.get_command(whole())
    assert list(command.commands) == list(COMMANDS)
    quick = program.run("--help").out
    code = "import sys; from oncall.cli import main; main.commands.wants_help = lambda _: False; main.main()"
    slow = Program(program.folder, {}, (sys.executable, "-c", code)).run("--help").out
    assert quick == slow
    assert "..." not in quick.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), None),
        (("diagnose", "pool"), "diagnose"),
        (("-s", "health", "diagnose"), "diagnose"),
        (("--output", "json", "--config=x", "daily-check", "--all"), "daily-check"),
        (("remediate", "restart", "--confirm"), "remediate"),
        (("--help",), None),
        (("-s",), None),
        (("--version", "diagnose"), None),
        (("diagnos",), None),
        (("--", "diagnose"), None),
    ],
)
def test_what_is_meant(words: tuple[str, ...], name: str | None) -> None:
    assert meant(words) == name


def test_the_others_are_not_loaded() -> None:
    code = (
        "import sys; from oncall.cli.main import run; run(['diagnose', '--help']); "
        "print(sorted(m for m in sys.modules if m.startswith('oncall.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.strip().splitlines()[-1]
    assert "oncall.cli.diagnose" in loaded
    assert "oncall.cli.remediate" not in loaded
    assert "oncall.cli.lab" not in loaded
