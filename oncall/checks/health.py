"""The service's health endpoints as one line, asked and judged as `oncall health` does."""

from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene, present_only, unknown
from oncall.model import Column, Table
from oncall.model_checks import CheckLine
from oncall.model_service import Service
from oncall.model_status import Endpoint, HealthReport
from oncall.monitoring import health

_COLUMNS = (
    Column(name="endpoint"),
    Column(name="state"),
    Column(name="took", unit="ms"),
    Column(name="says"),
    Column(name="shape"),
)


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line for all endpoints; the rows are below it."""
    if scene.service.url is None:
        return (unknown(name, spec, "http", "not configured", "set `url` of the service", counts=False),)
    if scene.at is not None:
        return (present_only(name, spec, "http"),)
    return (line(name, spec, await _asked(scene.name, scene.service, scene.deadline_s)),)


async def _asked(name: str, service: Service, deadline_s: float) -> HealthReport:
    # Twice within the time there is: one that hangs is down, and not what nobody had the time to see
    how = health.How(timeout_s=0.4 * deadline_s, again_s=min(health.AGAIN_S, 0.05 * deadline_s))
    return await health.look(name, service, how)


def line(name: str, spec: LineSpec, found: HealthReport) -> CheckLine:
    """How many are healthy, and what the others say. Pure."""
    there = [e for e in found.endpoints if e.state != "not_configured"]
    well = sum(e.state == "healthy" for e in there)
    ill = [f"{e.path} {_state(e)}: {e.text}" for e in there if e.state != "healthy"]
    said = f"{well} of {len(there)} healthy"
    return CheckLine(
        id=name,
        title=spec.title or "Health",
        severity=found.severity,
        why=spec.why,
        source="http",
        text=f"{said}: {'; '.join(ill)}" if ill else said,
        target=spec.target or f"{len(there)} of {len(there)}",
        query="; ".join(filter(None, (e.query for e in there))),
        age_s=0.0,
        hint=next((e.hint for e in there if e.hint), None),
        detail=Table(
            columns=_COLUMNS,
            rows=tuple(
                (e.path, _state(e), e.ms, e.text, "; ".join(e.shape) or None) for e in found.endpoints
            ),
        ),
    )


def _state(endpoint: Endpoint) -> str:
    return endpoint.state.replace("_", " ")
