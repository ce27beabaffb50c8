"""Types of the deployment watch: the mark, what is known before and after it, the verdict."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from oncall.model import Frozen, Next, Table


class Decision(StrEnum):
    """What a deployment watch ends with. Unknown never keeps."""

    KEEP = "keep"
    WATCH = "watch"
    ROLL_BACK = "roll_back"
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """The time since the deploy, each with targets of its own."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


PHASE_S = {Phase.HOUR: 3600.0, Phase.DAY: 86_400.0, Phase.WEEK: 604_800.0}


class InstanceStarts(Frozen, frozen=True):
    """When the process of one instance began anew: with the deploy, and after it."""

    instance: str
    starts: tuple[datetime, ...]


class DeployMark(Frozen, frozen=True):
    """The moment of the deploy. A rolling one begins at `at` and is settled when its last instance has begun.

    `reason`: why there is no mark."""

    at: datetime | None = None
    settled: datetime | None = None
    given: bool = False
    """It was told with --since; else it is the last change of the start times in Prometheus."""
    instances: tuple[InstanceStarts, ...] = ()
    untouched: tuple[str, ...] = ()
    """Instances that run and did not restart."""
    reason: str | None = None
    hint: str | None = None


class DeployLine(Frozen, frozen=True):
    """One rule of the phase, judged. Numbers in `unit`; what is not known is None, and `text` says why."""

    id: str
    title: str
    decision: Decision
    text: str
    """Why this decision, in words."""
    why: str
    """Why it matters."""
    weight: Literal["rolls back", "watches"]
    """What this rule can bring about at most."""
    source: str
    unit: str | None = None
    target: str | None = None
    """What it should be, in words: `below 0.5%`."""
    bound: float | None = None
    after: float | None = None
    """Over all of the time since the deploy settled."""
    recent: float | None = None
    """Over the last few minutes of it."""
    before: float | None = None
    """Over the time before the mark."""
    day_ago: float | None = None
    week_ago: float | None = None
    """Over the same time of yesterday and of last week, where history has it."""
    shift: float | None = None
    """(after - the worst of what was usual) in units of the usual spread; positive is worse."""
    weak: bool = False
    """Too few samples or events to rely on."""
    samples_before: int = 0
    samples_after: int = 0
    history: tuple[float | None, ...] = ()
    """At most 60 points, oldest first; the first `history_before` of them are before the mark."""
    history_before: int = 0
    query: str | None = None
    age_s: float | None = None
    hint: str | None = None
    counts: bool = True
    """It takes part in the verdict."""
    telling: bool = False
    """Its text is worth reading though it is kept."""
    next: Next | None = None
    detail: Table | None = None


class DeployReport(Frozen, frozen=True, tag_field="schema", tag="oncall/deploy/1"):
    """A deploy, watched: the verdict so far, and each line that it rests on, worst first. Its JSON is a contract."""

    service: str
    environment: str
    at: datetime
    """The end of the time that is judged."""
    duration_ms: int
    verdict: Decision
    summary: str
    """One sentence: what decided."""
    phase: Phase
    mark: DeployMark
    since_s: float | None
    """Seconds from the mark to `at`."""
    before_s: float | None
    """Seconds before the mark that it is compared with."""
    over: bool
    """The phase is over: a later look says the same."""
    lines: tuple[DeployLine, ...]
    next: Next | None = None
    notes: tuple[str, ...] = ()
