"""Made-up alerts, silences and handovers, small enough to be read in a golden file."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from oncall.model import Next, Severity, Unseen
from oncall.model_acts import AuditEntry, AuditList, Who
from oncall.model_alerts import (
    Alert,
    AlertsOfAll,
    AlertsReport,
    Escalation,
    Fired,
    Handover,
    Hit,
    Muted,
    Others,
    Paged,
    Silence,
    SilenceList,
    SilencePlan,
    Trending,
)

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)


def ago(minutes: float) -> datetime:
    return AT - timedelta(minutes=minutes)


def alert(name: str = "PoolExhausted", **changed: Any) -> Alert:  # noqa: ANN401  # any field
    """Critical, for twelve minutes, heard by three."""
    plain = Alert(
        name=name,
        severity=Severity.CRITICAL,
        label="critical",
        state="firing",
        since=ago(12),
        age_s=720.0,
        labels={"job": "bot", "instance": "app-1:8000"},
        sources=("alertmanager", "prometheus"),
        value=18.0,
        bound="> 16",
        summary="The pool of bot-controller is used up",
        escalation=Escalation(
            respond_s=300.0,
            left_s=-420.0,
            paged=(
                Paged(who="Primary on-call engineer", at=ago(12)),
                Paged(who="Secondary on-call engineer", at=ago(7)),
                Paged(who="DevOps lead", at=ago(2)),
            ),
            next=Paged(who="Engineering manager", at=AT + timedelta(minutes=3)),
            next_in_s=180.0,
        ),
        runbook=Next(command=f"oncall diagnose --alert {name}", why="says what is behind it"),
    )
    return replace(plain, **changed)


def warned(name: str = "HighResponseTime", **changed: Any) -> Alert:  # noqa: ANN401  # any field
    stand = Escalation(respond_s=1800.0, left_s=1500.0, tells="Slack #deia-warnings")
    plain = alert(name, severity=Severity.WARNING, label="warning", since=ago(5), age_s=300.0, value=1.5)
    return replace(plain, bound="> 1", summary=None, escalation=stand, **changed)


def everything() -> AlertsReport:
    """One of each kind."""
    upgrade = Muted(id="118bef2a-8455", until=AT + timedelta(hours=2), by="ana@jump-1", comment="the upgrade")
    quiet = warned("MemoryHigh", silenced=(upgrade,))
    slow = warned("SlowQueries", inhibited_by=("DatabaseUnreachable",))
    pending = warned("DiskFilling", state="pending", fires_in_s=200.0, runbook=None)
    return report(
        alert(),
        alert(
            "ServiceDown", unheard=True, runbook=None, runbook_url="https://wiki.internal/down", value=None
        ),
        warned(),
        warned(labels={"job": "bot", "instance": "app-2:8000"}),
        replace(quiet, escalation=None),
        replace(slow, escalation=None),
        replace(pending, escalation=None, runbook_url="https://wiki.internal/disk"),
        summary="2 critical, 4 warning firing (1 silenced, 1 inhibited), 1 pending",
        others=(
            Others(name="Bare", label="page", severity=Severity.CRITICAL, count=1, unlabelled=True),
            Others(name="NodeDown", label="critical", severity=Severity.CRITICAL, count=3, unlabelled=False),
        ),
        unseen=(
            Unseen(
                what="rule Broken",
                reason="cannot be evaluated: no",
                hint="until it can, its alerts neither begin nor end",
            ),
        ),
    )


def report(*alerts: Alert, **changed: Any) -> AlertsReport:  # noqa: ANN401  # any field
    plain = AlertsReport(
        service="bot-controller",
        environment="production",
        at=AT,
        duration_ms=41,
        severity=Severity.CRITICAL,
        summary=f"{len(alerts)} critical firing",
        alerts=alerts,
        selector={"job": "bot"},
    )
    return replace(plain, **changed)


def fleet() -> AlertsOfAll:
    calm = report(service="calm", severity=Severity.OK, summary="nothing fires")
    dark = report(
        service="dark",
        severity=Severity.UNKNOWN,
        summary="alerts unknown",
        unseen=(Unseen(what="prometheus", reason="prom:9090: connection refused", hint="is it running?"),),
    )
    return AlertsOfAll(
        at=AT,
        duration_ms=200,
        severity=Severity.CRITICAL,
        summary="2 of 3 services: 1 critical, 1 unknown",
        services=(report(alert(), warned()), dark, calm),
        unclaimed=(Others(name="Odd", label="", severity=Severity.WARNING, count=2, unlabelled=True),),
    )


# --- silences --------------------------------------------------------------------------------------


def silence(**changed: Any) -> Silence:  # noqa: ANN401  # any field
    plain = Silence(
        id="118bef2a-8455-4830-8343-3b0dc281e834",
        state="active",
        matchers=('alertname="PoolExhausted"', 'job="bot"'),
        starts=ago(30),
        ends=AT + timedelta(hours=2),
        by="ana@jump-1",
        comment="the pool is being resized",
        left_s=7200.0,
        hits=("PoolExhausted",),
    )
    return replace(plain, **changed)


def silences() -> SilenceList:
    over = silence(id="9f1c", state="expired", ends=ago(40), left_s=None, hits=(), matchers=('job="bot"',))
    return SilenceList(
        service="bot-controller",
        environment="production",
        at=AT,
        source="am-1:9093",
        silences=(silence(), over),
        others=2,
    )


def plan(**changed: Any) -> SilencePlan:  # noqa: ANN401  # any field
    labels = {"job": "bot", "severity": "critical", "instance": "app-1:8000"}
    plain = SilencePlan(
        service="bot-controller",
        environment="production",
        at=AT,
        source="am-1:9093",
        act="silence",
        state="preview",
        text="it would silence 2 of 14 alerts for 2 h",
        silence=silence(id="", state="pending", hits=()),
        hits=(
            Hit(name="PoolExhausted", severity=Severity.CRITICAL, labels=labels, since=ago(12), own=True),
            Hit(name="SlowQueries", severity=Severity.WARNING, labels={}, since=None, own=True, quiet=True),
        ),
        alerts=14,
        warnings=("1 of them is critical: meanwhile nobody is paged for that",),
        command="oncall alerts silence 'alertname=\"PoolExhausted\"' --for 2h --comment 'resize' --confirm",
    )
    return replace(plain, **changed)


# --- handover ----------------------------------------------------------------------------------------


def shift(**changed: Any) -> Handover:  # noqa: ANN401  # any field
    who = Who(user="ana", uid=1000, host="jump-1")
    entry = AuditEntry(
        number=41,
        kind="intent",
        at=ago(50),
        who=who,
        service="bot-controller",
        environment="production",
        action="kill-queries",
    )
    outcome = replace(
        entry, number=42, kind="outcome", intent=41, outcome="done", text="canceled 3 of 3 statements"
    )
    memory = Trending(
        id="memory",
        title="Memory",
        unit="bytes",
        now=1.7e9,
        per_hour=4e7,
        critical=1.9e9,
        critical_s=18_000.0,
        limit=2e9,
        limit_s=27_000.0,
        history=tuple(1.5e9 + i * 1e7 for i in range(20)),
    )
    queue = replace(
        memory, id="queue", title="Queue depth", unit="messages", now=900.0, per_hour=60.0, critical=None
    )
    plain = Handover(
        service="bot-controller",
        environment="production",
        at=AT,
        since=AT - timedelta(hours=12),
        duration_ms=310,
        summary="1 critical firing; 2 alerts fired; 1 silence in force; 1 action taken",
        now=report(alert()),
        fired=(
            fired(),
            fired("MemoryHigh", severity=Severity.WARNING, label="warning", now=False, times=3),
            fired("MemoryHigh", severity=Severity.WARNING, label="warning", now=False, times=1),
        ),
        silences=(silence(),),
        done=AuditList(path="audit.jsonl", entries=(outcome, entry), open=(44,), total=44),
        trending=(memory, replace(queue, limit=None, limit_s=None, critical_s=None, history=())),
        fired_others=2,
        notes=("the history begins at 2025-12-31 18:00 UTC: what fired before is not known",),
    )
    return replace(plain, **changed)


def fired(name: str = "PoolExhausted", **changed: Any) -> Fired:  # noqa: ANN401  # any field
    plain = Fired(
        name=name,
        severity=Severity.CRITICAL,
        label="critical",
        labels={"instance": "app-1:8000"},
        times=1,
        seconds=720.0,
        first=ago(300),
        last=ago(20),
        now=True,
    )
    return replace(plain, **changed)
