"""Types of the dashboards: what each panel shows, judged, ready to be drawn."""

from datetime import datetime
from typing import Literal

from oncall.model import Frozen, Severity, Table

Kind = Literal["gauge", "series", "bars", "table", "state", "counter"]


class Line(Frozen, frozen=True):
    """One line of a chart, on the grid of the board: oldest first, None where nothing is known."""

    name: str
    values: tuple[float | None, ...]
    now: float | None = None


class Bar(Frozen, frozen=True):
    """One bar, longest first."""

    name: str
    value: float
    severity: Severity


class Aside(Frozen, frozen=True):
    """A number said beside a chart, in a unit of its own."""

    name: str
    value: float | None
    unit: str | None = None


class Panel(Frozen, frozen=True):
    """One panel. `value` is in `unit`; `reason` says why there is nothing to show, or why it is not the present.

    A panel without bands has the severity ok where it was read; it is unknown where it was not."""

    id: str
    title: str
    kind: Kind
    severity: Severity
    judged: bool
    """It has bands, and takes part in the verdict of the board."""
    why: str = ""
    unit: str | None = None
    value: float | None = None
    of: float | None = None
    """The whole that it is a part of, in the same unit: shown as 19/20."""
    warning: float | None = None
    critical: float | None = None
    below: bool = False
    """The lower the worse."""
    lines: tuple[Line, ...] = ()
    """Of a series each; of other kinds the course of its value, if that is known."""
    asides: tuple[Aside, ...] = ()
    bars: tuple[Bar, ...] = ()
    table: Table | None = None
    source: str = ""
    queries: tuple[str, ...] = ()
    age_s: float | None = None
    reason: str | None = None
    hint: str | None = None
    notes: tuple[str, ...] = ()
    bands_note: str | None = None
    """Why its bands are not those of the alerts."""


class Board(Frozen, frozen=True, tag_field="schema", tag="oncall/dashboard/1"):
    """One dashboard of one service at one moment. Its JSON is a contract."""

    service: str
    environment: str
    dashboard: str
    title: str
    at: datetime
    duration_ms: int
    severity: Severity
    """The worst of its bands; unknown where none of what decides could be read."""
    range_s: float
    step_s: float
    """Distance of two points of a line."""
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()
