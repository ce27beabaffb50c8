"""How the lab's pool of connections runs out."""

from pathlib import Path

from oncall.lab import load, parts, place, schema
from oncall.lab.endpoints import HEAVY_EXPORT, SEARCH
from oncall.lab.kinds import (
    Kind,
    Others,
    admin,
    cores,
    end_long_statements,
    end_sessions,
    timed,
    turned,
    weighed,
)
from oncall.lab.place import Fault, Leak, LoadKnobs, ServiceKnobs
from oncall.lab.process import end
from oncall.lab.runaway import REPORTS, WHAT, end_reports, reports

SLOW = {"dropped_index": "GET /api/search", "heavy_export": "GET /api/export"}
"""The endpoint that each way to a slow statement slows down."""
ALL_DAYS = 60


# --- slow queries ----------------------------------------------------------------------------


def make_slow(folder: Path, fault: Fault) -> float | None:
    """Drops the index where that is the way; how many seconds the slow statement takes on this machine."""
    if fault.variant == REPORTS:
        reports(folder, fault)
        return None
    with admin(folder) as session:
        if fault.variant != "dropped_index":
            return timed(session, HEAVY_EXPORT, (ALL_DAYS,))
        # Measured before it is dropped: afterwards everybody is at it.
        for plan in ("bitmapscan", "indexscan"):
            session.execute(f"SET enable_{plan} = off".encode())
        seconds = timed(session, SEARCH, ("ticket 1", ALL_DAYS))
        session.execute("DROP INDEX IF EXISTS messages_body_search")
        return seconds


def undo_slow(folder: Path, fault: Fault, others: Others) -> None:
    """Ends what still runs, and builds the index unless another fault wants it gone."""
    if fault.variant == REPORTS:
        end_reports(folder, fault)
        return
    with admin(folder) as session:
        end_long_statements(session)
        if any(other.variant == "dropped_index" for other in others):
            return
        session.execute("SET ROLE deploy")
        missing = "SELECT to_regclass('public.messages_body_search') IS NULL"
        row = session.execute(missing.encode()).fetchone()
        if row and row[0]:
            session.execute(schema.SEARCH_INDEX.encode())


def _heavy(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    return turned(knobs, heavy_export=ALL_DAYS) if fault.variant == "heavy_export" else knobs


def _popular(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    """The slow endpoint is asked for so much that the cores cannot keep up, at the same rate in total.

    The demand in cores is rate x share x seconds; it must pass the cores there are, or the pool's size."""
    if fault.variant not in SLOW:
        return knobs
    endpoint, seconds = SLOW[fault.variant], max(fault.measured or 1.0, 0.01)
    needed = min(0.6, 1.6 * cores() / (LoadKnobs().rate * seconds))
    share = max(needed, load.USUAL[endpoint] / 100) * min(fault.intensity, 1.5)
    return weighed(turned(knobs, search_days=ALL_DAYS), endpoint, share)


# --- locks -----------------------------------------------------------------------------------


def _lock(folder: Path, fault: Fault) -> None:
    bots = max(1, round(200 * min(fault.intensity, 1)))
    parts.hold(folder, "lock", [fault.variant, str(bots)])


def _unlock(folder: Path, _fault: Fault, _others: Others) -> None:
    parts.let_go(folder, "lock")
    with admin(folder) as session:
        for tool in ("psql", "settlement", "alembic"):
            end_sessions(session, "deploy", tool)
        for (gid,) in session.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            session.execute(f"ROLLBACK PREPARED '{gid}'".encode())


# --- leak, load and sizes --------------------------------------------------------------------


def _leak(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    # 5 % of 40 requests a second are exports: at 0.7 the pool is gone within a quarter of a minute.
    share = min(1.0, 0.7 * fault.intensity)
    rows = knobs.leak.rows if knobs.leak else 0
    in_transaction = fault.variant == "idle_in_transaction"
    return turned(knobs, leak=Leak(share=share, in_transaction=in_transaction, rows=rows))


def _crowd(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    return turned(knobs, rate=knobs.rate * 6 * fault.intensity)


def _small(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    return turned(knobs, pool=max(1, round(3 / fault.intensity)))


def _slots(folder: Path, fault: Fault) -> None:
    """Another tool fills the server while the service is being deployed: it comes back and finds no room."""
    leave = max(0, round(4 * (1 - fault.intensity)))
    service = place.running(folder).part("service")
    end(service.pid, service.created)
    parts.hold(folder, "slots", [str(leave)])


def _no_slots(folder: Path, _fault: Fault, _others: Others) -> None:
    parts.let_go(folder, "slots")
    with admin(folder) as session:
        end_sessions(session, "reporting", "nightly-report")


KINDS: dict[str, Kind] = {
    "pool.lock_contention": Kind(
        {
            "row_lock": "a psql session changed the bots and never committed",
            "migration": "a migration changed the big table and fills the new column, all in one transaction",
            "table_lock": "a migration changed the big table and never committed",
            "prepared_transaction": "a two-phase commit whose second phase never came",
        },
        "which share of the bots a row lock covers (at most all)",
        make=_lock,
        undo=_unlock,
    ),
    "pool.slow_queries": Kind(
        {
            "dropped_index": "the index that /api/search needs is dropped",
            "heavy_export": "a release whose /api/export reads the whole table",
            REPORTS: WHAT,
        },
        "how often the slow endpoint is asked",
        make=make_slow,
        undo=undo_slow,
        service=_heavy,
        load=_popular,
    ),
    "pool.connection_leak": Kind(
        {
            "idle_in_transaction": "/api/export returns early, in its transaction, and keeps its connection",
            "idle": "/api/export commits and keeps its connection",
        },
        "how fast it leaks",
        service=_leak,
        restarts=frozenset({"idle_in_transaction", "idle"}),
    ),
    "pool.too_many_requests": Kind(
        {"surge": "six times the usual traffic"}, "the traffic, in sixfolds", load=_crowd
    ),
    "pool.too_small": Kind(
        {"redeployed": "the service is deployed with a pool of 3"},
        "3 / intensity connections",
        service=_small,
        deploys=frozenset({"redeployed"}),
        restarts=frozenset({"redeployed"}),
    ),
    "pool.server_slots_exhausted": Kind(
        {"other_tool": "another tool takes the server's connections while the service is deployed"},
        "below 1 the tool leaves some of four connections",
        make=_slots,
        undo=_no_slots,
        deploys=frozenset({"other_tool"}),
        restarts=frozenset({"other_tool"}),
    ),
}
