"""What was counted in a log, as the tables of its step: numbers that cannot be had are None. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from oncall import numbers
from oncall.clients.log_templates import OTHER, Group, Tally
from oncall.model import Column, Frozen, Scalar, Table

MOST_ROWS = 15
NEW_FROM = 3
"""Lines in the window from which a template that the baseline does not have is called new."""
_LATE_S = 60.0
_SECONDS = "seconds"
_PER_SECOND = "per_second"


class Span(Frozen, frozen=True):
    """The window ends at `end` (Unix s); the baseline lies just before the window."""

    end: float
    window_s: float
    baseline_s: float

    @property
    def split(self) -> float:
        return self.end - self.window_s

    @property
    def start(self) -> float:
        return self.split - self.baseline_s


class Seen(Frozen, frozen=True):
    """How far a log was read. Times in Unix seconds.

    `stopped`: why before the start of the baseline (None: it was reached, or there is nothing older, `whole`).
    `quiet_time`: there are lines in the baseline. `read` and `size` in bytes, `size` None where it is not known."""

    lines: int
    oldest: float | None
    newest: float | None
    quiet_time: bool
    stopped: str | None
    whole: bool
    read: int
    size: int | None = None
    written: float | None = None
    notes: tuple[str, ...] = ()


class Rates(Frozen, frozen=True):
    """How long the window and the baseline that were really seen are, in seconds; None: cannot be told."""

    window_s: float | None
    baseline_s: float | None


def rates(seen: Seen, span: Span) -> Rates:
    """A baseline that is shorter than the window, or without a line, is none."""
    if seen.oldest is None:
        return Rates(window_s=None, baseline_s=None)
    since = max(seen.oldest, span.start) if seen.stopped or seen.whole else span.start
    window = span.end - max(since, span.split) if seen.stopped else span.window_s
    baseline = span.split - since
    enough = seen.quiet_time and baseline >= span.window_s * 0.999
    return Rates(window_s=max(window, 0.0) or None, baseline_s=baseline if enough else None)


def errors(tally: Tally, seen: Seen, span: Span) -> Table:
    """One row: how many error lines, how many are usual, which failure stands out, and the named patterns."""
    of = rates(seen, span)
    groups = tally.groups()
    now = _known(tally.now, tally, seen)
    usual = tally.before / of.baseline_s if of.baseline_s else None
    per_s = now / of.window_s if of.window_s and now is not None else None
    new = sum(_is_new(g) for g in groups) if of.baseline_s else None
    top = max(groups, key=lambda g: (g.now, g.template != OTHER), default=None)
    told = top is not None and top.now > 0 and tally.now > 0
    cells: list[tuple[str, str | None, Scalar]] = [
        ("lines", None, seen.lines),
        ("errors", None, now),
        ("per_s", _PER_SECOND, per_s),
        ("usual_per_s", _PER_SECOND, usual),
        ("ratio", None, per_s / usual if per_s is not None and usual else None),
        ("new_templates", None, new),
        ("top", None, top.template if top and told else None),
        ("top_share", "ratio", top.now / tally.now if top and told else None),
    ]
    for name, found in tally.named().items():
        expected = found.before * span.window_s / of.baseline_s if of.baseline_s else None
        cells += [
            (name, None, _known(found.now, tally, seen)),
            (f"{name}_usual", None, expected),
            (f"{name}_example", None, found.example or None),
        ]
    columns = tuple(Column(name=name, unit=unit) for name, unit, _ in cells)
    return Table(
        columns=columns, rows=(tuple(c for *_, c in cells),), notes=tuple(_notes(tally, seen, span, of))
    )


_COLUMNS = (
    ("template", None), ("level", None), ("now", None), ("usual", None), ("ratio", None), ("new", None),
    ("first_age_s", _SECONDS), ("last_age_s", _SECONDS), ("example", None),
)  # fmt: skip


def templates(tally: Tally, seen: Seen, span: Span) -> Table:
    """The templates of the window, new ones first, then by how much they rose."""
    of = rates(seen, span)
    share = span.window_s / of.baseline_s if of.baseline_s else None
    groups = [g for g in tally.groups() if g.now]

    def order(group: Group) -> tuple[bool, float, str]:
        rise = group.now - (group.before * share if share else 0.0)
        return not (share and _is_new(group)), -rise, group.template

    rows = tuple(_row(group, share, span.end) for group in sorted(groups, key=order)[:MOST_ROWS])
    cut = (f"{MOST_ROWS} of {len(groups)} templates",) if len(groups) > MOST_ROWS else ()
    columns = tuple(Column(name=name, unit=unit) for name, unit in _COLUMNS)
    return Table(columns=columns, rows=rows, notes=(*_notes(tally, seen, span, of), *cut))


def _row(group: Group, share: float | None, end: float) -> tuple[Scalar, ...]:
    usual = group.before * share if share else None
    return (
        group.template,
        group.level,
        group.now,
        usual,
        group.now / usual if usual else None,
        _is_new(group) if share else None,
        None if group.first is None else end - group.first,
        None if group.last is None else end - group.last,
        group.example,
    )


def _is_new(group: Group) -> bool:
    return group.now >= NEW_FROM and group.before == 0 and group.template != OTHER


def _known(count: int, tally: Tally, seen: Seen) -> int | None:
    """A count of the window. None where lines may be of any time, and for none in a window not wholly read."""
    if seen.oldest is None:
        return None if tally.timeless else count
    return None if count == 0 and seen.stopped and seen.oldest > tally.split else count


def _notes(tally: Tally, seen: Seen, span: Span, of: Rates) -> Iterator[str]:
    yield from seen.notes
    if seen.oldest is None:
        yield "no line has a time: counted is what was read, whenever it was written; nothing to compare with"
        return
    if seen.newest is not None and span.end - seen.newest > max(span.window_s, _LATE_S):
        age = numbers.duration(span.end - seen.newest)
        yield f"its newest line is {age} old: nothing was written in the window"
    if seen.stopped:
        yield _how_far(seen, span)
    elif seen.whole and seen.oldest > span.start:
        yield f"it begins at {_clock(seen.oldest)}"
    if of.baseline_s is None:
        why = (
            "has no line"
            if seen.oldest < span.split and not seen.quiet_time
            else "is shorter than the window"
        )
        yield f"the baseline {why}: what is usual is not known"
    elif of.baseline_s < span.baseline_s * 0.999:
        short, asked = numbers.duration(of.baseline_s), numbers.duration(span.baseline_s)
        yield f"the baseline is {short} instead of {asked}"


def _how_far(seen: Seen, span: Span) -> str:
    of = f" of {numbers.size(seen.size)}" if seen.size is not None else ""
    why = "the time for one look ended" if seen.stopped == "deadline" else "the budget of one look ended"
    said = f"read the last {numbers.size(seen.read)}{of}, back to {_clock(seen.oldest or 0.0)}: {why}"
    return (
        f"{said} inside the window, so the counts are too low" if (seen.oldest or 0.0) > span.split else said
    )


def _clock(time: float) -> str:
    return numbers.clock(datetime.fromtimestamp(time, UTC))
