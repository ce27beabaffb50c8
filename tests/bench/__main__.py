"""How fast a diagnosis is, against what, and how much it takes: `python -m tests.bench`.

Prints a table; asserts nothing, since a busy machine is not a fault of the program. What is compared runs by turns
in the same minute, so that the ratios hold where the times do not."""

import argparse
import signal
import sys
import time

from tests.bench.parts import PARTS, Row
from tests.bench.stand import lab

_HEAD = Row("ours · theirs", "ours", "theirs", "ratio", "target")


def _line(row: Row) -> str:
    return f"| {row.what} | {row.ours} | {row.theirs} | {row.ratio} | {row.target} |"


def main() -> None:
    """Runs the chosen parts against one lab."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one (repeatable)")
    parser.add_argument("--runs", type=int, default=11, metavar="N", help="runs of each program (11)")
    options = parser.parse_args()
    # A polite end takes the lab down too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    print(_line(_HEAD), "| --- | --: | --: | --: | --: |", sep="\n", flush=True)
    with lab() as stand:
        for name in options.part or PARTS:
            for row in PARTS[name](stand, options.runs):
                print(_line(row), flush=True)
    print(f"medians of {options.runs} runs by turns; {time.monotonic() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
