"""What a deployment watch says, in words: shared by its page, its markdown, its lines and its message. No rich."""

from collections.abc import Sequence

from oncall.model import Severity
from oncall.model_deploy import Decision, DeployLine, DeployMark, DeployReport, Phase
from oncall.numbers import clock, day, duration, humane
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cells, cut

OTHER_DAYS = (6, 7)
"""The columns of yesterday and last week."""
HEADS = ("", "", "target", "before", "after", "now", "yesterday", "last week")
SEVERITY = {
    Decision.KEEP: Severity.OK,
    Decision.WATCH: Severity.WARNING,
    Decision.ROLL_BACK: Severity.CRITICAL,
    Decision.UNKNOWN: Severity.UNKNOWN,
}
WORD = {
    Decision.KEEP: "keep",
    Decision.WATCH: "watch",
    Decision.ROLL_BACK: "roll back",
    Decision.UNKNOWN: "unknown",
}
_PHASE = {Phase.HOUR: "first hour", Phase.DAY: "first day", Phase.WEEK: "first week"}
_SIGN = {Decision.KEEP: "🟢", Decision.WATCH: "🟡", Decision.ROLL_BACK: "🔴", Decision.UNKNOWN: "⚪"}


def headline(report: DeployReport) -> str:
    """`ROLL BACK`; a good verdict before the phase is over is one so far."""
    word = WORD[report.verdict].upper()
    early = report.verdict is Decision.KEEP and not report.over
    return f"{word} SO FAR" if early else word


def phase(report: DeployReport) -> str:
    return _PHASE[report.phase]


def identity(report: DeployReport) -> tuple[str, str, str]:
    return report.service, report.environment, clock(report.at)


def deployed(report: DeployReport) -> str:
    """When it was, how long it took, how many instances: `10:00:12 to 10:04:30 UTC, 3 instances, 20 min ago`."""
    mark = report.mark
    if mark.at is None:
        return mark.reason or "not known"
    date = f"{day(mark.at)} " if mark.at.date() != report.at.date() else ""
    said = [f"{date}{_times(mark)}{' (told by --since)' if mark.given else ''}"]
    if mark.instances:
        count = len(mark.instances)
        of = f" of {count + len(mark.untouched)}" if mark.untouched else ""
        said.append(f"{count}{of} instance{'s' if count + len(mark.untouched) > 1 else ''}")
    if report.since_s is not None and not report.over:
        said.append(f"{ago(report.since_s)} ago")
    if mark.reason:
        said.append(mark.reason)
    return ", ".join(said)


def _times(mark: DeployMark) -> str:
    assert mark.at is not None
    if mark.settled is None or mark.settled == mark.at:
        return clock(mark.at)
    return f"{mark.at:%H:%M:%S} to {clock(mark.settled)}"


def ago(seconds: float) -> str:
    """To the second in the first minutes, then to the minute."""
    return duration(max(1.0, float(round(seconds) if seconds < 600 else 60 * round(seconds / 60))))


def compared(report: DeployReport) -> str:
    """With what it is compared."""
    return f"compared with the {duration(report.before_s)} before it" if report.before_s else ""


def state(line: DeployLine) -> str:
    """The decision as a word; what could not be read and need not be is none."""
    return "–" if not line.counts and line.decision is Decision.UNKNOWN else WORD[line.decision]


def spoken(line: DeployLine) -> bool:
    """Whether it says a sentence in the room of the numbers: a count, or why there is no number."""
    return line.after is None or line.before is None or line.query is None


def numbers(line: DeployLine) -> tuple[str, ...]:
    """Target, before, after, now, yesterday, last week."""
    shown = (line.before, line.after, line.recent, line.day_ago, line.week_ago)
    return (line.target or "", *(humane(value, line.unit) for value in shown))


def other_days(report: DeployReport) -> tuple[bool, bool]:
    """Whether anything is known of yesterday and of last week."""
    lines = report.lines
    return any(n.day_ago is not None for n in lines), any(n.week_ago is not None for n in lines)


def remarks(report: DeployReport) -> list[tuple[str, Decision, list[str]]]:
    """What is to be said of the lines that are not kept: their titles, the decision, the sentences.

    Lines of which the same is to be said are named together."""
    found: dict[tuple[Decision, tuple[str, ...]], list[str]] = {}
    for each in report.lines:
        said = tuple(text for text in _said(each) if text not in report.summary)
        if said:
            found.setdefault((each.decision, said), []).append(each.title)
    return [(", ".join(titles), decision, list(said)) for (decision, said), titles in found.items()]


def _said(line: DeployLine) -> list[str]:
    """Why it is not kept, why it matters, what to do about what is not known."""
    if line.decision is Decision.KEEP or not line.counts:
        return [line.text] if line.telling and line.counts else []
    said = [] if spoken(line) else [line.text]
    said += [line.why] if line.decision in (Decision.WATCH, Decision.ROLL_BACK) and not line.weak else []
    return said + ([line.hint] if line.hint else [])


def facts(report: DeployReport) -> list[str]:
    return [day(report.at), compared(report), f"asked in {humane(report.duration_ms, 'ms')}"]


def progress_line(report: DeployReport) -> str:
    """One look in one line, for a log: when, how long since, the verdict, why."""
    report = inert(report)
    since = f"+{ago(report.since_s)}" if report.since_s is not None else "no mark"
    return f"{clock(report.at)}  {since}  {WORD[report.verdict]}: {cut(report.summary, 160)}"


# --- markdown --------------------------------------------------------------------------------------


def deploy_markdown(report: DeployReport) -> str:
    """The report to paste into a channel."""
    report = inert(report)
    name, environment, when = identity(report)
    head = f"**{headline(report)}** ({phase(report)})"
    blocks = [f"{head}\n{inline(name)} · {inline(environment)} · {day(report.at)} {when}"]
    blocks.append(f"**Why:** {inline(report.summary)}\n**Deploy:** {inline(deployed(report))}")
    if report.next is not None:
        blocks.append(f"**Next:** {inline(report.next.why)}\n{code_block([report.next.command])}")
    if report.lines:
        blocks.append(code_block(_rows(report)))
    ill = [_remarked(*said) for said in remarks(report)]
    blocks += ["\n".join(ill)] if ill else []
    notes = [*([report.mark.hint] if report.mark.hint else []), *report.notes]
    blocks += ["\n".join(["**Notes**", *(f"- {inline(note)}" for note in notes)])] if notes else []
    return "\n\n".join(blocks) + "\n"


def _rows(report: DeployReport) -> list[str]:
    numbered = [(state(n), n.title, *numbers(n)) for n in report.lines if not spoken(n)]
    widths = [max(map(cells, column)) for column in zip(HEADS, *numbered, strict=True)]
    widths[:2] = [max(cells(text) for text in found) for found in _firsts(report)]
    for index, known in zip(OTHER_DAYS, other_days(report), strict=True):
        widths[index] = widths[index] if known else 0
    found = [_row(HEADS, widths)] if numbered else []
    for line in report.lines:
        rest = (cut(line.text, 60),) if spoken(line) else numbers(line)
        found.append(_row((state(line), line.title, *rest), widths))
    return found


def _row(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(t.ljust(w) for t, w in zip(texts, widths, strict=False) if w).rstrip()


def _firsts(report: DeployReport) -> tuple[list[str], list[str]]:
    return [state(n) for n in report.lines], [n.title for n in report.lines]


def _remarked(titles: str, decision: Decision, said: list[str]) -> str:
    return "\n".join([f"- **{WORD[decision]}** {inline(titles)}", *(f"  - {inline(text)}" for text in said)])


# --- a message -----------------------------------------------------------------------------------------


def slack_text(report: DeployReport) -> str:
    """The verdict as plain lines for a channel: what decided in full, then the rest."""
    report = inert(report)
    name, environment, when = identity(report)
    lines = [f"{_SIGN[report.verdict]} {headline(report)}: {cut(report.summary, 300)}"]
    lines += [f"Service: {name} ({environment})", f"Deploy: {deployed(report)}; {phase(report)}"]
    lines.append(f"Time: {day(report.at)} {when}")
    for line in report.lines:
        if line.counts or line.decision is not Decision.UNKNOWN:
            kept = line.decision is Decision.KEEP
            value = f"{humane(line.after, line.unit)}, " if kept and not spoken(line) else ""
            wanted = "" if kept or spoken(line) else f" (target: {line.target})"
            lines.append(f"{_SIGN[line.decision]} {line.title}: {value}{cut(line.text, 200)}{wanted}")
    return "\n".join([*lines, *([report.next.command] if report.next else [])])
