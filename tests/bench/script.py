"""The shell script that a person would write: one psql or one curl for each question, one after the other."""

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncall import config as service_files
from oncall.diagnosis.engine import Ask, Round
from oncall.diagnosis.metrics import of_metrics
from oncall.diagnosis.run import runbooks_of
from oncall.signals import ages_promql, to_promql


def write(path: Path, report: Mapping[str, Any], service_file: Path, service: str, psql: str) -> None:
    """Asks what `report` (the JSON of a diagnosis) was made from. Statements are those that the report shows."""
    at = service_files.load(service_file).services[service]
    assert at.postgres is not None
    assert at.prometheus is not None
    address, base = shlex.quote(at.prometheus.url + "/api/v1"), shlex.quote(at.url or "")
    start, step = int(report["window_s"] + report["baseline_s"]), _step_s(service_file, service)
    lines = ["#!/bin/sh", "set -eu", "now=$(date +%s)", f"export PGDATABASE={shlex.quote(at.postgres.dsn)}"]
    lines += [f'{psql} -X -q -d "$PGDATABASE" -c {shlex.quote(sql)}' for sql in _statements(report)]
    lines += [
        f"curl -sSf -G {address}/query_range --data-urlencode {shlex.quote('query=' + text)}"
        f" -d start=$((now - {start})) -d end=$now -d step={step}"
        for text in _expressions(report)
    ]
    ages = shlex.quote("query=" + _ages(service_file, service))
    lines.append(f"curl -sSf -G {address}/query --data-urlencode {ages}")
    lines += [f"curl -sSf {base}{path}" for path in ("/health/db", "/metrics")]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o700)


def questions(report: Mapping[str, Any]) -> tuple[int, int]:
    """How many psql and how many curl the script has."""
    return len(list(_statements(report))), len(list(_expressions(report))) + 3


def _statements(report: Mapping[str, Any]) -> Iterator[str]:
    return (s["query"] for s in report["steps"] if s["probe"] == "postgres")


def _expressions(report: Mapping[str, Any]) -> Iterator[str]:
    return (s["query"] for s in report["signals"] if s["source"] == "prometheus")


def _round(service_file: Path, service: str) -> Round:
    at = service_files.load(service_file).services[service]
    return Round(runbooks_of(at, None).runbook("pool"), at, Ask())


def _step_s(service_file: Path, service: str) -> float:
    return _round(service_file, service).moment.step_s


def _ages(service_file: Path, service: str) -> str:
    this = _round(service_file, service)
    assert this.service.prometheus is not None
    selector, moment = this.service.prometheus.selector, this.moment
    metrics = {
        name: to_promql(spec, selector, moment.window_s).metrics
        for name, spec in of_metrics(this.specs).items()
    }
    return ages_promql(metrics, moment.baseline_s, moment.window_s)


def report_of(command: list[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of a diagnosis. Raises RuntimeError where it gives none."""
    done = subprocess.run([*command, "--output", "json"], env=dict(env), capture_output=True, text=True)
    if done.returncode > 3:
        raise RuntimeError(f"no diagnosis: {done.stdout} {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
