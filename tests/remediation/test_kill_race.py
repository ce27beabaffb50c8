"""At least a thousand guarded signals against sessions that run fast queries one after the other: no innocent hit."""

import asyncio
import re
import threading
from dataclasses import dataclass, field

import psycopg

from oncall.model_acts import TargetResult
from oncall.remediation.actions.kill_queries import KillQueries, KillWork
from oncall.remediation.actions.kill_selection import PidAt
from tests.clients.pgstand import Stand
from tests.remediation import killstand
from tests.remediation.killstand import dsn

SIGNALS = 600
"""On each of the two versions: 1,200 in all."""
SESSIONS = 8
LONG_EVERY = 150
"""Now and then a query that takes long: a guard that let nothing through would prove nothing."""


@dataclass
class Victim:
    """A session that runs numbered queries, and notes the numbers of those that were canceled."""

    link: psycopg.Connection[tuple[object, ...]]
    stop: threading.Event
    ran: int = 0
    canceled: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.link.info.backend_pid

    def run(self) -> None:
        while not self.stop.is_set():
            self.ran += 1
            long = self.ran % LONG_EVERY == 0
            what = "pg_sleep(3)" if long else "count(*) FROM generate_series(1, 50)"
            try:
                self.link.execute(f"SELECT {what} /* {self.ran} */", prepare=False)
            except psycopg.errors.QueryCanceled:
                self.canceled.append(self.ran)


async def signal(at: str, pids: list[int], hit: dict[int, set[int]]) -> int:
    """Looks and acts over one connection, until so many signals were asked for; notes which queries were meant."""
    action = KillQueries(pids=tuple(PidAt(pid=pid) for pid in pids))
    asked = 0
    async with killstand.scene(at) as here:
        while asked < SIGNALS:
            async with action.work(here) as work:
                for result in await killstand.applied(work):
                    asked += 1
                    note(work, result, hit)
    return asked


def note(work: KillWork, result: TargetResult, hit: dict[int, set[int]]) -> None:
    if result.state == "done":
        victim = work.victims[result.id]
        number = re.search(r"/\* (\d+) \*/", victim.query or "")
        assert number is not None
        hit[victim.pid].add(int(number[1]))


def test_signals_hit_only_the_query_that_was_seen(pg: Stand) -> None:
    stop = threading.Event()
    victims = [Victim(killstand.session(pg), stop) for _ in range(SESSIONS)]
    threads = [threading.Thread(target=victim.run, daemon=True) for victim in victims]
    for thread in threads:
        thread.start()
    hit: dict[int, set[int]] = {victim.pid: set() for victim in victims}
    try:
        asked = asyncio.run(signal(dsn(pg), [victim.pid for victim in victims], hit))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    innocents = {v.pid: sorted(set(v.canceled) - hit[v.pid]) for v in victims}
    assert asked >= SIGNALS
    assert innocents == {v.pid: [] for v in victims}
    assert sum(len(v.canceled) for v in victims) > 0
    assert sum(v.ran for v in victims) > SIGNALS
