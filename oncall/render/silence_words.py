"""What is said of silences, whatever it is said in; and the same as Markdown. Imports no rich."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from oncall.model import Severity
from oncall.model_alerts import Hit, Silence, SilenceList, SilencePlan
from oncall.numbers import clock, day, duration, since
from oncall.render.alert_words import bullets, labels_told
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cut, safe

MOST_HITS = 15
HEADS = ("id", "matchers", "ends", "left", "by", "hits now", "comment")
_SHORT_ID = 8
_LONGEST = 80
_NAMES = 3
_VERDICT = {
    "preview": ("preview, nothing was changed", None),
    "refused": ("refused", Severity.WARNING),
    "made": ("made", Severity.OK),
    "ended": ("ended", Severity.OK),
    "unverified": ("not verified", Severity.UNKNOWN),
    "failed": ("failed", Severity.CRITICAL),
    "unchanged": ("nothing to do", Severity.OK),
}


def harmless_plan(plan: SilencePlan, *, ascii_only: bool = False) -> SilencePlan:
    """The plan with all foreign text made safe to print, labels too; its command stays what it is."""

    def clean(hit: Hit) -> Hit:
        pairs = {
            safe(k, ascii_only=ascii_only): safe(v, ascii_only=ascii_only) for k, v in hit.labels.items()
        }
        return replace(hit, labels=pairs)

    return inert(replace(plan, hits=tuple(map(clean, plan.hits))), ascii_only=ascii_only)


def verdict_of(plan: SilencePlan) -> tuple[str, Severity | None]:
    """How it stands, in a word, and how bad that is."""
    return _VERDICT[plan.state]


def facts(plan: SilencePlan) -> list[tuple[str, str]]:
    """Label and text: what, until when, why, by whom."""
    silence = plan.silence
    told = [("Matchers", " ".join(silence.matchers))] if silence.matchers else []
    if silence.matchers:
        told += [("Ends", ends(silence, plan.at)), ("Comment", silence.comment), ("By", silence.by)]
    return [*told, *([("Id", silence.id)] if silence.id else [])]


def ends(silence: Silence, at: datetime) -> str:
    """`2026-01-01 05:00 UTC, in 1 h 48 min`."""
    when = f"{day(silence.ends)} {clock(silence.ends).replace(':00 UTC', ' UTC')}"
    if silence.state == "expired" or silence.left_s is None:
        return f"{when}, ended {duration(max(0.0, (at - silence.ends).total_seconds()))} ago"
    return f"{when}, in {duration(round(silence.left_s))}"


def hit_told(hit: Hit, at: datetime) -> str:
    """`PoolExhausted, critical, since 03:05: instance="app-1"`."""
    severity = "info" if hit.severity is Severity.OK else hit.severity.value
    began = f", since {since(hit.since, at)}" if hit.since else ""
    quiet = ", quiet already" if hit.quiet else ""
    labels = labels_told({k: v for k, v in hit.labels.items() if k != "severity"}, {})
    return f"{cut(hit.name, _LONGEST)}, {severity}{began}{quiet}" + (f": {labels}" if labels else "")


def more_hits(plan: SilencePlan) -> str:
    left = len(plan.hits) - MOST_HITS
    return f"… and {left} more" if left > 0 else ""


# --- the list ------------------------------------------------------------------------------------


def headline(found: SilenceList) -> str:
    """The answer in one line."""
    if found.source is None:
        return "silences unknown"
    live = sum(s.state != "expired" for s in found.silences)
    return f"{live} silence{'' if live == 1 else 's'} in force" if live else "nothing is silenced"


def row(silence: Silence, at: datetime) -> tuple[str, ...]:
    """The cells of a line, under HEADS."""
    left = duration(round(silence.left_s)) if silence.left_s is not None else "ended"
    return (
        silence.id[:_SHORT_ID],
        cut(" ".join(silence.matchers), _LONGEST),
        since(silence.ends, at),
        left if silence.state != "pending" else f"{left} (not begun)",
        cut(silence.by, _LONGEST),
        hits_told(silence.hits),
        cut(silence.comment, _LONGEST),
    )


def hits_told(names: Sequence[str]) -> str:
    """`3: PoolExhausted, HighErrorRate`."""
    if not names:
        return "0"
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _NAMES} more" if len(different) > _NAMES else ""
    return f"{len(names)}: {', '.join(different[:_NAMES])}{more}"


def remarks(found: SilenceList) -> list[str]:
    count = found.others
    told = [f"{count} of other services, by their matchers"] if count else []
    return [*told, *found.notes]


# --- markdown --------------------------------------------------------------------------------------


def silences_markdown(found: SilenceList) -> str:
    """The list, to paste into a channel."""
    found = inert(found)
    who = f"{inline(found.service)} · {inline(found.environment)} · {day(found.at)} {clock(found.at)}"
    blocks = [f"**{inline(headline(found))}**\n{who}", listed(found.silences, found.at)]
    blocks += [bullets("Could not be seen", (f"{g.what}: {g.reason}" for g in found.unseen))]
    blocks += [bullets("Notes", remarks(found))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def listed(silences: Sequence[Silence], at: datetime) -> str:
    """A list item a silence."""
    lines = []
    for silence in silences:
        name, matchers, _, _, by, hits, comment = row(silence, at)
        lines.append(f"- {inline(matchers)}, ends {inline(ends(silence, at))} ({inline(name)})")
        lines.append(f"  - by {inline(by)}: {inline(comment)}; hits now {inline(hits)}")
    return "\n".join(lines)


def silence_markdown(plan: SilencePlan) -> str:
    """A silence that is made or ended, or its preview."""
    command = plan.command
    plan = harmless_plan(plan)
    who = f"{inline(plan.service)} · {inline(plan.environment)} · {day(plan.at)} {clock(plan.at)}"
    hits = [hit_told(hit, plan.at) for hit in plan.hits[:MOST_HITS]]
    blocks = [f"**{inline(plan.text)}** ({verdict_of(plan)[0]})\n{who}"]
    blocks += ["\n".join(f"- {label}: {inline(text)}" for label, text in facts(plan))]
    blocks += [bullets("Warnings", plan.warnings), bullets("Hits now", [*hits, more_hits(plan)])]
    blocks += [inline(plan.hint)] if plan.hint else []
    if command and plan.state in ("preview", "made"):
        blocks.append(f"**{next_label(plan)}:**\n{code_block([safe(command)])}")
    return "\n\n".join(block for block in blocks if block) + "\n"


def next_label(plan: SilencePlan) -> str:
    return "Do it" if plan.state == "preview" else "End it"
