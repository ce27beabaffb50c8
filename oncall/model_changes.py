"""What changed, of every series of a service: the JSON of `oncall changes`."""

from datetime import datetime
from typing import Literal

from oncall.model import Frozen


class ChangeReport(Frozen, frozen=True):
    """One series against its baseline. `before` and `now` are medians, in `unit`.

    A series that appeared has no `before` (a counter that appeared in a process that was there counted nothing: 0),
    one that ended has no `now`; `shift` is None where one of them is."""

    metric: str
    """As it is exported, or how it was made of that: `mean(x)`, `rate(x_count)`, `age(x)`."""
    labels: dict[str, str]
    before: float | None
    now: float | None
    shift: float | None
    """(now - before) in units of the baseline's spread, which has a floor."""
    direction: Literal["up", "down"]
    onset: datetime | None
    weak: bool
    """The baseline holds too few samples to rely on."""
    unit: str | None = None
    clear: bool = True
    """It counts as changed: a clear shift, or a series that appeared or ended."""
    new: bool = False
    gone: bool = False
    history: tuple[float | None, ...] = ()
    """At most 60 points over baseline and window, oldest first, for a sparkline."""


class LeftOut(Frozen, frozen=True):
    """Series that were not compared, and why; `metric` where they all belong to one."""

    series: int
    reason: str
    metric: str | None = None


class Changes(Frozen, frozen=True, tag_field="schema", tag="oncall/changes/1"):
    """Every series of a service, ranked by how far it moved from its baseline. Its JSON is a contract."""

    service: str
    at: datetime
    window_s: float
    baseline_s: float
    compared: int
    changes: tuple[ChangeReport, ...]
    changed: int = 0
    """How many changed clearly; `changes` holds the first of the ranking."""
    reason: str | None = None
    """Why nothing can be told, or not all; None where all was read."""
    hint: str | None = None
    environment: str = ""
    source: str | None = None
    """host:port of the server that was asked."""
    duration_ms: int = 0
    first: ChangeReport | None = None
    """The clear change that began first."""
    common: dict[str, str] = {}
    """Labels that all compared series share."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
