"""Faults that are made the way they really happen, and their undoing."""

import contextlib
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from oncall.errors import LabError, UsageFault
from oncall.lab import (
    faults_errors,
    faults_latency,
    faults_memory,
    faults_pool,
    parts,
    place,
    stack,
    together,
)
from oncall.lab.healthy import SCENES
from oncall.lab.kinds import Kind
from oncall.lab.place import Fault, LoadKnobs, OllamaKnobs, Record, ServiceKnobs

KINDS: dict[str, Kind] = {
    **faults_errors.KINDS,
    **faults_latency.KINDS,
    **faults_pool.KINDS,
    **faults_memory.KINDS,
}
"""What can be broken, by cause id."""

_HEALED_FIRST = (
    "errors.database_unavailable",
    "errors.cache_unavailable",
    "latency.resource_exhaustion",
    "pool.lock_contention",
    "latency.lock_contention",
)
"""What would be in the way of healing the others."""


def break_(folder: Path, cause: str, variant: str | None, intensity: float, seed: int | None) -> Fault:
    """Makes a fault; it is in force when this returns, its symptom follows. Raises UsageFault, LabError."""
    kind, name = kind_of(cause), variant_of(cause, variant)
    if not 0 < intensity <= 10:
        raise UsageFault(
            f"intensity {intensity:g} is out of range", hint="above 0, at most 10; 1 is the usual"
        )
    _require(folder)
    with place.alone(folder):
        record = place.running(folder)
        chosen = secrets.randbelow(1000) if seed is None else seed
        fault = Fault(cause=cause, variant=name, intensity=intensity, seed=chosen, since=time.time())
        _refuse(fault, record.faults)
        # Written down before it is made: whatever comes in between, heal undoes it.
        _save(folder, (*record.faults, fault))
        try:
            fault = _make(folder, kind, fault)
        except BaseException:
            with contextlib.suppress(LabError):
                _undo(folder, (fault,))
            raise
    return fault


def _refuse(fault: Fault, others: Iterable[Fault]) -> None:
    for other in others:
        if other.cause == fault.cause:
            raise LabError(f"{fault.cause} is broken already", hint=f"oncall lab heal {fault.cause}")
        if together.apart(fault, other):
            raise LabError(
                f"{other.cause} ({other.variant}) is in the way: {fault.cause} cannot happen beside it",
                hint=f"oncall lab heal {other.cause}, then again",
            )


def _make(folder: Path, kind: Kind, fault: Fault) -> Fault:
    measured = kind.make(folder, fault)
    if measured is not None:
        fault = msgspec.structs.replace(fault, measured=measured)
        others = tuple(other for other in place.running(folder).faults if other.cause != fault.cause)
        _save(folder, (*others, fault))
    settle(folder)
    if fault.variant in kind.deploys:
        parts.restart_service(folder)
    return fault


def heal(folder: Path, cause: str | None) -> tuple[str, ...]:
    """Undoes one fault, or all, and brings back what has ended by accident; which faults.

    Raises UsageFault for a cause that does not exist, LabError."""
    if cause is not None:
        kind_of(cause)
    _require(folder)
    with place.alone(folder):
        parts.revive(folder)
        wanted = [fault for fault in place.running(folder).faults if cause in (None, fault.cause)]
        wanted.sort(key=lambda fault: _rank(fault.cause))
        _undo(folder, tuple(wanted))
    return tuple(fault.cause for fault in wanted)


def _rank(cause: str) -> int:
    first = _HEALED_FIRST.index(cause) if cause in _HEALED_FIRST else len(_HEALED_FIRST)
    return first * 100 + list(KINDS).index(cause)


def _undo(folder: Path, wanted: tuple[Fault, ...]) -> None:
    """Undoes faults in that order, all that can be, then restarts the service once where one asks for it."""
    if not wanted:
        return
    failed: LabError | None = None
    causes = {fault.cause for fault in wanted}
    stay = tuple(fault for fault in place.running(folder).faults if fault.cause not in causes)
    settle(folder, without=causes)
    restart = any(fault.variant in KINDS[fault.cause].restarts for fault in wanted)
    for fault in wanted:
        try:
            KINDS[fault.cause].undo(folder, fault, stay)
        except LabError as error:
            failed = failed or error
            continue
        left = tuple(other for other in place.running(folder).faults if other.cause != fault.cause)
        _save(folder, left, time.time())
    if restart:
        parts.restart_service(folder)
    if failed:
        settle(folder)
        raise failed


def settle(folder: Path, without: Iterable[str] = ()) -> None:
    """Sets all knobs to what the faults (but for some causes) and scenes that are in force make of them."""
    record = place.running(folder)
    left_out = frozenset(without)
    faults = [fault for fault in record.faults if fault.cause not in left_out]
    for name, knobs in _knobs(record, faults).items():
        place.write(folder / f"{name}.json", knobs)


def _knobs(record: Record, faults: list[Fault]) -> dict[str, object]:
    service, load, ollama = ServiceKnobs(), LoadKnobs(), OllamaKnobs()
    for name, since in record.scenes.items():
        service = SCENES[name].service(service, since)
        load = SCENES[name].load(load, since)
    for fault in faults:
        kind = KINDS[fault.cause]
        service, load = kind.service(service, fault), kind.load(load, fault)
        ollama = kind.ollama(ollama, fault)
    return {"service": service, "load": load, "ollama": ollama}


def kind_of(cause: str) -> Kind:
    """The fault of that cause id. Raises UsageFault with what can be broken."""
    if cause not in KINDS:
        raise UsageFault(f"the lab cannot break {cause!r}", hint="it can break: " + ", ".join(KINDS))
    return KINDS[cause]


def variant_of(cause: str, name: str | None) -> str:
    """That variant of a fault, or its usual one. Raises UsageFault with what there is."""
    variants = kind_of(cause).variants
    if name is not None and name not in variants:
        raise UsageFault(f"{cause} has no variant {name!r}", hint=f"variants: {', '.join(variants)}")
    return name or next(iter(variants))


def _require(folder: Path) -> None:
    stack.require()
    if not folder.exists():
        raise LabError("the lab is not up", hint="oncall lab up")


def _save(folder: Path, faults: tuple[Fault, ...], healed: float | None = None) -> None:
    record = place.running(folder)
    when = healed or record.healed
    place.save(folder, msgspec.structs.replace(record, faults=faults, healed=when))
