"""`oncall status --all` over 100 services on one Prometheus, against one of them: `python -m tests.bench.fleet`.

A Prometheus of its own with 70 minutes of samples of each service; every service has its health endpoints at one
small server. The target is a ratio of 3. Prints a table."""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import yaml

from oncall.lab.servers import start_prometheus, stop
from tests.bench.measure import MIB, Program, by_turns
from tests.bench.stand import ONCALL
from tests.clients.promstand import backfill
from tests.clients.webstand import Stand
from tests.monitoring.fleetstand import Story, fields, healthy, merged

SERVICES = 100
TARGET = 3.0


def _fill(folder: Path, services: int, now: int) -> None:
    folder.mkdir()
    # A quarter of an hour ahead: the bench is over by then
    stories = {f"s{n:03}": Story(until_s=-900) for n in range(services)}
    backfill(folder, merged(stories, now))


def _serve(told: Connection) -> None:
    async def work() -> None:
        async with Stand(healthy) as web:
            told.send(web.url)
            await asyncio.Event().wait()

    asyncio.run(work())


@contextmanager
def health_server() -> Iterator[str]:
    """The three endpoints, in a process of their own."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    child.start()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join()


@contextmanager
def prometheus(folder: Path, services: int) -> Iterator[str]:
    """The server that holds all services; its address."""
    # In a process of its own: Linux hands the peak of its memory on to the programs that are measured
    filler = multiprocessing.Process(target=_fill, args=(folder, services, int(time.time())))
    filler.start()
    filler.join()
    assert filler.exitcode == 0
    started = start_prometheus(folder, {}, "1h")
    try:
        yield started.url
    finally:
        stop(started)


def programs(folder: Path, url: str, services: int, web: str | None) -> list[Program]:
    """`status --all`, and `status` of the first service of the same file."""
    file = folder / f"services-{'health' if web else 'bare'}.yaml"
    more = {"url": web} if web else {}
    written = {f"s{n:03}": fields(url, f"s{n:03}", **more) for n in range(services)}
    file.write_text(yaml.safe_dump({"services": written}))
    file.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "ONCALL_", "PYTHON"))}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    env["XDG_STATE_HOME"] = env["XDG_DATA_HOME"] = str(folder / "home")
    ours = [ONCALL, "--config", str(file), "status"]
    # All are well: any other exit code is a bench of something else
    return [Program("all", [*ours, "--all"], env), Program("one", [*ours, "-s", "s000"], env)]


def main() -> None:
    """Prints medians, the ratio and our peak memory, without health endpoints and with them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, metavar="N", help="runs of each program (11)")
    parser.add_argument("--services", type=int, default=SERVICES, metavar="N", help="services (100)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oncall-bench-"))
    try:
        with prometheus(folder / "prom", options.services) as url, health_server() as web:
            for name, at in (("signals and alerts", None), ("and three endpoints each", web)):
                taken = by_turns(programs(folder, url, options.services, at), options.runs)
                every, one = taken["all"], taken["one"]
                print(
                    f"| status --all, {options.services} services · status of one ({name}) "
                    f"| {every.median_s * 1000:.0f} ms | {one.median_s * 1000:.0f} ms "
                    f"| {every.median_s / one.median_s:.2f} | {TARGET:g} |"
                )
                print(
                    f"| the best of each | {every.best_s * 1000:.0f} ms | {one.best_s * 1000:.0f} ms "
                    f"| {every.best_s / one.best_s:.2f} | |"
                )
                print(f"| processor time | {every.cpu_s * 1000:.0f} ms | {one.cpu_s * 1000:.0f} ms | | |")
                print(
                    f"| peak memory | {every.peak_bytes / MIB:.0f} MB | {one.peak_bytes / MIB:.0f} MB | | |"
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
