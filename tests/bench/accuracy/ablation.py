"""A kept look with one backend taken away, judged again: the gap is named, and nothing gains from it. Pure."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from oncall.diagnosis.plan import plan, used
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.run import judged
from oncall.diagnosis.saved import load
from oncall.model import Absence, Diagnosis, SignalReading, StepReading, Unavailable, Unseen
from oncall.runbook.loader import library

BACKENDS = ("prometheus", "history", "postgres", "redis", "ollama", "http", "logs", "host")
_GONE = Unavailable(kind=Absence.AUTH, reason="taken away")


def without(found: Gathered, backend: str) -> Gathered:
    """What would have been read had that backend (or Prometheus's history) not been there."""
    if backend == "history":
        return msgspec.structs.replace(found, signals={k: _young(s) for k, s in found.signals.items()})
    answers = {k: _dark(a) if a.source == backend else a for k, a in found.answers.items()}
    gap = Unseen(what=backend, reason=_GONE.reason)
    dark = msgspec.structs.replace(
        found,
        answers=answers,
        refusals={**found.refusals, backend: _GONE},
        failed=(*found.failed, *((gap,) if backend in ("prometheus", "postgres", "redis", "ollama") else ())),
    )
    if backend != "prometheus":
        return dark
    return msgspec.structs.replace(dark, signals={k: _unread(s) for k, s in found.signals.items()}, live={})


def _dark(answer: StepReading) -> StepReading:
    return msgspec.structs.replace(answer, answer=_GONE)


def _unread(signal: SignalReading) -> SignalReading:
    return msgspec.structs.replace(signal, now=_GONE, times=(), values=(), baseline_samples=0)


def _young(signal: SignalReading) -> SignalReading:
    return msgspec.structs.replace(signal, times=(), values=(), baseline_samples=0)


def judged_again(path: Path, backend: str | None = None) -> Mapping[str, Diagnosis]:
    """The diagnoses of a kept look by today's runbooks, without a backend where one is named."""
    saved = load(path.read_bytes(), str(path))
    books = library(signals=saved.service.signals)
    asking = plan((books.runbook(issue) for issue in saved.issues), saved.service)
    found = saved.answers_to(asking)
    found = without(found, backend) if backend else found
    return {d.issue: d for d in judged(saved.name, saved.service, asking, found, saved.took_ms)}


def needs(issue: str, backend: str) -> bool:
    """Whether that issue's runbook asks that backend."""
    return backend in ("prometheus", "history") or backend in used(library().runbook(issue))
