"""How the lab's answers come to take long, without (or before) a pool that runs out."""

from pathlib import Path

from oncall.lab import parts
from oncall.lab.faults_pool import ALL_DAYS, SLOW, make_slow, undo_slow
from oncall.lab.kinds import Kind, Others, admin, cores, end_sessions, turned, weighed
from oncall.lab.place import Fault, LoadKnobs, OllamaKnobs, ServiceKnobs
from oncall.lab.runaway import BURN_S, JOB, REPORTS, WHAT, job

BUSY = {"dropped_index": 0.8, "heavy_export": 0.65}
"""The share of the cores that slow statements keep busy: at it they take some times as long as alone."""
SLOW_SHARE = {"dropped_index": 0.12, "heavy_export": 0.10}
SINGLY_SHARE = 0.09
SINGLY = 280
"""Statements of one request, where they are asked one by one: about a second."""


# --- slow queries ----------------------------------------------------------------------------


def _make_slow(folder: Path, fault: Fault) -> float | None:
    return None if fault.variant == "n_plus_one" else make_slow(folder, fault)


def _seconds(fault: Fault) -> float:
    """What the statement takes; a machine that is busy with other things does not count for more than it is."""
    return min(max(fault.measured or 1.0, 0.01), 6.0)


def _days(fault: Fault) -> int:
    """How far back the slow statement reads, so that the cores are busy and not overrun."""
    allowed = (
        BUSY[fault.variant]
        * min(fault.intensity, 1.5)
        * cores()
        / (LoadKnobs().rate * SLOW_SHARE[fault.variant])
    )
    return max(1, min(ALL_DAYS, round(ALL_DAYS * allowed / _seconds(fault))))


def _slow_release(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    if fault.variant == "heavy_export":
        return turned(knobs, heavy_export=max(knobs.heavy_export, _days(fault)))
    if fault.variant == "n_plus_one":
        return turned(knobs, asked_singly=round(SINGLY * min(fault.intensity, 3)))
    return knobs


def _slow_users(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    if fault.variant == "n_plus_one":
        return weighed(knobs, "GET /api/users", SINGLY_SHARE)
    if fault.variant not in SLOW:
        return knobs
    seconds = _seconds(fault) * _days(fault) / ALL_DAYS
    share = BUSY[fault.variant] * min(fault.intensity, 1.5) * cores() / (LoadKnobs().rate * seconds)
    share = max(SLOW_SHARE[fault.variant], min(0.5, share))
    if fault.variant == "dropped_index":
        knobs = turned(knobs, search_days=_days(fault))
    return weighed(knobs, SLOW[fault.variant], share)


def _not_slow(folder: Path, fault: Fault, others: Others) -> None:
    if fault.variant != "n_plus_one":
        undo_slow(folder, fault, others)


# --- locks -----------------------------------------------------------------------------------


def _lock(folder: Path, fault: Fault) -> None:
    if fault.variant == "batch":
        parts.hold(folder, "batch", [str(max(1, round(160 * min(fault.intensity, 1.25))))])


def _unlock(folder: Path, fault: Fault, _others: Others) -> None:
    if fault.variant == "batch":
        parts.let_go(folder, "batch")
        with admin(folder) as session:
            end_sessions(session, "deploy", "billing-batch")


def _hot_row(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    """15 % of 40 requests a second are messages: one after the other they may take 0.167 s each, at most."""
    return turned(knobs, hot_row_s=0.15 * fault.intensity) if fault.variant == "hot_row" else knobs


# --- cores, load, Ollama ---------------------------------------------------------------------


def _busy(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    return turned(knobs, burn_s=BURN_S * fault.intensity) if fault.variant == "busy_process" else knobs


def _compute(folder: Path, fault: Fault) -> None:
    if fault.variant == JOB:
        job(folder, fault)
    if fault.variant == "neighbour":
        parts.hold(folder, "neighbour", [str(max(1, round(20 * cores() * fault.intensity)))])


def _no_neighbour(folder: Path, fault: Fault, _others: Others) -> None:
    if fault.variant == "neighbour":
        parts.let_go(folder, "neighbour")


def _crowd(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    return turned(knobs, rate=knobs.rate * 5.5 * fault.intensity)


def _model(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    from oncall.lab.ollama import LARGE

    return turned(knobs, model=LARGE) if fault.variant == "big_model" else knobs


def _thinking(knobs: OllamaKnobs, fault: Fault) -> OllamaKnobs:
    if fault.variant == "big_model":
        return turned(knobs, larger=12 * fault.intensity)
    return turned(knobs, slots=1, batch_s=1.2 * fault.intensity)


KINDS: dict[str, Kind] = {
    "latency.slow_queries": Kind(
        {
            "dropped_index": "the index that /api/search needs is dropped",
            "heavy_export": "a release whose /api/export reads much of the big table",
            "n_plus_one": "a release whose /api/users asks hundreds of quick statements one by one",
            REPORTS: WHAT,
        },
        "how much work the slow statements are",
        make=_make_slow,
        undo=_not_slow,
        service=_slow_release,
        load=_slow_users,
        deploys=frozenset({"n_plus_one"}),
    ),
    "latency.resource_exhaustion": Kind(
        {
            "busy_process": "a release computes in the background without end",
            "neighbour": "another program takes all cores of the machine",
            JOB: "somebody starts a job in the service that computes without end; a restart ends it for good",
        },
        "how much is computed",
        make=_compute,
        undo=_no_neighbour,
        service=_busy,
        restarts=frozenset({JOB}),
    ),
    "latency.too_many_requests": Kind(
        {"surge": "five and a half times the usual traffic"}, "the traffic, in that many folds", load=_crowd
    ),
    "latency.ollama_slow": Kind(
        {
            "big_model": "the bots get a model that does not fit into the graphics card: twelve times as slow",
            "queue": "Ollama does one thing at a time, and another program keeps it busy",
        },
        "how long an inference takes",
        service=_model,
        ollama=_thinking,
    ),
    "latency.lock_contention": Kind(
        {
            "batch": "a batch job locks most bots for some seconds, again and again",
            "hot_row": "a release counts all messages in one row, and holds it while it works",
        },
        "how many rows are locked, or how long",
        make=_lock,
        undo=_unlock,
        service=_hot_row,
    ),
}
