"""A runbook with every query filled in for one service, as it would be asked."""

import shlex
from urllib.parse import urlsplit

from oncall.clients.pg_text import fill
from oncall.clients.postgres import load_sql
from oncall.diagnosis.bounds import spec_of, threshold
from oncall.diagnosis.plan import question
from oncall.model import Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.model_shown import ShownCause, ShownEvidence, ShownRunbook, ShownSignal, ShownStep
from oncall.runbook.model import CauseSpec, EvidenceSpec, Runbook, StepSpec
from oncall.signals import to_promql

# What a diagnosis asks the server for first (PostgreSQL 13 and later).
_USUAL = {
    "statements_schema": "public",
    "statements_mean": "mean_exec_time",
    "statements_total": "total_exec_time",
}


def runbook_text(runbook: Runbook, service: Service) -> ShownRunbook:
    """What `diagnose` would ask of this service, and how it would judge the answers."""
    return ShownRunbook(
        issue=runbook.issue,
        title=runbook.title,
        path=str(runbook.path),
        signals=tuple(_signal(n, spec_of(n, runbook.signals, service), service) for n in runbook.shown),
        values=dict(runbook.spec.values),
        steps=tuple(_step(n, s, service) for n, s in runbook.spec.steps.items()),
        causes=tuple(_cause(f"{runbook.issue}.{n}", c) for n, c in runbook.spec.causes.items()),
    )


def _promql(spec: SignalSpec, service: Service) -> str:
    selector = service.prometheus.selector if service.prometheus else {}
    return to_promql(spec, selector, service.windows.rate).text


def _signal(name: str, spec: SignalSpec, service: Service) -> ShownSignal:
    query = None if spec.step or spec.up or spec.value else _promql(spec, service)
    bounds = threshold(name, spec, service)
    way = "below" if spec.below else "above"
    said = [f"{k} {way} {v:g}" for k in ("warning", "critical") if (v := getattr(bounds, k)) is not None]
    of = f" of {bounds.share_of}" if bounds.share_of and said else ""
    return ShownSignal(
        id=name,
        title=spec.title or name,
        query=query or spec.value or (f"step {spec.step}" if spec.step else f"whether {spec.up} answers"),
        bounds=", ".join(said) + of,
    )


def _step(name: str, spec: StepSpec, service: Service) -> ShownStep:
    asked = question(spec)
    if spec.promql:
        query = _promql(SignalSpec(promql=spec.promql), service)
    elif spec.health:
        query = f"curl -i {(service.url or 'http://localhost:8000').rstrip('/')}{spec.health}"
    elif asked.backend == "postgres":
        query = _sql(load_sql(spec.postgres) if spec.postgres else spec.sql or "", service)
    else:
        query = _BY_HAND[asked.key].format(unit=service.unit or "UNIT", **_places(service))
    return ShownStep(id=name, title=spec.title, why=spec.why, probe=asked.backend, query=query)


def _places(service: Service) -> dict[str, str]:
    """Where to type it, without what is secret."""
    parts = urlsplit(service.redis.url) if service.redis else None
    host, port = (parts.hostname or "localhost", parts.port or 6379) if parts else ("localhost", 6379)
    log = service.logs.file if service.logs else None
    return {
        "redis": f"redis-cli -h {host} -p {port}",
        "ollama": (service.ollama.url if service.ollama else "http://localhost:11434").rstrip("/"),
        "log": f"tail -c 4M {shlex.quote(log)}"
        if log
        else f"journalctl -u {service.unit or 'UNIT'} --since -1h",
    }


# What a person would type for the same answer.
_BY_HAND = {
    "redis:server": "{redis} INFO",
    "redis:prefixes": "{redis} --memkeys   # the tool takes a bounded sample: SCAN, MEMORY USAGE, TYPE, TTL",
    "redis:growing": "{redis} SCAN 0 TYPE list   # then LLEN of each, twice; streams alike",
    "redis:slowlog": "{redis} SLOWLOG GET 15",
    "redis:latency": "{redis} LATENCY LATEST",
    "redis:clients": "{redis} CLIENT LIST",
    "ollama:server": "curl {ollama}/api/version",
    "ollama:models": "curl {ollama}/api/tags {ollama}/api/ps",
    "systemd:state": "systemctl status {unit}",
    "host:state": "uptime; free -h; cat /proc/pressure/cpu /proc/pressure/memory",
    "network:backends": "nc -zv HOST PORT   # for each backend, timed",
    "logs:errors": "{log} | grep -ciE 'error|critical|fatal'",
    "logs:templates": "{log} | grep -iE 'error|critical|fatal'   # grouped by template",
}


def _sql(text: str, service: Service) -> str:
    """The statement as psql takes it, for a server whose pg_stat_statements is where it usually is."""
    application = (service.postgres.application_name if service.postgres else None) or ""
    filled = fill(text, {"application_name": application, **_USUAL})
    return (text if isinstance(filled, Unavailable) else filled).strip()


def _cause(name: str, spec: CauseSpec) -> ShownCause:
    return ShownCause(
        id=name,
        title=spec.title,
        why=spec.why,
        evidence=tuple(
            ShownEvidence(id=e.id, when=" ".join(e.when.split()), role=_role(e), why=e.why)
            for e in spec.evidence
        ),
        next=tuple(n.command for n in spec.next),
        advice=spec.advice,
    )


def _role(item: EvidenceSpec) -> str:
    if item.against:
        return "rules it out" if item.decisive else "against"
    return "decisive" if item.decisive else "for"
