"""What a fault of the lab consists of, and the tools that several of them share."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from oncall.errors import LabError
from oncall.lab import load, place
from oncall.lab.place import Fault, LoadKnobs, OllamaKnobs, ServiceKnobs

if TYPE_CHECKING:
    import psycopg
    import redis

Knobs = TypeVar("Knobs", ServiceKnobs, LoadKnobs, OllamaKnobs)
Turn: TypeAlias = Callable[[Knobs, Fault], Knobs]
Admin: TypeAlias = "psycopg.Connection[tuple[object, ...]]"
Others: TypeAlias = tuple[Fault, ...]


def _made(_folder: Path, _fault: Fault) -> float | None:
    return None


def _undone(_folder: Path, _fault: Fault, _others: Others) -> None:
    return None


def _as_it_is(knobs: Knobs, _fault: Fault) -> Knobs:
    return knobs


class Kind(msgspec.Struct, frozen=True):
    """One fault that can be made. `variants` maps a name to what happens; the first is the usual one.

    `service`, `load` and `ollama` turn the knobs; they are asked anew whenever a fault comes or goes, so that
    any faults go together. `make` does what no knob does (and returns the seconds of the statement that it
    broke, where there is one), `undo` takes it back; it gets the faults that stay.
    The service is restarted when a variant of `deploys` begins, and when one of `restarts` ends."""

    variants: Mapping[str, str]
    intensity: str
    make: Callable[[Path, Fault], float | None] = _made
    undo: Callable[[Path, Fault, Others], None] = _undone
    service: Turn[ServiceKnobs] = _as_it_is
    load: Turn[LoadKnobs] = _as_it_is
    ollama: Turn[OllamaKnobs] = _as_it_is
    deploys: frozenset[str] = frozenset()
    restarts: frozenset[str] = frozenset()


turned = msgspec.structs.replace
"""Knobs, with some of them at another value."""


@contextlib.contextmanager
def admin(folder: Path) -> Iterator[Admin]:
    """A superuser's session in the lab's database. Raises LabError, also where another fault is in the way."""
    import psycopg

    record = place.running(folder)
    if record.part("postgres").stopped:
        cause = "errors.database_unavailable"
        raise LabError(f"{cause} is in the way", hint=f"oncall lab heal {cause}, then again")
    try:
        with psycopg.connect(
            record.roles["admin"], autocommit=True, options="-c lock_timeout=3s", connect_timeout=10
        ) as session:
            yield session
    except psycopg.errors.LockNotAvailable:
        held = [fault.cause for fault in record.faults if fault.cause.endswith(".lock_contention")]
        heal = f"oncall lab heal {held[0]}" if held else "oncall lab heal"
        raise LabError("a lock on the table is in the way", hint=f"{heal}, then again") from None
    except psycopg.Error as error:
        raise LabError(f"the lab's Postgres: {error}", hint="oncall lab status") from None


@contextlib.contextmanager
def cache(folder: Path) -> "Iterator[redis.Redis]":
    """A session in the lab's Redis that gets in with any password of the others. Raises LabError."""
    import redis

    record = place.running(folder)
    if record.part("redis").stopped:
        cause = "errors.cache_unavailable"
        raise LabError(f"{cause} is in the way", hint=f"oncall lab heal {cause}, then again")
    try:
        with redis.Redis.from_url(record.roles["redis"], socket_timeout=20) as client:
            yield client
    except redis.RedisError as error:
        raise LabError(f"the lab's Redis: {error}", hint="oncall lab status") from None


def command(client: Any, *words: object) -> None:  # noqa: ANN401  # redis-py does not annotate it
    """Sends a command that redis-py has no method for, or one with too many arguments."""
    client.execute_command(*words)


def cores() -> int:
    """The cores that this program may use, at most 20."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, 20)


def timed(session: Admin, sql: str, values: tuple[object, ...] = ()) -> float:
    """Seconds that a statement takes, with all else that the machine does."""
    began = time.perf_counter()
    session.execute(sql.encode(), values)
    return time.perf_counter() - began


def weighed(knobs: LoadKnobs, endpoint: str, share: float) -> LoadKnobs:
    """The knobs with an endpoint that gets that share of all requests (at most nine in ten)."""
    others = sum(load.USUAL.values()) - load.USUAL[endpoint]
    share = min(share, 0.9)
    weight = others * share / (1 - share)
    # Of two faults with the same endpoint, the one that makes it more popular counts.
    weight = max(weight, knobs.weights.get(endpoint, 0.0))
    return turned(knobs, weights={**knobs.weights, endpoint: weight})


def end_long_statements(session: Admin) -> None:
    """Cancels the service's statements that have run for over a second: nobody waits for their answers."""
    session.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'"
        " AND now() - query_start > interval '1 second'"
    )


def end_sessions(session: Admin, role: str, application: str | None = None) -> None:
    """Ends the sessions of a role, and waits for it: a statement does not notice that its client has gone."""
    session.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE usename = %s AND application_name = coalesce(%s, application_name)",
        (role, application),
    )
