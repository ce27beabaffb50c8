"""`oncall daily-check` against a script that asks the same one after the other: `python -m tests.bench.morning`.

Against a Prometheus with eight days of history and a service that tells its health, near and far. By turns; prints
the ratios, for which 0.6 is the aim. By hand."""

import json
import os
import shlex
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from tests.bench.measure import Program, by_turns
from tests.bench.parts import ROUND_TRIP_MS
from tests.bench.stand import ONCALL, helper, ports
from tests.checks.stories import told

RUNS = 11
_BODIES = {
    "/health": {
        "status": "healthy",
        "timestamp": "2026-01-01T00:00:00Z",
        "version": "1.0.0",
        "uptime": "1:00:00",
    },
    "/health/db": {"status": "connected", "database": "bot", "latency_ms": 8, "tables_accessible": 12},
    "/health/cache": {"status": "healthy", "provider": "redis", "latency_ms": 2, "memory_used_mb": 45},
}


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(_BODIES.get(self.path, {})).encode()
        self.send_response(200 if self.path in _BODIES else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def script(report: dict[str, Any], prometheus: str, service: str) -> str:
    """Each line of the report as a person asks for it: now, yesterday, last week, and its course."""
    lines = ["#!/bin/sh", "set -eu", "now=$(date +%s)"]
    for line in report["lines"]:
        if line["source"] != "prometheus" or not line["query"]:
            continue
        query = shlex.quote("query=" + line["query"])
        asked = f"curl -sSf -G {prometheus}/api/v1/query --data-urlencode {query}"
        moments = (0, 86_400, 604_800) if line["history"] else (0, 0)
        lines += [f"{asked} -d time=$((now - {ago}))" for ago in moments]
        if line["history"]:
            span = "-d start=$((now - 86400)) -d end=$now -d step=1800"
            short = query.replace("[86400s", "[1800s")
            lines.append(f"curl -sSf -G {prometheus}/api/v1/query_range --data-urlencode {short} {span}")
    lines += [f"curl -sSf {service}{path}" for path in _BODIES]
    return "\n".join([*lines, "df -B1 /", "ls -t /var/backups | head -n 1"]) + "\n"


def _compared(folder: Path, name: str, url: str, prometheus: str) -> str:
    """One row: the check and the script against servers at these addresses."""
    entry = {"url": url, "prometheus": {"url": prometheus, "selector": {"job": "good"}}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"services": {"bench": entry}}))
    path.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "ONCALL_", "XDG_"))}
    env["XDG_STATE_HOME"] = str(folder / "state")
    command = [ONCALL, "--config", str(path), "daily-check"]
    done = subprocess.run([*command, "--output", "json"], env=env, capture_output=True, check=False)
    text = script(json.loads(done.stdout), prometheus, url)
    by_hand = folder / f"{name}.sh"
    by_hand.write_text(text)
    by_hand.chmod(0o700)
    ours = Program("ours", command, env, frozenset({0, 1, 2, 3}))
    taken = by_turns([ours, Program("script", [str(by_hand)], env)], RUNS)
    mine, theirs = taken["ours"].median_s, taken["script"].median_s
    times = f"{mine * 1000:.0f} ms | {theirs * 1000:.0f} ms | {mine / theirs:.2f}"
    return f"| daily-check · {text.count('curl ')} curl, {name} | {times} | ≤ 0.6 |"


def main() -> None:
    """Prints two rows: servers on this machine, and each of them further away."""
    with tempfile.TemporaryDirectory(prefix="oncall-morning-") as temporary:
        folder = Path(temporary)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
        Thread(target=server.serve_forever, daemon=True).start()
        with told(folder) as week:
            url = f"http://127.0.0.1:{server.server_port}"
            print(_compared(folder, "servers on this machine", url, week.url), flush=True)
            with helper("delay", ROUND_TRIP_MS, *ports([url, week.url])) as line:
                near, far = line.split()
                places = (f"http://127.0.0.1:{near}", f"http://127.0.0.1:{far}")
                print(_compared(folder, f"each server {ROUND_TRIP_MS} ms away", *places), flush=True)
        server.shutdown()


if __name__ == "__main__":
    main()
