"""The format of a runbook: one issue as data. These types are also the JSON Schema that editors get."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from oncall.model import Frozen, Written
from oncall.model_service import SignalSpec
from oncall.runbook.expression import Expression
from oncall.units import Duration

Condition = Annotated[str, Meta(description="An expression over signals, step columns and values.")]
Template = Annotated[str, Meta(description="Text; {expression} or {expression|unit} is filled in.")]
Identifier = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]


PROBES = ("postgres", "sql", "promql", "health", "redis", "ollama", "systemd", "host", "network", "logs")


class StepSpec(Written, frozen=True):
    """One question to one backend. Exactly one of the keys in `PROBES` says which."""

    title: str
    why: str
    postgres: Annotated[str | None, Meta(description="One of the tool's own SQL files, by name.")] = None
    sql: Annotated[
        str | None, Meta(description="One SELECT of your own; :'application_name' is filled in.")
    ] = None
    promql: Annotated[
        str | None, Meta(description="A table from Prometheus; $selector and $window are filled in.")
    ] = None
    health: Annotated[str | None, Meta(description="A path of the service that answers health as JSON.")] = (
        None
    )
    redis: Annotated[
        Literal["server", "prefixes", "growing", "slowlog", "latency", "clients"] | None,
        Meta(description="What to look at in Redis; prefixes and growing are bounded samples."),
    ] = None
    ollama: Annotated[
        Literal["server", "models"] | None, Meta(description="Ollama itself, or its models.")
    ] = None
    systemd: Annotated[Literal["state"] | None, Meta(description="The service's systemd unit.")] = None
    host: Annotated[
        Literal["state"] | None, Meta(description="CPU, memory, load and pressure of the service's machine.")
    ] = None
    network: Annotated[
        Literal["backends"] | None, Meta(description="The time of a TCP connect to each backend.")
    ] = None
    logs: Annotated[
        Literal["errors", "templates"] | None,
        Meta(description="Error lines of the log file or the unit's journal, now against the baseline."),
    ] = None
    deadline: Annotated[
        Duration | None, Meta(description="Longest wait of a step, such as 2s; not of a postgres or sql one.")
    ] = None
    unit: Annotated[str | None, Meta(description="Unit of the column `value` of a promql step.")] = None
    optional: Annotated[
        bool, Meta(description="The verdict does not need it: where it is missing, ok stays ok.")
    ] = False


class EvidenceSpec(Written, frozen=True):
    """A reading judged for or against a cause."""

    id: Identifier
    when: Condition
    text: Template
    otherwise: Annotated[Template | None, Meta(description="The text where the condition does not hold.")] = (
        None
    )
    why: Annotated[str | None, Meta(description="The mechanism that makes this evidence.")] = None
    weight: Annotated[int, Meta(ge=1, le=5)] = 1
    decisive: Annotated[bool, Meta(description="Shows the mechanism itself; confirmed needs one.")] = False
    against: Annotated[bool, Meta(description="Speaks against the cause; decisive: rules it out.")] = False
    unless: Annotated[
        Condition | None,
        Meta(description="Where this holds or cannot be told, the evidence decides nothing; it supports."),
    ] = None
    onset_of: Annotated[
        str | None, Meta(description="A signal that must not have changed later than the symptom did.")
    ] = None
    value: Condition | None = None
    baseline: Condition | None = None


class NextSpec(Written, frozen=True):
    command: Template
    why: Template
    when: Condition | None = None


class CauseSpec(Written, frozen=True):
    title: str
    why: Annotated[str, Meta(description="The mechanism: how this cause makes the symptom.")]
    evidence: tuple[EvidenceSpec, ...]
    explains: Annotated[
        Condition | None, Meta(description="How much of the issue's `explain` this cause accounts for.")
    ] = None
    next: tuple[NextSpec, ...] = ()
    advice: tuple[Template, ...] = ()


class Special(Written, frozen=True):
    when: Condition
    text: str


class Headlines(Written, frozen=True):
    """The first words of the report, by severity."""

    ok: str
    warning: str
    critical: str
    unknown: str
    special: Annotated[
        tuple[Special, ...], Meta(description="Words that go first where their condition holds.")
    ] = ()


class Pointer(Written, frozen=True):
    """Where to go on by hand, where no cause of this issue stands out and the condition holds."""

    when: Condition
    text: Template
    command: Template | None = None


class RunbookFile(Written, frozen=True):
    """A file of `runbooks/`: an issue, or signals only."""

    issue: Identifier | None = None
    title: str | None = None
    headlines: Headlines | None = None
    alerts: Annotated[tuple[str, ...], Meta(description="Names of alerts that this runbook answers.")] = ()
    symptoms: Annotated[
        tuple[str, ...], Meta(description="Signals that decide the severity; the first must be readable.")
    ] = ()
    signals: dict[Identifier, SignalSpec] = {}
    patterns: Annotated[
        dict[Identifier, str],
        Meta(
            description="Regular expressions that the `logs` steps count in messages, as columns of that name."
        ),
    ] = {}
    steps: dict[Identifier, StepSpec] = {}
    values: Annotated[
        dict[Identifier, Condition], Meta(description="Named formulas for use in conditions and texts.")
    ] = {}
    explain: Annotated[
        Condition | None, Meta(description="What the causes share out, such as the connections in use.")
    ] = None
    causes: dict[Identifier, CauseSpec] = {}
    look: Annotated[str | None, Meta(description="What to look at by hand where no cause stands out.")] = None
    pointers: Annotated[
        tuple[Pointer, ...],
        Meta(description="Better than `look`, where one of them holds; the first one counts."),
    ] = ()


class Runbook(msgspec.Struct, frozen=True, kw_only=True):
    """A checked runbook: its file, every signal that it may read, every expression parsed."""

    issue: str
    title: str
    path: Path
    spec: RunbookFile
    signals: Mapping[str, SignalSpec]
    shown: tuple[str, ...]
    """Signals to show and judge: the runbook's own and those that it names, in order."""
    expressions: Mapping[str, Expression]
    patterns: Mapping[str, str] = {}

    def expression(self, text: str) -> Expression:
        return self.expressions[text]


class Place(Frozen, frozen=True):
    """A place in a template: the expression and the unit to print it in."""

    expression: str
    unit: str | None
