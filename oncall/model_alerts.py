"""Types of alerting: what fires and who is paged, silences, and what one shift hands to the next."""

from datetime import datetime
from typing import Literal

from oncall.model import Frozen, Next, Severity, Unseen
from oncall.model_acts import AuditList

# --- alerts --------------------------------------------------------------------------------------


class Paged(Frozen, frozen=True):
    """One level of the escalation, and when it is its turn."""

    who: str
    at: datetime


class Escalation(Frozen, frozen=True):
    """Where an alert stands by the clock: nobody tells Alertmanager that a page was acknowledged."""

    respond_s: float | None = None
    """How soon somebody must have answered, in seconds since it began to fire."""
    left_s: float | None = None
    """Of that; negative where it is over."""
    paged: tuple[Paged, ...] = ()
    """Who has been paged, if nobody acknowledged it, first to last."""
    next: Paged | None = None
    next_in_s: float | None = None
    tells: str | None = None
    """Where a severity that pages nobody is told: a channel."""


class Muted(Frozen, frozen=True):
    """A silence that keeps an alert quiet."""

    id: str
    until: datetime | None
    """None where the silence itself could not be read."""
    by: str
    comment: str


class Alert(Frozen, frozen=True):
    """One alert. `since`: when it began to fire; of a pending one, when its condition began to hold."""

    name: str
    severity: Severity
    label: str
    """The severity as its label says it; empty without one."""
    state: Literal["firing", "pending"]
    since: datetime | None
    age_s: float | None
    labels: dict[str, str]
    sources: tuple[Literal["alertmanager", "prometheus"], ...]
    value: float | None = None
    """Of its expression, at the last evaluation."""
    value_age_s: float | None = None
    bound: str | None = None
    """What its expression compares with: `> 0.05`."""
    fires_in_s: float | None = None
    """Of a pending one: when it fires, unless its condition ends."""
    summary: str | None = None
    silenced: tuple[Muted, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    """Names of the alerts that keep it quiet."""
    unheard: bool = False
    """Prometheus says that it fires, and Alertmanager, which was asked too, has not got it."""
    escalation: Escalation | None = None
    """None while nobody is told: pending, silenced or inhibited."""
    runbook: Next | None = None
    runbook_url: str | None = None

    @property
    def muted(self) -> bool:
        return bool(self.silenced or self.inhibited_by)


class Others(Frozen, frozen=True):
    """Firing alerts of one name that are not counted as this service's. `unlabelled`: they lack a label of its
    selector, so that they may be its own; else they say another service."""

    name: str
    label: str
    severity: Severity
    count: int
    unlabelled: bool


class AlertsReport(Frozen, frozen=True, tag_field="schema", tag="oncall/alerts/1"):
    """What fires and what is about to, worst first, then oldest first. Its JSON is a contract.

    `severity` is that of what fires, silenced or not: a silence mutes the page, not the illness."""

    service: str
    environment: str
    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    alerts: tuple[Alert, ...]
    selector: dict[str, str]
    """Labels that an alert must have to be this service's."""
    others: tuple[Others, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()


class AlertsOfAll(Frozen, frozen=True, tag_field="schema", tag="oncall/alerts-all/1"):
    """The alerts of every service of the file, worst first. `unclaimed`: firing alerts of no service."""

    at: datetime
    duration_ms: int
    severity: Severity
    summary: str
    services: tuple[AlertsReport, ...]
    unclaimed: tuple[Others, ...] = ()


# --- silences --------------------------------------------------------------------------------------


class Silence(Frozen, frozen=True):
    """A silence of Alertmanager; `matchers` as a person writes them. `hits`: alerts that it keeps quiet now."""

    id: str
    state: Literal["active", "pending", "expired"]
    matchers: tuple[str, ...]
    starts: datetime
    ends: datetime
    by: str
    comment: str
    left_s: float | None = None
    hits: tuple[str, ...] = ()


class SilenceList(Frozen, frozen=True, tag_field="schema", tag="oncall/silences/1"):
    """Silences, those that end first in front. `others`: so many cannot touch this service, by their matchers."""

    service: str
    environment: str
    at: datetime
    source: str | None
    silences: tuple[Silence, ...] = ()
    others: int = 0
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()


class Hit(Frozen, frozen=True):
    """An alert that a silence would keep quiet. `own`: it is one of the service that was named."""

    name: str
    severity: Severity
    labels: dict[str, str]
    since: datetime | None
    own: bool
    quiet: bool = False
    """It is silenced or inhibited already."""


class SilencePlan(Frozen, frozen=True, tag_field="schema", tag="oncall/silence/1"):
    """A silence that is made or ended: what it is, and what that changes now.

    `state`: preview (nothing was changed), refused (nor was it), made, ended, unverified (sent; what became of it
    could not be read), failed, unchanged (it had ended before)."""

    service: str
    environment: str
    at: datetime
    source: str | None
    act: Literal["silence", "expire"]
    state: Literal["preview", "refused", "made", "ended", "unverified", "failed", "unchanged"]
    text: str
    """One sentence: what is so now."""
    silence: Silence
    hits: tuple[Hit, ...] = ()
    alerts: int | None = None
    """All alerts of that Alertmanager now; None where they could not be read."""
    warnings: tuple[str, ...] = ()
    hint: str | None = None
    command: str | None = None
    """The complete command line that does exactly this."""


# --- handover ----------------------------------------------------------------------------------------


class Fired(Frozen, frozen=True):
    """An alert that fired in the shift: how often, for how many seconds in all; `labels` tell it from others."""

    name: str
    severity: Severity
    label: str
    labels: dict[str, str]
    times: int
    seconds: float
    first: datetime
    last: datetime
    """When it was last seen firing."""
    now: bool


class Trending(Frozen, frozen=True):
    """A signal that grows as a leak does. Seconds until its critical bound and until its limit, at this slope."""

    id: str
    title: str
    unit: str | None
    now: float
    per_hour: float
    critical: float | None = None
    critical_s: float | None = None
    limit: float | None = None
    limit_s: float | None = None
    since: datetime | None = None
    history: tuple[float | None, ...] = ()
    query: str | None = None


class Handover(Frozen, frozen=True, tag_field="schema", tag="oncall/handover/1"):
    """One shift for the next. A part that could not be read is None, and `unseen` says why."""

    service: str
    environment: str
    at: datetime
    since: datetime
    duration_ms: int
    summary: str
    now: AlertsReport
    fired: tuple[Fired, ...] | None
    silences: tuple[Silence, ...] | None
    done: AuditList | None
    trending: tuple[Trending, ...] | None
    fired_others: int | None = None
    """Alerts that fired in the shift and are not this service's by their labels; None where that is not known."""
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()
