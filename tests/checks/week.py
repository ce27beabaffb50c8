"""Eight days and more of a service's made-up metrics, for a real Prometheus: what was good and bad is known."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SCRAPE_S = 240
DAY_S = 86_400
Shape = Callable[[int], float]
"""A value (or a rate per second) by the seconds before the end."""


def daily(low: float, high: float) -> Shape:
    """A daily rhythm between two values."""
    return lambda ago: low + (high - low) * (0.5 + 0.5 * math.sin(2 * math.pi * ago / DAY_S))


@dataclass(frozen=True)
class Week:
    """A service `bot`, scraped every four minutes up to `end` (Unix s). Each shape says what it did when."""

    end: int
    days: float = 8.5
    job: str = "bot"
    seed: int = 11
    requests: Shape = field(default_factory=lambda: daily(20, 60))
    error_share: Shape = lambda ago: 0.001
    latency_s: Shape = lambda ago: 0.08
    pool: Shape = lambda ago: 4.0
    memory: Shape = lambda ago: 4e8
    up: Shape = lambda ago: 1.0
    alerts: tuple[tuple[str, str, int, int], ...] = ()
    """Name, severity, and between how many seconds before the end each fired."""
    dark: tuple[int, int] = (0, 0)
    """Between how many seconds before the end nobody scraped it."""
    without: tuple[str, ...] = ()
    """Metrics that the service does not export."""

    def lines(self) -> list[str]:
        noise = random.Random(self.seed)
        found: dict[str, list[str]] = {}
        for line in self._all(noise):
            name = line.split("{", 1)[0]
            found.setdefault(name, []).append(line)
        return [line for name, rows in found.items() if name not in self.without for line in rows]

    def _times(self) -> Iterator[tuple[int, int]]:
        for ago in range(int(self.days * DAY_S), -1, -SCRAPE_S):
            if not self.dark[1] < ago < self.dark[0]:
                yield self.end - ago, ago

    def _all(self, noise: random.Random) -> Iterator[str]:
        at = f'instance="app-1:8000",job="{self.job}"'
        counts = {"200": 0.0, "500": 0.0}
        bounds = ("0.1", "0.25", "1.0", "5.0", "+Inf")
        buckets = dict.fromkeys(bounds, 0.0)
        total = 0.0
        for time, ago in self._times():
            yield f"up{{{at}}} {self.up(ago):g} {time}"
            if self.up(ago) < 1:
                continue
            happened = self.requests(ago) * SCRAPE_S * noise.uniform(0.97, 1.03)
            failed = happened * self.error_share(ago)
            counts["200"] += happened - failed
            counts["500"] += failed
            typical = self.latency_s(ago)
            total += happened * typical
            for bound in bounds:
                # An exponential spread about the typical time.
                share = 1.0 if bound == "+Inf" else 1 - math.exp(-float(bound) / typical)
                buckets[bound] += happened * share
                yield f'http_request_duration_seconds_bucket{{le="{bound}",{at}}} {buckets[bound]:.3f} {time}'
            yield f"http_request_duration_seconds_count{{{at}}} {buckets['+Inf']:.3f} {time}"
            yield f"http_request_duration_seconds_sum{{{at}}} {total:.3f} {time}"
            for status, count in counts.items():
                yield f'http_requests_total{{endpoint="/api",status="{status}",{at}}} {count:.3f} {time}'
            yield f"db_connection_pool_active{{{at}}} {self.pool(ago):g} {time}"
            yield f"db_connection_pool_size{{{at}}} 20 {time}"
            yield f"process_resident_memory_bytes{{{at}}} {self.memory(ago):.0f} {time}"
            yield f"process_start_time_seconds{{{at}}} {self.end - int(self.days * DAY_S)} {time}"
            for name, severity, since, until in self.alerts:
                if until <= ago <= since:
                    labels = f'alertname="{name}",alertstate="firing",severity="{severity}",job="{self.job}"'
                    yield f"ALERTS{{{labels}}} 1 {time}"
