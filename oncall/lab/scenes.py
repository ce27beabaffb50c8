"""Begins and ends healthy variations of usual life."""

import time
from pathlib import Path

import msgspec

from oncall.lab import faults, parts, place
from oncall.lab.healthy import SCENES

__all__ = ["SCENES", "begin", "finish"]


def begin(folder: Path, name: str) -> None:
    """Begins a scene; it is in force when this returns."""
    scene = SCENES[name]
    with place.alone(folder):
        record = place.running(folder)
        place.save(folder, msgspec.structs.replace(record, scenes={**record.scenes, name: time.time()}))
        scene.make(folder)
        faults.settle(folder)
        if scene.restarts:
            parts.restart_service(folder)


def finish(folder: Path) -> tuple[str, ...]:
    """Ends every scene that was begun; which ones. The service keeps what it has loaded."""
    with place.alone(folder):
        begun = tuple(place.running(folder).scenes)
        for name in begun:
            SCENES[name].undo(folder)
        place.save(folder, msgspec.structs.replace(place.running(folder), scenes={}))
        faults.settle(folder)
    return begun
