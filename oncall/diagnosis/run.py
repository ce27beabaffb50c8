"""One call from an issue to its report."""

import time
from pathlib import Path

from oncall.diagnosis.engine import Ask, Progress, Round
from oncall.diagnosis.report import diagnosis
from oncall.model import Diagnosis, Service
from oncall.runbook.loader import Library, library


def runbooks_of(service: Service, more: Path | None) -> Library:
    """The packaged runbooks, the service's own and those of --runbooks, later ones in front of earlier."""
    own = (Path(service.runbooks).expanduser(),) if service.runbooks else ()
    return library(*own, *((more,) if more else ()), signals=service.signals)


async def diagnose(
    name: str, service: Service, books: Library, issue: str, ask: Ask, progress: Progress
) -> Diagnosis:
    """Asks every backend and judges. Raises UsageFault or RunbookError for an issue that is none."""
    begun = time.monotonic()
    runbook = books.runbook(issue)
    this = Round(runbook, service, ask, progress)
    readings = await this.run()
    took = round((time.monotonic() - begun) * 1000)
    return diagnosis(name, service, runbook, dict(this.specs), readings, duration_ms=took)
