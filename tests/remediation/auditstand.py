"""Entries as actions write them, for tests of the audit log, its pages and its announcements."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from oncall.model import Next, Severity
from oncall.model_acts import (
    ActionPlan,
    AuditEntry,
    Check,
    GuardReport,
    GuardState,
    Remediation,
    SymptomChange,
    Target,
    TargetResult,
    Verification,
    Who,
)
from oncall.remediation import audit

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)
ANA = Who(user="root", uid=0, host="jump-1", login="ana", ssh_from="10.0.0.7", terminal="/dev/pts/3")

PLAN = ActionPlan(
    id="4f2a91c0de",
    action="restart",
    service="bot-controller",
    environment="production",
    at=AT,
    title="restarts deia-bot-controller.service",
    place=(("unit", "deia-bot-controller.service on app-1"), ("database", "db-1:5432/deia_prod as oncall")),
    targets=(Target(id="deia-bot-controller.service", identity={"InvocationID": "a1b2", "NRestarts": 0}),),
    guards=(
        GuardReport(name="audit-writable", state=GuardState.PASSED, text="the log can be written"),
        GuardReport(
            name="cooldown",
            state=GuardState.OVERRIDDEN,
            text="the last restart was 2 min ago by ben; the cooldown is 5 min",
            overridable=True,
        ),
    ),
    command="oncall remediate restart --plan 4f2a91c0de --confirm",
    does=("systemctl restart -- deia-bot-controller.service",),
    losses=("requests that are under way", "everything in its memory"),
    issues=("pool",),
    severity=Severity.CRITICAL,
)
SYMPTOM = SymptomChange(
    id="pool_active",
    title="Pool in use",
    unit="connections",
    before=19.0,
    now=4.0,
    warning=10.0,
    critical=16.0,
    severity_before=Severity.CRITICAL,
    severity=Severity.OK,
    history=(19.0, 12.0, 4.0, 4.0),
)
PROOF = Verification(
    result="fixed",
    text="Pool in use is back below its bounds",
    waited_s=42.0,
    checks=(Check(text="deia-bot-controller.service is active, same invocation for 10 s", holds=True),),
    symptoms=(SYMPTOM,),
)
RESULTS = (TargetResult(id="deia-bot-controller.service", state="done", text="restarted in 1.2 s"),)
DONE = Remediation(
    plan=PLAN,
    outcome="done",
    text="restarted deia-bot-controller.service",
    duration_ms=43_210,
    results=RESULTS,
    verification=PROOF,
    evidence="/var/lib/oncall/evidence/20260101T031241Z-bot-controller-4f2a91c0de.json.gz",
    audit=12,
    next=(Next(command="oncall diagnose pool", why="the leak comes back"),),
)


def intent(number: int = 0, **changed: Any) -> AuditEntry:  # noqa: ANN401 - any field
    plain = AuditEntry(
        number=number,
        kind="intent",
        at=AT,
        who=ANA,
        service="bot-controller",
        environment="production",
        action="restart",
        plan=PLAN,
        argv=("oncall", "remediate", "restart", "--override", "cooldown", "--confirm"),
        issue="pool",
        overrides=("cooldown",),
        reason="the leak is back, the export is not fixed yet",
        evidence=DONE.evidence,
    )
    return replace(plain, **changed)


def outcome(of: int, number: int = 0, **changed: Any) -> AuditEntry:  # noqa: ANN401 - any field
    plain = intent(
        number,
        kind="outcome",
        at=AT + timedelta(seconds=43),
        plan=None,
        intent=of,
        outcome="done",
        text=DONE.text,
        results=RESULTS,
        verification=PROOF,
    )
    return replace(plain, **changed)


def refusal(number: int = 0, **changed: Any) -> AuditEntry:  # noqa: ANN401 - any field
    plain = intent(number, kind="refused", text="refused by start-limit: nothing was changed", evidence=None)
    return replace(plain, **changed)


def write(folder: Path, *entries: AuditEntry) -> list[AuditEntry]:
    """Appends them, with no word to the journal of whoever runs the tests."""
    return [audit.append(entry, folder, journal=None) for entry in entries]


def actions(folder: Path, count: int) -> list[AuditEntry]:
    """So many intents, each with its outcome."""
    found: list[AuditEntry] = []
    for _ in range(count):
        found += write(folder, intent())
        found += write(folder, outcome(found[-1].number))
    return found
