"""HTTP as oncall speaks it: one deadline for all, a cap on the body, no redirects; and health endpoints."""

import asyncio
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlencode, urlunsplit

from oncall.clients.health_endpoints import Fields, complaints
from oncall.clients.http_faults import (
    Progress,
    Refused,
    after_handshake,
    bad,
    fault,
    one_line,
    redirect_target,
    split,
    status_text,
    too_late,
    where,
)
from oncall.clients.http_options import asyncio_alone, authorization, is_loopback, proxy_for, tls_context
from oncall.model import Absence, Column, Frozen, Scalar, StepReading, Table, Unavailable
from oncall.model_service import Basic, HttpBackend, Service, Tls

if TYPE_CHECKING:
    import httpx

CAP_BYTES = 16 * 2**20
AT_ONCE = 8
_PIECE = 2**16
_HEALTH_CAP_BYTES = 2**20
HEALTH_COLUMNS = (
    Column(name="endpoint"),
    Column(name="status"),
    Column(name="verdict"),
    Column(name="healthy"),
    Column(name="ms", unit="ms"),
    Column(name="detail"),
)
_GOOD = {
    "healthy",
    "connected",
    "ok",
    "up",
    "pass",
    "passing",
    "alive",
    "ready",
    "green",
    "running",
    "available",
}
# The server was met, and it gave no proper answer: that is the service's illness, not a gap in what we know
_ILLNESSES = (Absence.TIMEOUT, Absence.BAD_ANSWER)
Sink = Callable[[bytes], None]
Data = Mapping[str, str] | Sequence[tuple[str, str]] | bytes
"""Fields, where a name may come twice; or JSON as it is to be posted."""


class Fetched(Frozen, frozen=True):
    """An answer, whatever its status. Names of headers are in small letters.

    `ms` runs from asking to the last byte; `asked_at` and `headers_at` are when the request went out and when
    the headers of the answer were there (time.monotonic)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ms: float
    asked_at: float
    headers_at: float

    @property
    def content_type(self) -> str:
        """`text/html`, without parameters, in small letters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class HttpServer:
    """One server, its connections kept open. Use as `async with`; it connects at the first request."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        basic: Basic | None = None,
        bearer: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._url, self._headers, self._tls = url, headers or {}, tls or Tls()
        self._basic, self._bearer = basic, bearer
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.place = where(url)
        """host:port, for messages."""

    @classmethod
    def of_backend(cls, at: HttpBackend) -> Self:
        return cls(at.url, headers=at.headers, basic=at.basic, bearer=at.bearer, tls=at.tls)

    @classmethod
    def of_service(cls, service: Service) -> Self:
        return cls(service.url or "", headers=service.headers, tls=service.tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    def address(self, path: str) -> str:
        """The address of a path of this server as it may be shown: without credentials and query."""
        try:
            return self._target(path)
        except ValueError:
            return path

    async def fetch(
        self,
        path: str,
        *,
        deadline_s: float,
        method: str = "GET",
        data: Data | None = None,
        accept: str = "*/*",
        cap_bytes: int = CAP_BYTES,
        sink: Sink | None = None,
        progress: Progress | None = None,
    ) -> Fetched | Unavailable:
        """Asks once, within `deadline_s` seconds for everything, the wait for one of eight turns included.

        Fields of `data` go into the query of a GET and into the form of a POST. `sink` gets the unpacked body in
        pieces, in place of `Fetched.body`; what it raises as `Refused` ends the request."""
        import httpx

        progress = progress or Progress()
        timer = asyncio.timeout(deadline_s)
        try:
            async with timer, self._turns:
                return await self._ask(path, method, data or {}, accept, _Body(cap_bytes, sink, progress))
        except TimeoutError as error:
            # The operating system's own time limit raises the same type
            return too_late(progress, self.place, deadline_s) if timer.expired() else fault(error, self.place)
        except (Refused, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
            got = fault(error, self.place)
            unasked = progress.shook_hands and not progress.size and not self._tls.cert
            return after_handshake(self.place) if unasked and got.kind is Absence.DOWN else got

    async def _ask(self, path: str, method: str, data: Data, accept: str, body: "_Body") -> Fetched:
        client, begun = self._open(), time.monotonic()
        headers, content, query = {"Accept": accept}, None, ""
        if isinstance(data, bytes):
            headers["Content-Type"], content = "application/json", data
        elif method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(data).encode()
        else:
            query = urlencode(data)
        request = client.stream(
            method,
            self._target(path, "&".join(filter(None, (split(self._url).query, query)))),
            headers=headers,
            content=content,
            extensions={"trace": body.progress.trace},
        )
        async with request as response:
            headers_at = time.monotonic()
            body.expect(response.headers)
            async for raw in response.aiter_raw():
                body.take(raw)
            return Fetched(
                status=response.status_code,
                headers=dict(response.headers),
                body=body.whole(),
                ms=(time.monotonic() - begun) * 1000,
                asked_at=begun,
                headers_at=headers_at,
            )

    def _target(self, path: str, query: str = "") -> str:
        parts = split(self._url)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/") + path, query, ""))

    def _open(self) -> "httpx.AsyncClient":
        if self._client is not None:
            return self._client
        import httpx

        asyncio_alone()
        parts = split(self._url)
        proxy = proxy_for(parts)
        if proxy:
            self.place = f"{where(self._url)} (through the proxy {where(proxy)})"
        self._client = httpx.AsyncClient(
            headers=self._standing_headers(parts),
            verify=tls_context(self._tls, parts.scheme == "https"),
            proxy=proxy,
            # The proxy is looked up above, by proxy_for; nothing else of the environment has a say
            trust_env=False,
            timeout=None,  # noqa: S113 - httpx limits each operation only; fetch limits the whole
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            follow_redirects=False,
        )
        return self._client

    def _standing_headers(self, parts: SplitResult) -> list[tuple[bytes, bytes]]:
        # Packing costs more than it saves where nothing has to travel
        packing = "identity" if is_loopback(parts.hostname or "") else "gzip"
        given = {"User-Agent": "oncall", "Accept-Encoding": packing} | dict(self._headers)
        given |= authorization(self._basic, self._bearer, parts)
        for name, value in given.items():
            if not name.isascii() or any(ord(c) < 32 or ord(c) == 127 for c in name + value):
                reason = f"the header {name!a} for {self.place} has characters that HTTP does not allow"
                raise Refused(Unavailable(kind=Absence.BAD_QUERY, reason=reason))
        return [(name.encode(), value.encode()) for name, value in given.items()]


async def fetch(
    url: str,
    *,
    deadline_s: float,
    method: str = "GET",
    data: Mapping[str, str] | None = None,
    backend: HttpBackend | None = None,
    cap_bytes: int = CAP_BYTES,
) -> Fetched | Unavailable:
    """One request to a server that is not asked again; `backend` gives credentials, headers and TLS."""
    at = backend or HttpBackend(url=url)
    async with HttpServer(url, headers=at.headers, basic=at.basic, bearer=at.bearer, tls=at.tls) as server:
        return await server.fetch("", method=method, data=data, deadline_s=deadline_s, cap_bytes=cap_bytes)


# --- the body ----------------------------------------------------------------------------------


class _Body:
    """Takes a body up to its cap. Unpacks it in small pieces: httpx would unpack a bomb into memory."""

    def __init__(self, cap_bytes: int, sink: Sink | None, progress: Progress) -> None:
        self._cap, self.progress = cap_bytes, progress
        self._pieces: list[bytes] = []
        self._sink = sink or self._pieces.append
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._packed = False

    def expect(self, headers: Mapping[str, str]) -> None:
        """Looks at the headers of the answer before its body is read. Raises Refused."""
        packing = headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip", ""):
            raise Refused(bad(f"the answer is packed as {packing[:20]}, which was not asked for"))
        self._packed = "gzip" in packing
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._cap:
            raise self._too_large()

    def take(self, raw: bytes) -> None:
        for piece in self._unpacked(raw) if self._packed else (raw,):
            self.progress.size += len(piece)
            if self.progress.size > self._cap:
                raise self._too_large()
            self._sink(piece)

    def _unpacked(self, raw: bytes) -> Iterator[bytes]:
        piece = raw
        while raw or len(piece) == _PIECE:
            try:
                piece = self._unpacker.decompress(raw, _PIECE)
            except zlib.error as error:
                raise Refused(bad("the packed answer is broken")) from error
            raw = self._unpacker.unconsumed_tail
            yield piece

    def whole(self) -> bytes:
        if self._packed and self.progress.size and not self._unpacker.eof:
            raise Refused(bad("the packed answer is cut"))
        return b"".join(self._pieces)

    def _too_large(self) -> Refused:
        return Refused(bad(f"the answer is larger than {self._cap / 2**20:.3g} MiB: not read on"))


# --- health --------------------------------------------------------------------------------------


class _Verdict(Frozen, frozen=True):
    status: int | None
    verdict: str
    healthy: bool | None
    detail: str | None


async def health(
    service: Service,
    path: str,
    deadline_s: float,
    server: HttpServer | None = None,
    fields: Fields | None = None,
) -> StepReading:
    """Asks one health endpoint (`/health`, `/health/db`, `/health/cache`) of the service; one row.

    Where `fields` are given, the notes say what a healthy answer lacks of them or has of another type.
    Whatever an endpoint that was reached answers is a row: healthy only with 200 and a good word. A service
    that cannot be reached at all is Unavailable: down, unresolved, timeout (no connection), tls, auth."""
    if service.url is None:
        answer = Unavailable(
            kind=Absence.NOT_CONFIGURED, reason="not configured", hint="set url of the service"
        )
        return StepReading(source="http", query=None, answer=answer)
    if server is not None:
        return await _ask(server, path, deadline_s, fields)
    async with HttpServer.of_service(service) as own:
        return await _ask(own, path, deadline_s, fields)


async def _ask(server: HttpServer, path: str, deadline_s: float, fields: Fields | None) -> StepReading:
    progress = Progress()
    got = await server.fetch(
        path, deadline_s=deadline_s, accept="application/json", cap_bytes=_HEALTH_CAP_BYTES, progress=progress
    )
    query, ms = f"GET {server.address(path)}", got.ms if isinstance(got, Fetched) else None
    if isinstance(got, Unavailable) and not (got.kind in _ILLNESSES and progress.connected):
        return StepReading(source="http", query=query, answer=got)
    if isinstance(got, Fetched) and got.status in (401, 403):
        reason = f"{server.place} refuses access to {path}: {status_text(got.status)}"
        denied = Unavailable(kind=Absence.AUTH, reason=reason, hint="set headers of the service")
        return StepReading(source="http", query=query, answer=denied, ms=ms)
    found = _judge(got)
    row: tuple[Scalar, ...] = (path, found.status, found.verdict, found.healthy, ms, found.detail)
    notes: tuple[str, ...] = ()
    if fields and isinstance(got, Fetched) and found.healthy is not False:
        notes = complaints(got.body, fields)
    table = Table(columns=HEALTH_COLUMNS, rows=(row,), notes=notes)
    return StepReading(source="http", query=query, answer=table, ms=ms)


def _judge(got: Fetched | Unavailable) -> _Verdict:
    if isinstance(got, Unavailable):
        return _Verdict(status=None, verdict=got.kind.replace("_", " "), healthy=False, detail=got.reason)
    if 300 <= got.status < 400:
        target = redirect_target(got.headers.get("location", ""))
        return _ill(got, "redirect", f"redirects to {target}: not followed")
    if "html" in got.content_type or got.body.lstrip()[:1] == b"<":
        return _ill(got, "html", "an HTML page, not a health answer: a login page or a proxy?")
    return _judge_body(got)


def _ill(got: Fetched, verdict: str, detail: str | None) -> _Verdict:
    return _Verdict(status=got.status, verdict=verdict, healthy=False, detail=detail)


def _judge_body(got: Fetched) -> _Verdict:
    import msgspec

    text = one_line(got.body.decode("utf-8", "replace"))
    try:
        content = msgspec.json.decode(got.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if got.status == 200 and text.lower() in _GOOD:
            return _Verdict(status=200, verdict=text.lower(), healthy=True, detail=None)
        return _ill(got, "bad answer", f"not JSON, or cut: {one_line(text, 80)!r}")
    if not isinstance(content, dict) or not isinstance(content.get("status"), str):
        # 200 alone says that the process answers; what it means to say is unknown
        healthy = None if got.status == 200 else False
        return _Verdict(
            status=got.status, verdict="no status", healthy=healthy, detail='JSON without a "status"'
        )
    word = one_line(content["status"], 40)
    healthy = got.status == 200 and word.lower() in _GOOD
    return _Verdict(status=got.status, verdict=word, healthy=healthy, detail=_details(got.status, content))


def _details(status: int, content: Mapping[str, object]) -> str | None:
    parts = [] if status == 200 else [status_text(status)]
    parts += [f"{k}={v}" for k, v in content.items() if k != "status" and isinstance(v, str | int | float)]
    return one_line(" ".join(parts)) or None
