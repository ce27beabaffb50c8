"""One Prometheus with eight days of history of several services, each with a story of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oncall.lab.servers import start_prometheus, stop
from oncall.model_service import PrometheusAt, Service
from tests.checks.week import DAY_S, Week
from tests.clients.promstand import KEEP, backfill
from tests.monitoring.alertstand import rule, ruled

HOUR_S = 3600


class Stories:
    """Where the Prometheus is, and when its history ends (Unix s)."""

    def __init__(self, url: str, end: int) -> None:
        self.url, self.end = url, end

    def service(self, job: str) -> Service:
        """One of: good, bad, young, bare (no durations, no sizes), gone (ended an hour ago),
        holed (two hours of the day are missing), nobody (no series)."""
        return Service(prometheus=PrometheusAt(url=self.url, selector={"job": job}))


@contextmanager
def told(folder: Path) -> Iterator[Stories]:
    """The Prometheus, as long as it is wanted."""
    # A full minute, as the steps of subqueries are: what is asked about the end is the same in every run.
    end = int(time.time()) // 60 * 60
    stories = (
        Week(end=end, job="good"),
        Week(
            end=end,
            job="bad",
            # Ill for the last day: errors all of it, slow, half an hour down.
            error_share=lambda ago: 0.03 if ago < DAY_S else 0.001,
            latency_s=lambda ago: 0.6 if ago < DAY_S else 0.08,
            up=lambda ago: 0.0 if 5 * HOUR_S < ago < 5.5 * HOUR_S else 1.0,
            alerts=(
                ("HighErrorRate", "critical", 3 * HOUR_S, 0),
                ("HighMemory", "warning", 9 * HOUR_S, 8 * HOUR_S),
            ),
        ),
        Week(end=end, job="young", days=3 / 24),
        Week(end=end, job="bare", days=1.2, without=("http_request_duration_seconds_bucket",)),
        Week(end=end - HOUR_S, job="gone", days=1.2),
        Week(end=end, job="holed", days=1.2, dark=(7 * HOUR_S, 5 * HOUR_S)),
    )
    lines: dict[str, list[str]] = {}
    for line in (line for story in stories for line in story.lines()):
        # OpenMetrics wants the samples of a metric together.
        lines.setdefault(line.partition("{")[0], []).append(line)
    backfill(folder, [line for rows in lines.values() for line in rows])
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        ruled(server, [rule("NeverFires", "vector(0) > 0")])
        yield Stories(server.url, end)
    finally:
        stop(server)
