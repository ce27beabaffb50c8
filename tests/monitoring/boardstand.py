"""Two hours of everything that the four dashboards show, for a real Prometheus: what was good and bad is known."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from oncall.lab.servers import Server, start_prometheus, stop
from tests.clients.promstand import KEEP, backfill

SCRAPE_S = 15
LONG_S = 7200
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ENDPOINTS = {
    "/api/messages": (20.0, 0.04, 0.0),
    "/api/export": (2.0, 1.5, 0.06),
    "/api/bots/{id}/conversations/{conversation}/messages": (8.0, 0.09, 0.002),
    "/health": (1.0, 0.002, 0.0),
}
"""Requests per second, typical seconds, share of errors."""
BOT = 'instance="app-1:8000",job="bot"'
NODE = 'instance="app-1:9100",job="node"'
EXPORTER = 'instance="db-1:9187",job="postgres"'


def gauges(ago: int, end: int) -> dict[str, float]:
    """The pool is beyond its critical bound in the last five minutes, memory beyond the dashboard's warning."""
    wave = math.sin(ago / 900)
    return {
        f"up{{{BOT}}}": 1,
        f"http_requests_in_progress{{{BOT}}}": round(6 + 3 * wave),
        f"db_connection_pool_active{{{BOT}}}": 17 if ago < 300 else 6,
        f"db_connection_pool_size{{{BOT}}}": 20,
        f"process_resident_memory_bytes{{{BOT}}}": 1.3e9 - 5e4 * ago,
        f"process_start_time_seconds{{{BOT}}}": end - (3000 if ago <= 3000 else 400_000),
        f"bot_instances_active{{{BOT}}}": 12,
        f'node_filesystem_avail_bytes{{device="/dev/sda1",fstype="ext4",mountpoint="/",{NODE}}}': 1.4e10,
        f'node_filesystem_size_bytes{{device="/dev/sda1",fstype="ext4",mountpoint="/",{NODE}}}': 1e11,
        f'node_filesystem_avail_bytes{{device="/dev/sda2",fstype="ext4",mountpoint="/boot",{NODE}}}': 2e8,
        f'node_filesystem_size_bytes{{device="/dev/sda2",fstype="ext4",mountpoint="/boot",{NODE}}}': 1e9,
        f'pg_database_size_bytes{{datname="deia_prod",{EXPORTER}}}': 5e9 - 1e5 * ago,
        f'pg_database_size_bytes{{datname="postgres",{EXPORTER}}}': 8e6,
    }


def rates(ago: int) -> dict[str, float]:
    wave = 1 + 0.5 * math.sin(ago / 600)
    return {
        f'node_cpu_seconds_total{{cpu="0",mode="idle",{NODE}}}': 0.25,
        f'node_cpu_seconds_total{{cpu="0",mode="user",{NODE}}}': 0.75,
        f'node_network_receive_bytes_total{{device="eth0",{NODE}}}': 3e5 * wave,
        f'node_network_receive_bytes_total{{device="lo",{NODE}}}': 9e9,
        f'node_network_transmit_bytes_total{{device="eth0",{NODE}}}': 1.2e6 * wave,
        f"http_request_size_bytes_sum{{{BOT}}}": 31 * 2e3,
        f"http_request_size_bytes_count{{{BOT}}}": 31,
        f"http_response_size_bytes_sum{{{BOT}}}": 31 * 3.1e4,
        f"http_response_size_bytes_count{{{BOT}}}": 31,
        f'pg_stat_database_xact_commit{{datname="deia_prod",{EXPORTER}}}': 120 * wave,
        f'pg_stat_database_xact_rollback{{datname="deia_prod",{EXPORTER}}}': 1,
        f'pg_stat_database_blks_hit{{datname="deia_prod",{EXPORTER}}}': 990,
        f'pg_stat_database_blks_read{{datname="deia_prod",{EXPORTER}}}': 10,
    }


def lines(end: int) -> Iterator[str]:
    """OpenMetrics lines up to `end` (Unix s), each metric's together."""
    found: dict[str, list[str]] = {}
    for line in _samples(end):
        found.setdefault(line.partition("{")[0], []).append(line)
    for rows in found.values():
        yield from rows


def _samples(end: int) -> Iterator[str]:
    noise, totals = random.Random(5), dict[str, float]()
    for ago in range(LONG_S, -1, -SCRAPE_S):
        at = end - ago
        for name, value in gauges(ago, end).items():
            yield f"{name} {value:.0f} {at}"
        steps = rates(ago) | _histograms(ago)
        for name, rate in steps.items():
            totals[name] = totals.get(name, 0.0) + rate * SCRAPE_S * noise.uniform(0.98, 1.0)
            yield f"{name} {totals[name]:.4f} {at}"


def _histograms(ago: int) -> dict[str, float]:
    """Counters per second of requests by endpoint, and of queries."""
    busy = 1 + 0.3 * math.sin(ago / 500)
    found: dict[str, float] = {}
    for endpoint, (rate, typical, failing) in ENDPOINTS.items():
        labels = f'endpoint="{endpoint}",{BOT}'
        found |= _histogram("http_request_duration_seconds", labels, rate * busy, typical)
        found[f'http_requests_total{{status="200",{labels}}}'] = rate * busy * (1 - failing)
        found[f'http_requests_total{{status="500",{labels}}}'] = rate * busy * failing
    return found | _histogram("db_query_duration_seconds", BOT, 60 * busy, 0.03)


def _histogram(name: str, labels: str, rate: float, typical: float) -> dict[str, float]:
    buckets = {f"{bound:g}": rate * (1 - math.exp(-bound / typical)) for bound in BOUNDS} | {"+Inf": rate}
    found = {f'{name}_bucket{{le="{bound}",{labels}}}': value for bound, value in buckets.items()}
    return found | {f"{name}_sum{{{labels}}}": rate * typical, f"{name}_count{{{labels}}}": rate}


@dataclass(frozen=True)
class History:
    """A Prometheus that scrapes nothing, and holds the two hours up to `end`."""

    server: Server
    end: int

    @property
    def at(self) -> str:
        return datetime.fromtimestamp(self.end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def prometheus(self) -> dict[str, object]:
        return {"url": self.server.url, "selector": {"job": "bot"}}


@contextmanager
def history(folder: Path, end: int | None = None) -> Iterator[History]:
    """`end`: Unix s; a quarter of an hour ago unless told, as samples of the last minutes are not yet in blocks."""
    end = int(time.time()) - 900 if end is None else end
    backfill(folder, list(lines(end)))
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield History(server, end)
    finally:
        stop(server)
