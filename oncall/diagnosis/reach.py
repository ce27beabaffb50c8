"""Whether every backend of a service can be reached and used: asked at once, each with its own deadline."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from getpass import getuser
from importlib import import_module
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Literal, TypeAlias

from msgspec.structs import replace

from oncall.errors import ConfigError
from oncall.model import Absence, ConfigCheck, Met, Reach, Right, Severity, Unavailable
from oncall.model_service import HttpBackend, PostgresAt, PrometheusAt, Service
from oncall.scrub import mask_url, scrub, secrets_of

Meeting: TypeAlias = Callable[[float], Awaitable[Met | Unavailable]]
State: TypeAlias = Literal["ok", "rights", "down", "unknown", "not_configured"]

# Only what was met and is away, full or not ready is down; all else could not be told from here.
_DOWN = frozenset({Absence.DOWN, Absence.NO_SLOTS, Absence.STARTING})
_SKEW_S = 5.0
_SSH_FAILED = 255
_UNTOLD = frozenset({Absence.BAD_ANSWER, Absence.BAD_QUERY})


async def check(
    name: str, service: Service, path: Path | None, deadline_s: float, states: MutableMapping[str, str]
) -> ConfigCheck:
    """Asks every backend at once; each answers, or says why not, within `deadline_s` seconds.

    `states` is told who is asked, has answered or failed, for whoever watches."""
    begun = perf_counter()
    _load_libraries(service)
    secrets = secrets_of(service)
    backends = await asyncio.gather(*(_reach(*meeting, deadline_s, states) for meeting in _meetings(service)))
    return ConfigCheck(
        service=name,
        environment=service.environment,
        path=str(path) if path else None,
        severity=worst(backends),
        duration_ms=round((perf_counter() - begun) * 1000),
        backends=tuple(_scrubbed(reach, secrets) for reach in backends),
    )


def worst(backends: Iterable[Reach]) -> Severity:
    """One that is down is critical; one that cannot be told, or none at all, is unknown; a missing right warns."""
    states = {reach.state for reach in backends if reach.state != "not_configured"}
    if "down" in states:
        return Severity.CRITICAL
    if "unknown" in states or not states:
        return Severity.UNKNOWN
    return Severity.WARNING if "rights" in states else Severity.OK


def _load_libraries(service: Service) -> None:
    """Loads what will be needed at the start: in the middle it would be taken for a slow server."""
    web = (service.url, service.prometheus, service.alertmanager, service.ollama)
    needed = {
        "httpx": any(web),
        "psycopg": service.postgres is not None,
        "redis.asyncio": service.redis is not None,
    }
    for name in (name for name, wanted in needed.items() if wanted):
        import_module(name)


# --- who is asked, and how -----------------------------------------------------------------


def _meetings(service: Service) -> list[tuple[str, str | None, Meeting | None]]:
    """Backend, where it is, and how to meet it, in the order of the contract."""
    postgres = service.postgres
    url = service.url and mask_url(service.url).rstrip("/")
    found: list[tuple[str, str | None, Meeting | None]] = [
        ("scrape", f"{url}/metrics" if url else None, _if(service.url, lambda s: _scrape(service, s))),
        ("http", f"{url}/health" if url else None, _if(service.url, lambda s: _health(service, s))),
        _http("prometheus", service.prometheus, _prometheus),
        _http("alertmanager", service.alertmanager, _alertmanager),
        ("postgres", None, (lambda s: _postgres(postgres, s)) if postgres else None),
    ]
    if postgres and postgres.reserve_dsn:
        spare = postgres.reserve_dsn
        found.append(("postgres (reserve)", None, lambda s: _reserve(spare, s)))
    redis = mask_url(service.redis.url) if service.redis else None
    found.append(("redis", redis, _if(redis, lambda s: _redis(service, s))))
    found.append(_http("ollama", service.ollama, _ollama))
    found.append(("systemd", _unit(service), _if(service.unit, lambda s: _systemd(service, s))))
    if service.logs:
        found.append(("logs", service.logs.file, lambda s: _logs(service, s)))
    if service.restart:
        found.append(("restart", " ".join(service.restart.command), lambda s: _restart(service)))
    return found


def _if(configured: str | None, meeting: Meeting) -> Meeting | None:
    return meeting if configured else None


def _http(
    name: str, at: HttpBackend | None, meet: Callable[..., Awaitable[Met | Unavailable]]
) -> tuple[str, str | None, Meeting | None]:
    return (name, mask_url(at.url), lambda s: meet(at, s)) if at else (name, None, None)


def _unit(service: Service) -> str | None:
    return f"{service.unit} on {service.ssh}" if service.unit and service.ssh else service.unit


async def _reach(
    name: str, where: str | None, meeting: Meeting | None, deadline_s: float, states: MutableMapping[str, str]
) -> Reach:
    if meeting is None:
        return Reach(backend=name, state="not_configured")
    states[name] = "asked"
    try:
        answer = await meeting(deadline_s)
    except ConfigError as wrong:
        answer = Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint)
    states[name] = "failed" if isinstance(answer, Unavailable) else "answered"
    if isinstance(answer, Unavailable):
        state: State = "down" if answer.kind in _DOWN else "unknown"
        return Reach(backend=name, state=state, where=where, reason=answer.reason, hint=answer.hint)
    return Reach(
        backend=name,
        state="rights" if any(not right.acting for right in answer.missing) else "ok",
        where=answer.where or where,
        version=answer.version,
        ms=round(answer.ms, 3),
        missing=answer.missing,
        notes=answer.notes,
    )


def _scrubbed(reach: Reach, secrets: tuple[str, ...]) -> Reach:
    def clean(text: str | None) -> str | None:
        return text and scrub(text, secrets)

    return replace(
        reach,
        where=clean(reach.where),
        version=clean(reach.version),
        reason=clean(reach.reason),
        hint=clean(reach.hint),
        notes=tuple(scrub(note, secrets) for note in reach.notes),
    )


# --- the service itself --------------------------------------------------------------------


async def _scrape(service: Service, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.scrape import scrape

    page = await scrape(service, {"process_start_time_seconds"}, deadline_s)
    return page if isinstance(page, Unavailable) else Met(ms=page.ms or 0.0)


async def _health(service: Service, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.http import health

    reading = await health(service, "/health", deadline_s)
    if isinstance(reading.answer, Unavailable):
        return reading.answer
    row = dict(zip((c.name for c in reading.answer.columns), reading.answer.rows[0], strict=True))
    notes = () if row["healthy"] is True else (f"it answers, but not that it is healthy: {row['verdict']}",)
    return Met(ms=float(row["ms"] or 0), notes=notes)


# --- watching ------------------------------------------------------------------------------


async def _prometheus(at: PrometheusAt, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.prometheus import Prometheus
    from oncall.promql import service_matchers

    selector = ",".join(map(str, service_matchers(at.selector)))
    async with Prometheus(at) as server:
        version = await server.buildinfo(deadline_s)
        if isinstance(version, Unavailable) and version.kind not in _UNTOLD:
            return version
        begun = perf_counter()
        targets = await server.query(f"count(up{{{selector}}})", None, deadline_s)
        ms = (perf_counter() - begun) * 1000
        if isinstance(targets, Unavailable):
            return targets
        notes = [f"a partial answer: {warning}" for warning in targets.warnings]
        if not targets.samples:
            notes.append(f"no target has the labels {{{selector}}}: check prometheus.selector")
        if server.skew_s is not None and abs(server.skew_s) > _SKEW_S:
            notes.append(
                f"its clock is {abs(server.skew_s):.0f} s {'ahead' if server.skew_s > 0 else 'behind'}"
            )
    return Met(ms=ms, version=version if isinstance(version, str) else None, notes=tuple(notes))


async def _alertmanager(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.alertmanager import meet

    return await meet(at, deadline_s)


async def _ollama(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.ollama import meet

    return await meet(at, deadline_s)


# --- stores --------------------------------------------------------------------------------


async def _redis(service: Service, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.redis import meet

    assert service.redis is not None
    return await meet(service.redis, deadline_s)


async def _postgres(at: PostgresAt, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.pg_rights import meet

    return await meet(at, deadline_s)


async def _reserve(dsn: str, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.pg_rights import meet_reserve

    return await meet_reserve(dsn, deadline_s)


# --- the machine ---------------------------------------------------------------------------


async def _systemd(service: Service, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.systemd import meet

    return await meet(service.unit or "", service.ssh, deadline_s)


async def _logs(service: Service, deadline_s: float) -> Met | Unavailable:
    from oncall.clients.systemd import run

    file = service.logs.file if service.logs else ""
    if service.ssh is None:
        return _own_log(Path(file))
    ran = await run(("test", "-r", file), service.ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    if ran.code == _SSH_FAILED:
        return Unavailable(kind=Absence.DOWN, reason=f"no ssh to {service.ssh}: {ran.err[:200]}")
    if ran.code != 0:
        return _no_log(file, f"on {service.ssh}")
    return Met(ms=ran.ms)


def _own_log(file: Path) -> Met | Unavailable:
    begun = perf_counter()
    try:
        file.stat()
    except OSError as failed:
        return _no_log(str(file), (failed.strerror or "").lower())
    right = Right(what="the log cannot be read", grant=f"setfacl -m u:{getuser()}:r {quote(str(file))}")
    missing = () if os.access(file, os.R_OK) else (right,)
    return Met(ms=(perf_counter() - begun) * 1000, missing=missing)


def _no_log(file: str, why: str) -> Unavailable:
    return Unavailable(kind=Absence.CONFIG, reason=f"{file} cannot be read: {why}", hint="check logs.file")


async def _restart(service: Service) -> Met | Unavailable:
    """Whether its program is there; it is not run."""
    assert service.restart is not None
    program = service.restart.command[0]
    if shutil.which(program) is None:
        reason = f"{program} is not on the PATH of {getuser()}"
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason, hint="check restart.command")
    return Met(ms=0.0)
