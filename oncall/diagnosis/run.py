"""One call from issues to their reports."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from oncall.diagnosis.engine import Ask, Progress, Round
from oncall.diagnosis.few import rate_s_of
from oncall.diagnosis.plan import Plan, plan
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.report import diagnosis
from oncall.model import WORST_FIRST, Diagnosis, SignalReport, Verdict
from oncall.model_service import Service
from oncall.runbook.loader import Library

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened

_VERDICTS = (Verdict.CAUSES, Verdict.INCONCLUSIVE, Verdict.HEALTHY)


def planned(service: Service, books: Library, issues: Iterable[str]) -> Plan:
    """What those issues ask together. Raises UsageFault or RunbookError for an issue that is none."""
    return plan((books.runbook(issue) for issue in issues), service)


async def look(
    asking: Plan, service: Service, ask: Ask, progress: Progress, session: "Opened | None" = None
) -> tuple[Gathered, int]:
    """Asks every backend; the answers, and the milliseconds that it took. Postgres through `session`, if given."""
    begun = time.monotonic()
    found = await Round(asking, service, ask, progress, session).run()
    return found, round((time.monotonic() - begun) * 1000)


def judged(
    name: str, service: Service, asking: Plan, found: Gathered, took_ms: int, address: tuple[str, ...] = ()
) -> list[Diagnosis]:
    """Each issue's report from what was read, worst first; its commands name the service by `address`. Pure."""
    rate_s = rate_s_of(found.signals, asking.signals)
    reports = [
        diagnosis(
            name,
            service,
            book,
            dict(asking.specs[book.issue]),
            asking.readings(book, found),
            duration_ms=took_ms,
            address=address,
        )
        for book in asking.runbooks
    ]
    reports = [replace(report, rate_s=rate_s) for report in reports]
    return sorted(reports, key=_worst)


def _worst(found: Diagnosis) -> tuple[int, int, float]:
    """By severity, then those with a cause, then by how far the worst symptom is beyond its bound."""
    beyond = max((_beyond(s) for s in found.signals if s.symptom), default=0.0)
    return WORST_FIRST.index(found.severity), _VERDICTS.index(found.verdict), -beyond


def _beyond(signal: SignalReport) -> float:
    bound = signal.critical if signal.critical is not None else signal.warning
    return signal.value / bound if signal.value is not None and bound else 0.0
