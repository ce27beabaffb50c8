"""JSON for scripts: the contract's documents. Imports no rich."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from oncall.model import Diagnosis, worst
from oncall.model_acts import ActionPlan, AuditList, AuditShown, AuditVerified, Guards, Remediation
from oncall.model_alerts import AlertsOfAll, AlertsReport, Handover, SilenceList, SilencePlan
from oncall.model_boards import Board
from oncall.model_changes import ChangeReport, Changes
from oncall.model_checks import CheckReport
from oncall.model_deploy import DeployReport
from oncall.model_status import HealthOfAll, HealthReport, StatusOfAll, StatusReport
from oncall.render.words import is_older

_FIRST = (
    "schema",
    "service",
    "issue",
    "at",
    "duration_ms",
    "severity",
    "verdict",
    "signals",
    "steps",
    "causes",
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# A JSON encoder lets these through, and a terminal obeys them or shows text in another order.
_OBEYED = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def diagnosis_json(d: Diagnosis) -> bytes:
    """The diagnosis as one JSON document: the contract's keys first, times in whole seconds of UTC.

    NaN and Infinity become null; what a terminal would obey is escaped, the data stays the same.
    """
    return _encode(_builtins(d))


def diagnoses_json(service: str, diagnoses: Sequence[Diagnosis]) -> bytes:
    """Several issues of one service, asked at once and worst first: schema `oncall/diagnoses/1`."""
    if not diagnoses:
        raise ValueError("no diagnosis to show")
    document = {
        "schema": "oncall/diagnoses/1",
        "service": service,
        "at": _whole(diagnoses[0].at),
        "duration_ms": max(d.duration_ms for d in diagnoses),
        "severity": worst(d.severity for d in diagnoses),
        "diagnoses": [_builtins(d) for d in diagnoses],
    }
    return _encode(document)


def changes_json(found: Changes) -> bytes:
    """What changed, as one JSON document: the contract's keys first, times in whole seconds of UTC."""
    whole = msgspec.structs.replace(
        found,
        at=_whole(found.at),
        changes=tuple(map(_whole_onset, found.changes)),
        first=_whole_onset(found.first) if found.first else None,
    )
    return _encode(msgspec.to_builtins(whole))


def plan_json(plan: ActionPlan) -> bytes:
    """A plan as one JSON document: schema `oncall/plan/1`, the time in whole seconds of UTC."""
    return _encode(msgspec.to_builtins(_whole_plan(plan), enc_hook=_plain))


def remediation_json(done: Remediation) -> bytes:
    """What became of an action, with its plan: schema `oncall/remediation/1`."""
    whole = msgspec.structs.replace(done, plan=_whole_plan(done.plan))
    return _encode(msgspec.to_builtins(whole, enc_hook=_plain))


def guards_json(found: Guards) -> bytes:
    """The guards, explained: schema `oncall/guards/1`."""
    return _encode(msgspec.to_builtins(found))


def audit_json(found: AuditList | AuditShown | AuditVerified) -> bytes:
    """Entries of the audit log as they are written there: schemas `oncall/audit...`."""
    return _encode(msgspec.to_builtins(found, enc_hook=_plain))


def alerting_json(found: AlertsReport | AlertsOfAll | SilenceList | SilencePlan | Handover) -> bytes:
    """Alerts, silences or a handover as one document: schemas `oncall/alerts...`, `oncall/silence...`."""
    return _encode(msgspec.to_builtins(found, enc_hook=_plain))


def status_json(found: StatusReport | StatusOfAll | HealthReport | HealthOfAll) -> bytes:
    """Status or health as one document: schemas `oncall/status...`, `oncall/health...`."""
    return _encode(msgspec.to_builtins(found, enc_hook=_plain))


def check_json(report: CheckReport) -> bytes:
    """A check of one service: schema `oncall/check/1`, its lines worst first."""
    return _encode(msgspec.to_builtins(msgspec.structs.replace(report, at=_whole(report.at))))


def checks_json(reports: Sequence[CheckReport]) -> bytes:
    """A check of several services, worst first: schema `oncall/checks/1`."""
    document = {
        "schema": "oncall/checks/1",
        "check": reports[0].check if reports else None,
        "severity": worst(r.severity for r in reports),
        "services": [
            msgspec.to_builtins(msgspec.structs.replace(report, at=_whole(report.at))) for report in reports
        ],
    }
    return _encode(document)


def deploy_json(report: DeployReport) -> bytes:
    """A deploy, watched: schema `oncall/deploy/1`, its lines worst first."""
    return _encode(msgspec.to_builtins(msgspec.structs.replace(report, at=_whole(report.at))))


def board_json(found: Board) -> bytes:
    """A dashboard: its verdict and every panel."""
    return _encode(msgspec.to_builtins(msgspec.structs.replace(found, at=_whole(found.at)), enc_hook=_plain))


def _whole_plan(plan: ActionPlan) -> ActionPlan:
    return msgspec.structs.replace(plan, at=_whole(plan.at))


def _whole_onset(change: ChangeReport) -> ChangeReport:
    return msgspec.structs.replace(change, onset=_whole(change.onset)) if change.onset else change


def error_json(error: str, hint: str | None) -> bytes:
    """What went wrong and what to do next: schema `oncall/error/1`."""
    return _encode({"schema": "oncall/error/1", "error": error, "hint": hint})


def _builtins(d: Diagnosis) -> dict[str, Any]:
    signals = tuple(
        msgspec.structs.replace(signal, since=None if is_older(signal, d) else _whole(signal.since))
        if signal.since
        else signal
        for signal in d.signals
    )
    whole = msgspec.structs.replace(d, at=_whole(d.at), signals=signals)
    shown: dict[str, Any] = msgspec.to_builtins(whole, enc_hook=_plain)
    return {key: shown[key] for key in _FIRST} | shown


def _plain(value: object) -> float:
    """Durations and sizes are numbers."""
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _whole(at: datetime) -> datetime:
    utc = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return utc.replace(microsecond=0)


def _encode(document: object) -> bytes:
    try:
        encoded = msgspec.json.encode(document)  # which writes null for NaN and the infinities
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_without_surrogates(document))
    text = encoded.decode()
    return encoded if text.isascii() and "\x7f" not in text else _OBEYED.sub(_escaped, text).encode()


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _without_surrogates(value: Any) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Half a character has no UTF-8: shown as the escape that it would be."""
    if isinstance(value, str):
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, (list, tuple)) else value
