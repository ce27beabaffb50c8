"""The service's own /metrics page, read without Prometheus: only the asked metrics are parsed."""

import asyncio
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from oncall.clients.http import Fetched, HttpServer
from oncall.clients.http_faults import Refused, bad, one_line, status_fault
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import Service

CAP_BYTES = 128 * 2**20
KEPT_BYTES = 16 * 2**20
_LINE_BYTES = 2**16
_AT_A_TIME = 500
_STARTED = "process_start_time_seconds"
# Prometheus's own text: OpenMetrics has other rules for the same page
_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
_SAMPLE = re.compile(
    rb"(?:# (?:HELP|TYPE|EOF|UNIT)|[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?[ \t]+[-+]?(?:\d|\.\d|NaN|Inf))"
)
_SUFFIXES = ("", "_bucket", "_sum", "_count", "_total")

Samples = Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]


class Scrape(Frozen, frozen=True):
    """Samples of one page by name. `at`: Unix seconds by our clock; `monotonic`: for differences. Both are of
    the moment half-way between asking and the first byte of the answer. `ms`: the whole request."""

    at: float
    monotonic: float
    samples: Samples
    ms: float | None = None

    @property
    def started(self) -> float | None:
        """When the process began (Unix seconds), where the page says so."""
        found = self.samples.get(_STARTED, ())
        return found[0][1] if len(found) == 1 else None


async def scrape(
    service: Service, names: Collection[str], deadline_s: float, server: HttpServer | None = None
) -> Scrape | Unavailable:
    """Reads the samples called `names`, and their _bucket, _sum, _count and _total, from {url}/metrics.

    Lines of other metrics are dropped as they come: memory hangs on what is asked, not on the page."""
    if service.url is None:
        hint = "set url of the service"
        return Unavailable(kind=Absence.NOT_CONFIGURED, reason="not configured", hint=hint)
    if server is not None:
        return await _scrape(server, names, deadline_s)
    async with HttpServer.of_service(service) as own:
        return await _scrape(own, names, deadline_s)


async def _scrape(server: HttpServer, names: Collection[str], deadline_s: float) -> Scrape | Unavailable:
    page, begun = _Page(names), time.monotonic()
    got = await server.fetch(
        "/metrics", deadline_s=deadline_s, accept=_ACCEPT, cap_bytes=CAP_BYTES, sink=page.take
    )
    if isinstance(got, Unavailable):
        return got
    refused = _refusal(got, page, server)
    if refused is not None:
        return refused
    try:
        async with asyncio.timeout(deadline_s - (time.monotonic() - begun)):
            samples = await _parse(page.kept)
    except TimeoutError:
        reason = (
            f"the {len(page.kept)} samples asked of {server.place} could not be read within {deadline_s:g} s"
        )
        return Unavailable(kind=Absence.TIMEOUT, reason=reason)
    except ValueError as error:
        return bad(f"{server.address('/metrics')} has a line that is no sample: {one_line(str(error), 100)}")
    middle = (got.asked_at + got.headers_at) / 2
    return Scrape(at=time.time() - time.monotonic() + middle, monotonic=middle, samples=samples, ms=got.ms)


def _refusal(got: Fetched, page: "_Page", server: HttpServer) -> Unavailable | None:
    page.end()
    refused = status_fault(got.status, got.headers.get("location", ""), server.place)
    if refused is not None or page.is_metrics:
        return refused
    kind = next((k for k in ("html", "json") if k in got.content_type), "")
    found = f"{kind.upper()}" if kind else "no line of metrics"
    return bad(f"{server.address('/metrics')} is not a metrics page: {found}", "check url of the service")


class _Page:
    """Takes a page in pieces and keeps the lines of the wanted metrics alone."""

    def __init__(self, names: Collection[str]) -> None:
        bases = {*names, _STARTED}
        self._wanted = {f"{base}{suffix}".encode() for base in bases for suffix in _SUFFIXES}
        self._rest = b""
        self._kept_bytes = 0
        self.kept: list[str] = []
        self.is_metrics = False

    def take(self, piece: bytes) -> None:
        """Raises Refused where a line, or what is kept, grows beyond its bounds."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            raise Refused(bad("/metrics has a line longer than 64 KiB: is it a metrics page?"))
        wanted = self._wanted
        for line in lines:
            head = line.partition(b"{")[0].split(None, 1)
            if head and head[0] in wanted:
                self._keep(line)
        if not self.is_metrics:
            self.is_metrics = any(map(_SAMPLE.match, lines))

    def end(self) -> None:
        """The last line may lack its end."""
        self.take(b"\n")

    def _keep(self, line: bytes) -> None:
        self._kept_bytes += len(line)
        if self._kept_bytes > KEPT_BYTES:
            raise Refused(bad(f"the series asked for fill more than {KEPT_BYTES >> 20} MiB of /metrics"))
        self.kept.append(line.decode("utf-8", "replace"))


async def _parse(lines: Sequence[str]) -> Samples:
    """Reads the lines, letting other work go on in between. Raises ValueError with the line."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for begin in range(0, len(lines), _AT_A_TIME):
        for name, labels, value in parse_lines(lines[begin : begin + _AT_A_TIME]):
            found.setdefault(name, []).append((labels, value))
        await asyncio.sleep(0)
    return {name: tuple(samples) for name, samples in found.items()}


def parse_lines(lines: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of lines that are samples (no comments). Raises ValueError with the line."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                yield sample.name, sample.labels, float(sample.value)
    except (IndexError, OverflowError) as error:
        raise ValueError(f"{error}") from error
