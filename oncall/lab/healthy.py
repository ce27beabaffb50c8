"""Healthy variations of usual life, which a good diagnosis leaves alone: what a bench compares faults with."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from oncall.lab import parts
from oncall.lab.kinds import admin, end_sessions, turned
from oncall.lab.place import LoadKnobs, ServiceKnobs

BURST_S = 8
WARM = 60_000_000
"""Bytes that a start loads in the scene `restart`."""


class Scene(msgspec.Struct, frozen=True):
    """A variation: its knobs (they get the Unix time at which it began), and what no knob does."""

    what: str
    service: Callable[[ServiceKnobs, float], ServiceKnobs] = lambda knobs, _since: knobs
    load: Callable[[LoadKnobs, float], LoadKnobs] = lambda knobs, _since: knobs
    make: Callable[[Path], None] = lambda _folder: None
    undo: Callable[[Path], None] = lambda _folder: None
    restarts: bool = False


def _analytics(folder: Path) -> None:
    parts.hold(folder, "analytics", [])


def _no_analytics(folder: Path) -> None:
    parts.let_go(folder, "analytics")
    with admin(folder) as session:
        end_sessions(session, "reporting", "metabase")


SCENES: dict[str, Scene] = {
    "busy": Scene(
        "more than half as many users again, which the service can bear",
        load=lambda knobs, _since: turned(knobs, rate=knobs.rate * 1.6),
    ),
    "idle": Scene(
        "a tenth of the usual traffic", load=lambda knobs, _since: turned(knobs, rate=knobs.rate * 0.1)
    ),
    "burst": Scene(
        "four times the usual traffic for eight seconds, and usual again",
        load=lambda knobs, since: turned(knobs, burst=4.0, burst_until=since + BURST_S),
    ),
    "analytics": Scene(
        "another user's session asks statements of many seconds", make=_analytics, undo=_no_analytics
    ),
    "restart": Scene(
        "the service has just been started and warms up its memory for twenty seconds",
        service=lambda knobs, _since: turned(knobs, warm=WARM),
        restarts=True,
    ),
}
