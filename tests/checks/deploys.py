"""Hours of a service's made-up metrics about a deploy, for a real Prometheus: what the deploy did is known."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DAY_S, HOUR_S, MINUTE_S = 86_400, 3600, 60
LONG_AGO = 20 * DAY_S
Shape = Callable[[int], float]
"""A value, or a rate per second, by the seconds before the end."""
_BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True)
class Deploy:
    """A service, scraped up to `end` (Unix s). `starts`: by instance, when its process began.

    Times are seconds before the end; `spans` are those that history has, each from and to. A shape says what one
    instance did when."""

    end: int
    job: str
    starts: Mapping[str, Sequence[int]] = field(
        default_factory=lambda: {"app-1:8000": (LONG_AGO, 40 * MINUTE_S)}
    )
    spans: Sequence[tuple[int, int]] = ((3 * HOUR_S, 0),)
    scrape_s: int = 15
    requests: Shape = lambda ago: 40.0
    error_share: Shape = lambda ago: 0.001
    client_share: Shape = lambda ago: 0.01
    latency_s: Shape = lambda ago: 0.03
    pool: Shape = lambda ago: 3.0
    memory: Shape = lambda ago: 4e8
    cpu: Shape = lambda ago: 0.2
    up: Shape = lambda ago: 1.0
    without: tuple[str, ...] = ()
    """Metrics that the service does not export."""

    def lines(self) -> list[str]:
        found: dict[str, list[str]] = {}
        for instance, starts in self.starts.items():
            for line in self._instance(instance, sorted(starts, reverse=True)):
                found.setdefault(line.split("{", 1)[0], []).append(line)
        return [line for name, rows in found.items() if name not in self.without for line in rows]

    def _times(self) -> Iterator[int]:
        for begin, until in self.spans:
            yield from range(begin, until - 1, -self.scrape_s)

    def _instance(self, instance: str, starts: Sequence[int]) -> Iterator[str]:
        noise = random.Random(f"{self.job}{instance}")
        at = f'instance="{instance}",job="{self.job}"'
        began, counts = None, dict[str, float]()
        for ago in self._times():
            time = self.end - ago
            alive = [s for s in starts if s >= ago]
            if not alive:
                continue
            up = self.up(ago)
            yield f"up{{{at}}} {up:g} {time}"
            if up < 1:
                continue
            if alive[-1] != began:
                began, counts = alive[-1], {}
            yield f"process_start_time_seconds{{{at}}} {self.end - began + 0.25} {time}"
            yield from self._work(ago, time, at, counts, noise)

    def _work(
        self, ago: int, time: int, at: str, counts: dict[str, float], noise: random.Random
    ) -> Iterator[str]:
        def count(key: str, by: float) -> str:
            counts[key] = counts.get(key, 0.0) + by
            return f"{key} {counts[key]:.3f} {time}"

        done = self.requests(ago) * self.scrape_s * noise.uniform(0.95, 1.05)
        failed, refused = done * self.error_share(ago), done * self.client_share(ago)
        for status, number in (("200", done - failed - refused), ("400", refused), ("500", failed)):
            yield count(f'http_requests_total{{endpoint="/api",status="{status}",{at}}}', number)
        typical = self.latency_s(ago) * noise.uniform(0.97, 1.03)
        for bound in _BOUNDS:
            share = 1 - math.exp(-bound / typical)
            yield count(f'http_request_duration_seconds_bucket{{le="{bound}",{at}}}', done * share)
        yield count(f'http_request_duration_seconds_bucket{{le="+Inf",{at}}}', done)
        yield count(f"http_request_duration_seconds_count{{{at}}}", done)
        yield count(f"http_request_duration_seconds_sum{{{at}}}", done * typical)
        used = self.cpu(ago) * self.scrape_s
        yield count(f"process_cpu_seconds_total{{{at}}}", used * noise.uniform(0.9, 1.1))
        yield f"db_connection_pool_active{{{at}}} {round(self.pool(ago) + noise.choice((-1, 0, 1)))} {time}"
        yield f"db_connection_pool_size{{{at}}} 20 {time}"
        yield f"process_resident_memory_bytes{{{at}}} {self.memory(ago) + noise.uniform(-2e6, 2e6):.0f} {time}"


def since(ago: int, after: float, before: float) -> Shape:
    """One value before a moment, another from then on."""
    return lambda at: after if at <= ago else before


def all_lines(stories: Sequence[Deploy]) -> list[str]:
    """The samples of a metric together, as OpenMetrics wants them."""
    found: dict[str, list[str]] = {}
    for line in (line for story in stories for line in story.lines()):
        found.setdefault(line.partition("{")[0], []).append(line)
    return [line for rows in found.values() for line in rows]


MARK = 40 * MINUTE_S


def _replaced(end: int) -> Iterator[Deploy]:
    """Three instances that make way for three of other names, and fail for a minute while they are stopped."""
    for n in (1, 2, 3):
        old = {f"old-{n}:8000": (LONG_AGO,)}
        yield Deploy(end, "replaced", starts=old, spans=((3 * HOUR_S, MARK + 15),))
        yield Deploy(end, "replaced", starts=old, spans=((MARK, MARK - 45),), up=lambda ago: 0.0)
        yield Deploy(end, "replaced", starts={f"new-{n}:8000": (MARK + 5,)}, spans=((MARK, 0),))


DAY_MARK, WEEK_MARK = 4 * HOUR_S, 2 * DAY_S


def _first_days(end: int) -> Iterator[Deploy]:
    """Four hours after a deploy. What one of them shows, the others do not."""
    starts, spans = {"app-1:8000": (LONG_AGO, DAY_MARK)}, ((9 * HOUR_S, 0),)

    def spike(ago: int) -> float:
        """Five times as much for ten minutes, two hours ago."""
        return 200.0 if 2 * HOUR_S <= ago < 2 * HOUR_S + 600 else 40.0

    shapes: dict[str, dict[str, Any]] = {
        "more": {"requests": since(DAY_MARK, 120.0, 40.0)},
        "fewer": {"requests": since(DAY_MARK, 8.0, 40.0)},
        "spike": {"requests": spike},
        "clients": {"client_share": since(DAY_MARK, 0.06, 0.01)},
    }
    for job, shape in shapes.items():
        yield Deploy(end, job, starts=starts, spans=spans, scrape_s=120, **shape)


def _first_weeks(end: int) -> Iterator[Deploy]:
    """Two days after a deploy. What does not hold in one of them holds in the other."""
    buckets = ("http_request_duration_seconds_bucket",)
    plain: dict[str, Any] = {"spans": ((4 * DAY_S + HOUR_S, 0),), "scrape_s": 240, "without": buckets}
    once, again = (LONG_AGO, WEEK_MARK), (LONG_AGO, WEEK_MARK, DAY_S)
    yield Deploy(
        end,
        "week-errors",
        starts={"app-1:8000": again},
        # From 0.05 to 0.4 %: below the target all the time
        error_share=lambda ago: 0.0005 + 0.0035 * max(0, WEEK_MARK - ago) / WEEK_MARK,
        pool=since(WEEK_MARK, 12.0, 3.0),
        **plain,
    )
    yield Deploy(
        end,
        "week-size",
        starts={"app-1:8000": once},
        memory=since(WEEK_MARK, 8e8, 4e8),
        cpu=since(WEEK_MARK, 0.6, 0.2),
        latency_s=since(WEEK_MARK, 0.05, 0.025),
        **plain,
    )


def stories(end: int) -> tuple[Deploy, ...]:
    """One service for each thing that a deploy can do."""
    one = "app-1:8000"
    hours = ((DAY_S + 2 * HOUR_S, DAY_S - HOUR_S), (7 * DAY_S + 2 * HOUR_S, 7 * DAY_S - HOUR_S))

    def busy(ago: int) -> float:
        """The same rush each day, which began twenty minutes ago."""
        return 0.12 if ago % DAY_S <= 42 * MINUTE_S or ago % DAY_S >= DAY_S - HOUR_S else 0.03

    return (
        Deploy(end, "good"),
        Deploy(end, "errors", error_share=since(MARK, 0.08, 0.001), latency_s=since(MARK, 0.034, 0.03)),
        Deploy(end, "bad-before", error_share=lambda ago: 0.03),
        Deploy(
            end,
            "loop",
            starts={one: (LONG_AGO, *range(MARK, 0, -120))},
            up=lambda ago: 0.0 if ago <= MARK and ago % 120 < 45 else 1.0,
        ),
        Deploy(
            end,
            "rolling",
            starts={f"app-{n}:8000": (LONG_AGO, MARK - 150 * (n - 1)) for n in (1, 2, 3)},
        ),
        Deploy(
            end,
            "canary",
            starts={f"app-{n}:8000": (LONG_AGO, MARK) if n == 1 else (LONG_AGO,) for n in (1, 2, 3)},
            spans=((HOUR_S, 0),),
            scrape_s=60,
        ),
        Deploy(end, "still", starts={one: (LONG_AGO,)}),
        Deploy(end, "young", spans=((20 * MINUTE_S, 0),)),
        Deploy(
            end,
            "rhythm",
            latency_s=busy,
            spans=(*reversed(hours), (3 * HOUR_S, 0)),
        ),
        Deploy(end, "rush", latency_s=since(MARK, 0.12, 0.03)),
        *_replaced(end),
        # One instance every twenty minutes, each of them bad from then on.
        *(
            Deploy(
                end,
                "by-and-by",
                starts={f"app-{n}:8000": (LONG_AGO, begun)},
                error_share=since(begun, 0.06, 0.001),
            )
            for n, begun in enumerate((55 * MINUTE_S, 35 * MINUTE_S, 15 * MINUTE_S))
        ),
        Deploy(end, "no-size", without=("db_connection_pool_size",)),
        # A request each ten minutes, and the last of them slow; one each minute, and all of them slow.
        Deploy(
            end,
            "few",
            requests=lambda ago: 1 / 15 if ago % 600 == 420 else 0.0,
            latency_s=lambda ago: 0.9 if ago == 420 else 0.03,
        ),
        Deploy(
            end,
            "few-slow",
            requests=lambda ago: 1 / 15 if ago % 60 == 0 else 0.0,
            latency_s=since(MARK, 0.9, 0.03),
        ),
        Deploy(
            end,
            "leak",
            starts={one: (LONG_AGO, 6 * HOUR_S)},
            spans=((13 * HOUR_S, 0),),
            scrape_s=60,
            memory=lambda ago: 4e8 + max(0, 6 * HOUR_S - ago) * 12_000,
        ),
        Deploy(end, "early", starts={one: (LONG_AGO, 70)}),
        Deploy(end, "bare", without=("http_request_duration_seconds_bucket",)),
        Deploy(end - HOUR_S, "gone"),
        *_first_days(end),
        *_first_weeks(end),
    )
