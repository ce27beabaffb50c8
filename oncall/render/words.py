"""What is said of signals and causes, whatever it is said in. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from oncall.model import (
    WORST_FIRST,
    CauseReport,
    Confidence,
    Diagnosis,
    EvidenceReport,
    Severity,
    SignalReport,
    Unseen,
)
from oncall.numbers import clock, day, humane, since

FOR, AGAINST, UNREAD = "+", "−", "?"
CONFIDENCE_WORD = {confidence: confidence.value.replace("_", " ") for confidence in Confidence}
_SUREST_FIRST = (
    Confidence.CONFIRMED,
    Confidence.LIKELY,
    Confidence.POSSIBLE,
    Confidence.UNKNOWN,
    Confidence.RULED_OUT,
)
_MOST_MISSING = 3


def ranked_signals(signals: Sequence[SignalReport]) -> list[SignalReport]:
    """Worst first, and among equals those that decide the severity."""
    return sorted(signals, key=lambda signal: (WORST_FIRST.index(signal.severity), not signal.symptom))


def shown_value(signal: SignalReport) -> str:
    """The number now, of the whole that it is a part of: `19/20`."""
    value = humane(signal.value, signal.unit)
    part = signal.value is not None and signal.of is not None and 0 <= signal.value <= signal.of
    return f"{value}/{humane(signal.of, signal.unit)}" if part else value


def state(signal: SignalReport) -> str:
    """The judgement in a word; nothing where there is no threshold to judge by."""
    judged = signal.warning is not None or signal.critical is not None
    return signal.severity.value if judged or signal.severity is not Severity.OK else ""


def bounds(signal: SignalReport) -> tuple[float | None, float | None]:
    """Warning and critical; none for yes or no, where they say nothing that the state does not say."""
    return (None, None) if signal.unit == "yes_no" else (signal.warning, signal.critical)


class Looked(Protocol):
    """Over what time a report looked, back from `at`."""

    @property
    def at(self) -> datetime: ...

    @property
    def window_s(self) -> float: ...

    @property
    def baseline_s(self) -> float: ...


def is_older(signal: SignalReport, d: Looked) -> bool:
    """Whether it began before all that was looked at: its `since` is the start of that, and says no more."""
    looked_s = d.window_s + d.baseline_s
    # `at` is a whole second
    return signal.since is not None and signal.since.timestamp() <= d.at.timestamp() - looked_s + 1


def began(signal: SignalReport, d: Looked) -> str:
    """`03:04`, or `before 02:10`; nothing where that is not known."""
    if signal.since is None:
        return ""
    return f"before {since(signal.since, d.at)}" if is_older(signal, d) else since(signal.since, d.at)


def ranked_causes(causes: Sequence[CauseReport]) -> list[CauseReport]:
    """Confirmed, likely, possible; then unknown, which may hold still; ruled out last. Ties keep their order."""
    return sorted(causes, key=lambda cause: _SUREST_FIRST.index(cause.confidence))


def is_live(cause: CauseReport) -> bool:
    """Whether something was found that speaks for it."""
    return cause.confidence in (Confidence.CONFIRMED, Confidence.LIKELY, Confidence.POSSIBLE)


def mark(evidence: EvidenceReport) -> str | None:
    """`+` for, `−` against (what should be there is not, or what speaks against is), `?` unread.

    None where a counter-argument was looked for and not found: that is no evidence for anything.
    """
    if evidence.holds is None:
        return UNREAD
    if evidence.holds:
        return FOR if evidence.supports else AGAINST
    return AGAINST if evidence.supports else None


def best_against(cause: CauseReport) -> str:
    """The one reason why it is not this, in words."""
    against = [evidence for evidence in cause.evidence if mark(evidence) == AGAINST]
    decisive = [evidence for evidence in against if evidence.decisive]
    # What speaks against by itself says more than the absence of what would speak for.
    spoken = [evidence for evidence in against if not evidence.supports]
    return (decisive or spoken or against)[0].text if against else ""


def missing(cause: CauseReport) -> str:
    """What would have to be readable to tell."""
    unread = [evidence.text for evidence in cause.evidence if mark(evidence) == UNREAD]
    parts = list(cause.missing or unread)
    if len(parts) > _MOST_MISSING:
        parts[_MOST_MISSING - 1 :] = [f"and {len(parts) - _MOST_MISSING + 1} more"]
    return f"missing: {'; '.join(parts)}" if parts else "nothing could be read that tells"


def points(cause: CauseReport) -> list[tuple[str, str]]:
    """Mark and text of each piece of evidence: for, against, unread; decisive ones first in each."""
    order = [FOR, AGAINST, UNREAD]
    signed = [(mark(evidence), evidence) for evidence in cause.evidence]
    known = [(sign, evidence) for sign, evidence in signed if sign is not None]
    known.sort(key=lambda item: (order.index(item[0]), not item[1].decisive))
    unread = {evidence.text for sign, evidence in known if sign == UNREAD}
    needs = [(UNREAD, f"missing: {text}") for text in cause.missing if text not in unread]
    return [(sign, evidence.text) for sign, evidence in known] + needs


def unseen(d: Diagnosis) -> tuple[Unseen, ...]:
    """What could not be seen, with the steps without an answer whose reason nobody has given yet."""
    told = {gap.reason for gap in d.unseen}
    silent = (step for step in d.steps if step.status != "ok" and step.reason not in told)
    return (*d.unseen, *(Unseen(what=step.title, reason=step.reason or step.status) for step in silent))


def replay_of(at: datetime, version: str, *, redacted: bool = False) -> str:
    """Above a report that is of another day: whoever reads it must not take it for now."""
    saved = f"saved by oncall {version}{', redacted' if redacted else ''}"
    # Without seconds: markdown would take what stands between two colons for a picture.
    return f"replay of {day(at)} {clock(at)[:5]} UTC, {saved}: as it was then, look again before you act"
