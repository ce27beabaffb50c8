"""The audit log as pages for a terminal: its actions, one of them in full, whether it is whole."""

from collections.abc import Iterable

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_acts import AuditList, AuditShown, AuditVerified
from oncall.numbers import NONE
from oncall.render import acts
from oncall.render.act_words import clipped, guard_sign, guard_text, ranked_symptoms, result_sign, result_text
from oncall.render.audit_words import (
    HEADS,
    Did,
    actions,
    ended,
    facts,
    guards_of,
    identity,
    list_headline,
    open_told,
    row,
    safe_shown,
    verdict,
)
from oncall.render.command import command_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, GAP, HEADING, SEVERITY_STYLE, Cell, indented, labelled, line, marked
from oncall.render.header import NARROW, titled
from oncall.render.inert import inert
from oncall.render.table import Field, table
from oncall.render.text import cells, cut

_NAME, _LABEL = 60, 16
_UNKNOWN = SEVERITY_STYLE[Severity.UNKNOWN]


def audit_page(
    found: AuditList | AuditShown | AuditVerified, *, width: int, ascii_only: bool = False
) -> Group:
    """The page, at most `width` cells wide."""
    width = page_width(width)
    if isinstance(found, AuditList):
        blocks = _list(inert(found, ascii_only=ascii_only), width)
    elif isinstance(found, AuditShown):
        blocks = _shown(safe_shown(found, ascii_only=ascii_only), width, "->" if ascii_only else "→")
    else:
        blocks = _verified(inert(found, ascii_only=ascii_only), width)
    return page(blocks, [], ascii_only=ascii_only, height=None)


def _open(numbers: tuple[int, ...], width: int) -> list[Text]:
    """What was begun and has no known end, with the command that shows it."""
    lines: list[Text] = []
    for text, command in open_told(numbers):
        lines += marked("?", _UNKNOWN, indented(text, width - 2))
        lines += command_lines(command, width, indent=2)
    return lines


def _list(found: AuditList, width: int) -> list[list[Text]]:
    shown = actions(found)
    rows = [row(did) for did in shown]
    fields = [
        Field(head, tuple(cut(told[index], _NAME) for told in rows), figures=index == 0)
        for index, head in enumerate(HEADS)
    ]
    listed = table(fields, width, whole=True) if rows else []
    for text, did in zip(listed[1:], shown, strict=False):
        word, severity = ended(did)
        text.highlight_words([word], SEVERITY_STYLE[severity] if severity is not Severity.OK else "")
    return [
        indented(list_headline(found), width, style=HEADING),
        _open(found.open, width),
        listed,
        acts.notes(found.notes, width),
        indented(found.path, width, style=FAINT),
    ]


def _shown(found: AuditShown, width: int, arrow: str) -> list[list[Text]]:
    entry, outcome = found.entry, found.outcome
    word, severity = ended(Did(entry, outcome))
    title = Cell(cut(entry.action, _NAME).replace("-", " ").upper(), HEADING)
    head = titled(title, ((identity(found), True),), Cell(word, SEVERITY_STYLE[severity]), width)
    proof = outcome.verification if outcome else None
    results = (
        [(*result_sign(r), f"{cut(r.id, _NAME)}: {result_text(r)}") for r in outcome.results]
        if outcome
        else []
    )
    guards = [(guard_sign(g), _severity(g.state), f"{g.name}: {guard_text(g)}") for g in guards_of(found)]
    blocks = [[*head, *_facts(facts(found), width)], _signed("Guards", guards, width)]
    blocks += [_signed("Results", results, width)]
    if proof:
        checks = acts.checks(proof.checks, width)
        blocks += [[line(("Checks", HEADING)), *checks] if checks else []]
        blocks += [acts.symptoms(ranked_symptoms(proof.symptoms), width, arrow=arrow)]
    return [*blocks, indented(found.path, width, style=FAINT)]


def _facts(rows: list[tuple[str, str]], width: int) -> list[Text]:
    lines: list[Text] = []
    indent = GAP + max(cells(cut(label, _LABEL)) for label, _ in rows)
    for label, text in rows:
        name, said = Cell(cut(label, _LABEL), HEADING), clipped(text)
        if width < NARROW:
            lines += [line(name), *indented(said, width, indent=2)]
        else:
            lines += labelled(name, Cell(said), width, indent=indent)
    return lines


def _severity(state: str) -> Severity:
    return {"refused": Severity.CRITICAL, "unknown": Severity.UNKNOWN, "overridden": Severity.WARNING}.get(
        state, Severity.OK
    )


def _signed(title: str, rows: Iterable[tuple[str, Severity, str]], width: int) -> list[Text]:
    lines: list[Text] = []
    for sign, severity, text in rows:
        lines += marked(sign, SEVERITY_STYLE[severity], indented(clipped(text), width - 2))
    return [line((title, HEADING)), *lines] if lines else []


def _verified(found: AuditVerified, width: int) -> list[list[Text]]:
    said, severity = verdict(found)
    reason = indented(clipped(found.reason), width) if found.reason else []
    return [
        [*indented(said, width, style=SEVERITY_STYLE[severity]), *reason],
        _open(found.open, width),
        acts.notes(found.notes, width),
        indented(found.path or NONE, width, style=FAINT),
    ]
