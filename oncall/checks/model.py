"""The format of a check file: the lines of one check as data. These types are also what the loader checks against."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from oncall.model import Frozen, Written
from oncall.model_service import SignalSpec
from oncall.runbook.model import Condition, Identifier, Runbook, StepSpec, Template
from oncall.units import Duration

Probe = Literal[
    "alerts",
    "backups",
    "capacity",
    "certificates",
    "disk",
    "endpoints",
    "health",
    "links",
    "optimise",
    "rules",
    "runbooks",
    "trends",
]
DAY_S, WEEK_S = 86_400.0, 604_800.0


class LineSpec(Written, frozen=True):
    """One line of a check. Exactly one of `signal`, `value` and `probe` says where it comes from."""

    why: Annotated[str, Meta(description="Why it matters: said where it is not ok.")]
    title: Annotated[str | None, Meta(description="That of the signal unless told.")] = None
    signal: Annotated[str | None, Meta(description="A signal, of this file or of signals.yaml.")] = None
    value: Annotated[Condition | None, Meta(description="A formula over columns of steps and values.")] = None
    probe: Annotated[
        Probe | None, Meta(description="One of the tool's own looks; may give several lines.")
    ] = None
    over: Annotated[
        Duration | None, Meta(description="The time that a signal or probe is looked at over, such as 24h.")
    ] = None
    by: Annotated[
        Literal["avg", "max", "min", "last"],
        Meta(description="How the values of a gauge over that time become one; rates are over all of it."),
    ] = "last"
    unit: Annotated[str | None, Meta(description="Of a `value`; a signal has its own.")] = None
    target: Annotated[str | None, Meta(description="What it should be, in words.")] = None
    warning: Annotated[float | None, Meta(description="Instead of the signal's own bound.")] = None
    critical: float | None = None
    below: Annotated[bool | None, Meta(description="The lower the worse; as the signal has it.")] = None
    text: Annotated[Template | None, Meta(description="Said beside the value.")] = None
    of: Annotated[
        tuple[str, ...],
        Meta(description="The signals that a probe is about: of capacity, trends, endpoints and optimise."),
    ] = ()
    detail: Annotated[Identifier | None, Meta(description="A step whose rows are shown below.")] = None
    issue: Annotated[str | None, Meta(description="The issue to diagnose where it is not ok.")] = None
    optional: Annotated[
        bool, Meta(description="Where it is missing, ok stays ok: not every service exports it.")
    ] = False
    part: Annotated[str | None, Meta(description="The heading that it stands under.")] = None


class CheckFile(Written, frozen=True):
    """A file of `runbooks/checks/`."""

    check: Identifier
    title: str
    signals: dict[Identifier, SignalSpec] = {}
    steps: dict[Identifier, StepSpec] = {}
    values: dict[Identifier, Condition] = {}
    lines: dict[Identifier, LineSpec] = {}


class Check(Frozen, frozen=True):
    """A checked file: its steps and formulas as a runbook without causes, so that the same engine asks them."""

    name: str
    title: str
    lines: Mapping[str, LineSpec]
    signals: Mapping[str, SignalSpec]
    """Every signal that a line may name."""
    book: Runbook
