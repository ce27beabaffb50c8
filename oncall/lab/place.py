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


MEMORY_LIMIT = 500_000_000
"""Bytes that the service may take: `limits.memory` of the lab's service file."""
REDIS_LIMIT = 200 * 1024 * 1024
"""Bytes that Redis may take: its maxmemory."""
POOL = 20
"""Connections of the service's pool in usual life."""


class Part(Frozen, frozen=True):
    """One process of the lab. The pid with `created` (Unix seconds) identifies it; `url` may hold a secret.

    `command` and `cwd` are what it was started with; `stopped` says that a fault ended it on purpose."""

    name: str
    pid: int
    created: float
    log: str
    port: int | None = None
    version: str | None = None
    url: str | None = None
    command: tuple[str, ...] = ()
    cwd: str | None = None
    stopped: bool = False


class Fault(Frozen, frozen=True):
    """One fault that is in force. `measured`: seconds that the broken statement takes on this machine."""

    cause: str
    variant: str
    intensity: float
    seed: int
    since: float
    measured: float | None = None


class Leak(Frozen, frozen=True):
    """The faulty code path of /api/export: `share` of its requests keep their connection.

    With `rows` each keeps that many rows of its result as well."""

    share: float
    in_transaction: bool
    rows: int = 0


class Growth(Frozen, frozen=True):
    """What a faulty release keeps for each request: bytes, by where they are kept; 0 is nothing.

    `sockets` is the share of requests that leave a connection to Redis open, with a buffer of a megabyte."""

    forgotten: int = 0
    process_cache: int = 0
    redis_cache: int = 0
    process_queue: int = 0
    redis_queue: int = 0
    sockets: float = 0.0


class ServiceKnobs(Frozen, frozen=True):
    """What a release of the sample service is built with; read while it runs, `pool` and `warm` at its start.

    `heavy_export`: days of history that an export reads; `asked_singly`: statements that /api/users asks one
    by one; `hot_row_s`: seconds that a message holds the row of all counters; `burn_s`: seconds of each of the
    computations in the background; `limit`: requests a second of one client; `warm`: bytes that a start loads
    into memory."""

    pool: int = POOL
    leak: Leak | None = None
    heavy_export: int = 0
    asked_singly: int = 0
    hot_row_s: float = 0.0
    burn_s: float = 0.0
    unchecked: bool = False
    limit: float = 20.0
    model: str | None = None
    growth: Growth = Growth()
    worker: bool = True
    warm: int = 0


class LoadKnobs(Frozen, frozen=True):
    """What the users do: requests a second, and the weight of each endpoint where it is not the usual.

    `malformed`: share of requests with an id that is none; `hammer`: requests a second of one client besides;
    `search_days`: how far back they search; `burst` times the rate until `burst_until` (Unix seconds)."""

    rate: float = 40.0
    weights: dict[str, float] = msgspec.field(default_factory=dict)
    malformed: float = 0.0
    hammer: float = 0.0
    search_days: int = 60
    burst: float = 1.0
    burst_until: float = 0.0


class OllamaKnobs(Frozen, frozen=True):
    """How the stand-in for Ollama runs: inferences at once, models that are gone, seconds of a program's
    inferences that keeps one slot busy, and how much longer the large model takes than the usual one."""

    slots: int = 16
    missing: tuple[str, ...] = ()
    batch_s: float = 0.0
    larger: float = 12.0


class Record(Frozen, frozen=True):
    """What the lab is. `roles` are the DSNs by role; `ready` turns true when `up` has ended.

    `started` and `healed` (when a fault was last undone) are Unix seconds; `scenes` are healthy variations
    of the usual life, by name, with the time (Unix seconds) at which they began."""

    started: float
    seed: int
    ready: bool = False
    parts: tuple[Part, ...] = ()
    faults: tuple[Fault, ...] = ()
    healed: float | None = None
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    absent: tuple[str, ...] = ()
    scenes: dict[str, float] = msgspec.field(default_factory=dict)

    def part(self, name: str) -> Part:
        """The part of that name. Raises LabError where it was never started."""
        for part in self.parts:
            if part.name == name:
                return part
        raise LabError(f"the lab has no {name}", hint="oncall lab down && oncall lab up")

    def url(self, name: str) -> str | None:
        """Where that part listens, None where the lab runs without it."""
        return next((part.url for part in self.parts if part.name == name), None)

    def with_part(self, part: Part) -> "Record":
        """The record with this part in the place of one of the same name."""
        others = tuple(other for other in self.parts if other.name != part.name)
        return msgspec.structs.replace(self, parts=(*others, part))

    def without_part(self, name: str) -> "Record":
        """The record without a part that has ended."""
        parts = tuple(part for part in self.parts if part.name != name)
        return msgspec.structs.replace(self, parts=parts)


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


def save(folder: Path, now: Record) -> Record:
    """Replaces the lab's record; the same one, to go on with."""
    write(folder / RECORD, now)
    return now


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
