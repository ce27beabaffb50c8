"""Faults that are made the way they really happen, and their undoing."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from oncall.errors import LabError, UsageFault
from oncall.lab import load, place, schema, stack
from oncall.lab.place import Fault, Leak, LoadKnobs, Part, ServiceKnobs
from oncall.lab.process import end, wait_until

if TYPE_CHECKING:
    import psycopg

USUAL_POOL = 20


class Kind(msgspec.Struct, frozen=True):
    """One fault that can be made. `variants` maps a name to what happens; the first is the usual one."""

    make: Callable[[Path, Fault], None]
    undo: Callable[[Path], None]
    variants: Mapping[str, str]
    intensity: str


def break_(folder: Path, cause: str, variant: str | None, intensity: float, seed: int | None) -> Fault:
    """Makes a fault; it is in force when this returns, its symptom follows. Raises UsageFault, LabError."""
    kind, name = kind_of(cause), variant_of(cause, variant)
    if not 0 < intensity <= 10:
        raise UsageFault(
            f"intensity {intensity:g} is out of range", hint="above 0, at most 10; 1 is the usual"
        )
    stack.require()
    if not folder.exists():
        raise LabError("the lab is not up", hint="oncall lab up")
    with place.alone(folder):
        record = place.running(folder)
        if any(fault.cause == cause for fault in record.faults):
            raise LabError(f"{cause} is broken already", hint=f"oncall lab heal {cause}")
        chosen = secrets.randbelow(1000) if seed is None else seed
        fault = Fault(cause=cause, variant=name, intensity=intensity, seed=chosen, since=time.time())
        # Written down before it is made: whatever comes in between, heal undoes it.
        _save_faults(folder, (*record.faults, fault))
        try:
            kind.make(folder, fault)
        except BaseException:
            with contextlib.suppress(LabError):
                kind.undo(folder)
                _save_faults(folder, record.faults)
            raise
    return fault


def heal(folder: Path, cause: str | None) -> tuple[str, ...]:
    """Undoes one fault, or all; which ones. Raises UsageFault for a cause that does not exist, LabError."""
    if cause is not None:
        kind_of(cause)
    stack.require()
    if not folder.exists():
        raise LabError("the lab is not up", hint="oncall lab up")
    with place.alone(folder):
        broken = {fault.cause for fault in place.running(folder).faults}
        gone = tuple(name for name in KINDS if cause in (None, name) and name in broken)
        for name in gone:
            KINDS[name].undo(folder)
            left = tuple(f for f in place.running(folder).faults if f.cause != name)
            _save_faults(folder, left, time.time())
    return gone


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


def _save_faults(folder: Path, faults: tuple[Fault, ...], healed: float | None = None) -> None:
    record = place.running(folder)
    when = healed or record.healed
    place.write(folder / place.RECORD, msgspec.structs.replace(record, faults=faults, healed=when))


@contextlib.contextmanager
def _admin(folder: Path) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """A superuser's session in the lab's database. Raises LabError, also where another fault is in the way."""
    import psycopg

    dsn = place.running(folder).roles["admin"]
    try:
        with psycopg.connect(dsn, autocommit=True, options="-c lock_timeout=3s") as session:
            yield session
    except psycopg.errors.LockNotAvailable:
        raise LabError(
            "a lock on the table is in the way", hint="oncall lab heal pool.lock_contention, then again"
        ) from None
    except psycopg.Error as error:
        raise LabError(f"the lab's Postgres: {error}", hint="oncall lab status") from None


def _turn_service(folder: Path, **knobs: object) -> None:
    now = place.read(folder / "service.json", ServiceKnobs) or ServiceKnobs()
    place.write(folder / "service.json", msgspec.structs.replace(now, **knobs))


def _turn_load(folder: Path, **knobs: object) -> None:
    now = place.read(folder / "load.json", LoadKnobs) or LoadKnobs()
    place.write(folder / "load.json", msgspec.structs.replace(now, **knobs))


# --- slow queries ----------------------------------------------------------------------------

_SEARCH = (
    "SELECT id, bot_id, body, created_at FROM messages WHERE to_tsvector('english', body)"
    " @@ plainto_tsquery('english', 'ticket 1') ORDER BY created_at DESC LIMIT 20"
)


def _slow(folder: Path, fault: Fault) -> None:
    from oncall.lab.endpoints import HEAVY_EXPORT

    dropped = fault.variant == "dropped_index"
    with _admin(folder) as admin:
        if dropped:
            admin.execute("DROP INDEX IF EXISTS messages_body_search")
        seconds = _time(admin, _SEARCH if dropped else HEAVY_EXPORT)
    if not dropped:
        _turn_service(folder, heavy_export=True)
    name = "GET /api/search" if dropped else "GET /api/export"
    _ask_more(folder, name, seconds, fault.intensity)


def _time(admin: "psycopg.Connection[tuple[object, ...]]", sql: str) -> float:
    began = time.perf_counter()
    admin.execute(sql.encode())
    return time.perf_counter() - began


def _ask_more(folder: Path, endpoint: str, seconds: float, intensity: float) -> None:
    """Makes the slow endpoint popular enough that the cores cannot keep up, at the same rate in total.

    The demand in cores is rate x share x seconds; it must pass the cores there are, or the pool's size."""
    rate = (place.read(folder / "load.json", LoadKnobs) or LoadKnobs()).rate
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 20)
    needed = min(0.6, 1.6 * cores / (rate * max(seconds, 0.01)))
    share = max(needed, load.USUAL[endpoint] / 100) * min(intensity, 1.5)
    _weigh(folder, endpoint, share)


def _weigh(folder: Path, endpoint: str, share: float | None) -> None:
    """Gives an endpoint that share of all requests; None: its usual one."""
    weights = dict((place.read(folder / "load.json", LoadKnobs) or LoadKnobs()).weights)
    others = sum(load.USUAL.values()) - load.USUAL[endpoint]
    weights.pop(endpoint, None)
    if share is not None:
        weights[endpoint] = others * min(share, 0.9) / (1 - min(share, 0.9))
    _turn_load(folder, weights=weights)


def _not_slow(folder: Path) -> None:
    _turn_service(folder, heavy_export=False)
    for endpoint in ("GET /api/search", "GET /api/export"):
        _weigh(folder, endpoint, None)
    with _admin(folder) as admin:
        _end_statements(admin)
        admin.execute("SET ROLE deploy")
        missing = "SELECT to_regclass('public.messages_body_search') IS NULL"
        row = admin.execute(missing.encode()).fetchone()
        if row and row[0]:
            admin.execute(schema.SEARCH_INDEX.encode())


def _end_statements(admin: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Cancels the service's statements that have run for over a second: nobody waits for their answers."""
    admin.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'"
        " AND now() - query_start > interval '1 second'"
    )


# --- locks -----------------------------------------------------------------------------------


def _lock(folder: Path, fault: Fault) -> None:
    bots = max(1, round(200 * min(fault.intensity, 1)))
    _hold(folder, "lock", ["lock", fault.variant, str(bots)])


def _hold(folder: Path, name: str, words: list[str]) -> None:
    """Starts a session of somebody else; returns when it holds what it came for."""
    held = folder / f"{name}.held"
    held.unlink(missing_ok=True)
    pid, created = stack.spawn_python(folder, name, ["oncall.lab.holder", str(folder), *words])
    part = Part(name=name, pid=pid, created=created, log=str(folder / f"{name}.out"))
    record = place.running(folder)
    place.write(folder / place.RECORD, msgspec.structs.replace(record, parts=(*record.parts, part)))
    wait_until(lambda: held.exists() or stack.gone(part), name, seconds=30)
    if not held.exists():
        raise LabError(f"the session that should break it ended ({part.log})", hint="oncall lab heal")


def _let_go(folder: Path, name: str, role: str) -> None:
    record = place.running(folder)
    for part in record.parts:
        if part.name == name:
            end(part.pid, part.created, patience=1)
    place.write(folder / place.RECORD, stack.without_part(record, name))
    with _admin(folder) as admin:
        # A statement that runs does not notice that its client has gone.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (role,)
        )
        for (gid,) in admin.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            admin.execute(f"ROLLBACK PREPARED '{gid}'".encode())


# --- leak ------------------------------------------------------------------------------------


def _leak(folder: Path, fault: Fault) -> None:
    # 5 % of 40 requests a second are exports: at 0.7 the pool is gone within a quarter of a minute.
    share = min(1.0, 0.7 * fault.intensity)
    _turn_service(folder, leak=Leak(share=share, in_transaction=fault.variant == "idle_in_transaction"))


def _no_leak(folder: Path) -> None:
    _turn_service(folder, leak=None)
    stack.restart_service(folder)


# --- load and sizes --------------------------------------------------------------------------


def _crowd(folder: Path, fault: Fault) -> None:
    _turn_load(folder, rate=LoadKnobs().rate * 6 * fault.intensity)


def _no_crowd(folder: Path) -> None:
    _turn_load(folder, rate=LoadKnobs().rate)


def _small(folder: Path, fault: Fault) -> None:
    _turn_service(folder, pool=max(1, round(3 / fault.intensity)))
    stack.restart_service(folder)


def _not_small(folder: Path) -> None:
    _turn_service(folder, pool=USUAL_POOL)
    stack.restart_service(folder)


def _slots(folder: Path, fault: Fault) -> None:
    """Another tool fills the server while the service is being deployed: it comes back and finds no room."""
    leave = max(0, round(4 * (1 - fault.intensity)))
    service = place.running(folder).part("service")
    end(service.pid, service.created)
    _hold(folder, "slots", ["slots", str(leave)])
    stack.restart_service(folder)


def _no_slots(folder: Path) -> None:
    _let_go(folder, "slots", "reporting")
    stack.restart_service(folder)


KINDS: dict[str, Kind] = {
    "pool.lock_contention": Kind(
        _lock,
        lambda folder: _let_go(folder, "lock", "deploy"),
        {
            "row_lock": "a psql session changed the bots and never committed",
            "migration": "a migration changed the big table and fills the new column, all in one transaction",
            "table_lock": "a migration changed the big table and never committed",
            "prepared_transaction": "a two-phase commit whose second phase never came",
        },
        "which share of the bots a row lock covers (at most all)",
    ),
    "pool.slow_queries": Kind(
        _slow,
        _not_slow,
        {
            "dropped_index": "the index that /api/search needs is dropped",
            "heavy_export": "a release whose /api/export reads the whole table",
        },
        "how often the slow endpoint is asked",
    ),
    "pool.connection_leak": Kind(
        _leak,
        _no_leak,
        {
            "idle_in_transaction": "/api/export returns early, in its transaction, and keeps its connection",
            "idle": "/api/export commits and keeps its connection",
        },
        "how fast it leaks",
    ),
    "pool.too_many_requests": Kind(
        _crowd, _no_crowd, {"surge": "six times the usual traffic"}, "the traffic, in sixfolds"
    ),
    "pool.too_small": Kind(
        _small,
        _not_small,
        {"redeployed": "the service is deployed with a pool of 3"},
        "3 / intensity connections",
    ),
    "pool.server_slots_exhausted": Kind(
        _slots,
        _no_slots,
        {"other_tool": "another tool takes the server's connections while the service is deployed"},
        "below 1 the tool leaves some of four connections",
    ),
}
"""What can be broken, by cause id; in the order of healing: a lock would be in the way of the others."""
