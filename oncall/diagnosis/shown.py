"""A runbook with every query filled in for one service, as it would be asked."""

from oncall.clients.pg_text import fill
from oncall.clients.postgres import load_sql
from oncall.diagnosis.report import threshold
from oncall.model import (
    Service,
    ShownCause,
    ShownEvidence,
    ShownRunbook,
    ShownSignal,
    ShownStep,
    SignalSpec,
    Unavailable,
)
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
        signals=tuple(
            _signal(n, service.signals.get(n, runbook.signals[n]), runbook.signals[n], service)
            for n in runbook.shown
        ),
        values=dict(runbook.spec.values),
        steps=tuple(_step(n, s, service) for n, s in runbook.spec.steps.items()),
        causes=tuple(_cause(f"{runbook.issue}.{n}", c) for n, c in runbook.spec.causes.items()),
    )


def _promql(spec: SignalSpec, service: Service) -> str:
    selector = service.prometheus.selector if service.prometheus else {}
    return to_promql(spec, selector, service.windows.rate).text


def _signal(name: str, spec: SignalSpec, base: SignalSpec, service: Service) -> ShownSignal:
    query = None if spec.step or spec.up else _promql(spec, service)
    bounds = threshold(name, base, service)
    way = "below" if base.below else "above"
    said = [f"{k} {way} {v:g}" for k in ("warning", "critical") if (v := getattr(bounds, k)) is not None]
    of = f" of {bounds.share_of}" if bounds.share_of and said else ""
    return ShownSignal(
        id=name,
        title=spec.title or base.title or name,
        query=query or (f"step {spec.step}" if spec.step else f"whether {spec.up} answers"),
        bounds=", ".join(said) + of,
    )


def _step(name: str, spec: StepSpec, service: Service) -> ShownStep:
    probe = "postgres" if spec.postgres or spec.sql else "prometheus" if spec.promql else "http"
    if spec.promql:
        query = _promql(SignalSpec(promql=spec.promql), service)
    elif spec.health:
        query = f"curl -i {(service.url or 'http://localhost:8000').rstrip('/')}{spec.health}"
    else:
        query = _sql(load_sql(spec.postgres) if spec.postgres else spec.sql or "", service)
    return ShownStep(id=name, title=spec.title, why=spec.why, probe=probe, query=query)


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
