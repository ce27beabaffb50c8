"""A simulated service as data: usual life, what faults turn, what fills up, and what was sampled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LEAD_S = 125.0
"""Life before the baseline: a rate looks back."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Endpoint:
    """A kind of request: its share of all, and what one of them needs."""

    name: str
    share: float
    queries: float = 0.0
    infers: float = 0.0
    cached: float = 0.0
    cpu_s: float = 0.002
    calls_s: float = 0.0


@dataclass(frozen=True)
class Knobs:
    """What faults turn. Those that end in `_x` multiply, texts replace, all else adds up."""

    load_x: float = 1.0
    slow_x: float = 1.0
    one_slow_x: float = 1.0
    """The queries of the first endpoint with queries alone."""
    more_queries_x: float = 1.0
    database: str = ""
    """refused, auth, firewall, slots."""
    model: str = ""
    """refused, silent, missing, flaky."""
    infer_x: float = 1.0
    infer_others: float = 0.0
    """So much of Ollama's capacity is taken by others."""
    spilled: float = 0.0
    redis: str = ""
    """refused, oom, misconf, loading, readonly."""
    bad: float = 0.0
    input_fails: float = 0.0
    one_client: float = 0.0
    """Requests a second of one client that is over its limit."""
    limit_share: float = 0.0
    """The limit was lowered: so many of the usual requests are turned away."""
    scanner: float = 0.0
    loop: float = 0.0
    neighbour: float = 0.0
    thrash: float = 0.0
    lock_share: float = 0.0
    lock_wait_s: float = 0.0
    lock_kind: str = ""
    """burst: for some of the time; row: a queue for one row, all the time; stuck: until it is ended."""
    analytics: int = 0
    cache_leak: float = 0.0
    queue_leak: float = 0.0
    socket_leak: float = 0.0
    held: float = 0.0
    """Connections to the database that are taken and not given back, a second."""
    object_leak: float = 0.0
    object_each: float = 0.0
    redis_leak: float = 0.0
    list_leak: float = 0.0
    bug: float = 0.0
    """A share of requests that fails for a reason that no runbook knows."""
    calls_x: float = 1.0


@dataclass(frozen=True)
class Fault:
    """A change of some knobs, that began `age_s` before the end and lasts `lasts_s`."""

    age_s: float
    knobs: Mapping[str, float | str]
    lasts_s: float = math.inf


@dataclass(frozen=True)
class World:
    """Usual life. Rates in requests a second, sizes in bytes."""

    seed: int
    rate: float
    endpoints: tuple[Endpoint, ...]
    query_s: float
    infer_s: float
    infer_slots: float
    pool: int
    db_cores: float
    cores: int
    one_thread: bool
    same_machine: bool
    interval_s: float
    window_s: float
    baseline_s: float
    faults: tuple[Fault, ...] = ()
    patience_s: float = 10.0
    wander: float = 0.1
    wave: float = 0.0
    usual_errors: float = 0.0
    usual_bad: float = 0.01
    usual_other: float = 0.02
    usual_limited: float = 0.0
    idle_cpu: float = 0.05
    rss: float = 3e8
    warm_up: float = 5e7
    born_s: float = 1e6
    """How long ago the process was started, at the end."""
    sawtooth: float = 0.0
    filling: float = 0.0
    """A cache that fills up to its bound after a start: bytes."""
    request_b: float = 2e5
    entry_b: float = 4000.0
    message_b: float = 3000.0
    socket_b: float = 3e4
    result_b: float = 3e7
    redis_max: float | None = 5e8
    redis_policy: str = "noeviction"
    redis_used: float = 0.3
    redis_ttl: float = 0.97
    redis_counted: bool = False
    """`cache_entries` counts the keys of Redis, not those of a cache in the process."""
    machine_b: float = 8e9

    @property
    def ends(self) -> float:
        return self.baseline_s + self.window_s

    @property
    def step_s(self) -> float:
        """Seconds of one step of time, and between two samples."""
        points = math.ceil(self.ends / 240)
        return (
            self.interval_s if self.interval_s >= points / 3 else max(self.interval_s, min(5.0, points / 3))
        )


@dataclass
class State:
    """What fills up and drains, and the last step's numbers."""

    waiting: float = 0.0
    asked: float = 0.0
    held: float = 0.0
    stuck: float = 0.0
    backlog: float = 0.0
    inferring: float = 0.0
    entries: float = 2000.0
    messages: float = 0.0
    sockets: float = 0.0
    objects: float = 0.0
    redis_b: float = 0.0
    list_len: float = 0.0
    walk: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    buckets: list[float] = field(default_factory=lambda: [0.0] * (len(BUCKETS) + 1))


@dataclass(frozen=True)
class Sample:
    at: float
    counts: Mapping[str, float]
    gauges: Mapping[str, float]
    buckets: tuple[float, ...]


@dataclass(frozen=True)
class Life:
    world: World
    samples: tuple[Sample, ...]
    state: State
    knobs: Knobs
