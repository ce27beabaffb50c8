"""What came of a look at Redis, as far as it came, as answers to the words that were asked."""

import time
from collections.abc import Callable, Mapping, Sequence

from oncall.clients import redis_growing as growing
from oncall.clients import redis_sample as sampling
from oncall.clients import redis_tables as tables
from oncall.clients.redis import fault
from oncall.clients.redis_walk import Walk, walked
from oncall.clients.redis_wire import Refused, Wire
from oncall.model import Absence, StepReading, Table, Unavailable

MOST_CLIENTS = 20_000
"""More than that are not listed."""

QUERIES: Mapping[str, str] = {
    "server": "INFO",
    "prefixes": "SCAN 0 COUNT 1000; TYPE, MEMORY USAGE, PTTL of each",
    "growing": "SCAN 0 COUNT 1000 TYPE list (and TYPE stream); LLEN, XLEN, MEMORY USAGE of each, twice",
    "slowlog": f"SLOWLOG GET {tables.MOST_ROWS}",
    "latency": "LATENCY LATEST",
    "clients": "CLIENT LIST",
}
"""By word: what a person would paste into redis-cli."""
_RULES: Mapping[str, str] = {
    "INFO": "+info",
    "SCAN": "+scan",
    "SLOWLOG GET": "+slowlog|get",
    "LATENCY LATEST": "+latency|latest",
    "CLIENT LIST": "+client|list",
    "MEMORY USAGE": "+memory|usage",
    "PTTL": "+pttl",
    **{command: f"+{command.lower()}" for command in growing.LENGTH.values()},
}


class Came:
    """Filled while asking; what is there when time is up is told."""

    def __init__(self, place: str, deadline_s: float) -> None:
        self.place = place
        self.deadline_s = deadline_s
        self.walk = Walk()
        self.wire: Wire | None = None
        self.info: object = None
        """The first INFO."""
        self.ping_ms: float | None = None
        self.replies: dict[str, object] = {}
        self.looks: list[tuple[float, object]] = []
        """INFO around the quiet stretch, with the moments (perf_counter)."""
        self.took: dict[str, float] = {}
        """By word that has been asked: after how many ms."""

    def silent(self) -> Unavailable:
        reason = f"no answer from {self.place} within {self.deadline_s:g} s"
        frozen = "the port is open: it is frozen, or at work on one long command" if self.wire else None
        return Unavailable(kind=Absence.TIMEOUT, reason=reason, hint=frozen)

    @property
    def told(self) -> bool:
        return not isinstance(self.info, Refused | None)

    def notes(self) -> tuple[str, ...]:
        return tables.place_notes(tables.fields(self.info)) if self.told else ()

    def answers(self, words: Sequence[str]) -> dict[str, StepReading]:
        made: Mapping[str, Callable[[], Table | Unavailable]] = {
            "server": self._server,
            "prefixes": self._prefixes,
            "growing": self._growing,
            "slowlog": self._slowlog,
            "latency": self._latency,
            "clients": self._clients_table,
        }
        return {
            word: StepReading(
                source="redis", query=QUERIES[word], answer=made[word](), ms=self.took.get(word)
            )
            for word in words
        }

    def _server(self) -> Table | Unavailable:
        if isinstance(self.info, Refused):
            return self._refusal("INFO", self.info)
        infos = [tables.fields(reply) for _, reply in self.looks]
        apart = self.looks[-1][0] - self.looks[0][0]
        pair = tables.Pair(first=infos[0], last=infos[-1], seconds=apart) if apart > 0 else None
        return tables.server(tables.fields(self.info), pair, self._db, self.ping_ms)

    @property
    def _db(self) -> int:
        return self.wire.db if self.wire else 0

    def _prefixes(self) -> Table | Unavailable:
        walk = self.walk
        if walk.scan is not None:
            return self._refusal("SCAN", walk.scan)
        if "prefixes" not in self.took:
            return self.silent()
        return sampling.table(sampling.groups(walk.sample(), self._total, self._memory), self._sample_notes())

    @property
    def _total(self) -> int:
        """Keys of the database; those that were drawn, where they are all."""
        drawn = len(self.walk.measured)
        return drawn if self.walk.counted else max(drawn, self.walk.total or 0)

    @property
    def _memory(self) -> float | None:
        told = tables.fields(self.info) if self.told else {}
        return tables.number(told, "used_memory_dataset") or tables.number(told, "used_memory")

    def _sample_notes(self) -> list[str]:
        drawn, total = len(self.walk.measured), self._total
        notes = [f"estimated from {drawn:,} of {total:,} keys"] if drawn < total else []
        if self.walk.hidden:
            grant = f"ACL SETUSER {self._user} ~*"
            notes.append(
                f"{self.walk.hidden:,} of these keys may not be looked at by user {self._user}: {grant}"
            )
        return notes + self._ungranted("MEMORY USAGE", "PTTL")

    def _ungranted(self, *commands: str) -> list[str]:
        """What is left empty, and what would fill it."""
        return [
            f"without {command}: {why.hint or why.reason}"
            for command in commands
            if command in self.walk.refused
            for why in [self._refusal(command, self.walk.refused[command])]
        ]

    def _growing(self) -> Table | Unavailable:
        walk = self.walk
        if "growing" not in self.took:
            return self.silent()
        told = growing.worth_telling(walk.seen.values())
        if walk.scan is not None and not told:
            return self._refusal("SCAN", walk.scan)
        if (
            not walk.seen
            and len(walk.refused)
            and (denied := set(walk.refused) & set(growing.LENGTH.values()))
        ):
            first = min(denied)
            return self._refusal(first, walk.refused[first], *sorted(denied))
        notes = [] if walk.whole else [self._searched()]
        return growing.table(told, walk.again, (*notes, *self._ungranted(*growing.LENGTH.values())))

    def _searched(self) -> str:
        if self.walk.scan is not None:
            return (
                "only the usual names of queues were tried: " + self._refusal("SCAN", self.walk.scan).reason
            )
        total = self.walk.total or 0
        passed = round(walked(self.walk.cursor) * total)
        return f"lists and streams were looked for among about {passed:,} of {total:,} keys, and by the usual names"

    def _slowlog(self) -> Table | Unavailable:
        return self._if_told(
            "SLOWLOG GET", lambda reply: tables.slowlog(reply, self._setting("slower"), self._now)
        )

    def _latency(self) -> Table | Unavailable:
        return self._if_told(
            "LATENCY LATEST", lambda reply: tables.latency(reply, self._setting("threshold"), self._now)
        )

    def _clients_table(self) -> Table | Unavailable:
        if "clients" in self.took and "CLIENT LIST" not in self.replies:
            reason = f"more than {MOST_CLIENTS:,} clients are connected: not listed, to spare the server"
            return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason)
        return self._if_told("CLIENT LIST", lambda reply: tables.clients(reply, self.replies.get("id")))

    def _if_told(self, command: str, made: Callable[[object], Table]) -> Table | Unavailable:
        if command not in self.replies:
            return self.silent()
        reply = self.replies[command]
        return self._refusal(command, reply) if isinstance(reply, Refused) else made(reply)

    def _setting(self, name: str) -> int | None:
        match self.replies.get(name):
            case [_, bytes(value)] if value.removeprefix(b"-").isdigit():
                return int(value)
        return None

    @property
    def _now(self) -> float:
        """By the server's clock, which its times are of; by ours where it does not tell."""
        told = tables.fields(self.info) if self.told else {}
        return (tables.number(told, "server_time_usec") or time.time() * 1e6) / 1e6

    @property
    def _user(self) -> str:
        return self.wire.user if self.wire else "default"

    def _refusal(self, command: str, refused: Refused, *more: str) -> Unavailable:
        """Why one command was not answered, and what would change that."""
        rules = " ".join(_RULES[name] for name in (more or (command,)))
        if refused.denied:
            reason = f"user {self._user} may not run {', '.join(more or (command,))}"
            return Unavailable(kind=Absence.DENIED, reason=reason, hint=f"ACL SETUSER {self._user} {rules}")
        if refused.unknown:
            sentinel = self.told and tables.fields(self.info).get("redis_mode") == "sentinel"
            why = "a Sentinel has none" if sentinel else "too old, or taken away or renamed there"
            return Unavailable(
                kind=Absence.NOT_INSTALLED, reason=f"{self.place} does not know {command}: {why}"
            )
        return fault(RuntimeError(refused.text), self.place)
