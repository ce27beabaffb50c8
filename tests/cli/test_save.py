"""--save, --replay and --redact: a real run, kept without secrets, judged again without any server."""

import gzip
import json
import os
import stat
from pathlib import Path

import pytest

from oncall.errors import Exit
from tests.cli.page import served
from tests.cli.program import Program, signal
from tests.cli.test_completion import in_bash
from tests.clients.pgstand import APP, Stand

MINE = """\
issue: mine
title: Mine
headlines: {ok: MINE FINE, warning: MINE HIGH, critical: MINE VERY HIGH, unknown: MINE UNKNOWN}
alerts: [MineHigh]
symptoms: [in_pool]
signals:
  in_pool: {title: In the pool, gauge: db_connection_pool_active, warning: 5, critical: 10}
steps:
  who: {title: Who, why: w, sql: "SELECT 'bob@x.example' AS told, 4711 AS pid, 'x' AS query"}
causes:
  full:
    title: full
    why: w
    evidence: [{id: high, text: "{in_pool} in use", when: in_pool > 5, weight: 3, decisive: true}]
"""
NEWER = MINE.replace(
    "  who:", "  more: {title: More, why: w, sql: SELECT 1 AS one, optional: true}\n  who:"
).replace("critical: 10", "critical: 8")


def team(program: Program, text: str = MINE) -> str:
    folder = program.folder / "team"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(text, "utf-8")
    return str(folder)


@pytest.fixture
def look(program: Program, postgres: Stand) -> Program:
    """A service whose issue `mine` was diagnosed and saved as look.json, and that is gone since."""
    dsn = postgres.dsn(user="oncall", password="secret-canary")
    books = team(program)
    with served(active=9) as page:
        place = {"url": page.url, "headers": {"X-Api-Key": "head-canary"}}
        program.services(bot={**place, "postgres": {"dsn": dsn, "application_name": APP}})
        said = program.run(*LIVE, "--runbooks", books, "--interval", "50ms", "--save", "look.json")
    assert said.code == Exit.WARNING, said.all
    (program.work() / "live.out").write_text(said.out)
    program.file.unlink()
    return program


LIVE = ("--output", "json", "diagnose", "mine")
AGAIN = ("diagnose", "--replay", "look.json")


def file_of(program: Program, name: str = "look.json") -> Path:
    return program.work() / name


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_a_replay_is_the_report_to_the_byte(look: Program) -> None:
    books = ("--runbooks", str(look.folder / "team"))
    live = file_of(look, "live.out").read_text()
    for words in ((), ("mine",), ("--alert", "MineHigh"), ("-s", "bot")):
        said = look.run("--output", "json", *AGAIN, *words, *books)
        assert (said.out, said.code, said.err) == (live, Exit.WARNING, "")
    assert oct(file_of(look).stat().st_mode & 0o777) == "0o600"
    text = file_of(look).read_text()
    assert "canary" not in text
    assert "bob@x.example" in text
    # As a page and in markdown it says first that it is no report of now.
    for output in ("table", "markdown"):
        first = look.run("--output", output, *AGAIN, *books).first[0]
        assert first.startswith(f"replay of {json.loads(live)['at'][:10]} ")
        assert "saved by oncall" in first


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_an_edited_rule_is_tried_on_the_old_incident(look: Program) -> None:
    books = team(look, NEWER)
    report, code = look.json(*AGAIN, "--runbooks", books)
    assert (report["severity"], code) == ("critical", Exit.CRITICAL)
    more = next(s for s in report["steps"] if s["id"] == "more")
    assert (more["status"], more["reason"]) == ("failed", "not asked when this was saved")
    # A signal of another form was not asked either: what the file has under its name is something else.
    books = team(look, MINE.replace("db_connection_pool_active", "another_gauge"))
    report, code = look.json(*AGAIN, "--runbooks", books)
    assert (signal(report, "in_pool")["reason"], code) == ("not asked when this was saved", Exit.UNKNOWN)


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_an_old_file_can_be_redacted(look: Program) -> None:
    books = ("--runbooks", str(look.folder / "team"))
    said = look.run(*AGAIN, *books, "--save", "clean.json.gz", "--redact")
    assert said.code == Exit.WARNING
    assert said.err.startswith("saved in ")
    assert said.err.endswith(", redacted\n")
    text = gzip.decompress(file_of(look, "clean.json.gz").read_bytes()).decode()
    assert json.loads(text)["redacted"] is True
    rows = next(a["rows"] for k, a in json.loads(text)["answers"].items() if k.startswith("sql:"))
    assert rows == [["?", 4711, "x"]]
    again = look.run("diagnose", "--replay", "clean.json.gz", *books)
    assert again.code == Exit.WARNING
    assert ", redacted: as it was then" in again.first[0]


def blind(program: Program, *words: str) -> None:
    """A file of the packaged pool runbook, of a service that is nothing but a name."""
    program.services(bot={})
    assert program.run("diagnose", *words, "--save", "look.json").code == Exit.UNKNOWN


WRONG = [
    (("--at", "2h"), "--at does not go with --replay"),
    (("--window", "5m"), "--window does not go with --replay"),
    (("--baseline", "5m", "--timeout", "10s"), "--baseline does not go with --replay"),
    (("--interval", "2s"), "--interval does not go with --replay"),
    (("--save", "b.json"), "--save with --replay would only copy"),
    (("--redact",), "--redact is about the file of --save"),
    (("frob",), "does not hold the issue 'frob'"),
    (("pool", "--alert", "PoolExhausted"), "an issue and --alert were both given"),
    (("--alert", "Nope"), "no runbook names the alert 'Nope'"),
    (("-s", "other"), "is of the service 'bot', not of 'other'"),
]


def test_what_cannot_be_meant_is_64(program: Program) -> None:
    blind(program, "pool")
    for words, says in WRONG:
        said = program.run("--output", "json", *AGAIN, *words)
        assert (said.code, says in said.json["error"]) == (Exit.USAGE, True), (words, said.all)
        assert said.json["hint"]
    said = program.run("diagnose", "pool", "--redact")
    assert said.code == Exit.USAGE


def test_without_an_issue_it_prints_what_was_asked_then(program: Program) -> None:
    blind(program, "pool")
    one, _ = program.json(*AGAIN)
    assert (one["schema"], one["issue"]) == ("oncall/diagnosis/1", "pool")
    program.services(bot={})
    live = program.run("--output", "json", "diagnose", "--save", "look.json")
    assert program.run("--output", "json", *AGAIN).out == live.out
    assert live.json["schema"] == "oncall/diagnoses/1"
    one, _ = program.json(*AGAIN, "pool")
    assert one in live.json["diagnoses"]


def test_an_issue_without_its_runbook_asks_for_it(program: Program) -> None:
    program.services(bot={})
    books = team(program)
    assert program.run("diagnose", "mine", "--runbooks", books, "--save", "look.json").code == Exit.UNKNOWN
    said = program.run(*AGAIN)
    assert said.code == Exit.USAGE
    assert "holds the issue 'mine', and no runbook here is about it" in said.err
    assert "--runbooks DIR" in said.err


def test_the_services_own_runbooks_count_where_they_are(program: Program) -> None:
    books = Path(team(program))
    program.services(bot={"runbooks": str(books)})
    assert program.run("diagnose", "mine", "--save", "look.json").code == Exit.UNKNOWN
    assert program.run(*AGAIN).code == Exit.UNKNOWN
    books.rename(books.parent / "elsewhere")
    said = program.run(*AGAIN, "--runbooks", str(books.parent / "elsewhere"))
    assert said.code == Exit.UNKNOWN
    assert "are not here; give others with --runbooks" in said.err


# --- where the file may be -----------------------------------------------------------------------


def test_only_a_file_of_ours_is_replaced(program: Program) -> None:
    blind(program, "pool")
    first = file_of(program).read_bytes()
    blind(program, "pool")
    assert file_of(program).read_bytes() != first
    file_of(program).write_text("my notes")
    said = program.run("diagnose", "pool", "--save", "look.json")
    assert said.code == Exit.USAGE
    assert said.out == ""
    assert "it is not a file of --save: it stays as it is" in said.err
    assert file_of(program).read_text() == "my notes"
    link = file_of(program, "link.json")
    link.symlink_to("real.json")
    assert program.run("diagnose", "pool", "--save", "link.json").code == Exit.UNKNOWN
    assert link.is_symlink()
    assert file_of(program, "real.json").is_file()
    assert sorted(p.name for p in program.work().iterdir()) == ["link.json", "look.json", "real.json"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("none/look.json", "there is no folder"),
        (".", "it is no file that could be written"),
        ("/dev/null", "it is no file that could be written"),
        ("x" * 300, "name too long"),
    ],
)
def test_a_place_that_cannot_be_is_told_before_anything_is_asked(
    program: Program, place: str, says: str
) -> None:
    program.services(bot={})
    said = program.run("diagnose", "pool", "--save", place)
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert says in said.err


def test_a_full_disk_loses_the_file_and_not_the_report(program: Program) -> None:
    """No file may grow beyond a kilobyte: what a full disk does."""
    program.services(bot={})
    limited = Program(
        program.folder,
        command=("/bin/sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$0" "$@"', *program.command),
    )
    said = limited.run("diagnose", "pool", "--save", "look.json")
    assert said.code == Exit.UNKNOWN
    assert said.first[0].startswith("POOL UNKNOWN")
    assert "not saved: file too large" in said.err
    assert list(program.work().iterdir()) == []


def test_where_one_may_not_write(program: Program) -> None:
    program.services(bot={})
    program.work().chmod(stat.S_IRUSR | stat.S_IXUSR)
    # Root may write anywhere, but not without these capabilities.
    without = "-dac_override,-dac_read_search"
    bound = ("setpriv", f"--bounding-set={without}", f"--inh-caps={without}") if os.geteuid() == 0 else ()
    said = Program(program.folder, command=(*bound, *program.command)).run(
        "diagnose", "pool", "--save", "look.json"
    )
    program.work().chmod(0o700)
    assert said.code == Exit.USAGE
    assert "no permission to write" in said.err
    assert list(program.work().iterdir()) == []


# --- files that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "cannot be read: no such file"),
        (b"POOL HEALTHY", "not JSON"),
        (b'{"schema": "oncall/saved/7", "oncall": "9.1"}', "saved by another oncall (9.1)"),
        (gzip.compress(b"x" * 999)[:-12], "the gzip ends too early"),
    ],
    ids=["missing", "text", "newer", "cut"],
)
def test_a_file_that_is_none_is_64_with_what_was_found(
    program: Program, data: bytes | None, says: str
) -> None:
    if data is not None:
        file_of(program).write_bytes(data)
    said = program.run("--output", "json", *AGAIN)
    assert said.code == Exit.USAGE
    assert said.json["error"].startswith("look.json: ")
    assert says in said.json["error"]


def test_a_gigabyte_is_refused_soon_and_in_little_memory(program: Program) -> None:
    with file_of(program).open("wb") as file:
        file.truncate(1_000_000_000)
    assert "more than 64 MB" in program.run(*AGAIN).err
    assert "cannot be read: is a directory" in program.run("diagnose", "--replay", ".").err


def test_completion_offers_saved_files_and_alerts(program: Program) -> None:
    blind(program, "pool")
    file_of(program, "other.json").write_text("{}")
    file_of(program, "looks").mkdir()
    file_of(program).rename(file_of(program, "looks") / "a.json")
    assert in_bash(program, "diagnose", "--replay", "") == ["looks/"]
    assert in_bash(program, "diagnose", "--replay", "looks/") == ["looks/a.json"]
    assert in_bash(program, "diagnose", "--replay", "looks/b") == []
    assert "PoolExhausted" in in_bash(program, "diagnose", "--alert", "Pool")
