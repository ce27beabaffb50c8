"""`oncall remediate` as a person at a terminal sees it: the header, the live table, the progress, and Ctrl-C."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte
import pytest
from redis import Redis

from oncall.errors import Exit
from oncall.lab.process import wait_until
from tests.cli.program import Program
from tests.cli.test_remediate import restarted_by
from tests.clients.redisstand import redis
from tests.clients.webstand import Asked, Stand, reply
from tests.remediation.flushstand import fill

KEYS = 200_000
"""More than could be removed between two looks of a person."""


class Terminal:
    """What a person at a terminal of 80 columns has before them, moment by moment."""

    def __init__(self, child: "pexpect.spawn[bytes]") -> None:
        self.child = child
        self._screen = pyte.Screen(80, 60)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        return [text for line in self._screen.display if (text := line.rstrip())]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, name: str) -> list[str]:
        """The words after the name that the last such line begins with."""
        found = [line.removeprefix(name).split() for line in self.lines if line.startswith(name)]
        return found[-1] if found else []

    def until(self, seen: Callable[[], object], what: str) -> None:
        """Reads until that is on the screen."""

        def looked() -> bool:
            self._read()
            return bool(seen())

        wait_until(looked, what, seconds=60)

    def _read(self) -> bool:
        try:
            self._stream.feed(self.child.read_nonblocking(65536, 0.05))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    def end(self) -> int | None:
        """Its exit code, after all that it had to say."""
        self._stream.feed(bytes(self.child.read()))
        self.child.close()
        return self.child.exitstatus


@contextmanager
def at_terminal(program: Program, *words: str) -> Iterator[Terminal]:
    child = program.start(*words)
    try:
        yield Terminal(child)
    finally:
        child.close(force=True)


def flat(text: str) -> str:
    """Without the ends of lines, where long words are broken."""
    return re.sub(r"\s+", "", text)


# --- what is touched, before it is touched -------------------------------------------------------


def test_the_header_stands_there_before_the_act(program: Program) -> None:
    """Service, environment and target are read while nothing has happened yet."""
    work = restarted_by(program, "touch begun; read line < fifo; touch ran", environment="production")
    os.mkfifo(work / "fifo")
    with at_terminal(program, "remediate", "restart", "--confirm", "--wait", "0s") as terminal:
        wait_until((work / "begun").exists, "it is about to act")
        terminal.until(lambda: f"{work}/restart.sh" in flat(terminal.text), "the target")
        assert not (work / "ran").exists()
        head = next(line for line in terminal.lines if line.startswith("RESTART"))
        assert "bot · production" in head
        assert "Command" in terminal.text
        (work / "fifo").write_text("go on\n")
        assert terminal.end() == Exit.UNVERIFIED
    assert (work / "ran").exists()


def test_the_act_finds_the_header_written(program: Program) -> None:
    """The first thing that the act does is to look at what has been said so far."""
    work = restarted_by(program, "cp said seen", environment="production")
    (work / "said").touch()
    shell = ("/bin/sh", "-c", 'exec "$0" "$@" 2>said', *program.command)
    said = Program(program.folder, command=shell).run("remediate", "restart", "--confirm", "--wait", "0s")
    assert said.code == Exit.UNVERIFIED, said.all
    seen = (work / "seen").read_text()
    assert re.match(r"RESTART +bot . production .*plan [0-9a-f]{10}\n", seen)
    assert f"{work}/restart.sh" in flat(seen)


# --- whether it helped, live ---------------------------------------------------------------------


def served_by(pool: dict[str, int]) -> Callable[[Asked], bytes]:
    """A service that is up, with a pool of 20 connections as full as that."""

    def answer(asked: Asked) -> bytes:
        if asked.path != "/metrics":
            return reply(json.dumps({"status": "healthy"}))
        gauges = {**pool, "size": 20}
        lines = [f"db_connection_pool_{name} {value}" for name, value in gauges.items()]
        return reply("\n".join([*lines, ""]), Content_Type="text/plain; version=0.0.4")

    return answer


def test_a_person_watches_it_get_well(program: Program) -> None:
    """Before and now, while it is still bad and as it gets well; then the page, in place of the table."""
    pool = {"active": 20, "waiting": 7}

    def watch(url: str) -> None:
        restarted_by(program, "touch ran", url=url, environment="production")
        words = ("remediate", "restart", "--issue", "pool", "--confirm", "--wait", "60s")
        with at_terminal(program, *words) as terminal:
            terminal.until(lambda: terminal.row("Waiting for one"), "the table")
            assert terminal.row("Pool in use")[:3] == ["20", "20", "10"]
            assert terminal.row("Pool in use")[-2:] == ["still", "critical"]
            assert (program.work() / "ran").exists()
            assert re.search(r"VERIFYING +restart · bot · production +\d+ s of 1 min", terminal.text)
            assert terminal.row("Symptom") == ["before", "now", "bound"]
            assert terminal.row("Waiting for one")[:2] == ["7", "7"]
            assert re.search(r"waiting for Pool in use, Waiting for one; \d+ s left", terminal.text)
            pool.update(active=4, waiting=0)
            assert terminal.end() == Exit.OK
            assert_fixed(terminal)

    async def work() -> None:
        async with Stand(served_by(pool)) as web:
            await asyncio.to_thread(watch, web.url)

    asyncio.run(work())


def assert_fixed(terminal: Terminal) -> None:
    text = terminal.text
    assert "DONE AND FIXED   restart · bot · production" in text
    assert terminal.row("Pool in use")[:4] == ["20", "4", "10", "16"]
    assert terminal.row("Pool in use")[-3:] == ["critical", "→", "ok"]
    assert "VERIFYING" not in text
    assert "left" not in terminal.lines[-1]


# --- a long act, and Ctrl-C ----------------------------------------------------------------------

_REMOVED = re.compile(r"removed ([\d,]+) of about ([\d,]+) keys")


def removed(terminal: Terminal, begins: str) -> int:
    """How many keys are gone, as the last such line says; 0 before there is one."""
    found = [m for line in terminal.lines if line.startswith(begins) and (m := _REMOVED.search(line))]
    return int(found[-1][1].replace(",", "")) if found else 0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that holds a lot of cache, and a queue."""
    with redis(tmp_path / "redis") as server, Redis.from_url(server.url) as admin:
        fill(admin, "cache:", KEYS)
        admin.rpush("celery", 1, 2, 3)
        yield admin


def test_ctrl_c_in_a_flush_stops_and_says_how_far_it_came(program: Program, full: Redis) -> None:
    port = full.connection_pool.connection_kwargs["port"]
    program.services(bot={"redis": {"url": f"redis://127.0.0.1:{port}/0"}, "environment": "production"})
    with at_terminal(program, "remediate", "flush-cache", "--prefix", "cache:", "--confirm") as terminal:
        terminal.until(lambda: removed(terminal, "cache::"), "progress")
        first = removed(terminal, "cache::")
        terminal.until(lambda: removed(terminal, "cache::") > first, "more progress")
        so_far = removed(terminal, "cache::")
        terminal.child.sendintr()
        assert terminal.end() == Exit.UNVERIFIED
        left = full.dbsize()
        said = removed(terminal, "Act     interrupted:")
    assert "INTERRUPTED   flush cache · bot · production" in terminal.text
    assert "Traceback" not in terminal.text
    # How far it came is what the server says, and nothing goes on behind our back.
    assert so_far <= said == KEYS + 1 - left < KEYS
    assert full.llen("celery") == 3
    assert full.dbsize() == left
    entries = program.json("audit", "list")[0]["entries"]
    assert [(e["kind"], e["outcome"]) for e in entries] == [("outcome", "interrupted"), ("intent", None)]
    assert f"removed {said:,} of about" in entries[0]["results"][0]["text"]
