"""The rows that the steps brought back, bounded."""

from collections.abc import Sequence

from rich.text import Text

from oncall.model import Column, Diagnosis, Scalar, StepReport
from oncall.numbers import humane, scalar
from oncall.render.grid import FAINT, HEADING, indented, line
from oncall.render.header import NARROW
from oncall.render.table import Field, table

MOST_ROWS = 6
FEW_ROWS = 3


def steps(d: Diagnosis, width: int, above: tuple[str, ...] = ()) -> list[list[Text]]:
    """One block a step that has rows, then one line that names those that found nothing.

    `above` are the tables that another issue's page has shown already."""
    blocks = [_block(step, width) for step in d.steps if step.status == "ok" and step.rows]
    empty = [step.title for step in d.steps if step.status == "ok" and not step.rows]
    if empty:
        blocks.append(indented(f"Nothing found by: {', '.join(empty)}", width))
    if above:
        blocks.append(indented(f"Shown above: {', '.join(above)}", width, style=FAINT))
    return blocks


def fields(names: Sequence[Column], rows: Sequence[Sequence[Scalar]]) -> list[Field]:
    """The columns that hold anything, as text."""
    shown = []
    for index, column in enumerate(names):
        values = [row[index] for row in rows]
        if any(value is not None for value in values):
            texts = tuple(scalar(value, column.unit) for value in values)
            shown.append(Field(column.name, texts, all(_is_figure(value) for value in values)))
    return shown


def _is_figure(value: Scalar) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _block(step: StepReport, width: int) -> list[Text]:
    took = f"{step.probe}, {humane(step.ms, 'ms')}" if step.ms is not None else step.probe
    head = indented(f"{step.title}  ({took})", width, style=HEADING)
    rows = step.rows[: MOST_ROWS if width >= NARROW else FEW_ROWS]
    shown = fields(step.columns, rows)
    body = table(shown, width, indent=2) if shown else [line("  ", "only empty values")]
    more = len(step.rows) - len(rows)
    notes = [f"{more} more rows: --output json has them all"] if more else []
    for note in [*notes, *step.notes]:
        body += indented(note, width, indent=2, style=FAINT)
    return [*head, *body]
