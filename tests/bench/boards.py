"""What a live dashboard takes of one core: `python -m tests.bench.boards`. Prints a table; asserts nothing.

A real Prometheus with two hours of samples, the program at a terminal of 120x40 refreshing every 2 s, one minute for
each of the four dashboards (or --seconds)."""

import argparse
import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import pexpect
import psutil

from tests.cli.program import Program
from tests.monitoring.boardstand import History, history

TARGET = 0.10
NAMES = ("overview", "requests", "database", "operations")


def share(program: Program, number: int, seconds: float) -> tuple[float, int]:
    """The share of one core that the dashboard of this number takes once it runs, and the bytes that it writes."""
    child = program.start("dashboard", NAMES[number], "--watch", columns=120, rows=40)
    try:
        child.expect("q quit")
        _read(child, 4)
        process = psutil.Process(child.pid)
        before, begun = _cpu(process), time.monotonic()
        written = _read(child, seconds)
        return (_cpu(process) - before) / (time.monotonic() - begun), written
    finally:
        child.send("q")
        child.expect(pexpect.EOF)
        child.close()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _read(child: "pexpect.spawn[bytes]", seconds: float) -> int:
    ends, count = time.monotonic() + seconds, 0
    while (left := ends - time.monotonic()) > 0:
        with contextlib.suppress(pexpect.TIMEOUT):
            count += len(child.read_nonblocking(65536, timeout=min(left, 1)))
    return count


def _program(folder: Path, past: History) -> Program:
    program = Program(folder / "home")
    program.services(bot={"prometheus": past.prometheus, "limits": {"memory": "2GB"}})
    return program


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.boards", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, metavar="S", help="of each dashboard (30)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oncall-bench-"))
    try:
        # Its samples end after the measurement, so that nothing is stale while it runs.
        with history(folder, int(time.time()) + 240) as past:
            program = _program(folder, past)
            for number, name in enumerate(NAMES):
                took, written = share(program, number, options.seconds)
                print(
                    f"| dashboard {name} --watch, of one core | {took:.1%} "
                    f"| {written / options.seconds / 1000:.1f} kB/s | | {TARGET:.0%} |",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
