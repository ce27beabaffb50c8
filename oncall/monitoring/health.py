"""The three health endpoints of a service: asked at once, a failing one twice before it is called down."""

import asyncio
import math
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from oncall.clients.health_endpoints import ENDPOINTS
from oncall.clients.health_endpoints import Endpoint as Asked
from oncall.clients.http import HttpServer, health
from oncall.model import (
    WORST_FIRST,
    Absence,
    Frozen,
    Next,
    Scalar,
    Severity,
    StepReading,
    Table,
    Unavailable,
    worst,
)
from oncall.model_service import Service
from oncall.model_status import Endpoint, HealthOfAll, HealthReport, State
from oncall.monitoring.fleet import AT_ONCE, counted, every
from oncall.scrub import scrub, secrets_of

AGAIN_S = 1.0
"""Between the two looks: a restart that takes longer is down."""
_FAILURES = frozenset({Absence.DOWN, Absence.TIMEOUT, Absence.TLS})
_NO_PAGE = 404
_LEAST_S = 0.05
ISSUE = "errors"
"""The issue whose runbook asks all three endpoints."""


class How(Frozen, frozen=True):
    """`once`: one look alone. `timeout_s`: for each endpoint, where that is less than the document allows.

    `until`: by time.monotonic(), when the last answer must be there. An endpoint that had less time than it may take
    has not failed: what it would have said is not known."""

    once: bool = False
    timeout_s: float | None = None
    again_s: float = AGAIN_S
    until: float | None = None

    def patience(self, of: Asked) -> float:
        return min(of.timeout_s, self.timeout_s or of.timeout_s)

    @property
    def left_s(self) -> float:
        return math.inf if self.until is None else max(_LEAST_S, self.until - time.monotonic())


async def look(name: str, service: Service, how: How, address: tuple[str, ...] = ()) -> HealthReport:
    """Asks the endpoints at once, and those that fail once more. `address`: words that name the service."""
    begun = time.monotonic()
    looks: dict[str, list[StepReading]] = {asked.path: [] for asked in ENDPOINTS}
    if service.url is not None:
        await _round(service, ENDPOINTS, how, looks)
        failing = [asked for asked in ENDPOINTS if _failed(looks[asked.path][-1], asked, service)]
        if failing and not how.once and how.left_s > how.again_s + _LEAST_S:
            await asyncio.sleep(how.again_s)
            await _round(service, failing, how, looks)
    took = round((time.monotonic() - begun) * 1000)
    return report(name, service, looks, took, how, address)


async def _round(
    service: Service, wanted: Sequence[Asked], how: How, looks: Mapping[str, list[StepReading]]
) -> None:
    """One look at each; the connections are closed after it."""
    left = how.left_s
    async with HttpServer.of_service(service) as server:
        found = await asyncio.gather(
            *(health(service, a.path, min(left, how.patience(a)), server, a.fields) for a in wanted)
        )
    for asked, reading in zip(wanted, found, strict=True):
        if left >= how.patience(asked) or _word(reading) != Absence.TIMEOUT.value:
            looks[asked.path].append(reading)
        elif not looks[asked.path]:
            looks[asked.path].append(_hurried(reading, asked, left))


def _hurried(reading: StepReading, asked: Asked, had_s: float) -> StepReading:
    """Of one that timed out, but had less time than the document allows."""
    reason = f"no answer within {had_s:.1f} s, and it may take {asked.timeout_s:g} s"
    why = Unavailable(kind=Absence.PARTIAL, reason=reason, hint="give it longer: --timeout 12s")
    return StepReading(source=reading.source, query=reading.query, answer=why)


async def look_at_all(
    services: Mapping[str, Service], how: How, addresses: Mapping[str, tuple[str, ...]]
) -> HealthOfAll:
    """Every service at once, worst first; so many of them at a time that connections stay bounded."""
    begun = time.monotonic()

    async def one(name: str) -> HealthReport:
        return await look(name, services[name], how, addresses[name])

    def missed(name: str, why: Unavailable) -> HealthReport:
        return lost(name, services[name], why)

    found = sorted(await every(services, one, missed, at_once=AT_ONCE), key=order)
    return HealthOfAll(
        at=datetime.now(UTC).replace(microsecond=0),
        duration_ms=round((time.monotonic() - begun) * 1000),
        severity=worst(r.severity for r in found),
        summary=counted(r.severity for r in found),
        services=tuple(found),
    )


def order(found: HealthReport) -> tuple[int, int, str]:
    """Worst first, then by how many endpoints are not well."""
    ill = sum(e.severity is not Severity.OK for e in found.endpoints)
    return WORST_FIRST.index(found.severity), -ill, found.service


# --- the report: pure --------------------------------------------------------------------------------


def report(
    name: str,
    service: Service,
    looks: Mapping[str, Sequence[StepReading]],
    took_ms: int,
    how: How,
    address: tuple[str, ...] = (),
) -> HealthReport:
    """The endpoints, worst first, from their readings (one or two each; none where no url is configured)."""
    secrets = secrets_of(service)
    found = [_endpoint(asked, looks[asked.path], service, how, secrets) for asked in ENDPOINTS]
    return _report(name, service, found, took_ms, address)


def lost(name: str, service: Service, why: Unavailable) -> HealthReport:
    """The report of a service that was not looked at, and why."""
    found = [
        Endpoint(
            path=asked.path,
            state="unknown",
            severity=Severity.UNKNOWN,
            critical=asked.critical,
            text=why.reason,
            hint=why.hint,
        )
        for asked in ENDPOINTS
    ]
    return _report(name, service, found, 0, ())


def _report(
    name: str, service: Service, found: Iterable[Endpoint], took_ms: int, address: tuple[str, ...]
) -> HealthReport:
    shown = sorted(found, key=lambda e: (e.state == "not_configured", WORST_FIRST.index(e.severity)))
    severity = worst(e.severity for e in shown if e.state != "not_configured")
    ill = severity in (Severity.CRITICAL, Severity.WARNING)
    command = shlex.join(["oncall", "diagnose", ISSUE, *address])
    return HealthReport(
        service=name,
        environment=service.environment,
        at=datetime.now(UTC).replace(microsecond=0),
        duration_ms=took_ms,
        severity=severity,
        summary=_summary(shown),
        endpoints=tuple(shown),
        next=Next(command=command, why="says why") if ill else None,
    )


def _summary(found: Sequence[Endpoint]) -> str:
    """`2 of 3 healthy: /health/db down`."""
    asked = [e for e in found if e.state != "not_configured"]
    if not asked:
        return "health not configured"
    well = sum(e.state == "healthy" for e in asked)
    ill = [f"{e.path} {e.state.replace('_', ' ')}" for e in asked if e.state != "healthy"]
    return f"{well} of {len(asked)} healthy" + (f": {', '.join(ill)}" if ill else "")


def _endpoint(
    asked: Asked, looks: Sequence[StepReading], service: Service, how: How, secrets: tuple[str, ...]
) -> Endpoint:
    if not looks:
        return Endpoint(
            path=asked.path,
            state="not_configured",
            severity=Severity.UNKNOWN,
            critical=asked.critical,
            text="not configured",
            hint="set `url` of the service",
        )
    failed = [reading for reading in looks if _failed(reading, asked, service)]
    last = looks[-1]
    shown = failed[-1] if failed else last
    state, severity = _judged(asked, looks, len(failed), service)
    hint = shown.answer.hint if isinstance(shown.answer, Unavailable) else None
    text = _said(shown)
    if failed and len(failed) < len(looks):
        text = f"{text}; {how.again_s:g} s later: {_said(last)}"
    return Endpoint(
        path=asked.path,
        state=state,
        severity=severity,
        critical=asked.critical,
        text=scrub(text, secrets),
        looks=len(looks),
        failures=len(failed),
        status=_status(shown),
        verdict=scrub(_word(shown) or "", secrets) or None,
        ms=shown.ms,
        timeout_s=how.patience(asked),
        query=scrub(shown.query or "", secrets) or None,
        shape=last.answer.notes if isinstance(last.answer, Table) else (),
        hint=hint,
    )


def _judged(
    asked: Asked, looks: Sequence[StepReading], failures: int, service: Service
) -> tuple[State, Severity]:
    """Two failures in a row are down; of /health/cache a warning, for that is not critical. One is not down."""
    if failures >= 2:
        return "down", Severity.CRITICAL if asked.critical else Severity.WARNING
    if failures:
        return "failed_once", Severity.WARNING
    if _not_there(looks[-1], asked, service):
        return "not_configured", Severity.UNKNOWN
    if _cell(looks[-1], "healthy"):
        return "healthy", Severity.OK
    return "unknown", Severity.UNKNOWN


def _failed(reading: StepReading, asked: Asked, service: Service) -> bool:
    """It was met and is not healthy, or nobody is there; not where that cannot be told from here."""
    if isinstance(reading.answer, Unavailable):
        return reading.answer.kind in _FAILURES
    return _cell(reading, "healthy") is False and not _not_there(reading, asked, service)


def _not_there(reading: StepReading, asked: Asked, service: Service) -> bool:
    """No such page, of a backend that the service file has not either."""
    backend = {"/health/db": service.postgres, "/health/cache": service.redis}
    absent = asked.path in backend and backend[asked.path] is None
    return absent and _cell(reading, "status") == _NO_PAGE


def _said(reading: StepReading) -> str:
    """What it says in one line: `healthy: version=1.0.0`; `redirect: redirects to /login: not followed`."""
    if isinstance(reading.answer, Unavailable):
        return reading.answer.reason
    verdict, detail = _cell(reading, "verdict"), _cell(reading, "detail")
    return f"{verdict}: {detail}" if detail else str(verdict)


def _word(reading: StepReading) -> str | None:
    if isinstance(reading.answer, Unavailable):
        return reading.answer.kind.value.replace("_", " ")
    word = _cell(reading, "verdict")
    return str(word) if word is not None else None


def _status(reading: StepReading) -> int | None:
    status = _cell(reading, "status")
    return status if isinstance(status, int) else None


def _cell(reading: StepReading, column: str) -> Scalar:
    if isinstance(reading.answer, Unavailable):
        return None
    return reading.answer.rows[0][[c.name for c in reading.answer.columns].index(column)]
