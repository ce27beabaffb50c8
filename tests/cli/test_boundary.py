"""Where errors become messages and exit codes: wrong usage, bugs, streams that do not do as they should."""

import subprocess
import sys

import pytest

from oncall.cli.commands import COMMANDS
from oncall.errors import Exit
from tests.cli.program import Program, Said

# --- wrong usage ---------------------------------------------------------------------------------

WRONG = [
    (
        ("frob",),
        "No such command 'frob'.",
        f"There are: {', '.join(COMMANDS)}. See 'oncall --help'.",
    ),
    (("diagnoze", "pool"), "Did you mean 'diagnose'?", "See 'oncall --help'."),
    (("runbook", "frob"), "No such command 'frob'.", "There are: list, show, check, schema."),
    (("diagnose", "--frob"), "No such option: --frob", "See 'oncall diagnose --help'."),
    (("diagnose", "--tmeout", "2s"), "--timeout", "See 'oncall diagnose --help'."),
    (("diagnose", "pool", "more"), "unexpected extra argument", "See 'oncall diagnose --help'."),
    (("diagnose", "-s"), "requires an argument", "See 'oncall --help'."),
    (("runbook", "show"), "Missing argument 'issue'.", "See 'oncall runbook show --help'."),
    (
        ("--output", "xml", "diagnose"),
        "'xml' is not one of 'table', 'json', 'markdown'",
        "See 'oncall --help'.",
    ),
    (("diagnose", "pol"), "no runbook for the issue 'pol'", "There are: errors, latency, memory, pool."),
    (("diagnose", "--alert", "Nope"), "no runbook names the alert 'Nope'", "PoolExhausted"),
    (("diagnose", "pool", "--alert", "PoolExhausted"), "an issue and --alert were both given", "one of them"),
    (("diagnose", "pool", "--at", "tomorrow"), "--at: 'tomorrow' is not a time", "2026-01-01T03:12:00Z"),
    (("diagnose", "pool", "--window", "5"), "--window: '5' is not a duration", "90s, 5m, 1h30m or 7d"),
    (("diagnose", "pool", "--baseline", "x"), "--baseline: 'x' is not a duration", "90s"),
    (("diagnose", "pool", "--timeout", "0s"), "--timeout: '0s'", "longer than nothing"),
    (("diagnose", "pool", "--interval", "-1s"), "--interval: '-1s'", "90s"),
    (("-s", "bto", "diagnose", "pool"), "there is no service 'bto'; there is bot", "Did you mean bot?"),
    (("-s", "", "diagnose", "pool"), "--service: an empty name", "not set"),
]


@pytest.mark.parametrize(("words", "says", "hint"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_wrong_usage_is_64_with_what_is_right(
    program: Program, words: tuple[str, ...], says: str, hint: str
) -> None:
    program.services(bot={})
    said = program.run("--output", "json", *words)
    assert said.code == Exit.USAGE
    assert said.err.startswith("oncall: ")
    assert says in said.err
    assert hint in said.err
    if "xml" not in words:
        assert set(said.json) == {"schema", "error", "hint"}
        assert said.json["schema"] == "oncall/error/1"
        assert says in said.json["error"]


def test_an_issue_that_is_empty_is_not_all_issues(program: Program) -> None:
    """As where a script's variable is not set."""
    program.services(bot={})
    said = program.run("diagnose", "")
    assert said.code == Exit.CONFIG
    assert "'' is no name of a runbook" in said.err


@pytest.mark.parametrize("words", [(), ("runbook",), ("config",), ("lab",)], ids=" ".join)
def test_without_a_command_the_help_is_shown_but_nothing_is_healthy(
    program: Program, words: tuple[str, ...]
) -> None:
    said = program.run(*words)
    assert said.code == Exit.USAGE
    assert said.out == ""
    assert "\nCommands:\n" in said.err
    as_json = program.run("--output", "json", *words)
    assert as_json.code == Exit.USAGE
    assert as_json.json["error"] == "Missing command."
    text, code = program.at_terminal(*words)
    assert code == Exit.USAGE
    assert text.count("Usage:") == 1
    assert "Traceback" not in text


def test_the_version(program: Program) -> None:
    said = program.run("--version")
    assert (said.code, said.err) == (Exit.OK, "")
    assert said.out.startswith("oncall ")


# --- a bug ---------------------------------------------------------------------------------------

BROKEN = """
from oncall.cli.main import main, whole

@whole().command()
def broken():
    dsn = "postgresql://u:secret-canary@h/d"
    return {}[dsn]

main()
"""


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_bug_is_70_with_what_to_report_and_no_values(program: Program, output: str) -> None:
    said = Program(program.folder, {}, (sys.executable, "-c", BROKEN)).run("--output", output, "broken")
    assert said.code == Exit.BUG
    assert "canary" not in said.all
    assert "a bug in oncall: KeyError at <string>:7 broken" in said.err
    assert "Please report this line with the command you typed; oncall 0." in said.err
    assert "Python 3." in said.err
    if output == "json":
        assert said.json["error"].startswith("a bug in oncall: KeyError")
        assert "report" in said.json["hint"]
    else:
        assert said.out == ""


# --- standard output and standard error ----------------------------------------------------------


def shell(program: Program, line: str) -> Said:
    """A line of bash in which $oncall is the program; the exit code is that of the first of a pipeline."""
    command = f"set -o pipefail; oncall='{sys.executable} -m oncall'; {line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        env=program.env,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=program.work(),
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    "words",
    [
        "runbook show pool",
        "runbook schema",
        "--help",
        "diagnose -h",
        "--version",
        "--output json runbook list",
    ],
)
def test_a_reader_that_goes_away_is_no_error(program: Program, words: str) -> None:
    said = shell(program, f"$oncall {words} | true")
    assert (said.code, said.err) == (Exit.OK, "")


@pytest.mark.parametrize("output", ["table", "json", "markdown"])
def test_the_verdict_stands_when_the_reader_goes_away(program: Program, output: str) -> None:
    program.services(bot={})
    said = shell(program, f"$oncall --output {output} diagnose pool | true")
    assert (said.code, said.err) == (Exit.UNKNOWN, "")
    said = shell(program, "$oncall diagnose frob 2>&1 | true")
    assert said.code == Exit.USAGE


@pytest.mark.parametrize(
    "words", ["runbook show pool", "--output json runbook list", "--help", "runbook list"]
)
def test_a_full_disk_is_no_verdict(program: Program, words: str) -> None:
    said = shell(program, f"ulimit -f 0; $oncall {words} > full.txt")
    assert said.code == Exit.UNKNOWN
    assert said.err == "oncall: standard output cannot be written: file too large\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(program: Program, closed: str) -> None:
    program.services(bot={})
    said = shell(program, f"$oncall diagnose pool {closed}")
    assert said.code == Exit.UNKNOWN
    assert said.err == ""
    assert bool(said.out) == (">&-" not in closed.split())


FOREIGN = "caf\u00e9 \u6771\u4eac"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_any_encoding_of_the_terminal(program: Program, encoding: str) -> None:
    program.services(bot={"environment": FOREIGN})
    small = program.under(PYTHONIOENCODING=encoding)
    for words in (
        ("diagnose", "pool"),
        ("diagnose", "pool", "--output", "markdown"),
        ("config", "check"),
        ("config", "show"),
        ("runbook", "show", "pool"),
        ("lab", "status"),
    ):
        with subprocess.Popen(
            [*small.command, *words], env=small.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            out, err = child.communicate()
        assert child.returncode in (Exit.OK, Exit.UNKNOWN), err
        assert out.decode(encoding), "text of that encoding"
    # JSON is UTF-8 whatever the terminal thinks.
    found, code = small.json("diagnose", "pool")
    assert (found["environment"], code) == (FOREIGN, Exit.UNKNOWN)
