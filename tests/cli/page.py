"""A service of which tests say how full its pool is: the metrics of the contract, by the library it would use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


@dataclass(frozen=True)
class Page:
    """Serves /metrics on 127.0.0.1."""

    port: int
    active: Gauge
    waiting: Gauge

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def served(active: float = 4, waiting: float = 0, size: float = 20) -> Iterator[Page]:
    """A page with these numbers, and a little traffic that does not change."""
    registry = CollectorRegistry()
    gauges = [
        Gauge(f"db_connection_pool_{name}", name, registry=registry) for name in ("active", "waiting", "size")
    ]
    for gauge, value in zip(gauges, (active, waiting, size), strict=True):
        gauge.set(value)
    requests = Counter("http_requests_total", "Requests.", ["status", "endpoint"], registry=registry)
    requests.labels("200", "/api/messages").inc(100)
    hold = Histogram("db_connection_hold_seconds", "Time that a connection is kept.", registry=registry)
    hold.observe(0.02)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield Page(server.server_port, gauges[0], gauges[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
