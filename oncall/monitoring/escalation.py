"""Who is paged when, and how soon somebody must have answered: `runbooks/alerting/escalation.yaml`, and its clock."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from oncall.errors import RunbookError
from oncall.model import Frozen, Severity, Written
from oncall.model_alerts import Escalation, Paged
from oncall.units import Duration
from oncall.yamltext import Document, decode, read

FILE = Path("alerting") / "escalation.yaml"
_ALL: Mapping[str, Severity] = {
    "critical": Severity.CRITICAL,
    "warning": Severity.WARNING,
    "info": Severity.OK,
}


class SeveritySpec(Written, frozen=True):
    """One severity: which labels mean it, how soon it must be answered, whether it pages."""

    labels: Annotated[tuple[str, ...], Meta(description="Values of the label `severity`.")]
    respond: Annotated[Duration | None, Meta(description="Somebody must have answered by then.")] = None
    pages: Annotated[bool, Meta(description="It pages, level by level of the policy.")] = False
    tells: Annotated[str | None, Meta(description="Where it is told if it does not page.")] = None


class Level(Written, frozen=True):
    """Who is paged, and how long after the alert began it is the next one's turn."""

    who: str
    until: Duration


class Severities(Written, frozen=True):
    """The three that there are."""

    critical: SeveritySpec | None = None
    warning: SeveritySpec | None = None
    info: SeveritySpec | None = None

    def of(self, severity: Severity) -> SeveritySpec | None:
        return {Severity.CRITICAL: self.critical, Severity.OK: self.info}.get(severity, self.warning)


class Times(Written, frozen=True):
    """How soon somebody must have answered, by severity."""

    critical: Duration | None = None
    warning: Duration | None = None
    info: Duration | None = None

    def of(self, severity: Severity) -> Duration | None:
        return {Severity.CRITICAL: self.critical, Severity.OK: self.info}.get(severity, self.warning)


class EscalationFile(Written, frozen=True):
    """The file as written."""

    severities: Severities
    policy: tuple[Level, ...] = ()
    issues: dict[str, Times] = {}
    alerts: dict[str, Times] = {}


class Policy(Frozen, frozen=True):
    """A checked file."""

    path: str
    spec: EscalationFile
    labels: Mapping[str, Severity]

    def severity(self, label: str) -> Severity:
        """What a label means; one that the file does not name is a warning. Info is ok: nobody has to act."""
        return self.labels.get(label.strip().lower(), Severity.WARNING)

    def respond_s(self, severity: Severity, name: str, issue: str | None) -> float | None:
        """How soon an alert must be answered, in seconds."""
        for times in (self.spec.alerts.get(name), self.spec.issues.get(issue or "")):
            if times and (known := times.of(severity)) is not None:
                return float(known)
        spec = self.spec.severities.of(severity)
        return float(spec.respond) if spec and spec.respond is not None else None

    def clock(
        self, severity: Severity, name: str, issue: str | None, since: datetime, age_s: float
    ) -> Escalation:
        """Where an alert stands that has fired for `age_s` seconds: who has been paged, who is next. Pure."""
        spec = self.spec.severities.of(severity)
        respond = self.respond_s(severity, name, issue)
        left = None if respond is None else respond - age_s
        if spec is None or not spec.pages:
            return Escalation(respond_s=respond, left_s=left, tells=spec.tells if spec else None)
        turns = [0.0, *(float(level.until) for level in self.spec.policy)]
        levels = [
            (turn, Paged(who=level.who, at=since + timedelta(seconds=turn)))
            for turn, level in zip(turns, self.spec.policy, strict=False)
        ]
        to_come = next(((turn, paged) for turn, paged in levels if turn > age_s), None)
        return Escalation(
            respond_s=respond,
            left_s=left,
            paged=tuple(paged for turn, paged in levels if turn <= age_s),
            next=to_come[1] if to_come else None,
            next_in_s=to_come[0] - age_s if to_come else None,
        )


# --- the file ------------------------------------------------------------------------------------


def policy(folders: Sequence[Path]) -> Policy:
    """The policy in force: that of the last folder that has one. Raises RunbookError with file:line."""
    found = [folder / FILE for folder in folders if (folder / FILE).is_file()]
    if not found:
        raise RunbookError(f"{FILE} is in none of {', '.join(map(str, folders))}")
    return _read(found[-1])


@lru_cache(maxsize=64)
def _read(path: Path) -> Policy:
    document = read(path, RunbookError)
    spec = decode(document, EscalationFile, RunbookError)
    for before, after in pairwise(enumerate(spec.policy)):
        if after[1].until <= before[1].until:
            raise _fail(document, ("policy", after[0], "until"), "is not after that of the level before")
    return Policy(path=str(path), spec=spec, labels=_labels(document, spec))


def _labels(document: Document, spec: EscalationFile) -> dict[str, Severity]:
    found: dict[str, Severity] = {}
    for word, severity in _ALL.items():
        written = spec.severities.of(severity)
        for at, label in enumerate(written.labels if written else ()):
            if label.lower() in found:
                raise _fail(document, ("severities", word, "labels", at), f"{label!r} stands there twice")
            found[label.lower()] = severity
    return found


def _fail(document: Document, key: tuple[str | int, ...], what: str) -> RunbookError:
    return RunbookError(f"{document.where(key)}: {'.'.join(map(str, key))}: {what}")
