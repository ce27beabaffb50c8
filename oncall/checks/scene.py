"""What every look of a check needs: the service, the moment, the time there is, and the servers already spoken to."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from oncall.checks.model import Check, LineSpec
from oncall.model import Frozen, Next, Severity
from oncall.model_checks import CheckLine
from oncall.model_service import Service

if TYPE_CHECKING:
    from oncall.clients.prometheus import Prometheus
    from oncall.runbook.loader import Library


class Acted(Frozen, frozen=True):
    """What the audit log of this machine says of a service.

    `last`: by issue (or the alert that it was asked by), when an action was last taken or refused. `since`: the time
    of the oldest entry that was read, of whatever service; what was before it is not known."""

    last: Mapping[str, datetime] = {}
    since: datetime | None = None


@dataclass(frozen=True)
class Scene:
    """One look at one service. `at`: Unix seconds, None where it is the present; `now`: this machine's clock."""

    name: str
    service: Service
    check: Check
    books: "Library"
    now: float
    deadline_s: float
    at: float | None = None
    server: "Prometheus | None" = None
    """One for all, where Prometheus is configured."""
    address: tuple[str, ...] = ()
    """The words that name this service on a command line."""
    acted: Acted = field(default_factory=Acted)

    @property
    def end(self) -> float:
        return self.now if self.at is None else self.at

    def command(self, *words: str, why: str) -> Next:
        """A complete command line about this service."""
        return Next(command=shlex.join(["oncall", *words, *self.address]), why=why)


def unknown(
    name: str, spec: LineSpec, source: str, reason: str, hint: str | None = None, *, counts: bool = True
) -> CheckLine:
    """The line of what could not be read."""
    return CheckLine(
        id=name,
        title=spec.title or name,
        severity=Severity.UNKNOWN,
        why=spec.why,
        source=source,
        target=spec.target,
        reason=reason,
        hint=hint,
        counts=counts,
    )


def no_prometheus(name: str, spec: LineSpec) -> CheckLine:
    hint = "set `prometheus` of the service"
    return unknown(name, spec, "prometheus", "prometheus: not configured", hint, counts=not spec.optional)


def present_only(name: str, spec: LineSpec, source: str) -> CheckLine:
    """Of what has no past: it is no part of the verdict about one."""
    return unknown(name, spec, source, "knows only the present, and --at asks about the past", counts=False)
