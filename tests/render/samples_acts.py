"""Plans and outcomes as the actions make them, for the tests of what a person sees. The numbers are invented."""

from collections.abc import Callable

import msgspec

from oncall.model import Column, Next, Severity, Table
from oncall.model_acts import (
    ActionPlan,
    Check,
    GuardInfo,
    GuardReport,
    Guards,
    GuardState,
    Helped,
    Outcome,
    Remediation,
    SymptomChange,
    Target,
    TargetResult,
    Verification,
)
from tests.render.samples import AT, HOSTILE

UNIT = "deia-bot-controller.service"
DATABASE = ("database", "db-1:5432/deia_prod as oncall, primary")
GRANT = "GRANT pg_signal_backend TO oncall;"
_SHARED = ("identity", "empty-selection", "audit-writable", "rights", "concurrent-operator", "freeze",
           "already-healthy")  # fmt: skip
_DIFF = """\
--- /etc/deia/bot-controller.yaml
+++ /etc/deia/bot-controller.yaml
@@ -3,4 +3,4 @@
 database:
   # keep below max_connections of db-1
-  pool_size: 20
+  pool_size: 40
   timeout: 5s
"""

_SIGNAL = """\
SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid, 5000) FROM pg_catalog.pg_stat_activity a
WHERE a.pid = {pid} AND a.backend_start = '2026-01-01 03:00:{second}+00'
  AND a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()
"""


def guard(
    name: str,
    state: GuardState = GuardState.PASSED,
    text: str = "as it should be",
    hint: str | None = None,
    *,
    overridable: bool = False,
) -> GuardReport:
    return GuardReport(name=name, state=state, text=text, hint=hint, overridable=overridable)


def hold(*names: str) -> tuple[GuardReport, ...]:
    return tuple(guard(name) for name in (*_SHARED, *names))


def but(guards: tuple[GuardReport, ...], *others: GuardReport) -> tuple[GuardReport, ...]:
    """The guards with some of them in another state."""
    changed = {other.name: other for other in others}
    return tuple(changed.get(g.name, g) for g in guards)


# --- plans ---------------------------------------------------------------------------------------


def restart() -> ActionPlan:
    """Nothing stands in its way."""
    return ActionPlan(
        id="3f9a12c4e1",
        action="restart",
        service="bot-controller",
        environment="production",
        at=AT,
        title=f"restarts {UNIT} on this machine",
        place=(("unit", f"{UNIT} on this machine"), ("state", "active since 3 h 12 min, 0 restarts")),
        targets=(Target(id=UNIT, identity={"invocation": "0f3e"}),),
        guards=hold("cooldown", "start-limit", "dependents"),
        command="oncall remediate restart -s bot-controller --plan 3f9a12c4e1 --confirm",
        does=(f"systemctl restart -- {UNIT}",),
        losses=("requests in flight", "the 19 connections of the pool"),
        issues=("pool", "latency"),
        severity=Severity.CRITICAL,
    )


SESSIONS = Table(
    columns=(
        Column(name="pid"),
        Column(name="application"),
        Column(name="state"),
        Column(name="since", unit="seconds"),
        Column(name="frees"),
        Column(name="query"),
    ),
    rows=tuple(
        (4711 + n, "bot-controller", "idle in transaction", 512.4 - 7 * n, 6 - n,
         f"UPDATE bots SET state = 'busy', changed = now() WHERE id = {n} RETURNING id, state, owner")
        for n in range(3)
    ),
    notes=("2 sessions of other applications match the filter and are left out",),
)  # fmt: skip


def kill() -> ActionPlan:
    """Some sessions, one guard set aside by name."""
    guards = but(
        hold("own-backend", "superuser", "replication", "autovacuum", "index-build", "pooler", "max-targets"),
        guard("freeze", GuardState.OVERRIDDEN, "frozen Fri 16:00 to Mon 08:00: no changes on weekends",
              overridable=True),
        guard("index-build", GuardState.NOT_APPLICABLE, "no index is being built", overridable=True),
    )  # fmt: skip
    return msgspec.structs.replace(
        restart(),
        id="77aa01bc9d",
        action="kill-queries",
        title="terminates 3 sessions",
        place=(DATABASE, ("filter", "idle in transaction over 5 min, application bot-controller")),
        targets=tuple(Target(id=f"pid {4711 + n}", identity={"pid": 4711 + n}) for n in range(3)),
        guards=guards,
        command=(
            "oncall remediate kill-queries -s bot-controller --idle-in-transaction 5m --terminate "
            "--override freeze --reason 'INC-4711: the pool is exhausted' --plan 77aa01bc9d --confirm"
        ),
        table=SESSIONS,
        does=tuple(_SIGNAL.format(pid=4711 + n, second=10 + n) for n in range(3)),
        losses=("the work of 3 open transactions, which is rolled back",),
        issues=("pool",),
    )


def barred() -> ActionPlan:
    """Three guards stand in the way: one for good, one for a while, one that could not look."""
    guards = but(
        hold("cooldown", "start-limit", "max-targets"),
        guard("rights", GuardState.REFUSED, "the role oncall may not signal sessions of deia",
              f"as a superuser: {GRANT}"),
        guard("cooldown", GuardState.REFUSED, "started 40 s ago",
              "wait until 03:17:10 UTC, or --override cooldown --reason TEXT", overridable=True),
        guard("start-limit", GuardState.UNKNOWN, "the journal cannot be read: permission denied",
              "sudo usermod -aG systemd-journal oncall"),
    )  # fmt: skip
    return msgspec.structs.replace(kill(), guards=guards)


def resize() -> ActionPlan:
    """A file is edited: its diff, a backup, and the arithmetic."""
    return msgspec.structs.replace(
        restart(),
        id="aa00aa00aa",
        action="resize-pool",
        title="sets database.pool_size of /etc/deia/bot-controller.yaml from 20 to 40",
        place=(
            ("file", "/etc/deia/bot-controller.yaml, root, mode 0640"),
            ("slots", "40 × 2 instances + 31 others = 111 of 197 (200 less 3 reserved)"),
        ),
        targets=(Target(id="/etc/deia/bot-controller.yaml: database.pool_size"),),
        guards=hold("cooldown", "connections-budget"),
        command="oncall remediate resize-pool -s bot-controller --to 40 --plan aa00aa00aa --confirm",
        does=(_DIFF,),
        losses=(),
        undo="oncall remediate resize-pool -s bot-controller --undo --confirm",
        severity=Severity.UNKNOWN,
        notes=("the service reads it at its next start: it offers the restart afterwards",),
    )


def hostile() -> ActionPlan:
    """Everything that comes from elsewhere is meant badly, and there is much of it."""
    long = HOSTILE + "\x1b[2J\n" + "x y" * 1000
    guards = (
        guard("rights", GuardState.REFUSED, long, f"{long}\n{GRANT}\x1b[31m\u202e"),
        guard("cooldown", GuardState.OVERRIDDEN, long, overridable=True),
        guard("freeze", GuardState.UNKNOWN, long, long, overridable=True),
    )
    return msgspec.structs.replace(
        kill(),
        title=long,
        place=((long, long),) * 30,
        targets=tuple(Target(id=f"{n} {HOSTILE}") for n in range(120)),
        guards=guards,
        table=Table(
            columns=(Column(name="pid"), Column(name=HOSTILE), Column(name="query")),
            rows=tuple((n, HOSTILE, long) for n in range(120)),
            notes=(long,),
        ),
        does=(long,) * 50,
        losses=(long,) * 10,
        undo=long,
        issues=(long,) * 3,
        notes=(long,) * 30,
    )


PLANS: dict[str, Callable[[], ActionPlan]] = {
    "restart": restart,
    "kill": kill,
    "barred": barred,
    "resize": resize,
    "nothing": lambda: msgspec.structs.replace(
        kill(), targets=(), table=None, title="matches no session", does=(), losses=()
    ),
}


# --- outcomes ------------------------------------------------------------------------------------


def symptom(
    title: str,
    unit: str | None,
    values: tuple[float | None, float | None],
    bounds: tuple[float | None, float | None],
    severities: tuple[Severity, Severity],
    history: tuple[float | None, ...] = (),
    reason: str | None = None,
) -> SymptomChange:
    return SymptomChange(
        id=title.lower().replace(" ", "_"),
        title=title,
        unit=unit,
        before=values[0],
        now=values[1],
        warning=bounds[0],
        critical=bounds[1],
        severity_before=severities[0],
        severity=severities[1],
        history=history,
        reason=reason,
    )


CRITICAL, WARNING, OK, UNKNOWN = Severity.CRITICAL, Severity.WARNING, Severity.OK, Severity.UNKNOWN
POOL = symptom("Pool in use", "connections", (19, 4), (10, 16), (CRITICAL, OK), (19, 19, 0, 1, 3, 4, 4))
LATENCY = symptom("P95 latency", "seconds", (4.21, 0.183), (1, 4), (CRITICAL, OK), (4.2, 4, None, 0.2, 0.18))
POOL_STILL = symptom(
    "Pool in use", "connections", (19, 18), (10, 16), (CRITICAL, CRITICAL), (19, 2, 9, 15, 18)
)
LATENCY_WORSE = symptom("P95 latency", "seconds", (2.1, 6.3), (1, 4), (WARNING, CRITICAL), (2.1, 4.4, 6.3))
DARK = symptom("Errors", "ratio", (0.0312, None), (0.01, 0.05), (WARNING, UNKNOWN),
               reason="prometheus: no answer within 5 s")  # fmt: skip
CHECKS = (
    Check(text="the unit runs in the same invocation for 10 s, no new restarts", holds=True),
    Check(text="/health answered twice in a row", holds=True),
)
DIAGNOSE = Next(command="oncall diagnose pool -s bot-controller", why="look again: it came back")
RESTART_NEXT = Next(
    command="oncall remediate restart -s bot-controller", why="ends all sessions of the service"
)


def verified(
    result: Helped,
    text: str,
    *symptoms: SymptomChange,
    checks: tuple[Check, ...] = CHECKS,
    waited_s: float = 24.3,
) -> Verification:
    return Verification(result=result, text=text, waited_s=waited_s, checks=checks, symptoms=symptoms)


def outcome(
    plan: ActionPlan,
    outcome: Outcome,
    text: str,
    *results: TargetResult,
    verification: Verification | None = None,
    next: tuple[Next, ...] = (),
    notes: tuple[str, ...] = (),
) -> Remediation:
    return Remediation(
        plan=plan,
        outcome=outcome,
        text=text,
        duration_ms=26_120,
        results=results,
        verification=verification,
        evidence="/home/op/.local/state/oncall/evidence/2026-01-01T03-12-41-pool.json",
        audit=17,
        next=next,
        notes=notes,
    )


def done(id: str = UNIT, text: str = f"restarted {UNIT} in 1.2 s") -> TargetResult:
    return TargetResult(id=id, state="done", text=text)


def fixed() -> Remediation:
    proof = verified("fixed", "Pool in use, P95 latency are back within bounds after 24 s", LATENCY, POOL)
    return outcome(restart(), "done", done().text, done(), verification=proof)


def not_fixed() -> Remediation:
    proof = verified(
        "not_fixed", "Pool in use is still beyond bounds after 120 s", LATENCY, POOL_STILL, waited_s=120
    )
    return outcome(restart(), "done", done().text, done(), verification=proof, next=(DIAGNOSE,))


def worse() -> Remediation:
    """Also: one of the symptoms cannot be read any more."""
    proof = verified("worse", "P95 latency is worse than before", DARK, LATENCY_WORSE, waited_s=120)
    return outcome(
        restart(), "done", done().text, done(), verification=proof, next=(DIAGNOSE, RESTART_NEXT),
        notes=("announce: slack answered 404: nobody was told",),
    )  # fmt: skip


def blind() -> Remediation:
    proof = verified("nothing_measured", "no symptom could be read before, so none can be compared")
    return outcome(restart(), "done", done().text, done(), verification=proof)


def crashed() -> Remediation:
    """The symptoms look well, yet the unit does not hold."""
    checks = (
        Check(text="the unit restarted by itself 2 times in 10 s", holds=False),
        Check(text="/health could not be asked: no url is configured", holds=None),
    )
    proof = verified("fixed", "Pool in use is back within bounds after 24 s", POOL, checks=checks)
    return outcome(restart(), "done", done().text, done(), verification=proof, next=(DIAGNOSE,))


def partly() -> Remediation:
    results = (
        *(done(f"pid {4700 + n}", "terminated") for n in range(6)),
        TargetResult(id="pid 4711", state="changed", text="runs another statement: left alone"),
        TargetResult(id="pid 4712", state="gone", text="gone: it had ended by itself"),
        TargetResult(id="pid 4713", state="unchanged", text="still idle in transaction after 5 s"),
        TargetResult(id="pid 4714", state="failed", text="permission denied to terminate process"),
    )
    proof = verified(
        "not_fixed",
        "Pool in use is still beyond bounds after 120 s",
        POOL_STILL,
        checks=(Check(text="6 of 8 sessions are gone", holds=False),),
        waited_s=120,
    )
    return outcome(
        kill(), "partly", "partly; 6 of 10 done", *results, verification=proof, next=(RESTART_NEXT,)
    )


def refused() -> Remediation:
    text = "refused by rights, cooldown, start-limit: nothing was changed"
    return msgspec.structs.replace(outcome(barred(), "refused", text), evidence=None, audit=None)


def gone() -> Remediation:
    """What was planned was no longer there when the act came."""
    results = tuple(
        TargetResult(id=f"pid {4711 + n}", state="gone", text="it had ended by itself") for n in range(3)
    )
    text = "what was planned is gone or has changed: nothing was touched"
    return outcome(kill(), "refused", text, *results)


def lost() -> Remediation:
    """A reply that did not come."""
    result = TargetResult(id=UNIT, state="unknown", text="no answer within 10 s: it may have been restarted")
    return outcome(restart(), "unknown", result.text, result, next=(DIAGNOSE,))


def interrupted() -> Remediation:
    results = (done("pid 4711", "terminated"), done("pid 4712", "terminated"))
    return outcome(kill(), "interrupted", "interrupted; 2 of 3 done", *results, next=(DIAGNOSE,))


def unchanged() -> Remediation:
    result = TargetResult(id="pid 4711", state="unchanged", text="canceled, and still idle in transaction")
    proof = verified("not_fixed", "Pool in use is still beyond bounds after 120 s", POOL_STILL, checks=())
    return outcome(kill(), "unchanged", result.text, result, verification=proof)


def hostile_outcome() -> Remediation:
    long = HOSTILE + "\x1b[2J\n" + "x y" * 1000
    states = ("done", "unchanged", "gone", "changed", "failed", "unknown")
    results = tuple(TargetResult(id=long, state=states[n % 6], text=long) for n in range(30))  # type: ignore[arg-type]  # one of its words
    bad = msgspec.structs.replace(DARK, title=long, unit=long, reason=long)
    proof = verified("worse", long, *((bad,) * 30), checks=(Check(text=long, holds=None),) * 30)
    steps = (Next(command="oncall diagnose", why=long),) * 9
    r = outcome(hostile(), "partly", long, *results, verification=proof, next=steps, notes=(long,) * 30)
    return msgspec.structs.replace(r, evidence=long)


OUTCOMES: dict[str, Callable[[], Remediation]] = {
    "fixed": fixed,
    "not_fixed": not_fixed,
    "worse": worse,
    "blind": blind,
    "crashed": crashed,
    "partly": partly,
    "refused": refused,
    "gone": gone,
    "lost": lost,
    "interrupted": interrupted,
    "unchanged": unchanged,
}


# --- guards --------------------------------------------------------------------------------------


def explained() -> Guards:
    """A few of them, as they are explained."""
    rows = (
        ("identity", ("restart", "kill-queries", "flush-cache"), "whatever has taken the place of what you saw",
         "a plan's id covers its targets and who they are; each is checked again in the statement that acts",
         False),
        ("cooldown", ("restart", "flush-cache"), "a service that has just been acted on",
         "the audit log and the unit's own start time, against `cooldown` of the service file (5m)", True),
        ("index-build", ("kill-queries",), "CREATE INDEX CONCURRENTLY, which a cancel leaves behind as invalid",
         "the running statement and pg_stat_progress_create_index are looked at", True),
    )  # fmt: skip
    infos = (GuardInfo(name=n, actions=a, protects=p, how=h, overridable=o) for n, a, p, h, o in rows)
    return Guards(guards=tuple(infos))
