"""Types of the checks: daily, weekly, monthly, and what each of their lines says."""

from datetime import datetime

from oncall.model import Frozen, Next, Severity, Table


class CheckLine(Frozen, frozen=True):
    """One line of a check: a verdict, with what it rests on.

    `value` is in `unit`; `text` says it in words where a number alone would not tell (a backup's name, age and size).
    `reason` says why there is no value; a line without value and text is unknown, never ok."""

    id: str
    title: str
    severity: Severity
    why: str
    """Why it matters."""
    source: str
    """The backend that was asked; `file`, `command` where it is none of them."""
    value: float | None = None
    unit: str | None = None
    text: str | None = None
    target: str | None = None
    """What it should be, in words: `below 0.5 %`."""
    warning: float | None = None
    critical: float | None = None
    day_ago: float | None = None
    week_ago: float | None = None
    """The same value a day and a week before, where history has it."""
    history: tuple[float | None, ...] = ()
    """At most 60 points over the time that was looked at, oldest first."""
    query: str | None = None
    age_s: float | None = None
    reason: str | None = None
    hint: str | None = None
    next: Next | None = None
    """What to run where it is not ok."""
    counts: bool = True
    """It takes part in the verdict of the whole; what does not apply to this service does not."""
    detail: Table | None = None
    """Rows to look at besides: the slowest endpoints, the unused indexes."""
    notes: tuple[str, ...] = ()


class CheckReport(Frozen, frozen=True, tag_field="schema", tag="oncall/check/1"):
    """All lines of one check of one service, worst first. Its JSON is a contract."""

    service: str
    environment: str
    check: str
    """daily, weekly, monthly."""
    title: str
    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    """One sentence: what is not well, or that all is."""
    lines: tuple[CheckLine, ...]
    notes: tuple[str, ...] = ()
