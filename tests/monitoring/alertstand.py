"""A real Prometheus with alerting rules, and the real Alertmanager that it tells."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request

import yaml

from oncall.lab.servers import Server, direct, start_alertmanager, start_prometheus, stop

BOT = {"job": "bot"}
INHIBITS = [
    {"source_matchers": ['alertname="DatabaseUnreachable"'], "target_matchers": ['alertname="SlowQueries"']}
]
MANAGER = yaml.safe_dump(
    {
        "route": {"receiver": "nobody", "group_wait": "1s", "group_interval": "1s"},
        "receivers": [{"name": "nobody"}],
        "inhibit_rules": INHIBITS,
    }
)


def rule(alert: str, expr: str, severity: str = "", **more: Any) -> dict[str, Any]:  # noqa: ANN401  # YAML
    """An alerting rule of the service `bot`; `labels=` takes other labels, `lasts=` is its `for`."""
    labels = dict(more.pop("labels", BOT)) | ({"severity": severity} if severity else {})
    lasts = {"for": more.pop("lasts")} if "lasts" in more else {}
    return {"alert": alert, "expr": expr, "labels": labels, **lasts, **more}


@dataclass(frozen=True)
class Alerting:
    prometheus: Server
    manager: Server

    def service(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever YAML can say
        """The entry of a service file."""
        at: dict[str, Any] = {
            "prometheus": {"url": self.prometheus.url, "selector": BOT},
            "alertmanager": {"url": self.manager.url},
        }
        return at | changes

    def get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        return read(self.manager.url + path)

    def fire(self, *alerts: Mapping[str, str], ago_s: float = 0.0, **annotations: str) -> None:
        """Tells Alertmanager of alerts that no Prometheus knows, begun so long ago."""
        begun = datetime.now(UTC) - timedelta(seconds=ago_s)
        told = [
            {
                "labels": dict(labels),
                "annotations": annotations,
                "startsAt": begun.isoformat(),
                "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
            }
            for labels in alerts
        ]
        send(self.manager.url + "/api/v2/alerts", told)

    def silence(
        self, name: str, comment: str = "the upgrade", hours: float = 1, by: str = "ana@jump-1"
    ) -> str:
        """A silence of all alerts of that name; its id."""
        now = datetime.now(UTC)
        wanted = {
            "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=hours)).isoformat(),
            "createdBy": by,
            "comment": comment,
        }
        return str(send(self.manager.url + "/api/v2/silences", wanted)["silenceID"])

    def expire_all(self) -> None:
        for found in self.get("/api/v2/silences"):
            if found["status"]["state"] != "expired":
                url = f"{self.manager.url}/api/v2/silence/{found['id']}"
                direct.open(Request(url, method="DELETE"), timeout=10).close()


def read(url: str) -> Any:  # noqa: ANN401  # JSON
    with direct.open(url, timeout=10) as answer:
        return json.load(answer)


def send(url: str, document: object) -> Any:  # noqa: ANN401  # JSON
    request = Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with direct.open(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def ruled(server: Server, rules: Sequence[Mapping[str, Any]]) -> None:
    """Gives a running Prometheus these rules, evaluated each second, and waits until each was evaluated."""
    config = server.folder / "prometheus.yml"
    (server.folder / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "interval": "1s", "rules": list(rules)}]})
    )
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "rule_files": ["rules.yml"]}))
    os.kill(server.pid, signal.SIGHUP)
    wait(lambda: _evaluated(server) == len(rules))


def _evaluated(server: Server) -> int:
    groups = read(server.url + "/api/v1/rules")["data"]["groups"]
    return sum(
        r["lastEvaluation"][:4] != "0001" and r["health"] != "unknown" for g in groups for r in g["rules"]
    )


def wait(condition: Any) -> None:  # noqa: ANN401  # a function without arguments
    """Until it holds; a minute is more than a busy machine needs."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "waited for a minute"
        time.sleep(0.05)


@contextmanager
def alerting(folder: Path, rules: Sequence[Mapping[str, Any]]) -> Iterator[Alerting]:
    """Both servers; every alert that fires by these rules has reached Alertmanager."""
    manager = start_alertmanager(folder, config=MANAGER)
    try:
        # It finds its Alertmanager after five seconds, and sends again only so long after it has sent in vain
        again = ["--rules.alert.resend-delay=1s"]
        prometheus = start_prometheus(folder, {}, alertmanager=manager.url, arguments=again)
        try:
            ruled(prometheus, rules)
            made = Alerting(prometheus, manager)
            wait(lambda: len(made.get("/api/v2/alerts")) == firing(prometheus))
            yield made
        finally:
            stop(prometheus)
    finally:
        stop(manager)


def firing(server: Server) -> int:
    alerts = read(server.url + "/api/v1/alerts")["data"]["alerts"]
    return sum(a["state"] == "firing" for a in alerts)
