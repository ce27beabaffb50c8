"""The shell script that a person would write: a psql, a curl or a redis-cli for each question, one after the other.

It asks what a report shows that it was made from, each question once, in the report's own words. Nothing is asked
twice, though a diagnosis looks twice at Redis and at the machine, and nothing waits."""

import json
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oncall import config as service_files
from oncall.diagnosis.engine import Ask, Round
from oncall.diagnosis.run import planned
from oncall.model_service import Service
from oncall.runbook.loader import runbooks_of
from oncall.signals import ages_promql, to_promql

SAMPLE = 1000
"""Keys of Redis that are looked at one by one."""


def write(path: Path, report: Mapping[str, Any], service_file: Path, service: str, psql: str) -> None:
    """Asks what `report` (the JSON of a diagnosis, of one issue or of all) was made from."""
    at = service_files.load(service_file).services[service]
    assert at.postgres is not None
    lines = ["#!/bin/sh", "set -eu", "now=$(date +%s)", f"export PGDATABASE={shlex.quote(at.postgres.dsn)}"]
    lines += [f'{psql} -X -q -d "$PGDATABASE" -c {shlex.quote(sql)}' for sql in _queries(report, "postgres")]
    lines += _curls(report, service_file, service)
    lines += [*_redis(at, report), *_machine(report)]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o700)


def questions(path: Path) -> str:
    """How many programs of which kind a script has."""
    text = path.read_text()
    kinds = {"psql": "psql -X ", "curl": "curl -sS", "redis-cli": "redis-cli ", "others": "# of the machine"}
    counts = {kind: text.count(mark) for kind, mark in kinds.items()}
    return " + ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _issues(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = report.get("diagnoses", [report])
    return found


def _queries(report: Mapping[str, Any], probe: str) -> Iterable[str]:
    """The questions to one backend, each once."""
    steps = (s for issue in _issues(report) for s in issue["steps"])
    return dict.fromkeys(s["query"] for s in steps if s["probe"] == probe and s["query"])


# --- curl -----------------------------------------------------------------------------------------


def _curls(report: Mapping[str, Any], service_file: Path, service: str) -> Iterator[str]:
    at = service_files.load(service_file).services[service]
    assert at.prometheus is not None
    address, base = shlex.quote(at.prometheus.url + "/api/v1"), shlex.quote(at.url or "")
    one = _issues(report)[0]
    start, look = int(one["window_s"] + one["baseline_s"]), _round(service_file, service, report)
    for text in _expressions(report):
        yield (
            f"curl -sSf -G {address}/query_range --data-urlencode {shlex.quote('query=' + text)}"
            f" -d start=$((now - {start})) -d end=$now -d step={look.moment.step_s}"
        )
    for text in (_ages(look), *_queries(report, "prometheus")):
        yield f"curl -sSf -G {address}/query --data-urlencode {shlex.quote('query=' + text)}"
    yield f"curl -sSf {base}/metrics"
    gets = [q for probe in ("http", "ollama") for q in _queries(report, probe)]
    for url in dict.fromkeys(part.removeprefix("GET ") for query in gets for part in query.split("; ")):
        yield f"curl -sSf {shlex.quote(url)}"


def _expressions(report: Mapping[str, Any]) -> Iterable[str]:
    signals = (s for issue in _issues(report) for s in issue["signals"])
    return dict.fromkeys(s["query"] for s in signals if s["source"] == "prometheus" and s["query"])


def _round(service_file: Path, service: str, report: Mapping[str, Any]) -> Round:
    at = service_files.load(service_file).services[service]
    return Round(planned(at, runbooks_of(at, None), [i["issue"] for i in _issues(report)]), at, Ask())


def _ages(look: Round) -> str:
    assert look.service.prometheus is not None
    selector, moment = look.service.prometheus.selector, look.moment
    metrics = {n: to_promql(s, selector, moment.window_s).metrics for n, s in look.plan.signals.items()}
    return ages_promql(metrics, moment.baseline_s, moment.window_s)


# --- redis-cli, and the machine ----------------------------------------------------------------------


def _redis(at: Service, report: Mapping[str, Any]) -> Iterator[str]:
    asked = set(_queries(report, "redis"))
    if at.redis is None or not asked:
        return
    parts = urlsplit(at.redis.url)
    if parts.password:
        yield f"export REDISCLI_AUTH={shlex.quote(parts.password)}"
    cli = f"redis-cli -h {parts.hostname} -p {parts.port or 6379} -n {parts.path.strip('/') or 0}"
    yield from (f"{cli} {query}" for query in sorted(asked) if not query.startswith("SCAN"))
    yield f"{cli} LATENCY LATEST"
    if any(query.startswith("SCAN") for query in asked):
        each = '{ print "TYPE \\"" $0 "\\""; print "MEMORY USAGE \\"" $0 "\\""; print "PTTL \\"" $0 "\\"" }'
        yield f"{cli} --raw SCAN 0 COUNT {SAMPLE} | tail -n +2 | head -n {SAMPLE} | awk '{each}' | {cli}"


def _machine(report: Mapping[str, Any]) -> Iterator[str]:
    """Logs, the unit and the machine; without the second look at the machine and the wait before it."""
    for probe in ("logs", "journal", "systemd"):
        for query in _queries(report, probe):
            yield f"{{ {query} || true; }}  # of the machine"
    for query in _queries(report, "host"):
        yield f"{query.partition(';')[0]}  # of the machine"


def report_of(command: list[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of a diagnosis. Raises RuntimeError where it gives none."""
    done = subprocess.run([*command, "--output", "json"], env=dict(env), capture_output=True, text=True)
    if done.returncode > 3:
        raise RuntimeError(f"no diagnosis: {done.stdout} {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
