"""A diagnosis of numbers that are written down by hand: what was usual, what is now, and the rows of some steps."""

from collections.abc import Mapping, Sequence

from oncall.diagnosis.plan import specs_of
from oncall.diagnosis.readings import Readings
from oncall.diagnosis.report import diagnosis
from oncall.model import (
    Absence,
    CauseReport,
    Column,
    Diagnosis,
    Scalar,
    SignalReading,
    StepReading,
    Table,
    Unavailable,
)
from oncall.model_service import Limits, Service
from oncall.runbook.loader import library

AT = 1_000_000.0
STEP_S = 15.0
WINDOW_S = 300.0
BASELINE_S = 3600.0
NONE = Unavailable(kind=Absence.NO_DATA, reason="no data")
Numbers = Mapping[str, float | Sequence[float]]
"""Of each signal one number as long as is known, or what was usual and what is now."""
Rows = Mapping[str, Sequence[Mapping[str, Scalar]]]


def diagnosed(
    issue: str, numbers: Numbers, rows: Rows, *, began_s: float = 120.0, over_s: float | None = None
) -> Diagnosis:
    """The runbook's report. The change was `began_s` seconds ago; a step without rows here was not to be had.
    `over_s`: what rates were taken over."""
    book = library().runbook(issue)
    service = Service(limits=Limits(pool=20))
    specs = specs_of(book, service)
    readings = Readings(
        at=AT,
        window_s=WINDOW_S,
        baseline_s=BASELINE_S,
        signals={
            name: _signal(name, numbers.get(name), began_s, over_s)
            for name, spec in specs.items()
            if not spec.value
        },
        live={},
        steps={name: _step(rows.get(name)) for name in book.spec.steps},
    )
    return diagnosis("bot", service, book, dict(specs), readings, duration_ms=1)


def _signal(
    name: str, given: float | Sequence[float] | None, began_s: float, over_s: float | None
) -> SignalReading:
    if given is None:
        return SignalReading(id=name, source="prometheus", query=None, now=NONE)
    usual, now = (given, given) if isinstance(given, float | int) else given
    count = int((BASELINE_S + WINDOW_S) / STEP_S)
    times = tuple(AT - STEP_S * i for i in reversed(range(count)))
    values = tuple(float(now if t > AT - began_s else usual) for t in times)
    samples = int(BASELINE_S / STEP_S)
    return SignalReading(
        id=name,
        source="prometheus",
        query=name,
        now=float(now),
        times=times,
        values=values,
        baseline_samples=samples,
        over_s=over_s,
    )


def _step(given: Sequence[Mapping[str, Scalar]] | None) -> StepReading:
    if given is None:
        return StepReading(source="postgres", query=None, answer=NONE)
    names = tuple(given[0]) if given else ()
    table = Table(columns=tuple(map(Column, names)), rows=tuple(tuple(row.values()) for row in given))
    return StepReading(source="postgres", query=None, answer=table)


def sessions(**counts: Scalar) -> list[dict[str, Scalar]]:
    """The row of the app's sessions: all that is not given is none."""
    whole = (
        "total",
        "active",
        "idle",
        "in_xact",
        "lock_waiting",
        "standing_by",
        "sync_waiting",
        "client_waiting",
    )
    spans = [f"{state}_over_{s}s" for state in ("in_xact", "idle") for s in (10, 30, 60)]
    none: dict[str, Scalar] = dict.fromkeys(
        (
            *whole,
            "running",
            "running_over_1s",
            "running_over_5s",
            *spans,
            "io_waiting",
            "hidden",
            "others_active",
        ),
        0,
    )
    ages = (
        "running_median_s",
        "running_longest_s",
        "in_xact_longest_s",
        "idle_median_s",
        "lock_wait_longest_s",
    )
    return [{"named": True, **none, **dict.fromkeys(ages), **counts}]


def slots(**counts: Scalar) -> list[dict[str, Scalar]]:
    found: dict[str, Scalar] = {
        "available": 97,
        "used": 30,
        "used_ratio": 0.31,
        "app": 20,
        "others": 3,
        "hidden": 0,
    }
    return [{**found, "top_other": "x", "top_other_sessions": 3, **counts}]


def of(found: Diagnosis, cause: str) -> CauseReport:
    """One cause of a report."""
    return next(c for c in found.causes if c.id == cause)
