"""A runbook as it is shown: the JSON of `oncall runbook show`."""

from oncall.model import Frozen


class ShownSignal(Frozen, frozen=True):
    id: str
    title: str
    query: str | None
    bounds: str


class ShownStep(Frozen, frozen=True):
    id: str
    title: str
    why: str
    probe: str
    query: str
    """The exact SQL, PromQL or request, ready to paste."""


class ShownEvidence(Frozen, frozen=True):
    id: str
    when: str
    role: str
    why: str | None


class ShownCause(Frozen, frozen=True):
    id: str
    title: str
    why: str
    evidence: tuple[ShownEvidence, ...]
    next: tuple[str, ...]
    advice: tuple[str, ...]


class ShownRunbook(Frozen, frozen=True, tag_field="schema", tag="oncall/runbook/1"):
    """A runbook with every query filled in for one service."""

    issue: str
    title: str
    path: str
    signals: tuple[ShownSignal, ...]
    values: dict[str, str]
    steps: tuple[ShownStep, ...]
    causes: tuple[ShownCause, ...]
