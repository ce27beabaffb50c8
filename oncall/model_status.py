"""Types of `status` and `health`: how a service is at this moment, and every service of the file at once."""

from datetime import datetime
from typing import Literal

from oncall.model import Frozen, Next, Severity, SignalReport, Unseen

# --- health --------------------------------------------------------------------------------------

State = Literal["healthy", "failed_once", "down", "unknown", "not_configured"]


class Endpoint(Frozen, frozen=True):
    """One health endpoint after one look or two. `critical` is False where its failure alone pages nobody.

    `failed_once`: of one look, or of the first of two. `shape`: what of its JSON is not as documented."""

    path: str
    state: State
    severity: Severity
    critical: bool
    text: str
    """What it says, or why that is not known, in one line."""
    looks: int = 0
    failures: int = 0
    status: int | None = None
    verdict: str | None = None
    """The word of its answer, or what kind of failure this is."""
    ms: float | None = None
    timeout_s: float | None = None
    query: str | None = None
    shape: tuple[str, ...] = ()
    hint: str | None = None


class HealthReport(Frozen, frozen=True, tag_field="schema", tag="oncall/health/1"):
    """The health endpoints of a service, worst first. Its JSON is a contract."""

    service: str
    environment: str
    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    endpoints: tuple[Endpoint, ...]
    next: Next | None = None


class HealthOfAll(Frozen, frozen=True, tag_field="schema", tag="oncall/health-all/1"):
    """The health endpoints of every service of the file, worst first."""

    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    services: tuple[HealthReport, ...]


# --- status --------------------------------------------------------------------------------------


class Firing(Frozen, frozen=True):
    """Alerts of one name that fire, and how many."""

    name: str
    severity: Severity
    count: int = 1
    silenced: bool = False


class AlertCount(Frozen, frozen=True):
    """What fires, by severity; `severity` is unknown where not all could be read."""

    severity: Severity
    summary: str
    critical: int = 0
    warning: int = 0
    info: int = 0
    pending: int = 0
    worst: tuple[Firing, ...] = ()
    """The names, worst first."""
    configured: bool = True


class LastAction(Frozen, frozen=True):
    """An action of the audit log, with what became of it."""

    number: int
    at: datetime
    service: str
    action: str
    by: str
    outcome: str
    severity: Severity


class Concern(Frozen, frozen=True):
    """One thing that is not well, in words; `kind` and `id` say what was looked at."""

    severity: Severity
    kind: Literal["signal", "health", "alert", "clock"]
    id: str
    text: str


class StatusReport(Frozen, frozen=True, tag_field="schema", tag="oncall/status/1"):
    """How a service is now. Its JSON is a contract. `concerns`: what is not well, worst first.

    `actions` is None where the audit log could not be read."""

    service: str
    environment: str
    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    concerns: tuple[Concern, ...]
    next: Next | None
    health: HealthReport
    signals: tuple[SignalReport, ...]
    alerts: AlertCount
    actions: tuple[LastAction, ...] | None = ()
    baseline_s: float | None = None
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()


class StatusOfAll(Frozen, frozen=True, tag_field="schema", tag="oncall/status-all/1"):
    """Every service of the file, worst first; the newest actions of all of them."""

    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    services: tuple[StatusReport, ...]
    actions: tuple[LastAction, ...] | None = ()
    next: Next | None = None
    notes: tuple[str, ...] = ()
