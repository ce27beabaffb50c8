"""Frozen types that cross rooms. Numbers carry their unit in the name or in `unit`; absence carries a reason."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

Scalar = str | int | float | bool | None


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """What crosses rooms inside the program and goes out as JSON."""


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person writes in YAML: an unknown key is an error."""


# --- words ---------------------------------------------------------------------------------


class Severity(StrEnum):
    """How bad it is. Unknown is never ok."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


WORST_FIRST = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN, Severity.OK)


def worst(found: Iterable[Severity], none: Severity = Severity.UNKNOWN) -> Severity:
    """The worst of some severities; `none` where there is not one."""
    return min(found, key=WORST_FIRST.index, default=none)


class Confidence(StrEnum):
    """How sure a cause is, surest first."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    POSSIBLE = "possible"
    RULED_OUT = "ruled_out"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What a diagnosis ends with."""

    HEALTHY = "healthy"
    CAUSES = "causes"
    INCONCLUSIVE = "inconclusive"


class Absence(StrEnum):
    """Why there is no reading. Conditions may compare with these words."""

    NOT_CONFIGURED = "not_configured"
    DOWN = "down"
    UNRESOLVED = "unresolved"
    TIMEOUT = "timeout"
    AUTH = "auth"
    CONFIG = "config"
    TLS = "tls"
    NO_SLOTS = "no_slots"
    ROLE_LIMIT = "role_limit"
    STARTING = "starting"
    DENIED = "denied"
    HIDDEN = "hidden"
    NO_DATA = "no_data"
    UNDEFINED = "undefined"
    STALE = "stale"
    PARTIAL = "partial"
    BAD_ANSWER = "bad_answer"
    BAD_QUERY = "bad_query"
    NOT_INSTALLED = "not_installed"
    NOT_APPLICABLE = "not_applicable"
    PRESENT_ONLY = "present_only"


class Unavailable(Frozen, frozen=True):
    """A reading that could not be had: what kind of absence, what happened (one line), what to do about it."""

    kind: Absence
    reason: str
    hint: str | None = None


# --- readings ------------------------------------------------------------------------------


class Column(Frozen, frozen=True):
    name: str
    unit: str | None = None


class Table(Frozen, frozen=True):
    """Rows of a step. `notes` says what is hidden or cut."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    notes: tuple[str, ...] = ()


class StepReading(Frozen, frozen=True):
    """The answer to one step: rows, or why there are none. `ms` is how long the backend took."""

    source: str
    query: str | None
    answer: Table | Unavailable
    ms: float | None = None


class SignalReading(Frozen, frozen=True):
    """One signal over baseline and window: times (Unix seconds) and values, oldest first.

    `now` is the value that the verdict uses; `age_s` the age of its newest sample by the server's clock;
    `baseline_samples` how many samples the backend really holds in the baseline (not how many points were asked).
    `over_s`: the seconds that events were counted over, where the query does not say it: those between two looks."""

    id: str
    source: str
    query: str | None
    now: float | Unavailable
    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    age_s: float | None = None
    baseline_samples: int = 0
    instances: int | None = None
    over_s: float | None = None


# --- reaching the backends -----------------------------------------------------------------


class Right(Frozen, frozen=True):
    """A right that is missing: for what, and the exact statement that gives it. `acting`: a look does without."""

    what: str
    grant: str
    acting: bool = False


class Met(Frozen, frozen=True):
    """A backend that answered: what it is, how long it took, what this login may not do there."""

    ms: float
    where: str | None = None
    version: str | None = None
    missing: tuple[Right, ...] = ()
    notes: tuple[str, ...] = ()


class Reach(Frozen, frozen=True):
    """Whether one backend of the service file can be reached and used, and if not, why."""

    backend: str
    state: Literal["ok", "rights", "down", "unknown", "not_configured"]
    where: str | None = None
    version: str | None = None
    ms: float | None = None
    reason: str | None = None
    hint: str | None = None
    missing: tuple[Right, ...] = ()
    notes: tuple[str, ...] = ()


class ConfigCheck(Frozen, frozen=True, tag_field="schema", tag="oncall/config-check/1"):
    """Every backend of a service, asked at once."""

    service: str
    environment: str
    path: str | None
    severity: Severity
    duration_ms: int
    backends: tuple[Reach, ...]


# --- the report: these are the JSON of a diagnosis ---------------------------------------------


class SignalReport(Frozen, frozen=True):
    id: str
    title: str
    value: float | None
    unit: str | None
    baseline: float | None
    warning: float | None
    critical: float | None
    severity: Severity
    source: str
    query: str | None
    age_s: float | None
    reason: str | None
    since: datetime | None = None
    """When it left its usual range, where that could be told."""
    history: tuple[float | None, ...] = ()
    """At most 60 points over baseline and window, oldest first, for a sparkline."""
    symptom: bool = False
    """It decides the severity of the issue."""
    of: float | None = None
    """The whole that it is a part of, in the same unit (the pool's size): shown as 19/20."""


class StepReport(Frozen, frozen=True):
    id: str
    title: str
    probe: str
    status: Literal["ok", "skipped", "failed"]
    reason: str | None
    query: str | None
    columns: tuple[Column, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    ms: float | None
    why: str | None = None
    notes: tuple[str, ...] = ()


class EvidenceReport(Frozen, frozen=True):
    """`holds` is None where it could not be read; `supports` is False for evidence against the cause."""

    id: str
    text: str
    value: float | None
    baseline: float | None
    holds: bool | None
    supports: bool
    source: str
    query: str | None
    decisive: bool = False


class Next(Frozen, frozen=True):
    """What to do: a complete command line, and why."""

    command: str
    why: str


class CauseReport(Frozen, frozen=True):
    id: str
    title: str
    confidence: Confidence
    evidence: tuple[EvidenceReport, ...]
    missing: tuple[str, ...]
    next: tuple[Next, ...]
    why: str | None = None
    """The mechanism: how this cause makes the symptom."""
    advice: tuple[str, ...] = ()
    """What mends it for good; not commands."""


class Unseen(Frozen, frozen=True):
    """What could not be read, why, and what would make it readable."""

    what: str
    reason: str
    hint: str | None = None


class Summary(Frozen, frozen=True):
    """The first three lines: the verdict, the top cause with its best evidence, the next command."""

    headline: str
    cause: str
    next: Next | None
    look: str | None = None
    """What to look at by hand, where there is no command."""


class Diagnosis(Frozen, frozen=True, tag_field="schema", tag="oncall/diagnosis/1"):
    """One issue of one service, diagnosed. Its JSON is a contract."""

    service: str
    issue: str
    at: datetime
    duration_ms: int
    severity: Severity
    verdict: Verdict
    summary: Summary
    environment: str
    target: str | None
    """Host, database, role and whether it is a replica, of the database that was asked."""
    window_s: float
    baseline_s: float
    signals: tuple[SignalReport, ...]
    steps: tuple[StepReport, ...]
    causes: tuple[CauseReport, ...]
    unseen: tuple[Unseen, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know besides: the path taken, skewed clocks, hidden sessions."""
    rate_s: float | None = None
    """What rates were taken over: the window, or the end of it. None where Prometheus was not asked."""
