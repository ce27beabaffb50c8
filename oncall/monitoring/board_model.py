"""The format of a dashboard's file: its panels as data. These types are also what the loader checks against."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from oncall.model import Frozen, Written
from oncall.model_boards import Kind
from oncall.model_service import SignalSpec
from oncall.runbook.model import Identifier


class Bands(Written, frozen=True):
    """Bounds of a panel that are not those of its signal, and why they are not."""

    why: str
    warning: float | None = None
    critical: float | None = None
    share_of: str | None = None


class PanelSpec(Written, frozen=True):
    """One panel. What it shows comes from `signals`, from `sql`, or from both."""

    title: str
    kind: Kind
    why: Annotated[str, Meta(description="What the panel tells.")]
    signals: Annotated[
        tuple[str, ...], Meta(description="Of this file or of signals.yaml; a line each for a series.")
    ] = ()
    names: Annotated[tuple[str, ...], Meta(description="Of the lines; the signals' titles unless told.")] = ()
    beside: Annotated[tuple[str, ...], Meta(description="Signals whose number stands beside a chart.")] = ()
    by: Annotated[
        str | None, Meta(description="The label of bars: one for each of its values, largest first.")
    ] = None
    top: Annotated[int, Meta(description="Bars at most.", ge=1, le=50)] = 10
    bands: Bands | None = None
    sql: Annotated[
        str | None, Meta(description="One SELECT: the rows of a table, or one row with the column `value`.")
    ] = None
    prefer: Annotated[
        Literal["signals", "sql"], Meta(description="Which is shown where both give a value.")
    ] = "signals"
    counter: Annotated[
        bool, Meta(description="The value of `sql` only grows; how fast, by two looks, is shown.")
    ] = False
    note: Annotated[str | None, Meta(description="What is to be known of the answer of `sql`.")] = None
    empty: Annotated[str | None, Meta(description="Said where there are no rows or bars.")] = None


class BoardFile(Written, frozen=True):
    """A file of `runbooks/dashboards/`."""

    dashboard: Identifier
    title: str
    panels: dict[Identifier, PanelSpec]
    signals: dict[Identifier, SignalSpec] = {}


class BoardSpec(Frozen, frozen=True):
    """A checked file, and every signal that its panels may name."""

    name: str
    title: str
    panels: Mapping[str, PanelSpec]
    signals: Mapping[str, SignalSpec]
