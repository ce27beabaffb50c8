"""The help of every command, as it is read at 80 columns."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from syrupy.assertion import SnapshotAssertion

from oncall.cli.main import whole
from oncall.errors import Exit
from tests.cli.program import Program, screen


def every_command() -> Iterator[tuple[str, ...]]:
    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401  # typer hides it
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, (*path, name))

    return below(typer.main.get_command(whole()), ())


COMMANDS = sorted(every_command())


@pytest.mark.parametrize("words", COMMANDS, ids=lambda w: " ".join(("oncall", *w)))
def test_help(program: Program, words: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    said = program.under(COLUMNS="80").run(*words, "-h")
    assert (said.code, said.err) == (Exit.OK, "")
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out == snapshot


@pytest.mark.parametrize("words", [(), ("diagnose",), ("lab", "break")], ids=" ".join)
def test_both_names_of_help_say_the_same(program: Program, words: tuple[str, ...]) -> None:
    assert program.run(*words, "--help") == program.run(*words, "-h")


@pytest.mark.parametrize(
    ("columns", "env"), [(40, {}), (80, {}), (80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})], ids=str
)
def test_help_at_a_terminal(program: Program, columns: int, env: dict[str, str]) -> None:
    text, code = program.under(**env).at_terminal("diagnose", "--help", columns=columns)
    assert not env or "\x1b" not in text
    assert code == Exit.OK
    shown = "\n".join(screen(text, columns))
    assert "Traceback" not in shown
    for option in ("--timeout", "--runbooks", "--service", "--output"):
        assert option in shown, shown


def test_every_command_that_reads_takes_the_three_options() -> None:
    """They work before and after the command."""

    def options(command: Any) -> set[str]:  # noqa: ANN401  # typer hides it
        return {name for p in command.params for name in getattr(p, "opts", ())}

    root = typer.main.get_command(whole())
    for words in COMMANDS:
        command: Any = root
        for word in words:
            command = command.commands[word]
        if not hasattr(command, "commands"):
            assert options(command) >= {"--service", "-s", "--config", "--output"}, words
