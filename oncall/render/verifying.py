"""The live table while it is measured whether an act helped: redrawn in place, so a line each and never many."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_acts import ActionPlan, Check, SymptomChange
from oncall.numbers import humane
from oncall.render.act_words import capitals, check_sign, few, harmless, named
from oncall.render.acts import symptoms as symptom_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, Cell, line
from oncall.render.header import titled
from oncall.render.inert import inert
from oncall.render.text import cells, cut

_MOST = 6


def verifying(
    plan: ActionPlan,
    symptoms: Sequence[SymptomChange],
    checks: Sequence[Check],
    elapsed_s: float,
    wait_s: float,
    width: int,
    ascii_only: bool = False,
) -> Group:
    """What is measured, before and now, and what is waited for and how long still (seconds since the act, at most).

    For `rich.live.Live`: as high as there are symptoms and checks, at most six of each."""
    width = page_width(width)
    plan = harmless(plan, ascii_only=ascii_only)
    known = [inert(symptom, ascii_only=ascii_only) for symptom in symptoms]
    proofs = [inert(check, ascii_only=ascii_only) for check in checks]
    lines = _head(plan, elapsed_s, wait_s, width)
    lines += symptom_lines(known, width, arrow="->" if ascii_only else "→", most=_MOST, compact=True)
    lines += [_check(check, width) for check in few(proofs, _MOST)[0]]
    lines.append(_awaited(known, proofs, wait_s - elapsed_s, width))
    return page([lines], lines, ascii_only=ascii_only, height=None)


def _head(plan: ActionPlan, elapsed_s: float, wait_s: float, width: int) -> list[Text]:
    whose = [capitals(plan).lower(), *named(plan)]
    passed = f"{_seconds(elapsed_s)} of {_seconds(wait_s)}"
    ways = ((whose, True), (whose[:2], True), (whose[:2], False))
    shown = titled(Cell("VERIFYING", HEADING), ways, Cell(passed, FAINT), width)
    return shown if len(shown) == 1 else [line(("VERIFYING", HEADING), "  ", cut(passed, width - 11))]


def _seconds(value: float) -> str:
    """Whole ones: tenths would flicker."""
    return humane(round(value), "seconds") if 0 <= value < 1e9 else humane(max(value, 0.0), "seconds")


def _check(check: Check, width: int) -> Text:
    sign, severity = check_sign(check)
    return line((sign, SEVERITY_STYLE[severity]), " ", cut(check.text, width - 2))


def _awaited(symptoms: Sequence[SymptomChange], checks: Sequence[Check], left_s: float, width: int) -> Text:
    """What is waited for, and how long still."""
    bad = [s.title for s in symptoms if s.severity is not Severity.OK]
    bad += [check.text for check in checks if not check.holds]
    if bad:
        what = f"waiting for {', '.join(bad)}"
    else:
        what = "well; looking once more" if symptoms or checks else "waiting for the first measurement"
    end = f"; {_seconds(left_s)} left" if left_s > 0 else "; the time is up"
    room = width - cells(end)
    return line(cut(what, room), (end, FAINT)) if room > 0 else line(cut(end.lstrip("; "), width))
