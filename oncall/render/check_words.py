"""What a check says, in words: shared by its page, its markdown and its message. Imports no rich."""

from collections.abc import Sequence

from msgspec.structs import replace

from oncall.model import Severity, Table
from oncall.model_checks import CheckLine, CheckReport
from oncall.numbers import NONE, clock, day, humane, scalar
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cells, cut

HEADS = ("", "Check", "value", "target", "yesterday", "last week")
FEW_ROWS = 5
_ILL = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN)
_SIGN = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟡", Severity.OK: "🟢", Severity.UNKNOWN: "⚪"}


def headline(report: CheckReport) -> str:
    """`DAILY CHECK: ALL WELL`, `DAILY CHECK: 1 CRITICAL, 2 UNKNOWN`."""
    counted = [line.severity for line in report.lines if line.counts]
    found = [(counted.count(severity), severity.value.upper()) for severity in _ILL]
    told = ", ".join(f"{number} {word}" for number, word in found if number)
    well = "ALL WELL" if counted else "NOTHING KNOWN"
    return f"{report.title.upper()}: {told or well}"


def value(line: CheckLine) -> str:
    """What it is, in its unit or in words; why it is not known."""
    if line.text is not None:
        return line.text
    if line.value is not None:
        return humane(line.value, line.unit)
    return line.reason or "unknown"


def spoken(line: CheckLine) -> bool:
    """Whether its value is a sentence, which needs the room of the columns beside it."""
    return line.text is not None or line.value is None


def before(line: CheckLine) -> tuple[str, str]:
    """The same a day and a week ago; a dash where that is not known."""
    return humane(line.day_ago, line.unit), humane(line.week_ago, line.unit)


def state(line: CheckLine) -> str:
    """The verdict as a word; what does not apply to this service is no verdict."""
    return NONE if not line.counts and line.severity is Severity.UNKNOWN else line.severity.value


def merged(report: CheckReport) -> CheckReport:
    """The same with one line for all that does not apply to this service for one reason, at the end."""
    groups: dict[str, list[CheckLine]] = {}
    kept = []
    for line in report.lines:
        if state(line) == NONE and line.value is None and line.text is None:
            groups.setdefault(line.reason or "", []).append(line)
        else:
            kept.append(line)
    return replace(report, lines=(*kept, *map(_together, groups.values())))


def _together(lines: Sequence[CheckLine]) -> CheckLine:
    if len(lines) == 1:
        return lines[0]
    hints = {line.hint for line in lines}
    return replace(
        lines[0],
        title="Not looked at",
        reason=f"{lines[0].reason}: {', '.join(line.title for line in lines)}",
        hint=lines[0].hint if len(hints) == 1 else None,
        notes=(),
        detail=None,
    )


def remarks(line: CheckLine) -> list[str]:
    """Why it matters where it is not well, why it is not known, and what to do about that."""
    said = []
    if line.severity is not Severity.OK and line.counts:
        said += [line.reason] if line.reason and (line.value is not None or line.text is not None) else []
        said += [line.why] if line.severity is not Severity.UNKNOWN else []
        said += [line.hint] if line.hint else []
    elif line.hint and line.severity is Severity.UNKNOWN:
        said.append(line.hint)
    return [*said, *line.notes]


def identity(report: CheckReport) -> tuple[str, str, str]:
    return report.service, report.environment, clock(report.at)


def facts(report: CheckReport) -> list[str]:
    return [day(report.at), f"asked in {humane(report.duration_ms, 'ms')}"]


# --- markdown ----------------------------------------------------------------------------------


def checks_markdown(reports: Sequence[CheckReport]) -> str:
    """The reports to paste into a channel, worst first."""
    return "\n".join(_one(merged(inert(report))) for report in reports)


def _one(report: CheckReport) -> str:
    name, environment, when = identity(report)
    head = f"**{headline(report)}** ({report.severity.value})"
    blocks = [f"{head}\n{inline(name)} · {inline(environment)} · {day(report.at)} {when}"]
    blocks.append(code_block(_rows(report)))
    ill = [line for line in report.lines if line.severity is not Severity.OK and line.counts]
    blocks += ["\n".join(_remarked(line)) for line in ill]
    if report.notes:
        blocks.append("\n".join(["**Notes**", *(f"- {inline(note)}" for note in report.notes)]))
    return "\n\n".join(blocks) + "\n"


def _rows(report: CheckReport) -> list[str]:
    rows = [
        HEADS,
        *((state(n), n.title, cut(value(n), 60), n.target or "", *before(n)) for n in report.lines),
    ]
    numbers = [row for row, line in zip(rows[1:], report.lines, strict=True) if not spoken(line)]
    widths = [max(map(cells, column)) for column in zip(rows[0], *(numbers or rows), strict=True)]
    widths[0], widths[1] = (max(cells(row[i]) for row in rows) for i in (0, 1))
    found = []
    for row, line in zip(rows, [None, *report.lines], strict=True):
        shown = row if line is None or not spoken(line) else (*row[:3], *(["", "", ""]))
        found.append("  ".join(t.ljust(w) for t, w in zip(shown, widths, strict=True)).rstrip())
    return found


def _remarked(line: CheckLine) -> list[str]:
    found = [f"- **{line.severity.value}** {inline(line.title)}: {inline(value(line))}"]
    found += [f"  - {inline(text)}" for text in remarks(line)]
    return found + ([f"  - `{line.next.command}`"] if line.next and "`" not in line.next.command else [])


# --- a message ------------------------------------------------------------------------------------


def slack_text(report: CheckReport) -> str:
    """The report as plain lines for a channel: what is not well in full, then what is."""
    report = inert(report)
    name, environment, when = identity(report)
    lines = [f"{_SIGN[report.severity]} {headline(report)}", f"Service: {name} ({environment})"]
    lines.append(f"Time: {day(report.at)} {when}")
    for line in report.lines:
        if line.counts or line.severity is not Severity.UNKNOWN:
            wanted = f" (target: {line.target})" if line.target and line.severity is not Severity.OK else ""
            why = f", {line.reason}" if line.reason and value(line) != line.reason else ""
            lines.append(f"{_SIGN[line.severity]} {line.title}: {cut(value(line) + why, 200)}{wanted}")
            lines += [f"    {line.next.command}"] if line.next else []
    return "\n".join([*lines, *report.notes])


def detail(table: Table, most: int) -> tuple[list[tuple[str, ...]], int]:
    """The rows as text below their names, at most so many; and how many there are besides."""
    kept = [i for i in range(len(table.columns)) if any(row[i] is not None for row in table.rows)]
    names = tuple(table.columns[i].name for i in kept)
    rows = [
        tuple(NONE if row[i] is None else scalar(row[i], table.columns[i].unit) for i in kept)
        for row in table.rows[:most]
    ]
    return [names, *rows], max(0, len(table.rows) - most)
