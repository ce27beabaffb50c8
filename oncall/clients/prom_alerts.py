"""Alerting rules of Prometheus, and of what speaks its API (Thanos Ruler, Mimir, vmalert): what fires, what is
pending, the value of each, and the rules that cannot be evaluated."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from oncall.clients.http import CAP_BYTES, Fetched, HttpServer
from oncall.clients.http_faults import one_line
from oncall.clients.http_json import read_json
from oncall.clients.server_clock import skew_of
from oncall.model import Frozen, Unavailable
from oncall.model_service import PrometheusAt

_JSON = "application/json"
_WHAT = "the Prometheus API"


class Raised(Frozen, frozen=True):
    """An alert of a rule. `active`: since when its expression holds; it fires `for_s` later."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    firing: bool
    active: datetime | None
    value: float | None = None
    for_s: float | None = None
    """None where the rules could not be read."""
    expression: str | None = None
    evaluated: datetime | None = None


class BrokenRule(Frozen, frozen=True):
    """A rule that Prometheus could not evaluate when it last tried. `labels`: those that the rule adds."""

    name: str
    labels: Mapping[str, str]
    error: str


class Rules(Frozen, frozen=True):
    """What the rules say now. `count`: how many alerting rules there are; None where they could not be read.
    `waiting`: how many of them have not been evaluated yet, as after a start.

    `notes`: what is missing of it. `skew_s`: the server's clock minus ours."""

    raised: tuple[Raised, ...]
    broken: tuple[BrokenRule, ...] = ()
    count: int | None = None
    waiting: int = 0
    skew_s: float | None = None
    place: str = ""
    notes: tuple[str, ...] = ()


class Rule(Frozen, frozen=True):
    """One alerting rule as it is loaded."""

    name: str
    group: str
    expression: str
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


async def alert_rules(at: PrometheusAt, deadline_s: float) -> tuple[Rule, ...] | Unavailable:
    """Every alerting rule, in the order of the server; none where it has none (it may leave rules to another)."""
    async with HttpServer.of_backend(at) as server:
        ruled = await _get(server, "/api/v1/rules", {"type": "alert"}, deadline_s)
        read = read_json(ruled, _RulesReply, _WHAT, server.place)
    if isinstance(read, Unavailable):
        return read
    return tuple(
        Rule(
            name=rule.name,
            group=group.name,
            expression=rule.query,
            labels=rule.labels or {},
            annotations=rule.annotations or {},
        )
        for group in read.data.groups or ()
        for rule in group.alerting
    )


async def raised_alerts(at: PrometheusAt, deadline_s: float) -> Rules | Unavailable:
    """The rules with their alerts; where only the alerts can be read (/api/v1/alerts), those alone."""
    async with HttpServer.of_backend(at) as server:
        ruled, alone = await asyncio.gather(
            _get(server, "/api/v1/rules", {"type": "alert"}, deadline_s),
            _get(server, "/api/v1/alerts", {}, deadline_s),
        )
    place = server.place
    rules = read_json(ruled, _RulesReply, _WHAT, place)
    if not isinstance(rules, Unavailable):
        skew = skew_of(ruled) if isinstance(ruled, Fetched) else None
        return _of_rules(rules.data.groups or [], place, skew)
    alerts = read_json(alone, _AlertsReply, _WHAT, place)
    if isinstance(alerts, Unavailable):
        return alerts
    skew = skew_of(alone) if isinstance(alone, Fetched) else None
    note = f"the rules cannot be read: {rules.reason}"
    found = tuple(a.raised() for a in alerts.data.alerts or ())
    return Rules(raised=found, skew_s=skew, place=place, notes=(note,))


async def _get(
    server: HttpServer, path: str, data: Mapping[str, str], deadline_s: float
) -> Fetched | Unavailable:
    return await server.fetch(path, data=data, deadline_s=deadline_s, accept=_JSON, cap_bytes=CAP_BYTES)


def _of_rules(groups: "list[_Group]", place: str, skew_s: float | None) -> Rules:
    rules = [rule for group in groups for rule in group.alerting]
    broken = tuple(
        BrokenRule(name=r.name, labels=r.labels or {}, error=one_line(r.error))
        for r in rules
        if r.health == "err"
    )
    return Rules(
        raised=tuple(alert.raised(rule) for rule in rules for alert in rule.alerts or ()),
        broken=broken,
        count=len(rules),
        waiting=sum(rule.health == "unknown" for rule in rules),
        skew_s=skew_s,
        place=place,
    )


# --- the wire --------------------------------------------------------------------------------------


class _Alert(msgspec.Struct):
    labels: dict[str, str]
    state: str
    annotations: dict[str, str] | None = None
    active: datetime | None = msgspec.field(name="activeAt", default=None)
    value: str | float = ""

    def raised(self, rule: "_Rule | None" = None) -> Raised:
        return Raised(
            labels=self.labels,
            annotations=self.annotations or {},
            firing=self.state == "firing",
            active=self.active,
            value=_number(self.value),
            for_s=rule.duration if rule else None,
            expression=rule.query if rule else None,
            evaluated=rule.evaluated if rule else None,
        )


def _number(text: str | float) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class _Rule(msgspec.Struct):
    name: str
    type: str = ""
    query: str = ""
    duration: float = 0.0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    alerts: list[_Alert] | None = None
    health: str = ""
    error: str = msgspec.field(name="lastError", default="")
    evaluated: datetime | None = msgspec.field(name="lastEvaluation", default=None)


class _Group(msgspec.Struct):
    name: str = ""
    rules: list[_Rule] | None = None

    @property
    def alerting(self) -> list[_Rule]:
        """The others record."""
        return [rule for rule in self.rules or () if rule.type == "alerting"]


class _Groups(msgspec.Struct):
    groups: list[_Group] | None
    """Go writes an empty list as null, too; one that is not there is another matter."""


class _Alerts(msgspec.Struct):
    alerts: list[_Alert] | None


class _RulesReply(msgspec.Struct):
    data: _Groups
    status: Literal["success"] = "success"


class _AlertsReply(msgspec.Struct):
    data: _Alerts
    status: Literal["success"] = "success"
