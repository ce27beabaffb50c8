"""The service's health endpoints as one line: all three at once, and a failing one a second time."""

import asyncio
from collections.abc import Mapping, Sequence

from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene, present_only, unknown
from oncall.clients.health_endpoints import ENDPOINTS, Endpoint
from oncall.clients.http import HEALTH_COLUMNS, health
from oncall.model import (
    Absence,
    Scalar,
    Severity,
    StepReading,
    Table,
    Unavailable,
    worst,
)
from oncall.model_checks import CheckLine

_AGAIN_S = 1.0
"""The monitoring document: two failures in a row are a failure."""
_DOWN = frozenset({Absence.DOWN, Absence.TIMEOUT, Absence.TLS})
_FAILED = frozenset({Severity.WARNING, Severity.CRITICAL})


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line for all endpoints; the rows are below it."""
    if scene.service.url is None:
        return (unknown(name, spec, "http", "not configured", "set `url` of the service", counts=False),)
    if scene.at is not None:
        return (present_only(name, spec, "http"),)
    found = await asyncio.gather(*(_asked(scene, endpoint) for endpoint in ENDPOINTS))
    return (line(name, spec, dict(zip((e.path for e in ENDPOINTS), found, strict=True))),)


async def _asked(scene: Scene, at: Endpoint) -> tuple[StepReading, ...]:
    """One look, and a second one where the first was a failure."""
    # Twice within the time there is: one that hangs is down, and not what nobody had the time to see
    patience_s = min(at.timeout_s, 0.4 * scene.deadline_s)
    first = await health(scene.service, at.path, patience_s)
    if _severity(at.path, first) not in _FAILED:
        return (first,)
    await asyncio.sleep(min(_AGAIN_S, 0.05 * scene.deadline_s))
    return first, await health(scene.service, at.path, patience_s)


def line(name: str, spec: LineSpec, found: Mapping[str, Sequence[StepReading]]) -> CheckLine:
    """The worst of them; how many are healthy, and what the others say. `found`: one or two looks at each, as
    `oncall health` judges them: two failures in a row are down, one alone is a warning. Pure."""
    verdicts = {path: _judged(path, looks) for path, looks in found.items()}
    well = [path for path, severity in verdicts.items() if severity is Severity.OK]
    ill = [f"{path} {_said(path, looks)}" for path, looks in found.items() if path not in well]
    said = f"{len(well)} of {len(found)} healthy"
    shown = {path: _telling(path, looks) for path, looks in found.items()}
    return CheckLine(
        id=name,
        title=spec.title or "Health",
        severity=worst(verdicts.values()),
        why=spec.why,
        source="http",
        text=f"{said}: {', '.join(ill)}" if ill else said,
        target=spec.target or f"{len(found)} of {len(found)}",
        query="; ".join(filter(None, (reading.query for reading in shown.values()))),
        age_s=0.0,
        detail=Table(columns=HEALTH_COLUMNS, rows=tuple(map(_row, shown, shown.values()))),
    )


def _judged(path: str, looks: Sequence[StepReading]) -> Severity:
    return Severity.WARNING if _failed_once(path, looks) else _severity(path, looks[-1])


def _failed_once(path: str, looks: Sequence[StepReading]) -> bool:
    return len(looks) > 1 and _severity(path, looks[-1]) not in _FAILED


def _telling(path: str, looks: Sequence[StepReading]) -> StepReading:
    """The last failure, where there is one."""
    return looks[0] if _failed_once(path, looks) else looks[-1]


def _said(path: str, looks: Sequence[StepReading]) -> str:
    if _failed_once(path, looks):
        return f"failed once: {_word(looks[0])}; then {_word(looks[-1])}"
    return _word(looks[-1])


def _severity(path: str, reading: StepReading) -> Severity:
    answer = reading.answer
    mild = any(not endpoint.critical for endpoint in ENDPOINTS if endpoint.path == path)
    bad = Severity.WARNING if mild else Severity.CRITICAL
    if isinstance(answer, Unavailable):
        return bad if answer.kind in _DOWN else Severity.UNKNOWN
    healthy = _cell(answer, "healthy")
    return Severity.UNKNOWN if healthy is None else Severity.OK if healthy else bad


def _word(reading: StepReading) -> str:
    answer = reading.answer
    if isinstance(answer, Unavailable):
        return answer.reason
    detail = _cell(answer, "detail")
    return f"{_cell(answer, 'verdict')}{f' ({detail})' if detail else ''}"


def _row(path: str, reading: StepReading) -> tuple[Scalar, ...]:
    answer = reading.answer
    if isinstance(answer, Table):
        return answer.rows[0]
    return (path, None, answer.kind.value.replace("_", " "), None, reading.ms, answer.reason)


def _cell(table: Table, column: str) -> Scalar:
    return table.rows[0][[c.name for c in table.columns].index(column)]
