"""What is said of a change, whatever it is said in; and a report of changes as Markdown. Imports no rich."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import msgspec

from oncall.model_changes import ChangeReport, Changes
from oncall.numbers import clock, day, duration, figures, humane, since
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.spark import spark
from oncall.render.text import cut, safe

TOGETHER = 3
"""So many series of one metric are shown; what else moved the same way is counted."""
BARS = 16
BORDER, ASCII_BORDER = "│", "|"
_LONGEST_VALUE = 48
_SHOWN_METRICS = 4


class Line(NamedTuple):
    """A row of the table: a change at its place in the ranking, and how many more of its kind follow it."""

    place: int
    change: ChangeReport
    more: int = 0


def harmless(found: Changes, *, ascii_only: bool = False) -> Changes:
    """The report with all foreign text made safe to print, labels too."""

    def clean(labels: dict[str, str]) -> dict[str, str]:
        return {safe(k, ascii_only=ascii_only): safe(v, ascii_only=ascii_only) for k, v in labels.items()}

    def cleaned(change: ChangeReport) -> ChangeReport:
        return msgspec.structs.replace(change, labels=clean(change.labels))

    safer = msgspec.structs.replace(
        found,
        changes=tuple(map(cleaned, found.changes)),
        first=cleaned(found.first) if found.first else None,
        common=clean(found.common),
    )
    return inert(safer, ascii_only=ascii_only)


def headline(found: Changes) -> str:
    """The answer in one line."""
    if not found.compared:
        return f"changes unknown: {found.reason or 'nothing to compare'}"
    if not found.changed:
        return f"none of {found.compared} series changed"
    told = f"{found.changed} of {found.compared} series changed"
    if not found.first or not found.first.onset:
        return told
    at = since(found.first.onset, found.at)
    name, move = title(found.first, found.common), moved(found.first)
    return f"{told}; first at {at}: {name} {arrow(found.first)}" + (f", {move}" if move else "")


def title(change: ChangeReport, common: dict[str, str]) -> str:
    """The metric with the labels that tell it from others."""
    own = {k: v for k, v in sorted(change.labels.items()) if common.get(k) != v}
    told = ", ".join(f'{k}="{cut(v, _LONGEST_VALUE)}"' for k, v in own.items())
    return f"{change.metric}{{{told}}}" if told else change.metric


def arrow(change: ChangeReport) -> str:
    """`0/s → 4.2/s`."""
    return f"{humane(change.before, change.unit)} → {humane(change.now, change.unit)}"


def moved(change: ChangeReport) -> str:
    """How far, in a word: ×12, +3, new, gone; of an age: older, or anew (a restart)."""
    before, now = change.before, change.now
    if change.new or before is None:
        return "new"
    if change.gone or now is None:
        return "gone"
    if change.metric.startswith("age("):
        return "older" if now > before else "anew"
    if before == 0:
        return "from 0"
    if now / before > 0:
        return f"×{figures(now / before)}"
    return ("+" if now > before else "") + humane(now - before, change.unit)


def began(change: ChangeReport, at: datetime, *, ago: bool = True) -> str:
    """`03:04, 8 min ago`."""
    if change.onset is None:
        return ""
    passed = max(0.0, (at - change.onset).total_seconds())
    shown = duration(round(passed / 60) * 60 if passed >= 60 else round(passed))
    return since(change.onset, at) + (f", {shown} ago" if ago else "")


def bars(change: ChangeReport, found: Changes, width: int, border: str = BORDER) -> str:
    """The shape over baseline and window, with a border between the two."""
    points = change.history if change.direction == "up" else _lowest(change.history, width - 1)
    drawn = spark(points, width - 1)
    if len(drawn) < 2:
        return drawn
    at = round(len(drawn) * found.baseline_s / (found.baseline_s + found.window_s))
    at = min(len(drawn) - 1, max(1, at))
    return drawn[:at] + border + drawn[at:]


def _lowest(points: Sequence[float | None], count: int) -> list[float | None]:
    """The lowest of each stretch: a fall is what is to be seen."""
    if len(points) <= count:
        return list(points)
    edges = pairwise(i * len(points) // count for i in range(count + 1))
    return [min((p for p in points[a:b] if p is not None), default=None) for a, b in edges]


def lines(found: Changes) -> list[Line]:
    """The clear changes in their order; of a metric that moved one way the first few, and how many more there are."""
    shown, places = list[Line](), dict[tuple[str, str, str], list[int]]()
    for place, change in enumerate((c for c in found.changes if c.clear), 1):
        same = places.setdefault((change.metric, change.direction, moved(change) * change.gone), [])
        if len(same) < TOGETHER:
            same.append(len(shown))
            shown.append(Line(place, change))
        else:
            last = shown[same[-1]]
            shown[same[-1]] = last._replace(more=last.more + 1)
    return shown


def more_of(row: Line) -> str:
    way = "gone" if row.change.gone else row.change.direction
    return f"… and {row.more} more of {row.change.metric}, {way}"


def remarks(found: Changes) -> Iterator[str]:
    """What the reader must know: what is not shown, what was left out and why, the backend's own words."""
    shown = sum(c.clear for c in found.changes)
    if found.changed > shown:
        yield f"{found.changed - shown} more changed: --top {found.changed} shows them"
    reasons = dict.fromkeys(o.reason for o in found.left_out)
    for reason in reasons:
        those = [o for o in found.left_out if o.reason == reason]
        names = [f"{o.metric} ({o.series})" for o in those if o.metric]
        rest = f" and {len(names) - _SHOWN_METRICS} more metrics" if len(names) > _SHOWN_METRICS else ""
        told = f": {', '.join(names[:_SHOWN_METRICS])}{rest}" if names else ""
        yield f"{sum(o.series for o in those)} series left out, {reason}{told}"
    yield from found.notes


def facts(found: Changes) -> list[str]:
    """When, how long, against what."""
    return [
        day(found.at),
        f"window {humane(found.window_s, 'seconds')}",
        f"usual: the {humane(found.baseline_s, 'seconds')} before",
        f"asked in {humane(found.duration_ms, 'ms')}",
    ]


def identity(found: Changes) -> list[str]:
    """Which service, where, and when."""
    return [part for part in (found.service, found.environment, found.source or "", clock(found.at)) if part]


# --- markdown ----------------------------------------------------------------------------------


def changes_markdown(found: Changes) -> str:
    """The report to paste into an incident channel."""
    found = harmless(found)
    told = headline(found)
    first, _, rest = told.partition("; ")
    head = f"**{first}**" if found.compared else f"**changes unknown** {inline(found.reason or '')}"
    *who, when = identity(found)
    blocks = [head + "\n" + " · ".join([*map(inline, who), f"{day(found.at)} {when}"])]
    at, _, what = rest.partition(": ")
    blocks += [f"**{at.capitalize()}:** {inline(what)}"] if rest and found.first else []
    blocks += [_table(found)] if found.changed else []
    if found.reason and found.compared:
        blocks.append(f"**Could not be seen**\n- {inline(found.reason)}")
    blocks += [f"- {inline(found.hint)}"] if found.hint else []
    notes = [f"- {inline(note)}" for note in remarks(found)]
    blocks += ["\n".join(["**Notes**", *notes])] if notes else []
    return "\n\n".join([*blocks, " · ".join(facts(found)[1:])]) + "\n"


def _table(found: Changes) -> str:
    rows: list[Sequence[str]] = [("", "Series", "usual", "now", "", "", "since")]
    for row in lines(found):
        change = row.change
        weak = " weak" if change.weak else ""
        numbers = (humane(change.before, change.unit), humane(change.now, change.unit))
        shape, start = bars(change, found, BARS), began(change, found.at)
        rows.append(
            (str(row.place), title(change, found.common), *numbers, moved(change) + weak, shape, start)
        )
        rows += [("", more_of(row), "", "", "", "", "")] if row.more else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return code_block(
        ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    )
