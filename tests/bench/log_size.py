"""Whether the size of a log matters: `python -m tests.bench.log_size`. Prints a table; asserts nothing.

The same traffic in the same baseline and window, after a short history and after one of a gigabyte; and the same
for a log that is too busy for the budget. The looks take turns: whatever else the
machine does falls on both."""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from oncall.clients.logs import LogSource, Span, look
from oncall.model import Table, Unavailable

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC).timestamp()
SPAN = Span(end=AT, window_s=300, baseline_s=3600)
PATTERNS = {
    "database": "connection (refused|to server)|OperationalError",
    "timeout": "timed? ?out",
    "disk": "no space",
}


def _line(at: float, number: int) -> str:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    if number % 50:
        said: dict[str, object] = {
            "level": "info",
            "msg": "served",
            "endpoint": "/api/bots",
            "ms": number % 97,
        }
    else:
        said = {
            "level": "error",
            "msg": "request failed",
            "error": f"OperationalError: connection refused {number}",
        }
    return json.dumps({"time": stamp, "logger": "bot-controller", **said}) + "\n"


def write(path: Path, size: int, per_s: float) -> None:
    """A log of about `size` bytes that ends at `AT`: the span line by line, before it an old hour again and again."""
    seconds = 1.1 * (SPAN.window_s + SPAN.baseline_s)
    many = int(seconds * per_s)
    recent = "".join(_line(AT - seconds + (n + 1) / per_s, n) for n in range(many)).encode()
    old = "".join(_line(AT - 86_400 + n / per_s, n) for n in range(10_000)).encode()
    with path.open("wb") as into:
        for _ in range(max(0, size - len(recent)) // len(old)):
            into.write(old)
        into.write(recent)


def once(path: Path) -> tuple[float, float, str]:
    """Wall clock and processor time of one look in ms, and how far it went."""
    begun, used = time.perf_counter(), time.process_time()
    found = asyncio.run(look(LogSource(file=str(path)), SPAN, PATTERNS, ["errors", "templates"], 10))
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    if isinstance(found, Unavailable):
        raise RuntimeError(found.reason)
    answer = found["errors"].answer
    assert isinstance(answer, Table)
    return wall * 1000, cpu * 1000, "; ".join(answer.notes) or "all of the baseline"


def main() -> None:
    """Makes the logs, reads them by turns, prints medians and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.log_size", description=__doc__)
    parser.add_argument("--size", type=int, default=10**9, metavar="BYTES", help="of the big one (1 GB)")
    parser.add_argument("--runs", type=int, default=11, metavar="N")
    options = parser.parse_args()
    print(
        "| log | small | big | ratio | cpu small | cpu big | read |",
        "| --- | --: | --: | --: | --: | --: | --- |",
        sep="\n",
    )
    with tempfile.TemporaryDirectory(prefix="oncall-bench-") as folder:
        for name, per_s in (("calm, 4 lines/s", 4.0), ("busy, 200 lines/s", 200.0)):
            small, big = Path(folder) / "small.log", Path(folder) / "big.log"
            write(small, 0, per_s)
            write(big, options.size, per_s)
            once(small), once(big)
            turns = [(once(small), once(big)) for _ in range(options.runs)]
            walls = [statistics.median(turn[which][0] for turn in turns) for which in (0, 1)]
            cpus = [statistics.median(turn[which][1] for turn in turns) for which in (0, 1)]
            sizes = f"{small.stat().st_size / 1e6:.1f} MB, {big.stat().st_size / 1e6:.0f} MB"
            print(
                f"| {name} ({sizes}) | {walls[0]:.0f} ms | {walls[1]:.0f} ms | {walls[1] / walls[0]:.2f} "
                f"| {cpus[0]:.0f} ms | {cpus[1]:.0f} ms | {turns[-1][1][2]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
