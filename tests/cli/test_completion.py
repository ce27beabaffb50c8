"""Completion in bash, zsh and fish: the files are those of today, and they offer what exists."""

import subprocess
import sys
from pathlib import Path

import pytest

from oncall.cli.commands import COMMANDS
from tests.cli.program import Program
from tests.make_completions import FILES, FOLDER, script


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_not_stale(shell: str) -> None:
    written = (FOLDER / FILES[shell]).read_text("utf-8")
    assert written == script(shell), "stale: run python -m tests.make_completions"


def test_zsh_finds_its_word_on_the_first_line() -> None:
    assert (FOLDER / "_oncall").read_text().splitlines()[0] == "#compdef oncall"


def in_bash(program: Program, *words: str) -> list[str]:
    """What a real bash offers, with the file sourced, for words of which the last is being typed."""
    line = (
        f"source {FOLDER}/oncall.bash; COMP_WORDS=(oncall {' '.join(repr(w) for w in words)}); "
        f"COMP_CWORD={len(words)}; _oncall_completion oncall; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    path = f"{Path(sys.executable).parent}:{program.env['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", line],
        env={**program.env, "PATH": path},
        cwd=program.work(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def by_protocol(program: Program, shell: str, line: str) -> str:
    """What the program answers to the shell's script."""
    how = {
        "_ONCALL_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    said = program.under(**how).run()
    assert said.err == ""
    return said.out


def test_bash_completes_commands_issues_services_and_options(program: Program) -> None:
    program.services(bot={}, billing={}, cache={})
    assert in_bash(program, "diag") == ["diagnose"]
    assert in_bash(program, "diagnose", "") == ["errors", "latency", "memory", "pool"]
    assert in_bash(program, "diagnose", "p") == ["pool"]
    assert in_bash(program, "diagnose", "x") == []
    assert in_bash(program, "-s", "") == ["bot", "billing", "cache"]
    assert in_bash(program, "-s", "b") == ["bot", "billing"]
    assert in_bash(program, "diagnose", "pool", "-s", "c") == ["cache"]
    assert in_bash(program, "runbook", "show", "") == ["errors", "latency", "memory", "pool"]
    assert in_bash(program, "--output", "") == ["table", "json", "markdown"]
    assert "--timeout" in in_bash(program, "diagnose", "--")
    assert set(in_bash(program, "")) == set(COMMANDS)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_are_answered_too(program: Program, shell: str) -> None:
    program.services(bot={}, billing={}, cache={})
    assert "diagnose" in by_protocol(program, shell, "oncall diag")
    assert "pool" in by_protocol(program, shell, "oncall diagnose ")
    answer = by_protocol(program, shell, "oncall -s b")
    assert "billing" in answer
    assert "cache" not in answer


def test_a_broken_service_file_completes_nothing_and_says_nothing(program: Program) -> None:
    program.write("services: [")
    assert in_bash(program, "-s", "") == []
    assert in_bash(program, "diagnose", "") == ["errors", "latency", "memory", "pool"]
