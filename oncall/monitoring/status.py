"""One screen about a service, or a line about each: health, golden signals, what fires, what to run next."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from oncall.model import Absence, Unavailable
from oncall.model_service import PrometheusAt
from oncall.model_status import HealthReport, LastAction, StatusOfAll
from oncall.monitoring import alerts as alerting
from oncall.monitoring import health as endpoints
from oncall.monitoring.fleet import every, server_of
from oncall.monitoring.golden import Measured, Wanted, from_scrapes, from_server, wanted
from oncall.monitoring.status_report import Issues, Seen, Subject, of_all, report

SERVERS_AT_ONCE = 16
_SCRAPES_APART_S = 2.0
_CLOSING_S = 0.25
Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class How:
    """`course`: with usual values and sparklines. `timeout_s`: for all answers; two looks at a health endpoint that
    hangs take 11 s."""

    timeout_s: float = 12.0
    course: bool = True
    health: endpoints.How = field(default_factory=endpoints.How)


async def look(
    subjects: Sequence[Subject],
    how: How,
    actions: Sequence[LastAction] | Unavailable,
    progress: Progress,
) -> StatusOfAll:
    """Asks everything at once, each server of several services once; a report a service, worst first."""
    begun = time.monotonic()
    asked = {s.name: wanted(s.name, s.service, s.books.signals) for s in subjects}
    told, (measured, healths) = await asyncio.gather(
        alerting.look([s.alerts for s in subjects], how.timeout_s, progress),
        _services(subjects, asked, how, progress),
    )
    firing = {report.service: report for report in told.services}
    took = round((time.monotonic() - begun) * 1000)
    find = Issues()
    found = [
        report(s, asked[s.name], Seen(healths[s.name], measured[s.name], firing[s.name]), actions, took, find)
        for s in subjects
    ]
    return of_all(found, actions)


async def _services(
    subjects: Sequence[Subject], asked: Mapping[str, Wanted], how: How, progress: Progress
) -> tuple[dict[str, Measured | Unavailable], dict[str, HealthReport]]:
    healths, measured = await asyncio.gather(
        _healths(subjects, how, progress), _signals(subjects, asked, how, progress)
    )
    return measured, {h.service: h for h in healths}


async def _healths(subjects: Sequence[Subject], how: How, progress: Progress) -> list[HealthReport]:
    by_name = {s.name: s for s in subjects}
    # Each ends by itself, with what it knows by then
    asking = replace(how.health, until=time.monotonic() + how.timeout_s - _CLOSING_S)
    if any(s.service.url for s in subjects):
        progress("health", "waiting")

    async def one(name: str) -> HealthReport:
        subject = by_name[name]
        return await endpoints.look(name, subject.service, asking, subject.address)

    def lost(name: str, why: Unavailable) -> HealthReport:
        return endpoints.lost(name, by_name[name].service, why)

    found = await every(by_name, one, lost, timeout_s=how.timeout_s)
    progress("health", "ok")
    return found


async def _signals(
    subjects: Sequence[Subject], asked: Mapping[str, Wanted], how: How, progress: Progress
) -> dict[str, Measured | Unavailable]:
    """By the name of the service; the two looks at /metrics stand in where Prometheus does not answer."""
    until = time.monotonic() + how.timeout_s
    groups: dict[bytes, list[Subject]] = {}
    servers: dict[bytes, PrometheusAt] = {}
    for subject in subjects:
        if (at := subject.service.prometheus) is not None:
            groups.setdefault(server_of(at), []).append(subject)
            servers[server_of(at)] = at
    if groups:
        progress("prometheus", "waiting")
    turns = asyncio.Semaphore(SERVERS_AT_ONCE)

    async def group(key: bytes) -> dict[str, Measured | Unavailable]:
        of = [asked[s.name] for s in groups[key]]
        async with turns:
            # A server that hangs must leave time for what stands in for it
            left = max(0.05, min(0.6 * how.timeout_s, until - time.monotonic()))
            return await from_server(servers[key], of, now=time.time(), deadline_s=left, course=how.course)

    parts = await asyncio.gather(*map(group, groups))
    found = {name: one for part in parts for name, one in part.items()}
    if groups:
        dead = all(isinstance(one, Unavailable) for one in found.values())
        progress("prometheus", "failed" if dead else "ok")
    absent = {s.name: found.get(s.name, _NO_PROMETHEUS) for s in subjects}
    blind = [n for n, m in absent.items() if isinstance(m, Unavailable) and asked[n].service.url]
    left = until - time.monotonic()
    stood_in = await _from_pages(blind, asked, absent, left) if blind and left > 0 else {}
    return {**absent, **stood_in}


_NO_PROMETHEUS = Unavailable(
    kind=Absence.NOT_CONFIGURED, reason="not configured", hint="set `prometheus` of the service"
)


async def _from_pages(
    blind: Sequence[str],
    asked: Mapping[str, Wanted],
    told: Mapping[str, Measured | Unavailable],
    left_s: float,
) -> dict[str, Measured | Unavailable]:
    """From /metrics; where that cannot be had either, what Prometheus said stands."""

    async def one(name: str) -> Measured | Unavailable:
        apart = min(_SCRAPES_APART_S, 0.3 * left_s)
        got, why = await from_scrapes(asked[name], 0.3 * left_s, apart), told[name]
        if isinstance(got, Unavailable):
            return got if isinstance(why, Unavailable) and why.kind is Absence.NOT_CONFIGURED else why
        refused = isinstance(why, Unavailable) and why.kind is not Absence.NOT_CONFIGURED
        cause = "could not be read" if refused else "is not configured"
        note = f"prometheus {cause}: the signals are from two looks at /metrics, {apart:g} s apart"
        return replace(got, notes=(note,), refused=why if refused and isinstance(why, Unavailable) else None)

    def lost(name: str, why: Unavailable) -> Measured | Unavailable:
        return told[name]

    found = await every(blind, one, lost, timeout_s=left_s)
    return dict(zip(blind, found, strict=True))
