"""Frozen types that cross rooms. Numbers carry their unit in the name or in `unit`; absence carries a reason."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from oncall.units import Duration, Size

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


# --- the service file ----------------------------------------------------------------------


class Threshold(Written, frozen=True):
    """Bounds of one signal, in its unit; as shares of another signal where `share_of` names one."""

    warning: float | None = None
    critical: float | None = None
    share_of: str | None = None


class Ratio(Written, frozen=True):
    """Two counters: the share that `part` has in `whole` over the rate window."""

    part: str
    whole: str


class SignalSpec(Written, frozen=True):
    """A signal as written: exactly one of the forms (`of` belongs to quantile), and what it means."""

    title: str | None = None
    unit: str | None = None
    gauge: str | None = None
    rate: str | None = None
    ratio: Ratio | None = None
    quantile: float | None = None
    of: str | None = None
    mean: str | None = None
    promql: str | None = None
    step: str | None = None
    """`STEP.COLUMN` of a step's first row: a signal read from a backend other than Prometheus."""
    up: str | None = None
    """A backend: 1 where it answers, 0 where it refuses, unknown where that cannot be told from here."""
    value: str | None = None
    """A formula over other signals, columns of steps and named values of the runbook."""
    across: Literal["sum", "max", "min", "avg"] | None = None
    """How the instances of a gauge become one number; sum unless told."""
    warning: float | None = None
    critical: float | None = None
    share_of: str | None = None
    below: bool = False
    """The lower the worse."""


SIGNAL_FORMS = ("gauge", "rate", "ratio", "quantile", "mean", "promql", "step", "up", "value")


class Tls(Written, frozen=True):
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class Basic(Written, frozen=True):
    username: str
    password: str


class HttpBackend(Written, frozen=True):
    """A server that is spoken to by HTTP."""

    url: str
    headers: dict[str, str] = {}
    basic: Basic | None = None
    bearer: str | None = None
    tls: Tls | None = None


class PrometheusAt(HttpBackend, frozen=True):
    selector: dict[str, str] = {}


class RestartBy(Written, frozen=True):
    command: tuple[str, ...]


class PostgresAt(Written, frozen=True):
    """`unit` or `restart`: what `remediate restart-database` restarts."""

    dsn: str
    reserve_dsn: str | None = None
    application_name: str | None = None
    unit: str | None = None
    restart: RestartBy | None = None


class RedisAt(Written, frozen=True):
    """`cache`: prefixes of keys that may be lost; `protected`: patterns of keys that never may."""

    url: str
    cache: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()


class LogsAt(Written, frozen=True):
    file: str


class PoolAt(Written, frozen=True):
    """Where the size of the service's pool is written: `key` within `file` (`database.pool_size`).

    `format` where the file's name does not tell; `instances` of the service that read it."""

    file: str
    key: str
    format: Literal["yaml", "toml", "ini", "env", "json"] | None = None
    instances: int = 1


class Freeze(Written, frozen=True):
    """A time in which nothing is changed: two moments (RFC 3339), or each week (`Fri 16:00` to `Mon 08:00`, UTC)."""

    begin: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    reason: str | None = None


class Announce(Written, frozen=True):
    """Where plans and results of actions are told: a Slack incoming webhook."""

    slack: str | None = None


class BackupAt(Written, frozen=True):
    """A backup that must be there: exactly one of the kinds, and what is expected of it.

    `within`: how old the newest finished one may be (a day; of `postgres-archiver` nothing unless told, for a quiet
    database archives nothing). `ssh`: where it is looked at, if not where the service is; localhost is here."""

    file: str | None = None
    """A pattern of absolute paths."""
    pgbackrest: str | None = None
    """A stanza."""
    barman: str | None = None
    """A server of Barman's."""
    postgres_archiver: bool | None = msgspec.field(default=None, name="postgres-archiver")
    """pg_stat_archiver, through `postgres` of the service."""
    command: tuple[str, ...] | None = None
    """Words; it ends with 0 where all is well, and may say more as JSON: finished, size, ok, error."""
    within: Duration | None = None
    least: Size | None = None
    """A smaller one is no backup."""
    repo: int | None = None
    """Of pgBackRest, where it has several."""
    config: str | None = None
    """The configuration file of pgBackRest or Barman, where that is not the usual one."""
    ssh: str | None = None


BACKUP_KINDS = ("file", "pgbackrest", "barman", "postgres_archiver", "command")
NO_BACKUPS = "none"
"""The name under which `backups` says why there is nothing to back up."""


class Limits(Written, frozen=True):
    """What the service may use: bytes of memory, connections of its pool, cores."""

    memory: Size | None = None
    pool: int | None = None
    cpu: float | None = None


class Windows(Written, frozen=True):
    rate: Duration = Duration(300)
    baseline: Duration = Duration(3600)


class Service(Written, frozen=True):
    """One entry of the service file: what is looked after and where its backends are."""

    environment: str = "production"
    url: str | None = None
    headers: dict[str, str] = {}
    tls: Tls | None = None
    unit: str | None = None
    prometheus: PrometheusAt | None = None
    alertmanager: HttpBackend | None = None
    postgres: PostgresAt | None = None
    redis: RedisAt | None = None
    ollama: HttpBackend | None = None
    logs: LogsAt | None = None
    restart: RestartBy | None = None
    ssh: str | None = None
    pool: PoolAt | None = None
    freeze: tuple[Freeze, ...] = ()
    announce: Announce | None = None
    backups: dict[str, BackupAt | str] = {}
    """By name; or `none` alone, with the reason why there is nothing to back up."""
    certificates: tuple[str, ...] = ()
    """HOST:PORT, https:// URLs and PEM files."""
    cooldown: Duration = Duration(300)
    """Seconds after an action (or the unit's start) in which it is not restarted or flushed again."""
    limits: Limits = Limits()
    windows: Windows = Windows()
    thresholds: dict[str, Threshold] = {}
    signals: dict[str, SignalSpec] = {}
    runbooks: str | None = None


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
    `baseline_samples` how many samples the backend really holds in the baseline (not how many points were asked)."""

    id: str
    source: str
    query: str | None
    now: float | Unavailable
    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    age_s: float | None = None
    baseline_samples: int = 0
    instances: int | None = None


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


# --- what changed: the JSON of `oncall changes` ----------------------------------------------------


class ChangeReport(Frozen, frozen=True):
    """One series against its baseline. `before` and `now` are medians, in `unit`.

    A series that appeared has no `before` (a counter that appeared in a process that was there counted nothing: 0),
    one that ended has no `now`; `shift` is None where one of them is."""

    metric: str
    """As it is exported, or how it was made of that: `mean(x)`, `rate(x_count)`, `age(x)`."""
    labels: dict[str, str]
    before: float | None
    now: float | None
    shift: float | None
    """(now - before) in units of the baseline's spread, which has a floor."""
    direction: Literal["up", "down"]
    onset: datetime | None
    weak: bool
    """The baseline holds too few samples to rely on."""
    unit: str | None = None
    clear: bool = True
    """It counts as changed: a clear shift, or a series that appeared or ended."""
    new: bool = False
    gone: bool = False
    history: tuple[float | None, ...] = ()
    """At most 60 points over baseline and window, oldest first, for a sparkline."""


class LeftOut(Frozen, frozen=True):
    """Series that were not compared, and why; `metric` where they all belong to one."""

    series: int
    reason: str
    metric: str | None = None


class Changes(Frozen, frozen=True, tag_field="schema", tag="oncall/changes/1"):
    """Every series of a service, ranked by how far it moved from its baseline. Its JSON is a contract."""

    service: str
    at: datetime
    window_s: float
    baseline_s: float
    compared: int
    changes: tuple[ChangeReport, ...]
    changed: int = 0
    """How many changed clearly; `changes` holds the first of the ranking."""
    reason: str | None = None
    """Why nothing can be told, or not all; None where all was read."""
    hint: str | None = None
    environment: str = ""
    source: str | None = None
    """host:port of the server that was asked."""
    duration_ms: int = 0
    first: ChangeReport | None = None
    """The clear change that began first."""
    common: dict[str, str] = {}
    """Labels that all compared series share."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


# --- a runbook as it is shown ------------------------------------------------------------------


class ShownSignal(Frozen, frozen=True):
    id: str
    title: str
    query: str | None
    bounds: str


class ShownStep(Frozen, frozen=True):
    id: str
    title: str
    why: str
    probe: str
    query: str
    """The exact SQL, PromQL or request, ready to paste."""


class ShownEvidence(Frozen, frozen=True):
    id: str
    when: str
    role: str
    why: str | None


class ShownCause(Frozen, frozen=True):
    id: str
    title: str
    why: str
    evidence: tuple[ShownEvidence, ...]
    next: tuple[str, ...]
    advice: tuple[str, ...]


class ShownRunbook(Frozen, frozen=True, tag_field="schema", tag="oncall/runbook/1"):
    """A runbook with every query filled in for one service."""

    issue: str
    title: str
    path: str
    signals: tuple[ShownSignal, ...]
    values: dict[str, str]
    steps: tuple[ShownStep, ...]
    causes: tuple[ShownCause, ...]
