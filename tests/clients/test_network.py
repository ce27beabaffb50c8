"""The network to each backend: real listeners that answer, refuse, drop and are not resolved."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from oncall.clients import network
from oncall.lab.process import free_port
from oncall.model import Absence, Scalar, Table, Unavailable
from oncall.model_service import HttpBackend, PostgresAt, PrometheusAt, RedisAt, Service

MOST_S = network.MOST_S
Rows = list[dict[str, Scalar]]


def looked(service: Service, deadline_s: float = 10) -> tuple[Rows, tuple[str, ...]]:
    reading = asyncio.run(network.round_trips(service, deadline_s))
    assert isinstance(reading.answer, Table), reading.answer
    names = [column.name for column in reading.answer.columns]
    assert names == ["backend", "host", "port", "connect_ms", "status", "address"]
    return [dict(zip(names, row, strict=True)) for row in reading.answer.rows], reading.answer.notes


def by_backend(rows: Rows) -> dict[Scalar, dict[str, Scalar]]:
    return {row["backend"]: row for row in rows}


@pytest.fixture
def listener() -> Iterator[Callable[[str], socket.socket]]:
    """Listens on an address; whoever connects is never answered."""
    with ExitStack() as open_ones:

        def listen(host: str = "127.0.0.1") -> socket.socket:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return open_ones.enter_context(socket.create_server((host, 0), family=family))

        yield listen


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take seconds to let this process go on; tests of a limit say which."""
    monkeypatch.setattr(network, "MOST_S", 30.0)


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what else wants to connect, as a firewall does."""
    with ExitStack() as open_ones:
        server = open_ones.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            made = open_ones.enter_context(socket.socket())
            made.setblocking(False)
            made.connect_ex(server.getsockname())
        yield port_of(server)


def test_every_backend_of_the_service(listener: Callable[..., socket.socket]) -> None:
    ports = [port_of(listener()) for _ in range(6)]
    at = [f"http://127.0.0.1:{port}" for port in ports]
    rows, notes = looked(
        Service(
            url=at[0] + "/app",
            prometheus=PrometheusAt(url=at[1]),
            alertmanager=HttpBackend(url=at[2]),
            ollama=HttpBackend(url=at[3]),
            postgres=PostgresAt(dsn=f"postgresql://me:pa55@127.0.0.1:{ports[4]}/db"),
            redis=RedisAt(url=f"redis://:pa55@127.0.0.1:{ports[5]}/0"),
        )
    )
    names = ["service", "prometheus", "alertmanager", "ollama", "postgres", "redis"]
    found = by_backend(rows)
    assert set(found) == set(names)
    for name, port in zip(names, ports, strict=True):
        row = found[name]
        assert (row["host"], row["port"], row["status"]) == ("127.0.0.1", port, "ok")
        assert row["address"] == "127.0.0.1"
        assert isinstance(row["connect_ms"], float)
        assert 0 < row["connect_ms"] < 1000
    times = [row["connect_ms"] for row in rows]
    assert times == sorted(times, key=lambda ms: -float(ms or 0))
    assert notes == ()
    assert "pa55" not in repr(rows)


def test_nothing_is_sent_and_three_connects_are_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reading = asyncio.run(network.round_trips(Service(url=f"http://127.0.0.1:{port_of(server)}"), 10))
        server.settimeout(5)
        for _ in range(3):
            made, _ = server.accept()
            with made:
                made.settimeout(5)
                assert made.recv(10) == b""
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert reading.source == "network"
    assert reading.query == f"connect by TCP, 3 times each: 127.0.0.1:{port_of_query(reading.query)}"


def port_of_query(query: str | None) -> str:
    return (query or "").rpartition(":")[2]


def test_refused_unresolved_and_dropped_are_statuses(
    listener: Callable[..., socket.socket], full: int
) -> None:
    """All at once: none of them takes time from another, and all end by the deadline."""
    begun = time.monotonic()
    rows, _ = looked(
        Service(
            url=f"http://127.0.0.1:{port_of(listener())}",
            prometheus=PrometheusAt(url=f"http://127.0.0.1:{free_port()}"),
            alertmanager=HttpBackend(url="http://no-such-host.invalid:9093"),
            ollama=HttpBackend(url=f"http://127.0.0.1:{full}"),
        ),
        deadline_s=0.4,
    )
    assert time.monotonic() - begun < 5
    found = by_backend(rows)
    assert rows[0]["backend"] == "service"
    assert (found["prometheus"]["status"], found["prometheus"]["connect_ms"]) == ("connection refused", None)
    assert found["prometheus"]["address"] == "127.0.0.1"
    assert str(found["alertmanager"]["status"]).startswith(
        ("cannot resolve the name: ", "the name was not resolved within")
    )
    assert (found["ollama"]["status"], found["ollama"]["connect_ms"]) == ("no connection within 0.4 s", None)


def test_no_backend_is_waited_for_longer_than_a_second(monkeypatch: pytest.MonkeyPatch, full: int) -> None:
    assert MOST_S == 1.0
    monkeypatch.setattr(network, "MOST_S", 0.2)
    rows, _ = looked(Service(url=f"http://127.0.0.1:{full}"), deadline_s=60)
    assert rows[0]["status"] == "no connection within 0.2 s"


def test_the_address_that_was_connected_to_is_told(monkeypatch: pytest.MonkeyPatch, full: int) -> None:
    """The first address drops, the second refuses, the third answers: as clients do, one after the other."""
    with socket.create_server(("127.0.0.3", full)):

        async def resolve(host: str, until: float) -> list[str]:
            return ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

        monkeypatch.setattr(network, "look_up", resolve)
        rows, _ = looked(Service(url=f"http://app.example.com:{full}"), deadline_s=2)
    assert (rows[0]["status"], rows[0]["address"]) == ("ok", "127.0.0.3")


def test_a_name_is_looked_up_once(
    monkeypatch: pytest.MonkeyPatch, listener: Callable[..., socket.socket]
) -> None:
    asked = []

    async def resolve(host: str, until: float) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(network, "look_up", resolve)
    rows, _ = looked(Service(url=f"http://app.example.com:{port_of(listener())}"))
    assert (rows[0]["status"], asked) == ("ok", ["app.example.com"])


def test_a_resolver_that_hangs_ends_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, until: float) -> list[str]:
        async with asyncio.timeout_at(until):
            await asyncio.Event().wait()
        return []

    monkeypatch.setattr(network, "look_up", resolve)
    rows, _ = looked(Service(url="http://app.example.com"), deadline_s=0.1)
    assert (rows[0]["status"], rows[0]["connect_ms"]) == ("the name was not resolved within 0.1 s", None)


def test_ip_version_6(listener: Callable[..., socket.socket]) -> None:
    try:
        port = port_of(listener("::1"))
    except OSError:
        pytest.skip("this machine has no ::1")
    rows, _ = looked(Service(url=f"http://[::1]:{port}"))
    assert (rows[0]["host"], rows[0]["status"], rows[0]["address"]) == ("::1", "ok", "::1")


def test_a_busy_program_does_not_make_the_network_slow(listener: Callable[..., socket.socket]) -> None:
    """Others parse large answers meanwhile: the kernel's own measure of the handshake does not count that."""
    if not hasattr(socket, "TCP_INFO"):
        pytest.skip("the kernel does not tell")

    async def work() -> float:
        done = asyncio.Event()

        async def others() -> None:
            while not done.is_set():
                time.sleep(0.05)  # noqa: ASYNC251 - that is what is meant
                await asyncio.sleep(0)

        busy = asyncio.create_task(others())
        reading = await network.round_trips(Service(url=f"http://127.0.0.1:{port_of(listener())}"), 10)
        done.set()
        await busy
        assert isinstance(reading.answer, Table)
        ms = reading.answer.rows[0][3]
        assert isinstance(ms, float)
        return ms

    assert asyncio.run(work()) < 40


# --- where the backends are ------------------------------------------------------------------


def targets(service: Service) -> list[tuple[str, str | None, int | None, str | None]]:
    return [(t.backend, t.host, t.port, t.status) for t in network.targets_of(service)]


def postgres(dsn: str, reserve: str | None = None) -> list[tuple[str, str | None, int | None, str | None]]:
    return targets(Service(postgres=PostgresAt(dsn=dsn, reserve_dsn=reserve)))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_hosts_of_a_dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert postgres("postgresql://a:1,b,[::1]:3/db") == [
        ("postgres", "a", 1, None),
        ("postgres", "b", 5432, None),
        ("postgres", "::1", 3, None),
    ]
    assert postgres("host=a,b port=1") == [("postgres", "a", 1, None), ("postgres", "b", 1, None)]
    assert postgres("host=a hostaddr=192.0.2.1") == [("postgres", "192.0.2.1", 5432, None)]
    assert postgres("host=/run/postgresql port=6") == [("postgres", "/run/postgresql", 6, "unix socket")]
    assert postgres("dbname=x") == [("postgres", None, 5432, "unix socket")]
    assert postgres("service=prod") == [
        ("postgres", None, None, "its host stands in pg_service.conf: not measured")
    ]
    monkeypatch.setenv("PGHOST", "db-1")
    assert postgres("dbname=x") == [("postgres", "db-1", 5432, None)]


def test_the_reserve_is_another_backend_only_where_it_is_elsewhere() -> None:
    assert postgres("host=a", "host=a user=reserve") == [("postgres", "a", 5432, None)]
    assert postgres("host=a", "host=b")[1] == ("postgres (reserve)", "b", 5432, None)


def test_a_dsn_that_cannot_be_read_shows_nothing_of_it() -> None:
    found = postgres("postgresql://me:p@ss/w#rd@db-1/x")
    assert found == [("postgres", None, None, "the DSN cannot be read")]


def test_ports_that_are_not_written() -> None:
    service = Service(
        url="https://app-1", ollama=HttpBackend(url="http://o-1/base"), redis=RedisAt(url="redis://cache/2")
    )
    assert targets(service) == [
        ("service", "app-1", 443, None),
        ("ollama", "o-1", 80, None),
        ("redis", "cache", 6379, None),
    ]
    assert targets(Service(redis=RedisAt(url="unix:///run/redis.sock?db=0"))) == [
        ("redis", "/run/redis.sock", None, "unix socket")
    ]


def test_a_unix_socket_has_no_milliseconds() -> None:
    rows, _ = looked(Service(redis=RedisAt(url="unix:///run/redis.sock")))
    assert (rows[0]["status"], rows[0]["connect_ms"], rows[0]["address"]) == ("unix socket", None, None)


def test_through_a_proxy_the_time_is_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch, listener: Callable[..., socket.socket]
) -> None:
    port = port_of(listener())
    monkeypatch.setenv("http_proxy", f"http://me:pa55@127.0.0.1:{port}")
    rows, notes = looked(Service(prometheus=PrometheusAt(url="http://prometheus.invalid:9090")))
    row = rows[0]
    assert (row["host"], row["status"], row["address"]) == ("prometheus.invalid", "ok", "127.0.0.1")
    assert notes[0] == f"prometheus is asked through the proxy 127.0.0.1:{port}: the time is to there"
    assert "pa55" not in repr((rows, notes))
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    assert targets(Service(ollama=HttpBackend(url="http://o-1")))[0][3] == "behind a proxy: not measured"


def test_it_is_said_that_the_service_may_see_another_network() -> None:
    _, notes = looked(Service(url="http://192.0.2.1:8000"), deadline_s=0.05)
    assert notes == ("measured from this machine, which is not known to be where the service runs",)


def test_without_backends_it_is_not_configured() -> None:
    answer = asyncio.run(network.round_trips(Service(unit="bot"), 1)).answer
    assert isinstance(answer, Unavailable)
    assert answer.kind is Absence.NOT_CONFIGURED
