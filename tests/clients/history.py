"""An hour and more of a service's made-up metrics, for a real Prometheus: what changed in it is known."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SCRAPE_S = 15
LONG_S = 4500


@dataclass(frozen=True)
class Service:
    """Samples each 15 s for 75 minutes, up to `end` (Unix s). Seven families change, and when (s before the end):

    requests threefold on twelve endpoints (480), 503 that begin (240), durations tenfold (300), the pool (360), the
    start of the process (200, its counters begin anew), a queue that is gone (120), errors in a cache that were (60).
    """

    end: int
    seed: int = 7
    selector: str = 'instance="app-1:8000",job="bot"'

    def lines(self) -> list[str]:
        return [*self._counters(), *self._histogram(), *self._gauges()]

    def _times(self, since: int = LONG_S, until: int = 0) -> Iterator[tuple[int, int]]:
        """Time and seconds before the end."""
        for ago in range(since, until - 1, -SCRAPE_S):
            yield self.end - ago, ago

    def _counters(self) -> Iterator[str]:
        yield "# TYPE http_requests counter"
        for number in range(12):
            labels = f'endpoint="/api/{number:02}",status="200",{self.selector}'
            yield from self._counter("http_requests_total", labels, lambda ago: 30 if ago < 480 else 10)
        labels = f'endpoint="/api/00",status="503",{self.selector}'
        yield from self._counter("http_requests_total", labels, lambda ago: 4, since=225)
        yield "# TYPE process_cpu_seconds counter"
        yield from self._counter("process_cpu_seconds_total", self.selector, lambda ago: 0.2)
        yield "# TYPE cache_errors counter"
        yield from self._counter("cache_errors_total", self.selector, lambda ago: 2 if ago > 300 else 0)

    def _counter(
        self, name: str, labels: str, rate: Callable[[int], float], since: int = LONG_S
    ) -> Iterator[str]:
        noise, total = random.Random(f"{self.seed}{name}{labels}"), 0.0
        for time, ago in self._times(since):
            total = 0.0 if 185 < ago <= 200 else total
            total += rate(ago) * SCRAPE_S * noise.uniform(0.9, 1.1)
            yield f"{name}{{{labels}}} {total:.3f} {time}"

    def _histogram(self) -> Iterator[str]:
        yield "# TYPE http_request_duration_seconds histogram"
        count = total = 0.0
        rows = []
        for time, ago in self._times():
            count += 150
            total += 150 * (0.5 if ago < 300 else 0.05)
            rows.append((time, count, total))
        for at, suffix in enumerate(("_count", "_sum"), 1):
            for row in rows:
                yield f"http_request_duration_seconds{suffix}{{{self.selector}}} {row[at]:.3f} {row[0]}"
        for row in rows:
            yield f'http_request_duration_seconds_bucket{{le="+Inf",{self.selector}}} {row[1]:.3f} {row[0]}'

    def _gauges(self) -> Iterator[str]:
        noise = random.Random(self.seed)
        shapes: dict[str, Callable[[int], float]] = {
            "db_connection_pool_active": lambda ago: noise.choice((18, 19) if ago < 360 else (3, 4, 5)),
            "db_connection_pool_size": lambda ago: 20,
            "process_resident_memory_bytes": lambda ago: 4e8 + noise.uniform(-2e6, 2e6),
            "process_start_time_seconds": lambda ago: self.end - (200 if ago <= 200 else 90_000),
            "cache_hit_share": lambda ago: float("nan"),
            "up": lambda ago: 1,
        }
        for name, shape in shapes.items():
            yield f"# TYPE {name} gauge"
            for time, ago in self._times():
                yield f"{name}{{{self.selector}}} {shape(ago)} {time}"
        yield "# TYPE message_queue_depth gauge"
        for time, _ in self._times(until=495):
            yield f"message_queue_depth{{{self.selector}}} {noise.randint(3, 9)} {time}"
