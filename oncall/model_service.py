"""The service file as it is written: what is looked after, and where its backends are."""

from typing import Literal

import msgspec

from oncall.model import Written
from oncall.units import Duration, Size


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
    optional: bool = False
    """Not every service has it: where it cannot be read, a diagnosis neither shows it nor misses it."""
    goes_with: str | None = None
    """A signal that this expression says more of. Where a service file gives that one a form of its own, it is about
    something else, and is not asked."""


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
