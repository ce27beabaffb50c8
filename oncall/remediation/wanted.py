"""What was asked for, what was seen before the act, and who is told meanwhile."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oncall.diagnosis.plan import Plan as Asking
from oncall.diagnosis.readings import Gathered
from oncall.model import (
    Diagnosis,
    Severity,
    worst,
)
from oncall.model_acts import ActionPlan, SymptomChange
from oncall.remediation.action import Action

WAIT_S, TIMEOUT_S = 120.0, 10.0


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `address` is what names the same service on a command line; `argv` goes into the audit."""

    action: Action
    confirm: bool = False
    issue: str | None = None
    alert: str | None = None
    plan: str | None = None
    wait_s: float = WAIT_S
    overrides: tuple[str, ...] = ()
    reason: str | None = None
    runbooks: Path | None = None
    timeout_s: float = TIMEOUT_S
    address: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()

    @property
    def about(self) -> tuple[str, ...]:
        """Whose symptoms, in the words of the command line."""
        if self.alert:
            return ("--alert", self.alert)
        return ("--issue", self.issue) if self.issue else ()


class Reporter(Protocol):
    """What a person sees meanwhile."""

    def waiting(self, backend: str, state: str) -> None: ...
    async def about_to(self, plan: ActionPlan) -> None: ...
    def tell(self, line: str) -> None: ...
    def measured(self, symptoms: tuple[SymptomChange, ...], elapsed_s: float) -> None: ...


@dataclass
class Before:
    """The look before the act: what was read, and what it means."""

    issues: tuple[str, ...]
    asking: Asking
    gathered: Gathered
    took_ms: int
    found: list[Diagnosis] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        return worst(d.severity for d in self.found)

    @property
    def instances(self) -> int:
        return max((r.instances or 1 for r in self.gathered.signals.values()), default=1)

    @property
    def pools(self) -> int:
        """Instances that say how full their pool is, or how large."""
        signals = self.gathered.signals
        return max(
            (signals[n].instances or 1 for n in ("pool_active", "pool_size") if n in signals), default=1
        )
