"""Alertmanager by its API v2: is it there, what does it hold, what is silenced; silences made and ended."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from oncall.clients.http import Data, Fetched, HttpServer
from oncall.clients.http_faults import bad, one_line
from oncall.clients.http_json import ask_json, read_json
from oncall.clients.server_clock import skew_of
from oncall.model import Absence, Frozen, Met, Unavailable
from oncall.model_service import HttpBackend, Service
from oncall.scrub import scrub, secrets_of

T = TypeVar("T")
_WHAT = "Alertmanager"
_JSON = "application/json"
_EXPIRED_KEPT = 200


class Held(Frozen, frozen=True):
    """One alert that Alertmanager holds. `inhibited_by` are fingerprints of other alerts."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: datetime
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()


class Term(Frozen, frozen=True):
    """One matcher of a silence, as the API has it."""

    name: str
    value: str
    regex: bool
    equal: bool = True


class Quiet(Frozen, frozen=True):
    """One silence."""

    id: str
    state: Literal["active", "pending", "expired"]
    matchers: tuple[Term, ...]
    starts: datetime
    ends: datetime
    by: str
    comment: str


class Alertmanager:
    """One server, its connections kept open. Use as `async with`.

    `skew_s`: its clock minus ours, from the Date of its last answer; None before the first."""

    def __init__(self, at: HttpBackend) -> None:
        self._server = HttpServer.of_backend(at)
        self._secrets = secrets_of(Service(alertmanager=at))
        self.skew_s: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return self._server.place

    async def alerts(self, deadline_s: float, matchers: Sequence[str] = ()) -> tuple[Held, ...] | Unavailable:
        """All alerts, silenced and inhibited ones too; of those only what all `matchers` (`name="value"`) fit."""
        got = await self._ask("/api/v2/alerts", [("filter", text) for text in matchers], deadline_s)
        found = self._read(got, list[_Alert])
        return found if isinstance(found, Unavailable) else tuple(a.held() for a in found)

    async def silences(self, deadline_s: float) -> tuple[Quiet, ...] | Unavailable:
        """All silences: active and pending ones, and the ended ones that are still kept (the newest 200)."""
        found = self._read(await self._ask("/api/v2/silences", (), deadline_s), list[_Silence])
        if isinstance(found, Unavailable):
            return found
        silences = [s.quiet() for s in found]
        ended = sorted((s for s in silences if s.state == "expired"), key=lambda s: s.ends, reverse=True)
        return (*(s for s in silences if s.state != "expired"), *ended[:_EXPIRED_KEPT])

    async def silence(self, wanted: Quiet, deadline_s: float) -> str | Unavailable:
        """Makes a silence; its id. The id of `wanted` is not sent: a new one is made."""
        document = {
            "matchers": [
                {"name": m.name, "value": m.value, "isRegex": m.regex, "isEqual": m.equal}
                for m in wanted.matchers
            ],
            "startsAt": _rfc3339(wanted.starts),
            "endsAt": _rfc3339(wanted.ends),
            "createdBy": wanted.by,
            "comment": wanted.comment,
        }
        got = await self._ask("/api/v2/silences", msgspec.json.encode(document), deadline_s, method="POST")
        made = self._read(got, _Made)
        return made if isinstance(made, Unavailable) else made.id

    async def expire(self, silence: str, deadline_s: float) -> Unavailable | None:
        """Ends a silence now."""
        path = f"/api/v2/silence/{quote(silence, safe='')}"
        got = await self._ask(path, (), deadline_s, method="DELETE")
        if isinstance(got, Unavailable):
            return got
        return None if 200 <= got.status < 300 else self._refusal(got)

    async def _ask(
        self, path: str, data: Data, deadline_s: float, method: str = "GET"
    ) -> Fetched | Unavailable:
        got = await self._server.fetch(path, method=method, data=data, deadline_s=deadline_s, accept=_JSON)
        if isinstance(got, Fetched):
            self.skew_s = skew_of(got) if skew_of(got) is not None else self.skew_s
        return got

    def _read(self, got: Fetched | Unavailable, shape: type[T]) -> T | Unavailable:
        if isinstance(got, Fetched) and 400 <= got.status < 500 and got.status not in (401, 403, 404):
            return self._refusal(got)
        read = read_json(got, shape, _WHAT, self.place)
        return self._masked(read) if isinstance(read, Unavailable) else read

    def _masked(self, gap: Unavailable) -> Unavailable:
        """It may quote what it was sent."""
        return replace(gap, reason=scrub(gap.reason, self._secrets))

    def _refusal(self, got: Fetched) -> Unavailable:
        """Its own words, which are a JSON string or an object with a message."""
        fault = read_json(got, object, _WHAT, self.place)
        try:
            said = msgspec.json.decode(got.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._masked(fault) if isinstance(fault, Unavailable) else bad(f"{self.place} refuses")
        text = said.get("message", "") if isinstance(said, dict) else said
        told = one_line(str(text)) or f"status {got.status}"
        gap = Unavailable(kind=Absence.BAD_QUERY, reason=f"Alertmanager at {self.place}: {told}")
        return self._masked(gap)


# --- the wire ------------------------------------------------------------------------------------


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _AlertStatus(msgspec.Struct):
    silenced_by: list[str] | None = msgspec.field(name="silencedBy", default=None)
    inhibited_by: list[str] | None = msgspec.field(name="inhibitedBy", default=None)


class _Alert(msgspec.Struct):
    labels: dict[str, str]
    starts: datetime = msgspec.field(name="startsAt")
    fingerprint: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    status: _AlertStatus = msgspec.field(default_factory=_AlertStatus)

    def held(self) -> Held:
        return Held(
            fingerprint=self.fingerprint,
            labels=self.labels,
            annotations=self.annotations,
            starts=self.starts,
            silenced_by=tuple(self.status.silenced_by or ()),
            inhibited_by=tuple(self.status.inhibited_by or ()),
        )


class _Matcher(msgspec.Struct):
    name: str
    value: str
    regex: bool = msgspec.field(name="isRegex")
    equal: bool = msgspec.field(name="isEqual", default=True)


class _SilenceStatus(msgspec.Struct):
    state: Literal["active", "pending", "expired"]


class _Silence(msgspec.Struct):
    id: str
    status: _SilenceStatus
    matchers: list[_Matcher]
    starts: datetime = msgspec.field(name="startsAt")
    ends: datetime = msgspec.field(name="endsAt")
    by: str = msgspec.field(name="createdBy", default="")
    comment: str = ""

    def quiet(self) -> Quiet:
        terms = (Term(name=m.name, value=m.value, regex=m.regex, equal=m.equal) for m in self.matchers)
        return Quiet(
            id=self.id,
            state=self.status.state,
            matchers=tuple(terms),
            starts=self.starts,
            ends=self.ends,
            by=self.by,
            comment=self.comment,
        )


class _Made(msgspec.Struct):
    id: str = msgspec.field(name="silenceID")


# --- is it there ---------------------------------------------------------------------------------


class _Version(msgspec.Struct):
    version: str


class _Cluster(msgspec.Struct):
    status: str
    peers: list[object] = msgspec.field(default_factory=list)


class _Status(msgspec.Struct):
    version_info: _Version = msgspec.field(name="versionInfo")
    cluster: _Cluster


async def meet(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    """Its version and round trip, within `deadline_s` seconds."""
    answer = await ask_json(at, "/api/v2/status", _Status, _WHAT, deadline_s)
    if isinstance(answer, Unavailable):
        return answer
    status, ms = answer
    settling = status.cluster.status == "settling"
    notes = ("its cluster is still settling: alerts may come twice",) if settling else ()
    return Met(ms=ms, version=status.version_info.version, notes=notes)
