"""A real Prometheus with five weeks of history, into which a test loads alerting rules."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from oncall.clients.prom_alerts import alert_rules
from oncall.lab.process import wait_until
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Unavailable
from oncall.model_service import Limits, PrometheusAt, Service
from oncall.units import Size
from tests.checks.month import stories
from tests.clients.promstand import KEEP, backfill


class Months:
    """Where the Prometheus is, and when its history ends (Unix s)."""

    def __init__(self, url: str, end: int, pid: int, folder: Path) -> None:
        self.url, self.end, self.pid, self.folder = url, end, pid, folder

    def service(self, job: str) -> Service:
        at = PrometheusAt(url=self.url, selector={"job": job})
        return Service(prometheus=at, limits=Limits(memory=Size(2e9)))

    def rules(self, found: dict[str, str], annotations: dict[str, dict[str, str]] | None = None) -> None:
        """Loads alerting rules, and waits until they are those that it tells of."""
        given = annotations or {}
        rules = [{"alert": n, "expr": e, "annotations": given.get(n, {})} for n, e in found.items()]
        (self.folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
        config = self.folder / "prometheus.yml"
        written = yaml.safe_load(config.read_text()) | {"rule_files": [str(self.folder / "rules.yml")]}
        config.write_text(yaml.safe_dump(written))
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self._names() == sorted(found), "rules are loaded")

    def _names(self) -> list[str]:
        got = asyncio.run(alert_rules(PrometheusAt(url=self.url), 20))
        return [] if isinstance(got, Unavailable) else sorted(rule.name for rule in got)


@contextmanager
def told(folder: Path) -> Iterator[Months]:
    """The Prometheus, as long as it is wanted."""
    end = int(time.time())
    backfill(folder, stories(end), block="1000h")
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield Months(server.url, end, server.pid, folder)
    finally:
        stop(server)
