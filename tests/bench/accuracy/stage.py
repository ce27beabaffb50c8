"""Plays a case on a real lab and lets `oncall diagnose` look at it; what was read is kept for the ablations."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncall.lab import place, scenes, watch
from tests.bench.accuracy.drawn import Break, Case
from tests.lab.conftest import Lab

USUAL_SAMPLES = 70
"""Seconds of usual life before something breaks: with fewer than 60 samples a change is weak evidence."""
SHOWS_S = 75.0
"""A fault whose symptom has not come by then was too mild: nothing may be claimed, and it is not counted."""


@dataclass(frozen=True)
class Played:
    """One run: whether the symptom of each broken issue showed, what was said, how long the program took."""

    case: Case
    shown: dict[str, bool]
    found: dict[str, dict[str, Any]]
    """The diagnosis of each issue."""
    wall_s: float
    saved: Path
    trouble: str | None = None
    """Why the case could not be played."""


def play(lab: Lab, case: Case, folder: Path, say: Callable[[str], None]) -> Played:
    """Waits for usual life, breaks, waits for the symptom, diagnoses, heals."""
    path = folder / f"{case.seed}.json.gz"
    path.unlink(missing_ok=True)
    watch.await_usual(lab.record, place.quiet_since(lab.record), USUAL_SAMPLES, lambda _: None)
    shown: dict[str, bool] = {}
    try:
        for broken in case.breaks:
            _broken(lab, broken)
        if case.scene:
            scenes.begin(lab.folder, case.scene)
        for issue in dict.fromkeys(b.issue for b in case.breaks):
            shown[issue] = _shows(lab, issue)
        time.sleep(case.lasts_s)
        found, wall = look(lab, path)
        return Played(case, shown, found, wall, path)
    except AssertionError as failed:
        return Played(case, shown, {}, 0.0, path, trouble=str(failed)[:300])
    finally:
        scenes.finish(lab.folder)
        lab.run("heal")
        _recovered(lab, say)


def _broken(lab: Lab, broken: Break) -> None:
    lab.do("break", broken.cause, "--variant", broken.variant, "--intensity", str(broken.intensity))


def _shows(lab: Lab, issue: str) -> bool:
    deadline = time.monotonic() + SHOWS_S
    while time.monotonic() < deadline:
        if watch.troubled(lab.record, issue):
            return True
        time.sleep(0.3)
    return False


def _recovered(lab: Lab, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + 120
    for issue in ("errors", "latency", "pool", "memory"):
        while not watch.quiet(lab.record, issue):
            if time.monotonic() > deadline:
                say(f"{issue} is not quiet two minutes after the heal")
                break
            time.sleep(0.5)


def look(lab: Lab, path: Path) -> tuple[dict[str, dict[str, Any]], float]:
    """All issues of the lab, by issue, and the seconds that the program took."""
    _, env = lab.command()
    words = [sys.executable, "-m", "oncall", "-s", "lab", "diagnose", "--output", "json", "--save", str(path)]
    begun = time.perf_counter()
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=90, check=False)
    wall = time.perf_counter() - begun
    assert done.returncode <= 3, done.stdout[-300:] + done.stderr[-300:]
    return {d["issue"]: d for d in json.loads(done.stdout)["diagnoses"]}, wall
