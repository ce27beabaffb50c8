"""The alerting rules that Prometheus (or what speaks its API) has loaded: expressions and annotations."""

from collections.abc import Mapping

import msgspec

from oncall.clients.http import CAP_BYTES, HttpServer
from oncall.clients.http_json import read_json
from oncall.model import Frozen, Unavailable
from oncall.model_service import PrometheusAt

_JSON = "application/json"


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
        got = await server.fetch(
            "/api/v1/rules",
            data={"type": "alert"},
            deadline_s=deadline_s,
            accept=_JSON,
            cap_bytes=CAP_BYTES,
        )
        read = read_json(got, _Reply, "the Prometheus API", server.place)
    if isinstance(read, Unavailable):
        return read
    return tuple(
        Rule(name=r.name, group=g.name, expression=r.query, labels=r.labels, annotations=r.annotations)
        for g in read.data.groups
        for r in g.rules
        if r.type == "alerting"
    )


class _Rule(msgspec.Struct):
    name: str
    type: str = ""
    query: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Group(msgspec.Struct):
    name: str = ""
    rules: list[_Rule] = msgspec.field(default_factory=list)


class _Groups(msgspec.Struct):
    groups: list[_Group] = msgspec.field(default_factory=list)


class _Reply(msgspec.Struct):
    data: _Groups
