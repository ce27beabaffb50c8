"""Programs run by turns, so that whatever else the machine does falls on all of them alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIB = 2**20
# ru_maxrss counts bytes on a Mac, kibibytes elsewhere.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Program:
    """A command line to be measured, with its whole environment. `codes`: with which it has done its work."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    codes: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Run:
    """One run: wall clock and processor time in seconds, the process's peak resident memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Taken:
    """All runs of one program."""

    name: str
    runs: tuple[Run, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def best_s(self) -> float:
        return min(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        return max(run.peak_bytes for run in self.runs)


def once(program: Program) -> Run:
    """Runs it once. Raises RuntimeError where it did not do its work: a failure is fast, and no figure."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        list(program.command),
        env=dict(program.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begun
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in program.codes:
        text = said.decode("utf-8", "replace").strip()
        raise RuntimeError(f"{program.name} ended with code {child.returncode}: {text[-600:]}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * _RSS_UNIT)


def by_turns(programs: Sequence[Program], runs: int) -> dict[str, Taken]:
    """Each program `runs` times, in turns, after one run of each that is not counted (cold caches)."""
    for program in programs:
        once(program)
    found: dict[str, list[Run]] = {program.name: [] for program in programs}
    for turn in range(runs):
        for program in programs if turn % 2 == 0 else reversed(programs):
            found[program.name].append(once(program))
    return {name: Taken(name, tuple(taken)) for name, taken in found.items()}
