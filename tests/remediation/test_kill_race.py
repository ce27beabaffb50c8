"""At least a thousand signals sent to sessions that run fast queries one after the other: no innocent hit."""

import asyncio
import re
import threading
from collections import Counter
from dataclasses import dataclass, field

import psycopg

from oncall.model_acts import TargetResult
from oncall.remediation.actions.kill_queries import KillQueries, KillWork
from oncall.remediation.actions.kill_selection import PidAt
from tests.clients.pgstand import Stand
from tests.remediation import killstand
from tests.remediation.killstand import dsn

SIGNALS = 500
"""Really sent, on each of the two versions: 1,000 in all. Those that the guard held back come on top."""
SESSIONS = 8
LONG_EVERY = 30
"""Now and then a query that takes long: a guard that let nothing through would prove nothing."""
ALMOST = 0.9
"""A signal may come just when its query ends by itself: then nobody notices it."""


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


async def signal(at: str, pids: list[int], hit: dict[int, set[int]]) -> Counter[str]:
    """Looks and acts over one connection, until so many signals were sent; notes which queries were meant.

    How many targets came to what: `done` are those that the server has signalled."""
    action = KillQueries(pids=tuple(PidAt(pid=pid) for pid in pids))
    came_to = Counter[str]()
    async with killstand.scene(at) as here:
        while came_to["done"] < SIGNALS:
            async with action.work(here) as work:
                for result in await killstand.applied(work):
                    came_to[result.state] += 1
                    note(work, result, hit)
    return came_to


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
        came_to = asyncio.run(signal(dsn(pg), [victim.pid for victim in victims], hit))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    innocents = {v.pid: sorted(set(v.canceled) - hit[v.pid]) for v in victims}
    assert innocents == {v.pid: [] for v in victims}, came_to
    assert set(came_to) <= {"done", "changed", "unchanged"}
    # As the server tells it, and as those felt it who were hit.
    assert came_to["done"] >= SIGNALS
    assert sum(len(v.canceled) for v in victims) > ALMOST * SIGNALS
    # It was a race: by the time of the signal many ran another query than the one that was seen, or none.
    assert came_to["changed"] > 0
    assert sum(v.ran for v in victims) > 10 * SIGNALS
