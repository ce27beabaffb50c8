"""Ending a silence: which one is meant, what would be heard again, ended and read back."""

import asyncio
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from oncall.clients.alertmanager import Alertmanager, Held, Quiet
from oncall.errors import UsageFault
from oncall.model import Severity, Unavailable
from oncall.model_alerts import Hit, Silence, SilencePlan
from oncall.monitoring.alerts import Look
from oncall.monitoring.silences import (
    LEAST_ID,
    NOT_TAKEN,
    clock_skew,
    hit_of,
    look_command,
    nowhere,
    silence_of,
    whole,
    worst_hit,
)

_KNOWN = 5


async def expire(each: Look, named: str, timeout_s: float, *, do: bool) -> SilencePlan:
    """What ending a silence (by its id, or the beginning of it) makes heard again; with `do`, it is ended.

    Raises UsageFault for an id that is none, or the beginning of several."""
    at, now = each.service.alertmanager, datetime.now(UTC)
    if at is None:
        return nowhere(_planned(each, _unknown(named, now), now))
    until = time.monotonic() + timeout_s
    async with Alertmanager(at) as server:
        held, silences = await asyncio.gather(server.alerts(timeout_s), server.silences(timeout_s))
        now = datetime.fromtimestamp(time.time() + clock_skew(server), UTC)
        for answer in (silences, held):
            if isinstance(answer, Unavailable):
                plan = _planned(each, _unknown(named, now), now)
                return nowhere(replace(plan, source=server.place), answer)
        assert not isinstance(silences, Unavailable)
        assert not isinstance(held, Unavailable)
        plan = _previewed(server.place, each, _meant(named, silences, each), held, now)
        if not do or plan.state != "preview":
            return plan
        return await _ended(server, plan, max(0.5, round(until - time.monotonic(), 1)))


def _unknown(named: str, now: datetime) -> Silence:
    """Where Alertmanager cannot be asked what it is."""
    return Silence(
        id=named, state="active", matchers=(), starts=whole(now), ends=whole(now), by="", comment=""
    )


def _meant(named: str, silences: Sequence[Quiet], each: Look) -> Quiet:
    """The silence of that id, or the only one whose id begins so. Raises UsageFault with those that there are."""
    found = [q for q in silences if q.id == named]
    if not found and len(named) >= LEAST_ID:
        found = [q for q in silences if q.id.startswith(named)]
        found = [q for q in found if q.state != "expired"] or found
    if len(found) == 1:
        return found[0]
    hint = f"{look_command(each)} lists them" + _there(silences)
    if found:
        raise UsageFault(f"{len(found)} silences have an id that begins with {named!r}", hint=hint)
    raise UsageFault(f"there is no silence {named!r}", hint=hint)


def _there(silences: Sequence[Quiet]) -> str:
    ids = [q.id for q in silences if q.state != "expired"]
    return f"; there is {', '.join(ids[:_KNOWN])}" if ids else "; none is active"


def _planned(each: Look, silence: Silence, now: datetime) -> SilencePlan:
    return SilencePlan(
        service=each.name,
        environment=each.service.environment,
        at=whole(now),
        source=None,
        act="expire",
        state="preview",
        text="",
        silence=silence,
        command=shlex.join(["oncall", "alerts", "expire", silence.id, *each.address, "--confirm"]),
    )


def _previewed(place: str, each: Look, quiet: Quiet, held: Sequence[Held], now: datetime) -> SilencePlan:
    silence = silence_of(quiet, held, now)
    plan = replace(_planned(each, silence, now), source=place, alerts=len(held))
    if quiet.state == "expired":
        text = f"it had ended before, at {whole(quiet.ends):%Y-%m-%d %H:%M} UTC: nothing to do"
        return replace(plan, state="unchanged", text=text, command=None)
    hits = [_heard_again(h, each, quiet) for h in held if quiet.id in h.silenced_by]
    hits.sort(key=worst_hit)
    heard = [hit for hit in hits if not hit.quiet]
    alerts = f"{len(heard)} alert{'' if len(heard) == 1 else 's'}"
    pages = sum(hit.severity is Severity.CRITICAL for hit in heard)
    warnings = (
        (f"{pages} of them {'is' if pages == 1 else 'are'} critical: somebody is paged",) if pages else ()
    )
    return replace(plan, hits=tuple(hits), text=f"it would make {alerts} heard again", warnings=warnings)


def _heard_again(held: Held, each: Look, quiet: Quiet) -> Hit:
    """`quiet`: something else keeps it quiet still."""
    others = set(held.silenced_by) - {quiet.id}
    return replace(hit_of(held, each), quiet=bool(others or held.inhibited_by))


async def _ended(server: Alertmanager, plan: SilencePlan, left_s: float) -> SilencePlan:
    failed = await server.expire(plan.silence.id, left_s)
    plan = replace(plan, command=None)
    if failed is not None and failed.kind in NOT_TAKEN:
        return replace(plan, state="failed", text=f"nothing was changed: {failed.reason}", hint=failed.hint)
    back = await server.silences(left_s)
    found = (
        None if isinstance(back, Unavailable) else next((q for q in back if q.id == plan.silence.id), None)
    )
    if found is None:
        why = failed or back
        reason = why.reason if isinstance(why, Unavailable) else "Alertmanager no longer tells of it"
        return replace(plan, state="unverified", text=f"it may have ended: {reason}")
    if found.state != "expired":
        reason = failed.reason if failed else "Alertmanager says that it is still active"
        return replace(plan, state="failed", text=f"it was not ended: {reason}")
    silence = replace(plan.silence, state="expired", ends=whole(found.ends), left_s=None)
    heard = sum(not hit.quiet for hit in plan.hits)
    text = f"ended {silence.id}: {heard} alert{'' if heard == 1 else 's'} heard again"
    return replace(plan, state="ended", silence=silence, text=text)
