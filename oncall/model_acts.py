"""Frozen types of remediation that cross rooms: a plan with its guards, what became of it, the audit log's lines."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

from oncall.model import Frozen, Next, Scalar, Severity, Table


class GuardState(StrEnum):
    """What a guard found. Only `passed`, `overridden` and `not_applicable` let an action happen."""

    PASSED = "passed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    OVERRIDDEN = "overridden"
    NOT_APPLICABLE = "not_applicable"


BARS = frozenset({GuardState.REFUSED, GuardState.UNKNOWN})


class GuardReport(Frozen, frozen=True):
    """One guard's verdict: what was found, and what to do about it (the exact GRANT, the time to wait)."""

    name: str
    state: GuardState
    text: str
    hint: str | None = None
    overridable: bool = False
    """It can be overridden by name, with a reason; some never are."""


class Target(Frozen, frozen=True):
    """One thing that an action touches: how a person names it, and what must still hold when the act comes."""

    id: str
    identity: Mapping[str, Scalar] = {}


class ActionPlan(Frozen, frozen=True, tag_field="schema", tag="oncall/plan/1"):
    """What an action would do, to what exactly, what would be lost, and whether it may. Its JSON is a contract."""

    id: str
    """Over action, service, targets and their identities: another target is another plan."""
    action: str
    service: str
    environment: str
    at: datetime
    title: str
    """One sentence: `cancels the statements of 3 sessions`."""
    place: tuple[tuple[str, str], ...]
    """What is touched and where, label and value: ("database", "db-1:5432/deia_prod as oncall")."""
    targets: tuple[Target, ...]
    guards: tuple[GuardReport, ...]
    command: str
    """The complete command line that does exactly this plan."""
    table: Table | None = None
    """The targets as a person wants to see them."""
    does: tuple[str, ...] = ()
    """Each thing that is sent or written, in order, ready to read: SQL, commands, a diff."""
    losses: tuple[str, ...] = ()
    undo: str | None = None
    issues: tuple[str, ...] = ()
    """Whose symptoms are measured afterwards."""
    severity: Severity | None = None
    """The worst of them now."""
    notes: tuple[str, ...] = ()

    @property
    def barred(self) -> tuple[GuardReport, ...]:
        """The guards that stand in the way."""
        return tuple(g for g in self.guards if g.state in BARS)


# --- what became of it ---------------------------------------------------------------------------


class TargetResult(Frozen, frozen=True):
    """What happened to one target. `gone` and `changed`: it was no longer what was planned, and was left alone."""

    id: str
    state: Literal["done", "unchanged", "gone", "changed", "failed", "unknown"]
    text: str


class Check(Frozen, frozen=True):
    """One proof that the act took hold; None where it could not be told."""

    text: str
    holds: bool | None


class SymptomChange(Frozen, frozen=True):
    """One symptom before the act and now, against its bounds. `history`: as it was measured since."""

    id: str
    title: str
    unit: str | None
    before: float | None
    now: float | None
    warning: float | None
    critical: float | None
    severity_before: Severity
    severity: Severity
    history: tuple[float | None, ...] = ()
    reason: str | None = None


Helped = Literal["fixed", "not_fixed", "worse", "unknown", "nothing_measured"]


class Verification(Frozen, frozen=True):
    """`fixed` and `nothing_measured` (no symptom could be read before, the checks hold) count as verified."""

    result: Helped
    text: str
    waited_s: float
    checks: tuple[Check, ...] = ()
    symptoms: tuple[SymptomChange, ...] = ()


Outcome = Literal["done", "partly", "unchanged", "failed", "unknown", "refused", "interrupted"]


class Remediation(Frozen, frozen=True, tag_field="schema", tag="oncall/remediation/1"):
    """An action that was asked for with --confirm: its plan, what happened, whether it helped. A contract."""

    plan: ActionPlan
    outcome: Outcome
    text: str
    """One sentence: `canceled 3 of 3 statements`."""
    duration_ms: int
    results: tuple[TargetResult, ...] = ()
    verification: Verification | None = None
    evidence: str | None = None
    """The file with the diagnosis of the moment before."""
    audit: int | None = None
    """The number of its intent in the audit log."""
    next: tuple[Next, ...] = ()
    notes: tuple[str, ...] = ()


# --- the guards, explained -----------------------------------------------------------------------


class GuardInfo(Frozen, frozen=True):
    """A guard as `oncall remediate guards` explains it."""

    name: str
    protects: str
    how: str
    actions: tuple[str, ...]
    overridable: bool


class Guards(Frozen, frozen=True, tag_field="schema", tag="oncall/guards/1"):
    guards: tuple[GuardInfo, ...]


# --- the audit log -------------------------------------------------------------------------------


class Who(Frozen, frozen=True):
    """Who typed it: login (the one before sudo, where told), numeric id, machine, and from where over ssh."""

    user: str
    uid: int
    host: str
    login: str | None = None
    ssh_from: str | None = None
    terminal: str | None = None


class AuditEntry(Frozen, frozen=True):
    """One line of the audit log. `intent` is written before an act, `outcome` after it, `refused` instead of both.

    `hash` is the SHA-256 over the line without it; `previous` that of the line before."""

    number: int
    kind: Literal["intent", "outcome", "refused"]
    at: datetime
    who: Who
    service: str
    environment: str
    action: str
    plan: ActionPlan | None = None
    """With an intent, and with a refusal."""
    intent: int | None = None
    """Of an outcome: the number of its intent."""
    argv: tuple[str, ...] = ()
    """The command line, secrets masked."""
    issue: str | None = None
    overrides: tuple[str, ...] = ()
    reason: str | None = None
    evidence: str | None = None
    outcome: Outcome | None = None
    text: str | None = None
    results: tuple[TargetResult, ...] = ()
    verification: Verification | None = None
    torn: str | None = None
    """Of an entry that follows what a crash left half written: the SHA-256 of those bytes."""
    previous: str = ""
    hash: str = ""


class AuditList(Frozen, frozen=True, tag_field="schema", tag="oncall/audit/1"):
    """Entries of the log, newest first; `open` are the numbers of intents without an outcome."""

    path: str
    entries: tuple[AuditEntry, ...]
    open: tuple[int, ...] = ()
    total: int = 0
    """All entries of the log."""
    notes: tuple[str, ...] = ()


class AuditShown(Frozen, frozen=True, tag_field="schema", tag="oncall/audit-action/1"):
    """One action as the log has it: its intent (or its refusal) and its outcome; `open` where that is missing."""

    path: str
    entry: AuditEntry
    outcome: AuditEntry | None = None
    open: bool = False


class AuditVerified(Frozen, frozen=True, tag_field="schema", tag="oncall/audit-verify/1"):
    """Whether the log is whole. `line` is the first line that is not what was written."""

    path: str
    entries: int
    whole: bool
    line: int | None = None
    reason: str | None = None
    open: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
