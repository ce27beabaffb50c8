"""A simulated service as its backends would speak of it: Prometheus, Postgres, Redis, Ollama, systemd, logs."""

import math
import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from oncall.diagnosis.plan import Plan, Question
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.shift import median
from oncall.model import (
    Absence,
    Column,
    Scalar,
    SignalReading,
    StepReading,
    Table,
    Unavailable,
    Unseen,
)
from tests.diagnosis.service_world import BUCKETS, Life, Sample

NOT_CONFIGURED = Unavailable(kind=Absence.NOT_CONFIGURED, reason="not configured")
CORE = frozenset({"requests", "duration", "pool", "memory"})
ALL = CORE | {"cpu", "flight", "hold", "query", "model", "cache", "queue", "files", "start", "node"}

# Signal: the group of metrics that it needs, its form, and of what.
FORMS: Mapping[str, tuple[str, str, str, str]] = {
    "request_rate": ("requests", "rate", "requests", ""),
    "error_ratio": ("requests", "ratio", "5xx", "requests"),
    "client_error_ratio": ("requests", "ratio", "4xx", "requests"),
    "bad_request_ratio": ("requests", "ratio", "bad", "requests"),
    "rate_limited_ratio": ("requests", "ratio", "429", "requests"),
    "latency_p50": ("duration", "quantile", "0.5", ""),
    "latency_p95": ("duration", "quantile", "0.95", ""),
    "latency_p99": ("duration", "quantile", "0.99", ""),
    "latency_mean": ("duration", "ratio", "duration", "requests"),
    "pool_active": ("pool", "gauge", "pool_active", ""),
    "pool_waiting": ("pool", "gauge", "pool_waiting", ""),
    "pool_size": ("pool", "gauge", "pool_size", ""),
    "memory": ("memory", "gauge", "memory", ""),
    "cpu": ("cpu", "rate", "cpu", ""),
    "uptime": ("start", "gauge", "uptime", ""),
    "in_flight": ("flight", "gauge", "in_flight", ""),
    "pool_hold": ("hold", "ratio", "hold_time", "holds"),
    "checkout_rate": ("hold", "rate", "holds", ""),
    "db_query": ("query", "ratio", "query_time", "queries"),
    "db_rate": ("query", "rate", "queries", ""),
    "ollama_latency": ("model", "ratio", "infer_time", "infers"),
    "ollama_rate": ("model", "rate", "infers", ""),
    "ollama_error_ratio": ("model", "ratio", "infer_failed", "infers"),
    "cache_entries": ("cache", "gauge", "cache_entries", ""),
    "queue_depth": ("queue", "gauge", "queue_depth", ""),
    "open_files": ("files", "gauge", "open_files", ""),
    "host_cpu": ("node", "gauge", "machine", ""),
    "host_load": ("node", "gauge", "load", ""),
}


@dataclass(frozen=True)
class Told:
    """What is configured and exported, and how the service words things."""

    exports: frozenset[str] = ALL
    url: bool = True
    prometheus: bool = True
    postgres: bool = True
    named: bool = True
    redis: bool = True
    ollama: bool = True
    unit: bool = True
    host: bool = True
    logs: bool = True
    health: str = "json"
    """json, missing (404), silent (200 without a status)."""
    words: str = "python"
    logs_bad_input: bool = False
    limit: float | None = None
    """limits.memory of the service file."""
    unit_limit: float | None = None
    dark: Mapping[str, Unavailable] = field(default_factory=dict)
    """Backends that are taken away, with what is said instead."""


LINES: Mapping[str, Mapping[str, str]] = {
    "python": {
        "e_db": 'psycopg.OperationalError: connection to server at "10.0.0.5", port 5432 failed: Connection refused',
        "e_auth": 'FATAL:  password authentication failed for user "app" (psycopg.OperationalError)',
        "e_pool": "psycopg_pool.PoolTimeout: couldn't get a connection after 5.00 sec",
        "e_cache": "redis.exceptions.ConnectionError: Error 111 connecting to 10.0.0.7:6379. Connection refused.",
        "e_oom": "redis.exceptions.OutOfMemoryError: command not allowed when used memory > 'maxmemory'.",
        "e_llm": "httpx.ConnectError: [Errno 111] Connection refused POST http://10.0.0.9:11434/api/generate",
        "e_input": "ValueError: invalid literal for int() with base 10: 'abc'",
        "e_bad": "pydantic.ValidationError: 1 validation error for Order",
        "e_bug": "KeyError: 'region'",
    },
    "java": {
        "e_db": "org.postgresql.util.PSQLException: Connection to db:5432 refused. Check the hostname",
        "e_auth": 'org.postgresql.util.PSQLException: FATAL: password authentication failed for user "app"',
        "e_pool": "HikariPool-1 - Connection is not available, request timed out after 30000ms.",
        "e_cache": "RedisConnectionFailureException: Unable to connect to Redis (io.lettuce.core)",
        "e_oom": "RedisCommandExecutionException: OOM command not allowed when used memory > 'maxmemory'.",
        "e_llm": "ResourceAccessException: I/O error on POST http://ollama:11434/api/chat",
        "e_input": 'java.lang.NumberFormatException: For input string: "abc"',
        "e_bad": "HttpMessageNotReadableException: JSON parse error: Cannot deserialize value",
        "e_bug": "java.lang.NullPointerException: Cannot invoke \"Order.total()\" because \"order\" is null",
    },
    "go": {
        "e_db": "failed to connect to `host=db user=app`: dial error (dial tcp 10.0.0.5:5432: refused)",
        "e_auth": 'pq: password authentication failed for user "app"',
        "e_pool": "query failed: acquire: context deadline exceeded",
        "e_cache": "dial tcp 10.0.0.7:6379: connect: connection refused",
        "e_oom": "OOM command not allowed when used memory > 'maxmemory'.",
        "e_llm": 'Post "http://10.0.0.9:11434/api/generate": dial tcp 10.0.0.9:11434: connect: connection refused',
        "e_input": 'strconv.Atoi: parsing "abc": invalid syntax',
        "e_bad": "json: cannot unmarshal string into Go struct field Order.count of type int",
        "e_bug": "runtime error: index out of range [3] with length 3",
    },
    "node": {
        "e_db": "Error: connect ECONNREFUSED 10.0.0.5:5432 at TCPConnectWrap.afterConnect",
        "e_auth": 'error: password authentication failed for user "app" at Parser.parseErrorMessage (pg-protocol)',
        "e_pool": "Error: timeout exceeded when trying to connect at pg-pool/index.js",
        "e_cache": "Error: connect ECONNREFUSED 10.0.0.7:6379",
        "e_oom": "ReplyError: OOM command not allowed when used memory > 'maxmemory'.",
        "e_llm": "TypeError: fetch failed http://10.0.0.9:11434/api/generate cause: ECONNREFUSED",
        "e_input": "SyntaxError: Unexpected token a in JSON at position 0",
        "e_bad": "ZodError: invalid_type expected number received string",
        "e_bug": "TypeError: Cannot read properties of undefined (reading 'total')",
    },
}  # fmt: skip


# --- Prometheus -----------------------------------------------------------------------------------


class Scraped:
    """The samples of a life as Prometheus answers for them."""

    def __init__(self, life: Life, told: Told) -> None:
        self.life, self.told = life, told
        self.times = [s.at for s in life.samples]
        world = life.world
        self.rate_s = min(world.window_s, max(60.0, 4 * world.interval_s))
        self.step_s = max(1.0, math.ceil(world.ends / 240))
        self.grid = [world.ends - i * self.step_s for i in range(int(world.ends / self.step_s), -1, -1)]

    def reading(self, name: str) -> SignalReading:
        group, form, part, whole = FORMS.get(name, ("none", "gauge", "", ""))
        dark = self.told.dark.get("prometheus")
        if not self.told.prometheus or dark or group not in self.told.exports:
            return self._absent(name, group, form, part, whole)
        world = self.life.world
        points = [(t, v) for t in self.grid if (v := self.at(t, form, part, whole, self.rate_s)) is not None]
        count = (
            max(5, round(5 * world.interval_s / self.step_s)) if form == "gauge" and group != "node" else 1
        )
        fresh = bool(points) and points[-1][0] >= world.ends - 2 * self.step_s
        tail = [v for _, v in points[-count:]]
        nothing = Unavailable(kind=Absence.UNDEFINED, reason="undefined (NaN or Inf): no events to divide by")
        return SignalReading(
            id=name,
            source="prometheus",
            query=name if form == "gauge" else f"{name}[{self.rate_s:.0f}s]",
            now=median(tail) if fresh else nothing,
            times=tuple(t for t, _ in points),
            values=tuple(v for _, v in points),
            age_s=world.interval_s / 2,
            baseline_samples=int(min(world.baseline_s, world.born_s) / world.interval_s),
            instances=1,
        )

    def _absent(self, name: str, group: str, form: str, part: str, whole: str) -> SignalReading:
        """Without Prometheus two scrapes of the service's page tell the present."""
        dark = self.told.dark.get("prometheus")
        if (not self.told.prometheus or dark) and self.told.url and group in self.told.exports - {"node"}:
            apart = 2 * self.life.world.step_s
            value = self.at(self.life.world.ends, form, part, whole, apart)
            none = Unavailable(
                kind=Absence.UNDEFINED, reason="undefined: nothing happened between two scrapes"
            )
            return SignalReading(
                id=name,
                source="scrape",
                query=name,
                now=none if value is None else value,
                age_s=0.0,
                over_s=None if form == "gauge" else apart,
            )
        none = Unavailable(kind=Absence.NO_DATA, reason=f"no data for {part or name}")
        why = dark or (none if self.told.prometheus else NOT_CONFIGURED)
        return SignalReading(id=name, source="prometheus", query=name, now=why)

    def at(self, time: float, form: str, part: str, whole: str, over_s: float) -> float | None:
        last = bisect_right(self.times, time + 1e-6) - 1
        if last < 0:
            return None
        now = self.life.samples[last]
        if form == "gauge":
            return float(self.life.world.pool) if part == "pool_size" else now.gauges[part]
        first = min(bisect_left(self.times, now.at - over_s - 1e-6), last - 1)
        if first < 0:
            return None
        before = self.life.samples[first]
        elapsed = now.at - before.at
        if form == "rate":
            return _grown(before, now, part) / elapsed
        if form == "quantile":
            return _quantile(before, now, float(part))
        below = _grown(before, now, whole)
        return _grown(before, now, part) / below if below > 0 else None


def _grown(before: Sample, now: Sample, name: str) -> float:
    if name == "4xx":
        return sum(_grown(before, now, n) for n in ("bad", "429", "other"))
    return now.counts[name] - before.counts[name]


def _quantile(before: Sample, now: Sample, share: float) -> float | None:
    """As histogram_quantile: linear within a bucket; in the last one, its lower bound."""
    grown = [b - a for a, b in zip(before.buckets, now.buckets, strict=True)]
    if grown[-1] <= 0:
        return None
    rank = share * grown[-1]
    at = next((i for i, c in enumerate(grown) if c >= rank), len(BUCKETS))
    if at >= len(BUCKETS):
        return BUCKETS[-1]
    low, below = (BUCKETS[at - 1], grown[at - 1]) if at else (0.0, 0.0)
    return low + (BUCKETS[at] - low) * (rank - below) / max(grown[at] - below, 1e-9)


# --- everything together ----------------------------------------------------------------------------


def gathered(life: Life, told: Told, plan: Plan) -> Gathered:
    """What the engine would have gathered."""
    from tests.diagnosis.service_rows import rows

    scraped = Scraped(life, told)
    dice = random.Random(life.world.seed + 77)
    tables = rows(life, told, dice)
    tables |= {"logs": log_rows(life, told, plan.patterns)}
    refusals = {b: w for b in ("postgres", "redis", "ollama") if (w := _refusal(life, told, b))}
    answers = {k: _answer(q, tables, told, refusals) for k, q in plan.questions.items()}
    failed = tuple(
        Unseen(what=b, reason=w.reason) for b, w in refusals.items() if w.kind is not Absence.NOT_CONFIGURED
    )
    if dark := told.dark.get("prometheus"):
        failed = (*failed, Unseen(what="prometheus", reason=dark.reason))
    live = {n: life.samples[-1].gauges[f[2]] for n, f in FORMS.items()
            if f[1] == "gauge" and f[0] in told.exports - {"node"} and f[2] in life.samples[-1].gauges}  # fmt: skip
    if "pool_active" in live:
        # Read at the same moment as Postgres: who waits for a lock there has a connection of the pool.
        there = dict(
            zip(
                (c.name for c in tables["postgres"]["sessions"].columns),
                tables["postgres"]["sessions"].rows[0],
                strict=True,
            )
        )
        busy = (
            int(there["active"] or 0)
            + int(there["in_xact"] or 0)
            - (0 if told.named else life.knobs.analytics)
        )
        live["pool_active"] = min(max(live["pool_active"], float(busy)), float(life.world.pool))
    return Gathered(
        at=life.world.ends,
        window_s=life.world.window_s,
        baseline_s=life.world.baseline_s,
        signals={n: scraped.reading(n) for n in plan.signals},
        live=live if told.url else {},
        answers=answers,
        asked=tuple(plan.backends),
        refusals=refusals,
        failed=failed,
    )


def _answer(
    asked: Question,
    tables: Mapping[str, Mapping[str, Table]],
    told: Told,
    refusals: Mapping[str, Unavailable],
) -> StepReading:
    backend = asked.backend
    why = told.dark.get(backend) or refusals.get(backend)
    if why is None and not _configured(told, backend):
        why = NOT_CONFIGURED
    table = tables.get(backend, {}).get(asked.text)
    none = Unavailable(kind=Absence.NO_DATA, reason=f"nothing for {asked.text}")
    return StepReading(source=backend, query=asked.text, answer=why or (none if table is None else table))


def _configured(told: Told, backend: str) -> bool:
    names = {"http": "url", "systemd": "unit", "network": "url"}
    return bool(getattr(told, names.get(backend, backend), True))


def _refusal(life: Life, told: Told, backend: str) -> Unavailable | None:
    """What the tool meets where a fault is in its way too."""
    if backend in told.dark:
        return told.dark[backend]
    if not getattr(told, backend):
        return NOT_CONFIGURED
    down = Unavailable(kind=Absence.DOWN, reason="connection refused")
    knobs = life.knobs
    met = {
        "postgres": {
            "refused": down,
            "slots": Unavailable(kind=Absence.NO_SLOTS, reason="no connection slots left"),
        }.get(knobs.database),
        "redis": {
            "refused": down,
            "loading": Unavailable(kind=Absence.STARTING, reason="is loading its data"),
        }.get(knobs.redis),
        "ollama": {
            "refused": down,
            "silent": Unavailable(kind=Absence.TIMEOUT, reason="no answer within 5 s"),
        }.get(knobs.model),
    }
    return met[backend]


# --- the log -------------------------------------------------------------------------------------


def log_rows(life: Life, told: Told, patterns: Mapping[str, str]) -> dict[str, Table]:
    """Error lines of the window against the baseline, counted by the runbooks' own patterns."""
    world, samples = life.world, life.samples
    start = next(s for s in samples if s.at >= 0)
    split = next(s for s in samples if s.at >= world.ends - world.window_s)
    lines = dict(LINES[told.words])
    if life.knobs.redis in ("oom", "misconf", "readonly"):
        lines["e_cache"] = lines["e_oom"]
    if life.knobs.database in ("auth", "slots"):
        lines["e_db"] = lines["e_auth"]
    kinds = ["e_db", "e_pool", "e_cache", "e_llm", "e_input", "e_bug"] + ["e_bad"] * told.logs_bad_input
    counter = {"e_bad": "bad"}
    now, usual = {}, {}
    for kind in kinds:
        name = counter.get(kind, kind)
        now[kind] = round(_grown(split, samples[-1], name))
        usual[kind] = _grown(start, split, name) * world.window_s / max(split.at - start.at, 1e-9)
    total, before = sum(now.values()), sum(usual.values())
    top = max(kinds, key=lambda k: now[k])
    cells: dict[str, Scalar] = {
        "lines": 10 * total + 500, "errors": total, "per_s": total / world.window_s,
        "usual_per_s": before / world.window_s, "ratio": total / before if before else None,
        "new_templates": sum(now[k] >= 3 and usual[k] < 0.01 for k in kinds),
        "top": lines[top] if total else None, "top_share": now[top] / total if total else None,
    }  # fmt: skip
    for name, pattern in patterns.items():
        mine = [k for k in kinds if re.search(pattern, lines[k], re.IGNORECASE)]
        seen = [k for k in mine if now[k]]
        cells |= {
            name: sum(now[k] for k in mine),
            f"{name}_usual": sum(usual[k] for k in mine),
            f"{name}_example": lines[seen[0]] if seen else None,
        }
    told_rows = [row(template=lines[k], level="error", now=now[k], usual=usual[k], ratio=None,
                     new=now[k] >= 3 and usual[k] < 0.01, first_age_s=1.0, last_age_s=1.0, example=lines[k])
                 for k in sorted(kinds, key=lambda k: usual[k] - now[k]) if now[k]]  # fmt: skip
    empty = row(
        template="",
        level="",
        now=0,
        usual=0.0,
        ratio=None,
        new=False,
        first_age_s=0.0,
        last_age_s=0.0,
        example="",
    )
    templates = Table(columns=empty.columns, rows=tuple(t.rows[0] for t in told_rows))
    return {"errors": row(**cells), "templates": templates}


def row(**cells: Scalar) -> Table:
    """A table of one row."""
    return Table(columns=tuple(Column(name=n) for n in cells), rows=(tuple(cells.values()),))
