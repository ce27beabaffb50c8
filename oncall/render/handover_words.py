"""What one shift says to the next, whatever it is said in; and as Markdown. Imports no rich."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from oncall.model import Severity
from oncall.model_acts import AuditList
from oncall.model_alerts import Fired, Handover, Silence, Trending
from oncall.numbers import clock, day, duration, humane, since
from oncall.render.alert_words import bullets, first, harmless, labels_told, listed, notes
from oncall.render.audit_words import Did, actions, by, ended, open_told
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.silence_words import ends, hits_told
from oncall.render.text import cut, safe

MOST = 20
"""So many lines of one part; more are counted."""
FIRED, SILENCED, DONE, TRENDING = "Fired in the shift", "Silenced", "Done", "On its way to a limit"
NOW = "Now"
_LONGEST = 120


def safe_handover(found: Handover, *, ascii_only: bool = False) -> Handover:
    """All foreign text made safe to print, labels too."""

    def clean(one: Fired) -> Fired:
        pairs = {
            safe(k, ascii_only=ascii_only): safe(v, ascii_only=ascii_only) for k, v in one.labels.items()
        }
        return replace(one, labels=pairs)

    now = harmless(found.now, ascii_only=ascii_only)
    fired = tuple(map(clean, found.fired)) if found.fired is not None else None
    safer = inert(replace(found, fired=fired, done=None), ascii_only=ascii_only)
    done = inert(found.done, ascii_only=ascii_only) if found.done else None
    return replace(safer, now=now, done=done)


def span(found: Handover) -> str:
    """`the 12 h from 2026-01-01 15:12 to 03:12 UTC`."""
    lasted = duration((found.at - found.since).total_seconds())
    begin, end = since(found.since, found.since), since(found.at, found.since)
    return f"the {lasted} from {day(found.since)} {begin} to {end} UTC"


def fired_told(found: Handover) -> list[str]:
    """`critical: HighErrorRate, 3 times, 14 min in all, first at 22:10, last at 02:40`; one name, one line."""
    kinds: dict[tuple[str, str], list[Fired]] = {}
    for one in found.fired or ():
        kinds.setdefault((one.name, severity_word(one)), []).append(one)
    return [f"{word}: {_fired(same, found)}" for (_, word), same in kinds.items()]


def _fired(same: Sequence[Fired], found: Handover) -> str:
    times, longest = sum(one.times for one in same), max(one.seconds for one in same)
    often = "once" if times == 1 else f"{times} times"
    lasted = f"{duration(round(longest))} in all" if len(same) == 1 else f"{duration(round(longest))} at most"
    until = max(one.last for one in same)
    ended = "still firing" if any(one.now for one in same) else f"last at {since(until, found.at)}"
    labels = labels_told(same[0].labels, {}) if len(same) == 1 else f"{len(same)} of that name"
    began = since(min(one.first for one in same), found.at)
    head = f"{cut(same[0].name, _LONGEST)}, {often}, {lasted}, first at {began}, {ended}"
    return head + (f": {labels}" if labels else "")


def severity_word(one: Fired) -> str:
    return "info" if one.severity is Severity.OK else one.severity.value


def silence_told(silence: Silence, found: Handover) -> str:
    """`alertname="X", ends 05:00 UTC, by ana: the upgrade; hits now 1: X`."""
    head = f"{cut(' '.join(silence.matchers), _LONGEST)}, ends {ends(silence, found.at)}"
    if silence.state == "expired":
        head = f"{cut(' '.join(silence.matchers), _LONGEST)}, until {ends(silence, found.at)}"
    hits = f"; quiet now {hits_told(silence.hits)}" if silence.hits else ""
    return f"{head}, by {silence.by}: {cut(silence.comment, _LONGEST)}{hits}"


def done_told(did: Did, found: Handover) -> str:
    """`02:14 ana@jump-1: kill-queries, done, fixed: canceled 3 of 3 statements (entry 41)`."""
    entry, outcome = did
    text = outcome.text if outcome and outcome.text else entry.plan.title if entry.plan else ""
    said = f": {cut(text, _LONGEST)}" if text else ""
    when, how = since(entry.at, found.at), ended(did)[0]
    return f"{when} {by(entry.who)}: {entry.action}, {how}{said} (entry {entry.number})"


def acts(done: AuditList) -> list[Did]:
    """Oldest first, as it happened."""
    return actions(done)[::-1]


def open_acts(done: AuditList) -> Iterator[tuple[str, str]]:
    return open_told(done.open)


def trend_told(one: Trending) -> str:
    """`Memory: 1.7 GB, +40 MB an hour; critical (1.9 GB) in 5 h, at its limit (2 GB) in 7 h 30 min`."""
    sign = "+" if one.per_hour >= 0 else ""
    unit = "bytes" if one.unit == "bytes" else one.unit
    head = f"{one.title}: {humane(one.now, unit)}, {sign}{humane(one.per_hour, unit)} an hour"
    ends = []
    if one.critical is not None and one.critical_s is not None and one.critical != one.limit:
        ends.append(f"critical ({humane(one.critical, unit)}) {_in(one.critical_s)}")
    if one.limit is not None and one.limit_s is not None:
        ends.append(f"at its limit ({humane(one.limit, unit)}) {_in(one.limit_s)}")
    return f"{head}; {', '.join(ends) or 'it has no known limit'}"


def _in(seconds: float) -> str:
    return f"in {duration(seconds)}" if seconds > 0 else "now"


def few(lines: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    rest = len(lines) - MOST
    return [*lines[:MOST], *([f"… and {rest} more: --output json has them all"] if rest > 0 else [])]


def remarks(found: Handover) -> Iterator[str]:
    """What the next shift must know besides."""
    if found.fired_others:
        verb = "alert that fired is" if found.fired_others == 1 else "alerts that fired are"
        yield f"{found.fired_others} {verb} not this service's by the labels of its selector: not listed"
    yield from notes(found.now)
    yield from found.notes


def parts(found: Handover) -> Iterator[tuple[str, list[str], str]]:
    """Each part: its title, its lines, and what is said where there are none."""
    unread = "not known: see below"
    yield FIRED, few(fired_told(found)), "nothing" if found.fired is not None else unread
    silenced = [silence_told(one, found) for one in found.silences or ()]
    yield SILENCED, few(silenced), "nothing" if found.silences is not None else unread
    done = [done_told(did, found) for did in acts(found.done)] if found.done else []
    yield DONE, few(done), "nothing, by the audit log of this machine and user" if found.done else unread
    trends = [trend_told(one) for one in found.trending or ()]
    yield TRENDING, few(trends), "nothing" if found.trending is not None else unread


# --- markdown --------------------------------------------------------------------------------------


def handover_markdown(found: Handover) -> str:
    """The handover to paste into the channel of the next shift."""
    found = safe_handover(found)
    return "\n\n".join(block for block in _blocks(found) if block) + "\n"


def _blocks(found: Handover) -> Iterator[str]:
    who = f"{inline(found.service)} · {inline(found.environment)}"
    yield f"# Handover: {inline(found.service)}\n{who} · {inline(span(found))}"
    yield f"**{inline(found.summary)}** ({found.now.severity.value})"
    step = first(found.now)
    yield f"**Next:** {inline(step.why)}\n{code_block([safe(step.command)])}" if step else ""
    yield f"## {NOW}\n{listed(found.now) or inline(found.now.summary)}"
    for title, lines, none in parts(found):
        yield "\n".join([f"## {title}", *(f"- {inline(text)}" for text in lines or [none])])
    if found.done and found.done.open:
        yield bullets("Has no known end", (f"{text}; {command}" for text, command in open_acts(found.done)))
    yield bullets("Could not be seen", (f"{gap.what}: {gap.reason}" for gap in found.unseen))
    yield bullets("Notes", remarks(found))
    yield f"written {day(found.at)} {clock(found.at)}"
