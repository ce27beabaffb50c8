"""The lab's folder and what stands in it: its record, the knobs of its children, the service file."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from oncall.errors import LabError
from oncall.lab.process import OUTSIDE
from oncall.model import Frozen

RECORD = "lab.json"
SERVICE_FILE = "service.yaml"

T = TypeVar("T")


class Part(Frozen, frozen=True):
    """One process of the lab. The pid with `created` (Unix seconds) identifies it; `url` may hold a secret."""

    name: str
    pid: int
    created: float
    log: str
    port: int | None = None
    version: str | None = None
    url: str | None = None


class Fault(Frozen, frozen=True):
    """One fault that is in force."""

    cause: str
    variant: str
    intensity: float
    seed: int
    since: float


class Leak(Frozen, frozen=True):
    """The faulty code path of /api/export: `share` of its requests keep their connection."""

    share: float
    in_transaction: bool


class ServiceKnobs(Frozen, frozen=True):
    """What a release of the sample service is built with; read while it runs, `pool` at its start."""

    pool: int = 20
    leak: Leak | None = None
    heavy_export: bool = False


class LoadKnobs(Frozen, frozen=True):
    """What the users do: requests a second, and the weight of each endpoint where it is not the usual."""

    rate: float = 40.0
    weights: dict[str, float] = msgspec.field(default_factory=dict)


class Record(Frozen, frozen=True):
    """What the lab is. `roles` are the DSNs by role; `ready` turns true when `up` has ended.

    `started` and `healed` (when a fault was last undone) are Unix seconds."""

    started: float
    seed: int
    ready: bool = False
    parts: tuple[Part, ...] = ()
    faults: tuple[Fault, ...] = ()
    healed: float | None = None
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def part(self, name: str) -> Part:
        """The part of that name. Raises LabError where it was never started."""
        for part in self.parts:
            if part.name == name:
                return part
        raise LabError(f"the lab has no {name}", hint="oncall lab down && oncall lab up")

    def url(self, name: str) -> str | None:
        """Where that part listens, None where the lab runs without it."""
        return next((part.url for part in self.parts if part.name == name), None)


def write(path: Path, value: object) -> None:
    """Replaces a file as a whole, readable by its owner alone."""
    text = value.encode() if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value))
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    fresh.replace(path)


def read(path: Path, kind: type[T]) -> T | None:
    """What `write` wrote there; None where there is nothing. Raises LabError where it is not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(f"{path}: {error}", hint="oncall lab down, then oncall lab up") from None


def record(folder: Path) -> Record | None:
    """The lab's record; None where there is no lab."""
    return read(folder / RECORD, Record)


def running(folder: Path) -> Record:
    """The record of a lab that is up. Raises LabError where it is not."""
    found = record(folder)
    if found is None or not found.ready:
        raise LabError("the lab is not up", hint="oncall lab up")
    return found


def quiet_since(record: Record) -> float:
    """Since when nothing is broken, in Unix seconds; a moment is left to recover."""
    return record.healed + 10 if record.healed else record.started + 3


def outside(folder: Path) -> list[Path]:
    """The folders that the lab keeps elsewhere: only such as the lab itself names."""
    try:
        lines = (folder / OUTSIDE).read_text().splitlines()
    except OSError:
        return []
    return [Path(line) for line in lines if Path(line).name.startswith("oncall-lab-")]


@contextlib.contextmanager
def alone(folder: Path, patience: float = 60) -> Iterator[None]:
    """Holds the lab's lock: one command changes it at a time. Raises LabError after `patience` seconds."""
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        "another oncall lab command is at work", hint="wait for it, or end it"
                    ) from None
                time.sleep(0.1)
        if not folder.exists() or os.fstat(descriptor).st_ino != folder.stat().st_ino:
            raise LabError("the lab was taken down in the meantime", hint="the same command again")
        yield
    finally:
        os.close(descriptor)
