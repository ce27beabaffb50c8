"""`oncall lab demo`: a usual day, a fault, the page, the diagnosis, and what to type next."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oncall.cli import common
from oncall.cli.common import Options

if TYPE_CHECKING:
    from oncall.lab.place import Record

PAGED_AFTER = 32
"""Samples, a second apart, in which requests waited: by then a person is there."""
TROUBLED_S = 20
"""Seconds for which the other symptoms must last: longer than the rate window of the lab's service file."""
USUAL_SAMPLES = 75
"""Seconds of usual life before the demo breaks it: with fewer than 60 samples a change is weak evidence."""
_STRENGTH = {"pool.connection_leak": 0.25}
"""What goes on after the restart that mends it, slowly: the pool is seen to be well before it is full again."""
_ACTS = "the plan of what Next says; with --confirm it acts, and proves that it helped"
_MENDS = {"pool.connection_leak": "restart", "pool.lock_contention": "kill-queries --blockers --terminate"}
SYMPTOMS = {
    "errors": "Requests fail.",
    "latency": "More than one request in twenty takes longer than a second.",
    "memory": "Most of the memory is used.",
}


def stage(folder: Path, cause: str, variant: str | None, postgres: int | None) -> None:
    """The lab, up and usual for a while, then broken until its symptom shows."""
    from oncall.lab import faults, place, stack, watch

    if stack.status(folder).state == "up":
        common.note("1. The lab is up already.")
        faults.heal(folder, None)
    else:
        common.note("1. Starting the lab: real servers, a sample service, its users.")
        stack.up(folder, postgres, None, lambda line: common.note(f"   {line}"))
    issue = cause.partition(".")[0]
    record = place.running(folder)
    with _patience() as tick:
        watch.await_quiet(record, issue, 60, tick)
        if record.url("prometheus"):
            common.note(
                f"2. Watching its usual life for {USUAL_SAMPLES} seconds, to have something to compare."
            )
            watch.await_usual(record, place.quiet_since(record), USUAL_SAMPLES, tick)
        else:
            common.note("2. Without Prometheus there is no history to compare with; going on.")
        fault = faults.break_(folder, cause, variant, _STRENGTH.get(cause, 1.0), None)
        common.note(f"3. Breaking it: {faults.KINDS[cause].variants[fault.variant]}.")
        # Whoever is paged comes half a minute later, as an alert that must hold for a while lets them.
        if issue == "pool":
            _await_exhaustion(place.running(folder), tick)
        else:
            watch.await_trouble(place.running(folder), issue, TROUBLED_S, 120, tick)
            common.note(f"   {SYMPTOMS[issue]}")


def _await_exhaustion(record: "Record", tick: Callable[[str], None]) -> None:
    from oncall.lab import watch

    watched = bool(record.url("prometheus"))
    pool = watch.await_pool(
        record,
        lambda p: p.exhausted and (not watched or watch.waits_seen(record) >= PAGED_AFTER),
        "an exhausted pool",
        120,
        tick,
    )
    common.note(f"   The pool is exhausted: {pool.active:g} of {pool.size:g} held, {pool.waiting:g} waiting.")


def diagnose(issue: str, options: Options) -> int:
    """Runs the same diagnosis as anybody would; its exit code."""
    import subprocess

    import oncall

    common.note(f"4. You are paged. You type: {me()} -s lab diagnose {issue}\n")
    root = str(Path(oncall.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "oncall", "-s", "lab", "--output", options.output.value]
    return subprocess.run(
        [*command, "diagnose", issue], env={**os.environ, "PYTHONPATH": paths}, check=False
    ).returncode


def farewell(cause: str, keep: bool) -> None:
    """What to type next."""
    called, other = me(), _other(cause)
    issue = cause.partition(".")[0]
    common.note("")
    if not keep:
        common.note(f"The lab is down again. Try another: {called} lab demo {issue} --cause {other}")
        return
    acts = [
        (f"{called} remediate {act} -s lab --issue {issue}", _ACTS) for c, act in _MENDS.items() if c == cause
    ]
    for command, why in (
        *acts,
        (f"{called} lab heal", "mends it; diagnose again and see"),
        (f"{called} lab break {other}", "breaks it in another way; `lab break` alone lists them"),
        (f"{called} -s lab diagnose {issue}", "what you would type at night"),
        (f"{called} lab down", "stops everything and removes its files"),
    ):
        common.note(f"  {command}\n      {why}")


def _other(cause: str) -> str:
    """Another cause of the same issue."""
    from oncall.lab.faults import KINDS

    issue = cause.partition(".")[0]
    return next(other for other in reversed(KINDS) if other != cause and other.startswith(f"{issue}."))


@contextlib.contextmanager
def _patience() -> Iterator[Callable[[str], None]]:
    """A line on a person's terminal that says what is waited for; nothing elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.status import Status as Spinner
    from rich.text import Text

    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    with Spinner("", console=console) as line:
        yield lambda text: line.update(Text(text))


def me() -> str:
    """How this program was called, to stand in the commands that are suggested."""
    import shutil

    called = sys.argv[0]
    if Path(called).name != "oncall" or shutil.which("oncall") == called:
        return "oncall"
    return called
