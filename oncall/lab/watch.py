"""What the lab's service says about itself, and waiting for it: a usual time, trouble, recovery."""

import json
import math
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

from oncall.errors import LabError
from oncall.lab import place
from oncall.lab.place import Record
from oncall.lab.servers import direct

Tick = Callable[[str], None]
ISSUES = ("errors", "latency", "pool", "memory")
SPAN_S = 2.0
"""Seconds between the two looks that a share or a latency needs."""
_FEW = 10
"""Requests below which a share says nothing."""


class Pool(NamedTuple):
    """The pool as the service counts it."""

    active: float
    size: float
    waiting: float

    @property
    def troubled(self) -> bool:
        """Over 80 % of the pool is held, or somebody waits."""
        return self.active > 0.8 * self.size or self.waiting > 0

    @property
    def exhausted(self) -> bool:
        """Somebody waits and nothing is left that could be given."""
        return self.waiting > 0 and (self.active >= self.size or self.active == 0)

    @property
    def quiet(self) -> bool:
        """Half of the pool is free, and nobody waits."""
        return self.active < 0.5 * self.size and self.waiting == 0


class Look(NamedTuple):
    """What /metrics says at one moment; counts are since the start of the service, memory in bytes.

    `slow` and `sluggish` are requests that took over one second, and over half of one; `redis` is None where
    Redis does not answer."""

    pool: Pool
    requests: float
    failed: float
    refused: float
    slow: float
    sluggish: float
    in_progress: float
    memory: float
    redis: float | None


class Now(NamedTuple):
    """How the service does over the last seconds; shares of the requests, None with too few of them."""

    pool: Pool
    failed: float | None
    refused: float | None
    slow: float | None
    sluggish: float | None
    stuck: bool
    memory: float
    redis: float | None


def pool(record: Record) -> Pool:
    """The pool's three gauges from /metrics. Raises LabError where the service does not answer."""
    return _look(record, with_redis=False).pool


def _look(record: Record, *, with_redis: bool = True) -> Look:
    from prometheus_client.parser import text_string_to_metric_families

    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(_metrics(record))
        for sample in family.samples
    ]

    def total(name: str, wanted: Callable[[dict[str, str]], bool] = lambda _: True) -> float:
        return sum(value for found, labels, value in samples if found == name and wanted(labels))

    def within(seconds: float) -> float:
        bucket = "http_request_duration_seconds_bucket"
        return total(bucket, lambda labels: math.isclose(float(labels["le"]), seconds))

    requests = total("http_request_duration_seconds_count")
    return Look(
        pool=Pool(*(total(f"db_connection_pool_{name}") for name in Pool._fields)),
        requests=requests,
        failed=total("http_requests_total", lambda labels: labels["status"] >= "500"),
        refused=total("http_requests_total", lambda labels: "400" <= labels["status"] < "500"),
        slow=requests - within(1),
        sluggish=requests - within(0.5),
        in_progress=total("http_requests_in_progress"),
        memory=total("process_resident_memory_bytes"),
        redis=_redis_memory(record) if with_redis else None,
    )


def _metrics(record: Record) -> str:
    url = f"{record.part('service').url}/metrics"
    try:
        with direct.open(url, timeout=10) as response:
            return str(response.read().decode())
    except OSError as error:
        raise LabError(
            f"the lab's service does not answer at {url}: {error}", hint="oncall lab status"
        ) from None


def _redis_memory(record: Record) -> float | None:
    import redis

    try:
        with redis.Redis.from_url(record.roles["redis"], socket_timeout=3) as client:
            return float(dict(client.info("memory"))["used_memory"])
    except redis.RedisError:
        return None


def now(record: Record, span: float = SPAN_S) -> Now:
    """Two looks, `span` seconds apart. Raises LabError where the service does not answer."""
    before = _look(record, with_redis=False)
    time.sleep(span)
    after = _look(record)
    requests = after.requests - before.requests

    def share(name: str) -> float | None:
        return (getattr(after, name) - getattr(before, name)) / requests if requests >= _FEW else None

    return Now(
        pool=after.pool,
        failed=share("failed"),
        refused=share("refused"),
        slow=share("slow"),
        sluggish=share("sluggish"),
        stuck=requests < _FEW and after.in_progress > 2 * _FEW,
        memory=after.memory,
        redis=after.redis,
    )


def troubled(record: Record, issue: str, span: float = SPAN_S) -> bool:
    """Whether that issue's symptom shows: over 5 % of the requests fail or 12 % are refused; over 5 % take
    longer than a second (a P95 above it), or none is answered; the pool is nearly held; over 60 % of a limit
    of memory is used. Raises LabError."""
    if issue == "pool":
        return pool(record).troubled
    found = now(record, span)
    if issue == "errors":
        return (found.failed or 0) > 0.05 or (found.refused or 0) > 0.12
    if issue == "latency":
        return (found.slow or 0) > 0.05 or found.stuck
    return found.memory > 0.6 * place.MEMORY_LIMIT or (found.redis or 0) > 0.6 * place.REDIS_LIMIT


def quiet(record: Record, issue: str, span: float = SPAN_S) -> bool:
    """Whether nothing of that issue shows, with room to spare; what cannot be read is not quiet."""
    if issue == "pool":
        return pool(record).quiet
    found = now(record, span)
    if found.failed is None or found.refused is None or found.sluggish is None:
        return False
    if issue == "errors":
        return found.failed < 0.005 and found.refused < 0.06
    if issue == "latency":
        return found.sluggish < 0.05
    memory = found.memory < 0.5 * place.MEMORY_LIMIT
    return memory and found.redis is not None and found.redis < 0.5 * place.REDIS_LIMIT


def samples(record: Record, since: float) -> int:
    """How many samples of the pool Prometheus holds from `since` (Unix seconds) until now."""
    window = max(1, int(time.time() - since))
    return _asked(record, f'count_over_time(db_connection_pool_active{{job="bot-controller"}}[{window}s])')


def waits_seen(record: Record) -> int:
    """In how many of the last sixty seconds somebody waited for a connection, as Prometheus saw it."""
    return _asked(record, "count_over_time((db_connection_pool_waiting > 0)[60s:1s])")


def _asked(record: Record, query: str) -> int:
    """A whole number from the lab's Prometheus; 0 where it has no answer. Raises LabError."""
    url = f"{record.part('prometheus').url}/api/v1/query?{urlencode({'query': query})}"
    try:
        with direct.open(url, timeout=5) as response:
            answer = json.load(response)
    except OSError as error:
        raise LabError(f"the lab's Prometheus does not answer: {error}", hint="oncall lab status") from None
    return sum(int(float(series["value"][1])) for series in answer["data"]["result"])


def await_usual(record: Record, since: float, wanted: int, tick: Tick) -> None:
    """Waits until Prometheus holds `wanted` samples of the time from `since` on. Raises LabError."""
    deadline = time.monotonic() + 2 * wanted + 30
    while (held := samples(record, since)) < wanted:
        tick(f"{held} of {wanted} samples")
        if time.monotonic() > deadline:
            raise LabError(f"Prometheus holds {held} samples only", hint="oncall lab status")
        time.sleep(1)


def await_pool(record: Record, wanted: Callable[[Pool], bool], what: str, seconds: float, tick: Tick) -> Pool:
    """Waits until the pool is as wanted. Raises LabError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not wanted(held := pool(record)):
        tick(f"{held.active:g} of {held.size:g} connections held, {held.waiting:g} waiting")
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {seconds:g} s", hint="oncall lab status")
        time.sleep(0.5)
    return held


def await_trouble(record: Record, issue: str, lasting: float, seconds: float, tick: Tick) -> None:
    """Waits until the symptom has lasted for some seconds. Raises LabError after `seconds`."""
    deadline = time.monotonic() + seconds
    since: float | None = None
    while since is None or time.monotonic() - since < lasting:
        if not troubled(record, issue):
            since = None
        elif since is None:
            since = time.monotonic()
        tick(f"{issue}: trouble" if since else f"{issue}: not yet")
        if time.monotonic() > deadline:
            raise LabError(f"no trouble with {issue} within {seconds:g} s", hint="oncall lab status")


def await_quiet(record: Record, issue: str, seconds: float, tick: Tick) -> None:
    """Waits until nothing of that issue shows any more. Raises LabError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not quiet(record, issue):
        tick(f"{issue}: not quiet yet")
        if time.monotonic() > deadline:
            raise LabError(f"{issue}: not quiet after {seconds:g} s", hint="oncall lab status")
