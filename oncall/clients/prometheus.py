"""Prometheus, and whatever else speaks its HTTP API: Thanos, Mimir, VictoriaMetrics."""

import time
from array import array
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from oncall.clients.http import Fetched, HttpServer
from oncall.clients.http_faults import bad, one_line, status_fault, status_text
from oncall.clients.server_clock import skew_of
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import PrometheusAt
from oncall.promql import quote
from oncall.units import promql_duration

_NAN = float("nan")
_UNREADABLE = (msgspec.DecodeError, ValueError)
_KINDS = {
    "bad_data": Absence.BAD_QUERY,
    "execution": Absence.BAD_QUERY,
    "timeout": Absence.TIMEOUT,
    "canceled": Absence.TIMEOUT,
}


class Sample(Frozen, frozen=True):
    """One value of an instant query; `time` in Unix seconds by the server. NaN and Inf are possible."""

    labels: Mapping[str, str]
    time: float
    value: float


class Series(Frozen, frozen=True):
    """One series of a range query, oldest first."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]


class Packed(Frozen, frozen=True):
    """One series of a range query, in eight bytes a point: values on the grid of the question, NaN where none is."""

    labels: Mapping[str, str]
    values: Sequence[float]


class Grid(Frozen, frozen=True):
    """`warnings`: the answer is partial, and why. `histograms`: how many native ones were left out."""

    series: tuple[Packed, ...]
    warnings: tuple[str, ...] = ()
    histograms: int = 0


class Vector(Frozen, frozen=True):
    """`warnings`: the answer is partial, and why."""

    samples: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()


class Matrix(Frozen, frozen=True):
    """`warnings`: the answer is partial, and why."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


class Prometheus:
    """One server; its connections are kept open, at most eight questions run at once. Use as `async with`.

    `skew_s`: the server's clock minus ours, from the Date of its last answer, half a second either way; None
    before the first answer."""

    def __init__(self, at: PrometheusAt) -> None:
        self._server = HttpServer.of_backend(at)
        self._method = "POST"
        self.skew_s: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def query(self, promql: str, at: float | None, deadline_s: float) -> Vector | Unavailable:
        """An instant query at a time (Unix seconds), or at the server's own now.

        A scalar comes as one sample without labels."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        got = await self._ask("/api/v1/query", {"query": promql, **moment}, deadline_s)
        return got if isinstance(got, Unavailable) else _vector(got, self.place)

    async def query_range(
        self, promql: str, start: float, end: float, step: float, deadline_s: float
    ) -> Matrix | Unavailable:
        """A range query; start and end in Unix seconds, step in seconds."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        got = await self._ask("/api/v1/query_range", {"query": promql, **span}, deadline_s)
        return got if isinstance(got, Unavailable) else _matrix(got, self.place)

    async def grid(
        self, promql: str, start: float, step: float, points: int, deadline_s: float
    ) -> Grid | Unavailable:
        """A range query of many series, packed. Too much for the server or for us is BAD_QUERY: ask for less."""
        end = start + step * (points - 1)
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        got = await self._ask("/api/v1/query_range", {"query": promql, **span}, deadline_s)
        if isinstance(got, Unavailable):
            too_large = got.kind is Absence.BAD_ANSWER and "is larger than" in got.reason
            return msgspec.structs.replace(got, kind=Absence.BAD_QUERY) if too_large else got
        return _grid(got, start, step, points, self.place)

    async def types(self, deadline_s: float) -> dict[str, str] | Unavailable:
        """The TYPE of each metric that the targets tell of; the first where they do not agree."""
        fetched = await self._server.fetch(
            "/api/v1/metadata", data={"limit_per_metric": "1"}, deadline_s=deadline_s
        )
        got = self._reply(fetched)
        if isinstance(got, Unavailable):
            return got
        try:
            told = msgspec.json.decode(got.data, type=dict[str, list[_Metadata]])
        except _UNREADABLE:
            return bad(f"{self.place} answers with metadata of an unknown shape")
        return {name: entries[0].type for name, entries in told.items() if entries}

    async def raw(
        self, metric: str, span_s: float, at: float | None, deadline_s: float
    ) -> Matrix | Unavailable:
        """The samples, as scraped in the last `span_s` seconds, of one series that `metric` selects.

        One series only, found first: the answer stays small however many there are."""
        one = await self.query(f"topk(1, {metric})", at, deadline_s)
        if isinstance(one, Unavailable):
            return one
        if not one.samples:
            return Matrix(series=(), warnings=one.warnings)
        exact = (
            "{" + ",".join(f"{name}={quote(value)}" for name, value in one.samples[0].labels.items()) + "}"
        )
        moment = {} if at is None else {"time": f"{at:.3f}"}
        text = f"{exact}[{promql_duration(span_s)}]"
        got = await self._ask("/api/v1/query", {"query": text, **moment}, deadline_s)
        return got if isinstance(got, Unavailable) else _matrix(got, self.place)

    async def buildinfo(self, deadline_s: float) -> str | Unavailable:
        """The version, where the server tells one (Thanos and VictoriaMetrics may not)."""
        fetched = await self._server.fetch("/api/v1/status/buildinfo", deadline_s=deadline_s)
        got = self._reply(fetched)
        if isinstance(got, Unavailable):
            return got
        try:
            return msgspec.json.decode(got.data, type=_BuildInfo).version
        except _UNREADABLE:
            return bad(f"{self.place} does not tell its version")

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return self._server.place

    async def _ask(self, path: str, data: Mapping[str, str], deadline_s: float) -> "_Reply | Unavailable":
        # The server too gives up at the deadline: a question that nobody waits for must not load it
        data = {**data, "timeout": f"{max(1, round(deadline_s * 1000))}ms"}
        begun = time.monotonic()
        got = await self._server.fetch(path, method=self._method, data=data, deadline_s=deadline_s)
        if isinstance(got, Fetched) and got.status == 405 and self._method == "POST":
            self._method = "GET"
            left = max(0.0, deadline_s - (time.monotonic() - begun))
            got = await self._server.fetch(path, data=data, deadline_s=left)
        return self._reply(got)

    def _reply(self, got: Fetched | Unavailable) -> "_Reply | Unavailable":
        if isinstance(got, Unavailable):
            return got
        skew = skew_of(got)
        self.skew_s = self.skew_s if skew is None else skew
        return _read(got, self.place)


def several(count: int) -> Unavailable:
    """Of an expression (the form promql) with so many values: the first of them would be any of them."""
    reason = f"the expression has {count} values, and a signal is one number"
    hint = "put sum(...), max(...) or avg(...) around it in the service file"
    return Unavailable(kind=Absence.BAD_QUERY, reason=reason, hint=hint)


# --- the wire ----------------------------------------------------------------------------------


class _Reply(msgspec.Struct):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error_type: str = msgspec.field(default="", name="errorType")
    error: str = ""
    warnings: list[str] | None = None
    partial: bool = msgspec.field(default=False, name="isPartial")
    """VictoriaMetrics' way to say it."""

    def told(self) -> tuple[str, ...]:
        lines = tuple(map(one_line, self.warnings or ()))
        return lines or (("the server says that its answer is partial",) if self.partial else ())


class _Data(msgspec.Struct):
    type: str = msgspec.field(name="resultType")
    result: msgspec.Raw


class _Element(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] | None = None


class _Lazy(msgspec.Struct):
    """An element whose points are decoded one series at a time: all at once take ten times what is kept."""

    metric: dict[str, str]
    values: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct):
    type: str


class _BuildInfo(msgspec.Struct):
    version: str


def _read(got: Fetched, place: str) -> _Reply | Unavailable:
    """The reply of the API, or the reason why this is none, with the server's own words."""
    refused = status_fault(got.status, got.headers.get("location", ""), place)
    if refused is not None and (refused.kind is Absence.AUTH or 300 <= got.status < 400):
        return refused
    try:
        reply = msgspec.json.decode(got.body, type=_Reply)
    except _UNREADABLE as error:
        return _no_reply(got, place, refused, error)
    if reply.status != "success" or refused is not None:
        text = one_line(reply.error) or f"it answers {status_text(got.status)}"
        kind = _KINDS.get(reply.error_type, Absence.BAD_ANSWER)
        return Unavailable(kind=kind, reason=f"Prometheus at {place}: {reply.error_type or 'error'}: {text}")
    return reply


def _no_reply(got: Fetched, place: str, refused: Unavailable | None, error: Exception) -> Unavailable:
    page = "html" in got.content_type or got.body.lstrip()[:1] == b"<"
    if refused is not None and "x-prometheus-stopping" in got.headers:
        hint = "it is starting (it replays its log) or stopping: ask again in a minute"
        return Unavailable(kind=Absence.STARTING, reason=f"{refused.reason}: not ready", hint=hint)
    if refused is not None:
        text = (
            "an HTML page: a proxy in between?"
            if page
            else one_line(got.body[:400].decode("utf-8", "replace"), 120)
        )
        return bad(
            f"{refused.reason}: {text or 'no text'}", "check url and base path" if got.status == 404 else None
        )
    if page:
        return bad(
            f"{place} answers with an HTML page", "is it a login page or Grafana? Give Prometheus's own url"
        )
    if isinstance(error, msgspec.ValidationError):
        return bad(
            f"{place} answers with JSON, but not that of the Prometheus API", "check url and base path"
        )
    return bad(f"the JSON of {place} is cut or broken: {one_line(str(error), 80)}")


def _vector(reply: _Reply, place: str) -> Vector | Unavailable:
    try:
        data = msgspec.json.decode(reply.data, type=_Data)
        if data.type == "scalar":
            moment, value = msgspec.json.decode(data.result, type=tuple[float, str])
            return Vector(
                samples=(Sample(labels={}, time=moment, value=float(value)),), warnings=reply.told()
            )
        if data.type != "vector":
            return _wrong_type(data.type, "a vector", place)
        elements = msgspec.json.decode(data.result, type=list[_Element])
        samples = tuple(
            Sample(labels=e.metric, time=e.value[0], value=float(e.value[1])) for e in elements if e.value
        )
        return Vector(samples=samples, warnings=_told(reply, len(elements) - len(samples)))
    except _UNREADABLE:
        return bad(f"{place} answers with a vector of an unknown shape")


def _matrix(reply: _Reply, place: str) -> Matrix | Unavailable:
    try:
        data = msgspec.json.decode(reply.data, type=_Data)
        if data.type != "matrix":
            return _wrong_type(data.type, "a matrix", place)
        elements = msgspec.json.decode(data.result, type=list[_Element])
        series = tuple(_series(e.metric, e.values) for e in elements if e.values)
        return Matrix(series=series, warnings=_told(reply, len(elements) - len(series)))
    except _UNREADABLE:
        return bad(f"{place} answers with a matrix of an unknown shape")


def _series(labels: Mapping[str, str], points: list[tuple[float, str]]) -> Series:
    return Series(labels=labels, times=tuple(t for t, _ in points), values=tuple(float(v) for _, v in points))


def _grid(reply: _Reply, start: float, step: float, points: int, place: str) -> Grid | Unavailable:
    try:
        data = msgspec.json.decode(reply.data, type=_Data)
        if data.type != "matrix":
            return _wrong_type(data.type, "a matrix", place)
        elements = msgspec.json.decode(data.result, type=list[_Lazy])
        series = tuple(
            Packed(labels=e.metric, values=_packed(_points(e.values), start, step, points))
            for e in elements
            if bytes(e.values)
        )
        return Grid(series=series, warnings=reply.told(), histograms=len(elements) - len(series))
    except _UNREADABLE:
        return bad(f"{place} answers with a matrix of an unknown shape")


def _points(values: msgspec.Raw) -> Sequence[tuple[float, float]]:
    try:
        return msgspec.json.decode(values, type=list[tuple[float, float]], strict=False)
    except msgspec.ValidationError:
        # Infinity, in Go's spelling
        return [(t, float(v)) for t, v in msgspec.json.decode(values, type=list[tuple[float, str]])]


def _packed(found: Sequence[tuple[float, float]], start: float, step: float, points: int) -> Sequence[float]:
    if len(found) == points:
        return array("d", [v for _, v in found])
    values = array("d", [_NAN]) * points
    for t, v in found:
        at = round((t - start) / step)
        if 0 <= at < points:
            values[at] = v
    return values


def _told(reply: _Reply, unread: int) -> tuple[str, ...]:
    return reply.told() + ((f"{unread} native histograms were left out",) if unread else ())


def _wrong_type(found: str, wanted: str, place: str) -> Unavailable:
    reason = f"Prometheus at {place} answers with a {one_line(found, 20)}, not {wanted}"
    return Unavailable(
        kind=Absence.BAD_QUERY, reason=reason, hint="a range such as [5m] needs rate() or another function"
    )
