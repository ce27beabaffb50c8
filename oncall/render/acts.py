"""Pieces that the pages of a plan and of its outcome share: labelled lines, guards, checks, symptoms."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from oncall.model import Severity
from oncall.model_acts import ActionPlan, Check, GuardReport, GuardState, SymptomChange
from oncall.render.act_words import (
    IN_JSON,
    Verdict,
    change_of,
    check_sign,
    clipped,
    few,
    guard_sign,
    guard_text,
    guards_told,
    hints,
    in_state,
    judged,
    limits,
    unread,
)
from oncall.render.command import command_lines
from oncall.render.grid import (
    FAINT,
    GAP,
    HEADING,
    SEVERITY_STYLE,
    Cell,
    columns,
    indented,
    labelled,
    line,
    marked,
    taken,
)
from oncall.render.header import NARROW
from oncall.render.spark import spark
from oncall.render.text import cells, cut

LABEL = 8
MOST = 12
"""So many guards, notes, symptoms or lines of a place; more are counted."""
_GUARD_STYLE = {
    GuardState.REFUSED: SEVERITY_STYLE[Severity.CRITICAL],
    GuardState.UNKNOWN: SEVERITY_STYLE[Severity.UNKNOWN],
    GuardState.OVERRIDDEN: SEVERITY_STYLE[Severity.WARNING],
}
_LONGEST_LABEL, _LONGEST_NAME = 16, 24
_TITLE, _LEAST_TITLE = 32, 12
_BARS, _FEW_BARS = 24, 8


def styled(verdict: Verdict) -> Cell:
    """The first words of a page in their colour."""
    return Cell(verdict.words, HEADING if verdict.severity is None else SEVERITY_STYLE[verdict.severity])


def told(label: str, text: str, width: int) -> list[Text]:
    """A sentence of the answer beside its label, or below it on a narrow page."""
    if width < NARROW:
        return [line((label, HEADING)), *indented(clipped(text), width, indent=2)]
    return labelled(Cell(label, HEADING), Cell(clipped(text)), width, indent=LABEL)


def facts(rows: Iterable[tuple[str, str]], width: int) -> list[Text]:
    """What is touched, and where: labels in one column, as the action names them."""
    known, more = few([(cut(_capital(label), _LONGEST_LABEL), clipped(text)) for label, text in rows], MOST)
    if width < NARROW:
        found = [part for label, text in known for part in _hanging(f"{label}: {text}", width)]
    else:
        indent = max([LABEL, *(cells(label) + GAP for label, _ in known)])
        found = [
            part
            for label, text in known
            for part in labelled(Cell(label, HEADING), Cell(text), width, indent=indent)
        ]
    return found + overflow(more, width)


def _capital(label: str) -> str:
    return label[:1].upper() + label[1:]


def _hanging(text: str, width: int) -> list[Text]:
    first, *rest = indented(text, width - 2)
    return [first, *(line("  ", part) for part in rest)]


def overflow(more: int, width: int, what: str = "more") -> list[Text]:
    """How many there are besides."""
    return indented(f"{more} {what}: {IN_JSON}", width, indent=2, style=FAINT) if more else []


def notes(found: Sequence[str], width: int) -> list[Text]:
    """What the reader must know besides."""
    shown, more = few(found, MOST)
    lines = [line(("Notes", HEADING))] if shown else []
    for note in shown:
        lines += marked("·", "", indented(clipped(note), width - 2))
    return lines + overflow(more, width)


# --- guards --------------------------------------------------------------------------------------


def bars(plan: ActionPlan, width: int) -> list[Text]:
    """Each guard that stands in the way: why, and what to do about it, statements on lines of their own."""
    return _guards(plan.barred, width)


def _guards(found: Sequence[GuardReport], width: int) -> list[Text]:
    column = min(_LONGEST_NAME, max((cells(guard.name) for guard in found), default=0))
    lines: list[Text] = []
    for guard in found:
        style, name = _GUARD_STYLE[guard.state], cut(guard.name, _LONGEST_NAME)
        if width < NARROW:
            body, at = indented(f"{name}: {guard_text(guard)}", width - 2), 2
        else:
            room = width - column - GAP - 2
            body = columns([Cell(name, style), Cell(guard_text(guard))], [column, room])
            at = column + GAP + 2
        lines += marked(guard_sign(guard), style, body)
        lines += _hints(guard, width, at) if guard.state is not GuardState.OVERRIDDEN else []
    return lines


def _hints(guard: GuardReport, width: int, at: int) -> list[Text]:
    lines: list[Text] = []
    for text, paste in hints(guard):
        lines += command_lines(text, width, indent=at) if paste else indented(text, width, indent=at)
    return lines


def guards(plan: ActionPlan, width: int) -> list[Text]:
    """Which hold, and those that were overridden in full. Those that bar stand above."""
    said = guards_told(plan) or ["none"]
    if width < NARROW:
        lines = [
            line(("Guards", HEADING)),
            *(part for text in said for part in indented(text, width, indent=2)),
        ]
    else:
        labels = ["Guards", *[""] * len(said)]
        lines = [part for label, text in zip(labels, said, strict=False) for part in told(label, text, width)]
    return lines + overrides(plan, width)


def overrides(plan: ActionPlan, width: int) -> list[Text]:
    """The guards that somebody has set aside."""
    return _guards(in_state(plan, GuardState.OVERRIDDEN), width)


# --- checks and symptoms -------------------------------------------------------------------------


def checks(found: Sequence[Check], width: int, most: int = MOST) -> list[Text]:
    """✓ holds, ✗ does not, ? could not be told."""
    shown, more = few(found, most)
    lines: list[Text] = []
    for check in shown:
        sign, severity = check_sign(check)
        lines += marked(sign, SEVERITY_STYLE[severity], indented(clipped(check.text), width - 2))
    return lines + overflow(more, width)


def symptoms(
    found: Sequence[SymptomChange], width: int, *, arrow: str = "→", most: int = MOST, compact: bool = False
) -> list[Text]:
    """Before and now against the bounds, with the shape since the act; below, why some could not be read.

    `compact`: one line each at any width, one bound only, no reasons: for a screen that is drawn again and again."""
    shown, more = few(found, most)
    if not shown:
        return []
    heads = ("Symptom", "before", "now", "bound") if compact else ("Symptom", "before", "now", "warn", "crit")
    rows = [_row(symptom, arrow, compact=compact) for symptom in shown]
    widths = _widths(heads, rows, max(len(symptom.history) for symptom in shown), width)
    if widths:
        lines = _table(heads, shown, rows, widths)
    else:
        lines = _short(shown, rows, width) if compact else _stacked(shown, rows, width)
    if not compact:
        for reason in unread(shown):
            style = SEVERITY_STYLE[Severity.UNKNOWN]
            lines += marked("?", style, indented(reason, width - 2))
    return lines + overflow(more, width)


def _row(symptom: SymptomChange, arrow: str, *, compact: bool) -> list[str]:
    warning, critical = limits(symptom)
    one = warning if symptom.warning is not None else critical
    bounds = [one] if compact else [warning, critical]
    return [symptom.title, *change_of(symptom), *bounds, judged(symptom, arrow)]


def _widths(heads: Sequence[str], rows: list[list[str]], points: int, width: int) -> list[int] | None:
    """Title, numbers, bars, state: bars shrink, titles are cut, bars go, then the state. None: too narrow."""
    numbers = [max(cells(head), *(cells(row[i]) for row in rows)) for i, head in enumerate(heads) if i]
    state = max(cells(row[-1]) for row in rows)
    longest = max(cells(heads[0]), *(cells(row[0]) for row in rows))
    for title, bars, last in (
        (_TITLE, _FEW_BARS, state),
        (_LEAST_TITLE, _FEW_BARS, state),
        (_LEAST_TITLE, 0, state),
        (_LEAST_TITLE, _FEW_BARS // 2, 0),
        (_LEAST_TITLE, 0, 0),
    ):
        found = [min(title, longest), *numbers, min(bars, points), last]
        spare = width - taken(found)
        if spare >= 0:
            wider = min(spare, longest - found[0])
            found[0] += wider
            found[-2] = min(_BARS, points, found[-2] + spare - wider) if bars else 0
            return found
    return None


def _table(
    heads: Sequence[str], shown: Sequence[SymptomChange], rows: list[list[str]], widths: list[int]
) -> list[Text]:
    lines = columns([Cell(heads[0], HEADING), *(Cell(h, FAINT) for h in heads[1:]), Cell(), Cell()], widths)
    for symptom, row in zip(shown, rows, strict=True):
        before, now = _style(symptom.severity_before), _style(symptom.severity)
        bounds = [Cell(text) for text in row[3:-1]]
        cells_ = [Cell(cut(row[0], widths[0])), Cell(row[1], before), Cell(row[2], now), *bounds]
        shape = Cell(spark(symptom.history, widths[-2]), now)
        lines += columns([*cells_, shape, Cell(row[-1], SEVERITY_STYLE[symptom.severity])], widths)
    return lines


def _style(severity: Severity) -> str:
    return SEVERITY_STYLE[severity] if severity is not Severity.OK else ""


def _stacked(shown: Sequence[SymptomChange], rows: list[list[str]], width: int) -> list[Text]:
    lines = [line(("Symptoms", HEADING))]
    for symptom, row in zip(shown, rows, strict=True):
        lines += indented(f"{cut(row[0], width)}  {row[-1]}", width, style=SEVERITY_STYLE[symptom.severity])
        lines += indented(f"before {row[1]}, now {row[2]}", width, indent=2)
    return lines


def _short(shown: Sequence[SymptomChange], rows: list[list[str]], width: int) -> list[Text]:
    """A line each on the narrowest of screens: the number now, and of what."""
    return [
        line((cut(row[2], width), _style(symptom.severity)), " ", cut(row[0], width - cells(row[2]) - 1))
        for symptom, row in zip(shown, rows, strict=True)
    ]
