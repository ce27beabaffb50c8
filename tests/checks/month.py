"""Five weeks of a service's made-up metrics, for a real Prometheus: what grows, what got slower, what stays."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SCRAPE_S = 240
DAY_S = 86_400
Shape = Callable[[int], float]
"""A value (or a rate per second) by the seconds before the end."""
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, math.inf)


def rhythm(ago: int) -> float:
    """A daily rhythm, 0 to 1."""
    return 0.5 + 0.5 * math.sin(2 * math.pi * ago / DAY_S)


@dataclass(frozen=True)
class Endpoint:
    rate: float
    typical_s: Shape


@dataclass(frozen=True)
class Month:
    """A service `job`, scraped every four minutes up to `end` (Unix s)."""

    end: int
    job: str
    days: float = 35
    endpoints: dict[str, Endpoint] = field(
        default_factory=lambda: {
            "/api": Endpoint(20, lambda ago: 0.06),
            "/login": Endpoint(2, lambda ago: 0.03),
        }
    )
    error_share: Shape = lambda ago: 0.001
    gauges: dict[str, Shape] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        at = f'instance="app-1:8000",job="{self.job}"'
        buckets = {(e, b): 0.0 for e in self.endpoints for b in BOUNDS}
        sums = dict.fromkeys(self.endpoints, 0.0)
        counts = {"200": 0.0, "500": 0.0}
        for ago in range(int(self.days * DAY_S), -1, -SCRAPE_S):
            time = self.end - ago
            yield f"up{{{at}}} 1 {time}"
            for name, one in self.endpoints.items():
                happened = one.rate * (0.5 + rhythm(ago)) * SCRAPE_S
                typical = one.typical_s(ago)
                sums[name] += happened * typical
                failed = happened * self.error_share(ago)
                counts["500"] += failed
                counts["200"] += happened - failed
                for bound in BOUNDS:
                    buckets[name, bound] += happened * (1 - math.exp(-bound / typical))
                    le = "+Inf" if bound == math.inf else f"{bound:g}"
                    labels = f'endpoint="{name}",le="{le}",{at}'
                    yield f"http_request_duration_seconds_bucket{{{labels}}} {buckets[name, bound]:.2f} {time}"
                labels = f'endpoint="{name}",{at}'
                yield f"http_request_duration_seconds_sum{{{labels}}} {sums[name]:.3f} {time}"
                yield f"http_request_duration_seconds_count{{{labels}}} {buckets[name, math.inf]:.2f} {time}"
            for status, count in counts.items():
                yield f'http_requests_total{{endpoint="/api",status="{status}",{at}}} {count:.3f} {time}'
            for name, shape in self.gauges.items():
                yield f"{name}{{{at}}} {shape(ago):.3f} {time}"


def stories(end: int) -> list[str]:
    """Samples of: calm (nothing happens), grows (memory and pool, an endpoint four times as slow and errors in the
    last week), fresh (three days), plain (no endpoint label), once (a metric that ended ten days ago); and of the
    postgres exporter the sizes of `bot`, which grows by a gigabyte a day, and of Postgres's own database."""
    week = 7 * DAY_S
    all_of_them = (
        Month(end=end, job="calm", gauges=_gauges(lambda ago: 4 + 2 * rhythm(ago), lambda ago: 4e8)),
        Month(
            end=end,
            job="grows",
            endpoints={
                "/api": Endpoint(20, lambda ago: 0.06),
                "/export": Endpoint(1, lambda ago: 0.4 if ago < week else 0.1),
            },
            error_share=lambda ago: 0.008 if ago < week else 0.001,
            gauges=_gauges(
                lambda ago: 8 + 3 * rhythm(ago) - 0.05 * ago / DAY_S, lambda ago: 1.5e9 - 2e7 * ago / DAY_S
            ),
        ),
        Month(end=end, job="fresh", days=3, gauges=_gauges(lambda ago: 4, lambda ago: 4e8)),
    )
    rows: dict[str, list[str]] = {}
    for line in (line for story in all_of_them for line in story.lines()):
        # OpenMetrics wants the samples of a metric together.
        rows.setdefault(line.partition("{")[0], []).append(line)
    rows["once"] = [f'once{{job="calm"}} 1 {end - ago}' for ago in range(12 * DAY_S, 10 * DAY_S, -SCRAPE_S)]
    rows["pg_database_size_bytes"] = list(_database_sizes(end))
    return [line for lines in rows.values() for line in lines]


def _database_sizes(end: int) -> Iterator[str]:
    for ago in range(35 * DAY_S, -1, -SCRAPE_S):
        for name, size in (("bot", 4e10 - 1e9 * ago / DAY_S), ("postgres", 9e11)):
            at = f'datname="{name}",instance="db-1:9187",job="postgres"'
            yield f"pg_database_size_bytes{{{at}}} {size:.0f} {end - ago}"


def _gauges(pool: Shape, memory: Shape) -> dict[str, Shape]:
    return {
        "db_connection_pool_active": pool,
        "db_connection_pool_size": lambda ago: 20,
        "process_resident_memory_bytes": memory,
    }
