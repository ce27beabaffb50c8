"""Plain options cost nothing to read; the others are read as typer reads them."""

import subprocess
import sys
from pathlib import Path

import pytest

from oncall.errors import Exit


def ran(*words: str) -> tuple[str, str]:
    """The exit code and whether pydantic was loaded, as printed; what was said."""
    code = (
        "import sys; from oncall.cli.main import run; code = run(sys.argv[1:]); "
        "print(int(code), 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1], done.stderr


def test_plain_options_load_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("services: {x: {}}\n")
    given = ("--config", str(file), "-s", "x", "--output", "json", "--timeout", "1s")
    assert ran("diagnose", "pool", *given)[0] == f"{int(Exit.UNKNOWN)} False"
    assert ran(*given[:6], "diagnose", "pool")[0] == f"{int(Exit.UNKNOWN)} False"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diagnose", "--output", "xml"), "'xml' is not one of 'table', 'json', 'markdown'"),
        (("diagnose", "--config"), "requires an argument"),
        (("runbook", "show"), "Missing argument"),
        (("lab", "break", "pool.too_small", "--intensity", "much"), "valid number"),
    ],
)
def test_mistakes_are_told_as_ever(words: tuple[str, ...], said: str) -> None:
    printed, told = ran(*words)
    assert printed.startswith(f"{int(Exit.USAGE)} ")
    assert said in told


def test_version_and_help() -> None:
    assert ran("--version")[0] == "0 False"
    assert ran("diagnose", "--help")[0] == "0 False"
