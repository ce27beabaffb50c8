"""`oncall changes` over many series, against curl of the same range query: `python -m tests.bench.changes`.

A Prometheus of its own with 2,000 series and 65 minutes of samples; a tenth of them changes. Prints a table."""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from oncall.lab.servers import Server, start_prometheus, stop
from tests.bench.measure import MIB, Program, by_turns
from tests.bench.stand import ONCALL
from tests.clients.promstand import backfill

SERIES = 2000
SCRAPE_S = 15
SPAN_S = 3900
STEP_S = 30
"""What `oncall changes` takes for so many series: 131 points each."""


def lines(end: int, series: int) -> Iterator[str]:
    """Half gauges, half counters, in metrics of ten series each; every tenth series doubles in the last minutes."""
    noise = random.Random(7)
    for number in range(series):
        kind = "gauge" if number % 20 < 10 else "counter"
        name = f"bench_{number // 10}" + ("_total" if kind == "counter" else "")
        if number % 10 == 0:
            yield f"# TYPE {name.removesuffix('_total')} {kind}"
        total = 0.0
        for ago in range(SPAN_S + 300, -1, -SCRAPE_S):
            value = noise.uniform(90, 110) * (2 if ago < 240 and number % 10 == 3 else 1)
            total += value
            shown = total if kind == "counter" else value
            yield f'{name}{{instance="app-1:8000",job="bench",part="{number % 10}"}} {shown:.6g} {end - ago}'


def _fill(folder: Path, end: int, series: int) -> None:
    backfill(folder, list(lines(end, series)))


@contextlib.contextmanager
def server(folder: Path, series: int) -> Iterator[tuple[Server, int]]:
    """A Prometheus that holds the series, and when they end (Unix s)."""
    end = int(time.time()) - 600
    # In a process of its own: Linux hands the peak of its memory on to the programs that are measured
    filler = multiprocessing.Process(target=_fill, args=(folder, end, series))
    filler.start()
    filler.join()
    assert filler.exitcode == 0
    started = start_prometheus(folder, {})
    try:
        yield started, end
    finally:
        stop(started)


def programs(folder: Path, url: str, end: int) -> list[Program]:
    """Ours, and curl with the same question, whose answer only goes through a pipe."""
    file = folder / "service.yaml"
    service = {"prometheus": {"url": url, "selector": {"job": "bench"}}}
    file.write_text(yaml.safe_dump({"services": {"bench": service}}))
    file.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "ONCALL_", "PYTHON"))}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    ours = [ONCALL, "--config", str(file), "--output", "json", "changes", "--at", at]
    asked = f'query={{job="bench"}}&start={end - SPAN_S}&end={end}&step={STEP_S}'
    theirs = f"curl -sf --data '{asked}' {url}/api/v1/query_range | cat > /dev/null"
    return [Program("oncall changes", ours, env), Program("curl", ["bash", "-c", theirs], env)]


def main() -> None:
    """Prints medians, their ratio and our peak memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.changes", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, metavar="N", help="runs of each program (11)")
    parser.add_argument("--series", type=int, default=SERIES, metavar="N", help="series (2000)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oncall-bench-"))
    try:
        with server(folder, options.series) as (started, end):
            taken = by_turns(programs(folder, started.url, end), options.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours, curl = taken["oncall changes"], taken["curl"]
    print(
        f"| oncall changes, {options.series} series · curl of the same range query | {ours.median_s * 1000:.0f} ms "
        f"| {curl.median_s * 1000:.0f} ms | {ours.median_s / curl.median_s:.2f} | |"
    )
    print(f"| the best of each | {ours.best_s * 1000:.0f} ms | {curl.best_s * 1000:.0f} ms | | |")
    print(f"| processor time of ours | {ours.cpu_s * 1000:.0f} ms | | | |")
    print(f"| peak memory of ours | {ours.peak_bytes / MIB:.0f} MB | | | |", file=sys.stdout)


if __name__ == "__main__":
    main()
