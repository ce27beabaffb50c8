"""Many services on one real Prometheus, each with a story of its own, up to now and well beyond."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncall.lab.servers import Server, start_prometheus, stop
from tests.clients.promstand import backfill
from tests.clients.webstand import Answer, Asked, reply

STEP_S, HISTORY_S, AHEAD_S = 15, 4200, 1800
HEALTH: dict[str, dict[str, Any]] = {
    "/health": {
        "status": "healthy",
        "timestamp": "2025-10-25T20:00:00Z",
        "version": "1.0",
        "uptime": "12:34",
    },
    "/health/db": {"status": "connected", "database": "prod", "latency_ms": 8, "tables_accessible": 12},
    "/health/cache": {"status": "healthy", "provider": "redis", "latency_ms": 2, "memory_used_mb": 45},
}


@dataclass(frozen=True)
class Story:
    """A service that is well, but for what is said here. `since_s` and `until_s`: seconds before now."""

    errors: float = 0.001
    rate: float = 40.0
    latency_s: float = 0.05
    pool: float | None = 4.0
    memory: float = 4e8
    since_s: int = HISTORY_S
    until_s: int = -AHEAD_S
    ill_for_s: int = 600
    """So long before now the pool, the errors and the latency are as said; before that they are well."""
    every_s: int = STEP_S
    gone: int | None = 0
    """So many instances more, of which no scrape succeeds; None: nothing is scraped, and there is no `up`."""


STORIES = {
    "well": Story(),
    "full": Story(pool=19.0, latency_s=2.0),
    "failing": Story(errors=0.2),
    "stale": Story(until_s=130),
    "young": Story(since_s=900),
    "bare": Story(pool=None, gone=None),
    "idle": Story(rate=0.0),
    "lost": Story(gone=1),
}


def lines(job: str, story: Story, now: int) -> Iterator[str]:
    """OpenMetrics, each with the name of its metric in front, for `merged`."""
    at = f'instance="{job}:8000",job="{job}"'
    ok = bad = count = total = cpu = 0.0
    buckets = {"0.1": 0.0, "1": 0.0, "5": 0.0, "+Inf": 0.0}
    for time_s in range(now - story.since_s, now - story.until_s, story.every_s):
        ill = time_s > now - story.ill_for_s
        share, slow = (story.errors, story.latency_s) if ill else (0.001, 0.05)
        new = story.rate * story.every_s
        ok, bad = ok + new * (1 - share), bad + new * share
        count, total, cpu = count + new, total + new * slow, cpu + 0.2 * story.every_s
        yield f'http_requests_total{{endpoint="/api",status="200",{at}}} {ok:.3f} {time_s}'
        yield f'http_requests_total{{endpoint="/api",status="500",{at}}} {bad:.3f} {time_s}'
        for le in buckets:
            buckets[le] += new if float(le) >= slow else 0.0
            yield f'http_request_duration_seconds_bucket{{le="{le}",{at}}} {buckets[le]:.3f} {time_s}'
        yield f"http_request_duration_seconds_count{{{at}}} {count:.3f} {time_s}"
        yield f"http_request_duration_seconds_sum{{{at}}} {total:.3f} {time_s}"
        yield f"process_cpu_seconds_total{{{at}}} {cpu:.3f} {time_s}"
        yield f"process_resident_memory_bytes{{{at}}} {story.memory:.0f} {time_s}"
        if story.gone is not None:
            yield f"up{{{at}}} 1 {time_s}"
        for n in range(story.gone or 0):
            yield f'up{{instance="gone-{n}:8000",job="{job}"}} 0 {time_s}'
        if story.pool is not None:
            yield f"db_connection_pool_active{{{at}}} {story.pool if ill else 4:g} {time_s}"
            yield f"db_connection_pool_size{{{at}}} 20 {time_s}"


_TYPES = {
    "http_requests_total": ("http_requests", "counter"),
    "http_request_duration_seconds_bucket": ("http_request_duration_seconds", "histogram"),
    "process_cpu_seconds_total": ("process_cpu_seconds", "counter"),
    "process_resident_memory_bytes": ("process_resident_memory_bytes", "gauge"),
    "up": ("up", "gauge"),
    "db_connection_pool_active": ("db_connection_pool_active", "gauge"),
    "db_connection_pool_size": ("db_connection_pool_size", "gauge"),
}


def merged(stories: Mapping[str, Story], now: int) -> list[str]:
    """The lines of all, those of a metric together and below its type, as OpenMetrics wants them."""
    by_name: dict[str, list[str]] = {}
    for job, story in stories.items():
        for line in lines(job, story, now):
            by_name.setdefault(line.partition("{")[0], []).append(line)
    found = []
    for name, rows in by_name.items():
        if name in _TYPES:
            family, kind = _TYPES[name]
            found.append(f"# TYPE {family} {kind}")
        found += rows
    return found


@contextmanager
def fleet(folder: Path, stories: Mapping[str, Story]) -> Iterator[Server]:
    """The Prometheus, as long as it is wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    backfill(folder, merged(stories, int(time.time())))
    server = start_prometheus(folder, {}, "1h")
    try:
        yield server
    finally:
        stop(server)


def fields(prometheus: str, job: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever YAML can say
    """The entry of a service file."""
    return {
        "prometheus": {"url": prometheus, "selector": {"job": job}},
        "limits": {"memory": "1GB"},
        "windows": {"rate": "5m", "baseline": "1h"},
        **more,
    }


def healthy(asked: Asked) -> Answer:
    """The three endpoints as the monitoring document has them."""
    body = HEALTH.get(asked.path)
    return reply(json.dumps(body)) if body else reply("no such page", "404 Not Found")
