"""Silences: what one would hit before it is made, made and read back; listed; ended. The only acts of this room."""

import asyncio
import shlex
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from oncall.clients.alertmanager import Alertmanager, Held, Quiet, Term
from oncall.errors import UsageFault
from oncall.model import (
    WORST_FIRST,
    Absence,
    Frozen,
    Severity,
    Unavailable,
    Unseen,
)
from oncall.model_alerts import Hit, Silence, SilenceList, SilencePlan
from oncall.monitoring.alert_sources import Progress, ask
from oncall.monitoring.alerts import Look, fits
from oncall.monitoring.matchers import contradicts, matches_all, matches_nothing_named, text_of
from oncall.monitoring.matchers import fits as term_fits
from oncall.numbers import duration
from oncall.units import write_duration

USUAL_MOST_S = 86_400.0
MOST_S = 31 * 86_400.0
NOT_TAKEN = frozenset({Absence.BAD_QUERY, Absence.AUTH, Absence.CONFIG, Absence.TLS, Absence.UNRESOLVED})
"""After these a request was surely not taken; a connection that broke may have carried it."""
LEAST_ID = 4
"""So many characters of an id may stand for it."""
_OF_ALL = frozenset({"alertname", "severity"})
"""Labels that alerts of every service have alike."""
_NAMES = 5
"""Values of a label that are named where a matcher finds none."""


class Wanted(Frozen, frozen=True):
    """A silence as it is asked for. `by`: who typed it. `everything`: it may hit every alert. `do`: make it."""

    terms: tuple[Term, ...]
    for_s: float
    comment: str
    by: str
    everything: bool = False
    long: bool = False
    do: bool = False


# --- what is silenced ----------------------------------------------------------------------------


async def listed(each: Look, timeout_s: float, progress: Progress, *, ended: bool = False) -> SilenceList:
    """The silences that can touch the service, those that end first in front; with `ended`, those of before too."""
    seen = (await ask({each.name: replace(each.service, prometheus=None)}, timeout_s, progress))[each.name]
    at = datetime.fromtimestamp(time.time() + seen.skew_s, UTC)
    listing = SilenceList(service=each.name, environment=each.service.environment, at=whole(at), source=None)
    found = seen.kept if isinstance(seen.kept, Unavailable) else seen.kept.silences
    if isinstance(seen.kept, Unavailable) or isinstance(found, Unavailable):
        gap = seen.kept if isinstance(seen.kept, Unavailable) else found
        assert isinstance(gap, Unavailable)
        return replace(listing, unseen=(Unseen(what="alertmanager", reason=gap.reason, hint=gap.hint),))
    wanted = [q for q in found if ended or q.state != "expired"]
    own, others = own_silences(each, wanted)
    told = sorted((silence_of(q, seen.kept.held, at) for q in own), key=_soonest)
    return replace(listing, source=seen.kept.place, silences=tuple(told), others=others)


def own_silences(each: Look, found: Sequence[Quiet]) -> tuple[list[Quiet], int]:
    """Those whose matchers do not rule the service out by its labels, and how many do."""
    selector = each.service.prometheus.selector if each.service.prometheus else {}
    own = [quiet for quiet in found if not contradicts(quiet.matchers, selector)]
    return own, len(found) - len(own)


def silence_of(quiet: Quiet, held: Iterable[Held], at: datetime) -> Silence:
    """As it is told: with what it keeps quiet now, by Alertmanager's own word."""
    hits = [h.labels.get("alertname", "") for h in held if quiet.id in h.silenced_by]
    return Silence(
        id=quiet.id,
        state=quiet.state,
        matchers=tuple(map(text_of, quiet.matchers)),
        starts=whole(quiet.starts),
        ends=whole(quiet.ends),
        by=quiet.by,
        comment=quiet.comment,
        left_s=max(0.0, (quiet.ends - at).total_seconds()) if quiet.state != "expired" else None,
        hits=tuple(hits),
    )


def _soonest(silence: Silence) -> tuple[bool, float]:
    ended = silence.state == "expired"
    return ended, -silence.ends.timestamp() if ended else silence.ends.timestamp()


def whole(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)


# --- one is made -----------------------------------------------------------------------------------


def check(wanted: Wanted) -> None:
    """Raises UsageFault for a silence that cannot be meant: without a comment, or too long."""
    if not wanted.comment.strip():
        raise UsageFault("--comment: why is it silenced?", hint="The next shift reads it.")
    most = MOST_S if wanted.long else USUAL_MOST_S
    if wanted.for_s > most:
        hint = "End it earlier; it can be made anew." if wanted.long else "Add --long if it is meant."
        said = f"--for: {write_duration(wanted.for_s)} is longer than {write_duration(most)}"
        raise UsageFault(f"{said}: a silence that is forgotten hides the next outage", hint=hint)
    if wanted.for_s < 60:
        raise UsageFault("--for: a silence lasts a minute at least")


async def silence(each: Look, wanted: Wanted, timeout_s: float) -> SilencePlan:
    """The preview of a silence; with `do`, it is made and read back. Raises UsageFault (see `check`)."""
    check(wanted)
    at = each.service.alertmanager
    if at is None:
        return nowhere(_planned(each, wanted, datetime.now(UTC)))
    until = time.monotonic() + timeout_s
    async with Alertmanager(at) as server:
        plan = await _previewed(server, each, wanted, timeout_s)
        if plan.state != "preview" or not wanted.do:
            return plan
        made = await _made(server, plan, wanted, max(0.5, round(until - time.monotonic(), 1)))
        words = ["oncall", "alerts", "expire", made.silence.id, *each.address, "--confirm"]
        undo = shlex.join(words) if made.silence.id else None
        hint = (undo or look_command(each)) if made.state == "unverified" else made.hint
        return replace(made, command=undo, hint=hint)


def look_command(each: Look) -> str:
    """What lists the silences of this service."""
    return shlex.join(["oncall", "alerts", "silences", *each.address])


def _planned(each: Look, wanted: Wanted, now: datetime) -> SilencePlan:
    silence = Silence(
        id="",
        state="pending",
        matchers=tuple(map(text_of, wanted.terms)),
        starts=whole(now),
        ends=whole(now + timedelta(seconds=wanted.for_s)),
        by=wanted.by,
        comment=wanted.comment,
        left_s=wanted.for_s,
    )
    return SilencePlan(
        service=each.name,
        environment=each.service.environment,
        at=whole(now),
        source=None,
        act="silence",
        state="preview",
        text="",
        silence=silence,
        command=_command(each, wanted),
    )


def _command(each: Look, wanted: Wanted) -> str:
    words = ["oncall", "alerts", "silence", *each.address, *map(text_of, wanted.terms)]
    words += ["--for", write_duration(wanted.for_s), "--comment", wanted.comment]
    words += ["--everything"] if wanted.everything else []
    words += ["--long"] if wanted.long else []
    return shlex.join([*words, "--confirm"])


def nowhere(plan: SilencePlan, gap: Unavailable | None = None) -> SilencePlan:
    hint = "set alertmanager: {url: ...} of the service"
    reason = gap.reason if gap else "alertmanager: not configured"
    text = f"nothing was changed: {reason}"
    return replace(plan, state="failed", text=text, hint=gap.hint if gap else hint)


async def _previewed(server: Alertmanager, each: Look, wanted: Wanted, timeout_s: float) -> SilencePlan:
    texts = list(map(text_of, wanted.terms))
    every, hits, silences = await asyncio.gather(
        server.alerts(timeout_s), server.alerts(timeout_s, texts), server.silences(timeout_s)
    )
    now = datetime.fromtimestamp(time.time() + clock_skew(server), UTC)
    plan = replace(_planned(each, wanted, now), source=server.place)
    for answer in (every, hits):
        if isinstance(answer, Unavailable):
            if answer.kind is Absence.BAD_QUERY:
                raise UsageFault(f"the matchers are refused: {answer.reason}")
            return nowhere(plan, answer)
    assert not isinstance(every, Unavailable)
    assert not isinstance(hits, Unavailable)
    plan = replace(
        plan,
        hits=tuple(sorted((hit_of(h, each) for h in hits), key=worst_hit)),
        alerts=len(every),
        warnings=tuple(_warnings(each, wanted, every, hits, silences)),
    )
    refusal = _refusal(wanted, len(every), len(hits))
    if refusal:
        return replace(
            plan, state="refused", text=f"refused, nothing was changed: {refusal[0]}", hint=refusal[1]
        )
    return replace(plan, text=f"it would silence {_counted(plan)} for {duration(wanted.for_s)}")


def clock_skew(server: Alertmanager) -> float:
    """Its clock minus ours, where that is more than a Date can tell."""
    skew = server.skew_s or 0.0
    return skew if abs(skew) > 2 else 0.0


def hit_of(held: Held, each: Look) -> Hit:
    selector = each.service.prometheus.selector if each.service.prometheus else {}
    return Hit(
        name=held.labels.get("alertname", ""),
        severity=each.policy.severity(held.labels.get("severity", "")),
        labels={k: v for k, v in held.labels.items() if k != "alertname"},
        since=whole(held.starts),
        own=fits(held.labels, selector),
        quiet=bool(held.silenced_by or held.inhibited_by),
    )


def worst_hit(hit: Hit) -> tuple[bool, int, str, bool, str]:
    """The order of hits: those that are loud, the worst, the service's own."""
    return hit.quiet, WORST_FIRST.index(hit.severity), hit.name, not hit.own, str(sorted(hit.labels.items()))


def _counted(plan: SilencePlan) -> str:
    """`2 of 14 alerts`."""
    return f"{len(plan.hits)} of {plan.alerts} alert{'' if plan.alerts == 1 else 's'}"


def _refusal(wanted: Wanted, every: int, hits: int) -> tuple[str, str] | None:
    """Why it is refused, and what to do; None where it may be."""
    if matches_nothing_named(wanted.terms):
        said = "every alert without these labels would be hit, and Alertmanager takes no such silence"
        return said, 'Name what is to be silenced, such as alertname=NAME; alertname=~".+" is every alert.'
    narrow = any(not t.regex and t.equal for t in wanted.terms)
    if wanted.everything or not (matches_all(wanted.terms) or (hits == every > 1 and not narrow)):
        return None
    return "it would silence every alert", "Narrow it down, or add --everything if that is meant."


def _warnings(
    each: Look,
    wanted: Wanted,
    every: Sequence[Held],
    hits: Sequence[Held],
    silences: Sequence[Quiet] | Unavailable,
) -> Iterable[str]:
    if not hits:
        yield "it hits nothing now" + (f": {why}" if (why := _why_nothing(wanted.terms, every)) else "")
    elif len(hits) == len(every):
        yield (
            f"it hits everything: all {len(every)} alerts of now"
            if len(every) > 1
            else "it hits the only alert of now"
        )
    told = [hit_of(held, each) for held in hits]
    pages = sum(hit.severity is Severity.CRITICAL for hit in told)
    if pages:
        yield f"{pages} of them {'is' if pages == 1 else 'are'} critical: meanwhile nobody is paged for that"
    foreign = sum(not hit.own for hit in told)
    selector = each.service.prometheus.selector if each.service.prometheus else {}
    named = ", ".join(f"{k}={v}" for k, v in selector.items())
    if foreign and selector:
        yield f"{foreign} of them {'is' if foreign == 1 else 'are'} not of {each.name}: add {named} to spare others"
    elif selector and all(term.name in _OF_ALL for term in wanted.terms):
        yield f"it would silence those of other services too, once they fire: add {named} to spare them"
    mine = sorted(map(text_of, wanted.terms))
    for quiet in () if isinstance(silences, Unavailable) else silences:
        if quiet.state != "expired" and sorted(map(text_of, quiet.matchers)) == mine:
            until = whole(quiet.ends).strftime("%Y-%m-%d %H:%M UTC")
            yield f"the same is silenced already, until {until}, by {quiet.by} ({quiet.id[:8]})"


def _why_nothing(terms: Sequence[Term], every: Sequence[Held]) -> str:
    """The first matcher that no alert meets by itself, and which values there are."""
    if not every:
        return "Alertmanager has no alert"
    for term in terms:
        if any(term_fits(term, held.labels) is not False for held in every):
            continue
        values = sorted({held.labels[term.name] for held in every if term.name in held.labels})
        found = _there(term.value, values) if values else f"no alert has the label {term.name}"
        return f"no alert has {text_of(term)}; {found}"
    return "each matcher is met by some alert, all together by none"


def _there(value: str, values: Sequence[str]) -> str:
    """Which values there are, one that is written alike first."""
    from difflib import get_close_matches

    alike = {known.lower(): known for known in values}
    close = get_close_matches(value.lower(), alike, 1)
    if close:
        return f"did you mean {alike[close[0]]}?"
    rest = len(values) - _NAMES
    return f"there is {', '.join(values[:_NAMES])}" + (f" and {rest} more" if rest > 0 else "")


async def _made(server: Alertmanager, plan: SilencePlan, wanted: Wanted, left_s: float) -> SilencePlan:
    quiet = Quiet(
        id="",
        state="pending",
        matchers=wanted.terms,
        starts=plan.silence.starts,
        ends=plan.silence.ends,
        by=wanted.by,
        comment=wanted.comment,
    )
    made = await server.silence(quiet, left_s)
    if isinstance(made, Unavailable):
        return _unmade(plan, made)
    plan = replace(plan, silence=replace(plan.silence, id=made))
    back = await server.silences(left_s)
    found = None if isinstance(back, Unavailable) else next((s for s in back if s.id == made), None)
    if found is None or found.state == "expired":
        text = f"made as {made}, but it could not be read back"
        return replace(plan, state="unverified", text=text)
    if sorted(map(text_of, found.matchers)) != sorted(plan.silence.matchers):
        text = f"made as {made}, but with other matchers: {' '.join(map(text_of, found.matchers))}"
        return replace(plan, state="unverified", text=text)
    silence = replace(plan.silence, state=found.state, starts=whole(found.starts), ends=whole(found.ends))
    return replace(plan, state="made", text=f"silenced {_counted(plan)}: {made}", silence=silence)


def _unmade(plan: SilencePlan, gap: Unavailable) -> SilencePlan:
    """A refusal changed nothing; a request without an answer may have been taken."""
    if gap.kind not in NOT_TAKEN:
        return replace(plan, state="unverified", text=f"it may have been made: {gap.reason}")
    return replace(plan, state="failed", text=f"nothing was changed: {gap.reason}", hint=gap.hint)
