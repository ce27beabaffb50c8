"""The network to each backend: a name look-up and up to three TCP connects, all backends at once."""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from time import perf_counter
from urllib.parse import SplitResult, urlsplit

from oncall.clients.host import where_from
from oncall.clients.http_faults import one_line, split
from oncall.clients.http_options import proxy_for
from oncall.clients.pg_dsn import hosts_of as pg_hosts
from oncall.clients.pg_dsn import look_up, parse_dsn
from oncall.errors import ConfigError
from oncall.model import Absence, Column, Frozen, Scalar, StepReading, Table, Unavailable
from oncall.model_service import Service

COLUMNS = (
    Column(name="backend"),
    Column(name="host"),
    Column(name="port"),
    Column(name="connect_ms", unit="ms"),
    Column(name="status"),
    Column(name="address"),
)
MOST_S = 1.0
"""No backend is waited for any longer."""
_CONNECTS = 3
_ADDRESSES = 4
_SOCKET = "unix socket"
# tcpi_rtt of struct tcp_info, in microseconds (linux/tcp.h): 8 bytes, then 15 numbers before it
_RTT_AT = 8 + 15 * 4


class Target(Frozen, frozen=True):
    """Where a backend is. `status` is given where there is nothing to connect to; `proxy` is asked in its place."""

    backend: str
    host: str | None
    port: int | None = None
    status: str | None = None
    proxy: tuple[str, int] | None = None


async def round_trips(service: Service, deadline_s: float) -> StepReading:
    """One row a backend, slowest first, then those that could not be connected to. Nothing is sent.

    A backend that refuses or does not answer is a row with that status, not a failure of the step."""
    targets = list(targets_of(service))
    if not targets:
        answer = Unavailable(
            kind=Absence.NOT_CONFIGURED, reason="not configured: no backend is reached by network"
        )
        return StepReading(source="network", query=None, answer=answer)
    begun, limit_s = perf_counter(), min(MOST_S, deadline_s)
    rows = await asyncio.gather(*(_row(target, limit_s) for target in targets))
    table = Table(
        columns=COLUMNS, rows=tuple(sorted(rows, key=_slowest_first)), notes=_notes(service, targets)
    )
    ms = (perf_counter() - begun) * 1000
    return StepReading(source="network", query=_query(targets), answer=table, ms=ms)


def _slowest_first(row: tuple[Scalar, ...]) -> tuple[bool, float]:
    ms = row[3]
    return not isinstance(ms, float), -ms if isinstance(ms, float) else 0.0


def _query(targets: list[Target]) -> str:
    places = (f"{target.host}:{target.port}" for target in targets if target.status is None)
    return f"connect by TCP, {_CONNECTS} times each: {' '.join(dict.fromkeys(places))}"


def _notes(service: Service, targets: list[Target]) -> tuple[str, ...]:
    said = [
        f"{target.backend} is asked through the proxy {target.proxy[0]}:{target.proxy[1]}: the time is to there"
        for target in targets
        if target.proxy
    ]
    if where_from(service) is not None:
        said.append("measured from this machine, which is not known to be where the service runs")
    return tuple(said)


# --- where the backends are ------------------------------------------------------------------


def targets_of(service: Service) -> Iterator[Target]:
    """Every backend of the service that is reached by network, in the order of the service file."""
    urls = {
        "service": service.url,
        "prometheus": service.prometheus and service.prometheus.url,
        "alertmanager": service.alertmanager and service.alertmanager.url,
        "ollama": service.ollama and service.ollama.url,
    }
    yield from (_web(name, url) for name, url in urls.items() if url)
    if service.postgres is not None:
        main = list(_postgres("postgres", service.postgres.dsn))
        yield from main
        known = {(target.host, target.port) for target in main}
        spare = service.postgres.reserve_dsn
        reserve = _postgres("postgres (reserve)", spare) if spare else ()
        yield from (target for target in reserve if (target.host, target.port) not in known)
    if service.redis is not None:
        yield _redis(service.redis.url)


def _web(backend: str, url: str) -> Target:
    try:
        parts = split(url)
        port = parts.port or _port_of(parts)
        proxy = proxy_for(parts)
        through = split(proxy) if proxy and proxy.startswith("http") else None
    except ValueError:
        return Target(backend=backend, host=None, status="not an address that can be connected to")
    if proxy and through is None:
        return Target(backend=backend, host=parts.hostname, port=port, status="behind a proxy: not measured")
    to = (through.hostname or "", through.port or _port_of(through)) if through else None
    return Target(backend=backend, host=parts.hostname, port=port, proxy=to)


def _port_of(parts: SplitResult) -> int:
    return 443 if parts.scheme == "https" else 80


def _redis(url: str) -> Target:
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return Target(backend="redis", host=parts.path, status=_SOCKET)
        return Target(backend="redis", host=parts.hostname or "localhost", port=parts.port or 6379)
    except ValueError:
        return Target(backend="redis", host=None, status="not an address that can be connected to")


def _postgres(backend: str, dsn: str) -> Iterator[Target]:
    """Each host of the DSN, and of libpq's environment where the DSN has none."""
    try:
        params = parse_dsn(dsn)
    except ConfigError:
        yield Target(backend=backend, host=None, status="the DSN cannot be read")
        return
    if (
        "host" not in params
        and "hostaddr" not in params
        and ("service" in params or "PGSERVICE" in os.environ)
    ):
        yield Target(backend=backend, host=None, status="its host stands in pg_service.conf: not measured")
        return
    for one in pg_hosts(params):
        host, port = one.get("hostaddr") or one.get("host", ""), int(one.get("port") or 5432)
        local = not host or host.startswith(("/", "@"))
        yield Target(backend=backend, host=host or None, port=port, status=_SOCKET if local else None)


# --- connecting --------------------------------------------------------------------------------


async def _row(target: Target, limit_s: float) -> tuple[Scalar, ...]:
    ms: float | None = None
    status, address = target.status or "ok", None
    if target.status is None:
        host, port = target.proxy or (target.host or "", target.port or 0)
        status, address, ms = await _reach(host, port, limit_s)
    return (target.backend, target.host, target.port, ms, status, address)


async def _reach(host: str, port: int, limit_s: float) -> tuple[str, str | None, float | None]:
    """Status, the address that was connected to, and the least milliseconds of its connects."""
    until = asyncio.get_running_loop().time() + limit_s
    try:
        addresses = (await _addresses(host, until))[:_ADDRESSES]
    except TimeoutError:
        return f"the name was not resolved within {limit_s:g} s", None, None
    except OSError as failed:
        return f"cannot resolve the name: {one_line(failed.strerror or 'unknown name', 80)}", None, None
    status = "no address"
    for index, address in enumerate(addresses):
        # One that drops packets must leave time for those behind it
        share = (until - asyncio.get_running_loop().time()) / (len(addresses) - index)
        status, times = await _connects(address, port, share, limit_s)
        if times:
            return "ok", address, min(times)
    return status, addresses[0] if len(addresses) == 1 else None, None


async def _addresses(host: str, until: float) -> list[str]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return [host]
    return await look_up(host, until)


async def _connects(address: str, port: int, share_s: float, limit_s: float) -> tuple[str, list[float]]:
    """How the last connect ended, and the milliseconds of those that stood."""
    times: list[float] = []
    try:
        async with asyncio.timeout(share_s):
            for _ in range(_CONNECTS):
                times += [await _connect(address, port)]
    except TimeoutError:
        return f"no connection within {limit_s:g} s", times
    except ConnectionRefusedError:
        return "connection refused", times
    except (OSError, ValueError, OverflowError) as failed:
        said = failed.strerror if isinstance(failed, OSError) else None
        return one_line((said or "cannot be connected to").lower(), 80), times
    return "ok", times


async def _connect(address: str, port: int) -> float:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        begun = perf_counter()
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        return min(filter(None, ((perf_counter() - begun) * 1000, _kernels_ms(made))))


def _kernels_ms(made: socket.socket) -> float | None:
    """The round trip of the handshake as the kernel measured it: our own clock also counts how long this
    program was busy with something else when the answer came. None where the kernel does not tell."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + 4)
    except OSError:
        return None
    return float(struct.unpack_from("=I", info, _RTT_AT)[0]) / 1000 if len(info) >= _RTT_AT + 4 else None
