"""Rows 44 and 45 of the matrix of faults: what a terminal shows, and Ctrl-C."""

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pexpect
import pytest

from oncall.errors import Exit
from oncall.lab.servers import Server, start_prometheus, stop
from tests.cli.page import served
from tests.cli.program import screen
from tests.clients.pgstand import Stand
from tests.conftest import Varied

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HALF_A_SECOND = 0.5
GENEROUSLY = 1.0
"""What a loaded machine of two cores may take for the same."""


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{4,}", text))


# --- row 44: narrow, piped, plain ----------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_row_44_readable_at_any_width(varied: Varied, columns: int) -> None:
    program = varied()
    text, code = program.at_terminal("diagnose", "pool", columns=columns)
    assert code == Exit.OK
    lines = [line for line in screen(text, columns) if line]
    assert lines[0].startswith("POOL HEALTHY")
    # Nothing is longer than the screen: what a terminal would fold stands in lines of its own.
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.rpartition("\x1b[?25h")[2]).replace("\r", "")
    assert max(len(line) for line in bare.splitlines()) <= columns
    # Whole words: no word of the wide page begins at the end of a line and ends on the next one.
    wide = words_of(program.under(COLUMNS="200").run("diagnose", "pool").out)
    ends = [(a.split()[-1], b.split()[0]) for a, b in pairwise(lines)]
    assert not [f"{a}|{b}" for a, b in ends if a + b in wide]


def test_row_44_piped_is_plain(varied: Varied) -> None:
    said = varied().run("diagnose", "pool")
    assert said.code == Exit.OK
    assert not CONTROL.search(said.out.replace("\n", ""))
    assert said.err == ""
    assert max(len(line) for line in said.out.splitlines()) <= 120


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_row_44_no_control_codes_where_they_are_not_wanted(varied: Varied, env: Mapping[str, str]) -> None:
    with served() as page:
        program = varied(url=page.url, prometheus=None).under(**env)
        text, code = program.at_terminal("diagnose", "pool", "--interval", "100ms")
    assert code in (Exit.OK, Exit.UNKNOWN)
    report = text[text.index("POOL") :] if env.get("NO_COLOR") else text
    assert not CONTROL.search(report.replace("\r\n", ""))
    if "TERM" in env:
        assert report.isascii()


def test_row_44_colour_at_a_terminal(varied: Varied) -> None:
    text, _ = varied().at_terminal("diagnose", "pool")
    assert "\x1b[" in text
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", text), "a colour"


# --- the progress line and row 45 ----------------------------------------------------------------


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus that takes connections and does not answer."""
    server = start_prometheus(tmp_path_factory.mktemp("frozen"), {})
    os.kill(server.pid, signal.SIGSTOP)
    yield server
    os.kill(server.pid, signal.SIGCONT)
    stop(server)


def test_a_progress_line_says_who_is_waited_for(varied: Varied, frozen: Server) -> None:
    child = varied(prometheus__url=frozen.url).start("diagnose", "pool", "--timeout", "3s", columns=100)
    child.expect("asking .*prometheus waiting")
    text = the_rest_of(child)
    child.close()
    assert child.exitstatus == Exit.UNKNOWN
    left = [line for line in screen(text, 100) if line]
    assert left[0].startswith("POOL UNKNOWN"), "the line goes when the answer comes"
    assert not any(line.startswith("asking") for line in left)


def test_the_progress_line_is_on_stderr(varied: Varied, frozen: Server, tmp_path: Path) -> None:
    program = varied(prometheus__url=frozen.url)
    words = [*program.command, "diagnose", "pool", "--timeout", "2s", "--output", "json"]
    line = " ".join(map(_quoted, words)) + f" > {tmp_path}/out.json"
    env = {**program.env, "TERM": "xterm"}
    child = pexpect.spawn("/bin/sh", ["-c", line], env=env, timeout=60)
    child.expect("prometheus waiting")
    child.expect(pexpect.EOF)
    child.close()
    assert (tmp_path / "out.json").read_text().startswith('{"schema":"oncall/diagnosis/1"')
    # Without a terminal there is no talk at all.
    assert program.run("diagnose", "pool", "--timeout", "2s", "--output", "json").err == ""


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


def the_rest_of(child: "pexpect.spawn[bytes]") -> str:
    """What it has said since the last `expect`, with what that found, until its end."""
    parts = (child.before, child.after, child.read())
    return b"".join(part for part in parts if isinstance(part, bytes)).decode()


def interrupted_after(child: "pexpect.spawn[bytes]", ready: str) -> tuple[str, float]:
    """What was said, and the seconds from Ctrl-C to the end."""
    child.expect(ready)
    begun = time.monotonic()
    child.sendintr()
    text = the_rest_of(child)
    took = time.monotonic() - begun
    child.close()
    return text, took


def test_row_45_ctrl_c_while_prometheus_is_frozen(varied: Varied, frozen: Server) -> None:
    child = varied(prometheus__url=frozen.url).start("diagnose", "pool", "--timeout", "30s")
    text, took = interrupted_after(child, "prometheus waiting")
    assert (child.exitstatus, child.signalstatus) == (Exit.INTERRUPTED, None)
    assert took < HALF_A_SECOND + GENEROUSLY
    assert "Traceback" not in text
    assert "POOL" not in text


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_row_45_ctrl_c_while_postgres_is_frozen(varied: Varied, postgres: Stand) -> None:
    """The postmaster is stopped: it takes the connection and says nothing. No statement of ours stays behind."""
    program = varied(postgres__dsn=postgres.dsn(user="oncall", password="secret-canary"))
    os.kill(postgres.server.pid, signal.SIGSTOP)
    try:
        child = program.start("diagnose", "pool", "--timeout", "30s")
        text, took = interrupted_after(child, "postgres waiting")
    finally:
        os.kill(postgres.server.pid, signal.SIGCONT)
    assert (child.exitstatus, child.signalstatus) == (Exit.INTERRUPTED, None)
    assert took < HALF_A_SECOND + GENEROUSLY
    assert "Traceback" not in text
    postgres.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'oncall%%'")


def test_row_45_ctrl_c_of_a_script_gives_130_too(varied: Varied, frozen: Server) -> None:
    import subprocess

    program = varied(prometheus__url=frozen.url)
    with subprocess.Popen(
        [*program.command, "--output", "json", "diagnose", "pool", "--timeout", "30s"],
        env=program.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        _until_connected(child.pid, frozen.port)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == Exit.INTERRUPTED
    assert b"Traceback" not in err
    assert b"NaN" not in out


def _until_connected(pid: int, port: int) -> None:
    import psutil

    deadline = time.monotonic() + 30
    while not any(c.raddr and c.raddr.port == port for c in psutil.Process(pid).net_connections()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
