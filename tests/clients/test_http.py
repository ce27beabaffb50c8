"""HTTP, against servers that behave and servers that do not."""

import asyncio
import base64
import gzip
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from oncall.clients.http import Fetched, HttpServer, fetch
from oncall.lab.process import free_port
from oncall.model import Absence, Unavailable
from oncall.model_service import Basic, HttpBackend, Tls
from tests.clients.webstand import Answer, Asked, Stand, forever, head, reply, silence, times

SECRET = "p@ss/w#rd%zz"
Answering = Callable[[Asked], Answer]


def fetched(answer: Answering, deadline_s: float = 20, cap_bytes: int = 2**20) -> Fetched | Unavailable:
    async def work() -> Fetched | Unavailable:
        async with Stand(answer) as stand:
            return await fetch(stand.url + "/x", deadline_s=deadline_s, cap_bytes=cap_bytes)

    return asyncio.run(work())


def failed(answer: Answering, deadline_s: float = 20, cap_bytes: int = 2**20) -> Unavailable:
    got = fetched(answer, deadline_s, cap_bytes)
    assert isinstance(got, Unavailable)
    assert "\n" not in got.reason
    return got


def unavailable(work: Coroutine[Any, Any, Fetched | Unavailable]) -> Unavailable:
    got = asyncio.run(work)
    assert isinstance(got, Unavailable), got
    return got


# --- answers -----------------------------------------------------------------------------------


def test_an_answer_comes_whole_whatever_its_status() -> None:
    got = fetched(lambda asked: reply("no", "503 Service Unavailable", X_A="b"))
    assert isinstance(got, Fetched)
    assert (got.status, got.body, got.headers["x-a"]) == (503, b"no", "b")
    assert got.content_type == "application/json"
    assert got.ms > 0


def test_one_connection_serves_many_requests_and_post_sends_a_form() -> None:
    async def work() -> Stand:
        async with Stand(lambda asked: reply("{}")) as stand, HttpServer(stand.url + "/base/?t=1") as server:
            for text in ("a b", 'é"&='):
                await server.fetch("/q", method="POST", data={"query": text}, deadline_s=20)
            await server.fetch("/q", data={"query": "+"}, deadline_s=20)
        return stand

    stand = asyncio.run(work())
    assert stand.connections == 1
    assert [a.form["query"] for a in stand.asked] == ["a b", 'é"&=', "+"]
    assert {(a.path, a.form["t"]) for a in stand.asked} == {("/base/q", "1")}


def test_at_most_eight_connections_whatever_the_number_of_requests() -> None:
    async def work() -> tuple[int, list[Fetched | Unavailable]]:
        async with Stand(lambda asked: reply("{}")) as stand, HttpServer(stand.url) as server:
            got = await asyncio.gather(*(server.fetch("/", deadline_s=20) for _ in range(40)))
        return stand.connections, got

    connections, got = asyncio.run(work())
    assert 1 <= connections <= 8
    assert all(isinstance(g, Fetched) for g in got)


def test_a_packed_answer_is_unpacked() -> None:
    body = gzip.compress(b"abc" * 100_000)
    got = fetched(lambda asked: reply(body, Content_Encoding="gzip"))
    assert isinstance(got, Fetched)
    assert got.body == b"abc" * 100_000


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (gzip.compress(b"abc" * 1000, mtime=0)[:-9], "gzip", "packed answer is cut"),
        (b"not packed", "gzip", "packed answer is broken"),
        (b"x", "br", "packed as br"),
    ],
)
def test_packing_that_cannot_be_undone(body: bytes, encoding: str, says: str) -> None:
    got = failed(lambda asked: reply(body, Content_Encoding=encoding))
    assert got.kind is Absence.BAD_ANSWER
    assert says in got.reason


# --- each failure by its name ------------------------------------------------------------------


def test_refused_names_the_host_and_port() -> None:
    port = free_port()
    got = unavailable(fetch(f"http://ops:p%40ss%2Fw%23@localhost:{port}/x?token=t0k", deadline_s=20))
    assert got.kind is Absence.DOWN
    assert got.reason == f"connection refused at localhost:{port}"


def test_a_name_that_does_not_resolve() -> None:
    got = unavailable(fetch("http://nothing.invalid/x", deadline_s=60))
    assert got.kind is Absence.UNRESOLVED
    assert "cannot resolve nothing.invalid" in got.reason


@pytest.mark.parametrize(
    "url", ["", "localhost:9090", "ftp://x/", "http://", "http://[::1", "http://h:99999/"]
)
def test_what_is_no_address(url: str) -> None:
    assert unavailable(fetch(url, deadline_s=20)).kind is Absence.BAD_QUERY


@pytest.mark.parametrize("cut", "/#?")
def test_a_password_that_was_not_encoded_is_refused_and_no_piece_of_it_shown(cut: str) -> None:
    got = unavailable(fetch(f"http://ops:80@pass{cut}word@localhost:1/x", deadline_s=20))
    assert got.kind is Absence.BAD_QUERY
    assert "pass" not in got.reason
    assert "word" not in got.reason
    assert "%2F" in (got.hint or "")


def test_a_server_that_takes_the_connection_and_is_silent() -> None:
    got = failed(lambda asked: silence(), deadline_s=0.3)
    assert got.kind is Absence.TIMEOUT
    assert "took the connection but did not answer within 0.3 s" in got.reason


def test_a_drip_is_cut_at_the_deadline_for_the_whole() -> None:
    got = failed(
        lambda asked: forever(head("200 OK", {"Content-Length": "1000"}), b"x", 0.05), deadline_s=0.5
    )
    assert got.kind is Absence.TIMEOUT
    assert "began to answer but did not end within 0.5 s" in got.reason


def test_a_drip_of_headers_is_cut_too() -> None:
    got = failed(lambda asked: forever(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05), deadline_s=0.5)
    assert got.kind is Absence.TIMEOUT


def test_a_request_that_waits_for_its_turn_keeps_its_deadline() -> None:
    async def work() -> Fetched | Unavailable:
        async with Stand(lambda asked: silence()) as stand, HttpServer(stand.url) as server:
            first = [server.fetch("/", deadline_s=60) for _ in range(8)]
            tasks = [asyncio.ensure_future(work) for work in first]
            for _ in range(8):
                await stand.came.acquire()
            ninth = await server.fetch("/", deadline_s=0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return ninth

    got = unavailable(work())
    assert got.kind is Absence.TIMEOUT
    assert "busy with earlier questions" in got.reason


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (lambda: times(b"", b"", 0), Absence.DOWN, "connection closed by 127.0.0.1:"),
        (lambda: times(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"", 0), Absence.BAD_ANSWER, "does not speak HTTP"),
        (lambda: times(head("200 OK", {"Content-Length": "9"}), b"x", 3), Absence.BAD_ANSWER, "is cut"),
        (lambda: times(b"HTTP/1.1 200 OK\r\nContent-Le", b"", 0), Absence.DOWN, "closed by"),
    ],
)
def test_answers_that_break_off(answer: Callable[[], Answer], kind: Absence, says: str) -> None:
    got = failed(lambda asked: answer())
    assert got.kind is kind
    assert says in got.reason


def test_a_redirect_is_not_followed() -> None:
    async def work() -> tuple[Fetched | Unavailable, int]:
        async with Stand(lambda asked: reply(status="302 Found", Location="/login?token=t0k")) as stand:
            return await fetch(stand.url + "/x", deadline_s=20), len(stand.asked)

    got, asked = asyncio.run(work())
    assert isinstance(got, Fetched)
    assert (got.status, asked) == (302, 1)


# --- memory ------------------------------------------------------------------------------------


async def _chunked(count: int) -> AsyncIterator[bytes]:
    yield head("200 OK", {"Transfer-Encoding": "chunked"})
    piece = b"10000\r\n" + bytes(2**16) + b"\r\n"
    for _ in range(count):
        yield piece
    yield b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: _chunked(3200),
        lambda: times(head("200 OK", {}), bytes(2**16), 3200),
        lambda: times(head("200 OK", {"Content-Length": str(200 * 2**20)}), bytes(2**16), 3200),
        lambda: reply(gzip.compress(bytes(200 * 2**20), 1), Content_Encoding="gzip"),
    ],
    ids=["chunked", "until it closes", "announced", "a packed bomb"],
)
def test_200_mb_are_not_read_into_memory(answer: Callable[[], Answer]) -> None:
    made = answer()
    tracemalloc.start()
    try:
        got = failed(lambda asked: made, cap_bytes=4 * 2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got.kind is Absence.BAD_ANSWER
    assert "larger than 4 MiB" in got.reason
    assert peak < 16 * 2**20


# --- credentials -------------------------------------------------------------------------------


def sent(backend: HttpBackend, userinfo: str = "") -> Asked:
    async def work() -> Asked:
        async with Stand(lambda asked: reply("{}")) as stand:
            url = stand.url.replace("http://", f"http://{userinfo}")
            async with HttpServer.of_backend(HttpBackend(**{**_fields(backend), "url": url})) as server:
                assert SECRET not in server.address("/x") + server.place
                assert isinstance(await server.fetch("/x", deadline_s=20), Fetched)
        return stand.asked[0]

    return asyncio.run(work())


def _fields(backend: HttpBackend) -> dict[str, Any]:
    return {name: getattr(backend, name) for name in backend.__struct_fields__}


def test_headers_basic_and_bearer_are_sent() -> None:
    pair = base64.b64encode(f"ops:{SECRET}".encode()).decode()
    basic = HttpBackend(
        url="", headers={"X-Scope-OrgID": "deia"}, basic=Basic(username="ops", password=SECRET)
    )
    assert sent(basic).headers["authorization"] == f"Basic {pair}"
    assert sent(basic).headers["x-scope-orgid"] == "deia"
    assert sent(HttpBackend(url=""), "ops:p%40ss%2Fw%23rd%25zz@").headers["authorization"] == f"Basic {pair}"
    assert (
        sent(HttpBackend(url="", bearer="tök")).headers["authorization"].encode("latin-1").decode()
        == "Bearer tök"
    )


@pytest.mark.parametrize("header", [{"X-A": f"{SECRET}\r\nHost: evil"}, {"X A": SECRET}, {"X-Ä": SECRET}])
def test_a_header_that_cannot_be_sent_is_named_and_its_value_is_not_shown(header: dict[str, str]) -> None:
    async def work() -> Fetched | Unavailable:
        async with Stand(lambda asked: reply("{}")) as stand:
            return await fetch(stand.url, backend=HttpBackend(url="", headers=header), deadline_s=20)

    got = unavailable(work())
    assert got.kind is Absence.BAD_QUERY
    assert SECRET not in got.reason


def test_the_environments_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> tuple[Fetched | Unavailable, Fetched | Unavailable, list[Asked]]:
        async with Stand(lambda asked: reply("{}")) as proxy, Stand(lambda asked: reply("{}")) as stand:
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            near = await fetch(stand.url, deadline_s=20)
            far = await fetch("http://prometheus.example:9090/x", deadline_s=20)
            return near, far, proxy.asked

    near, far, through = asyncio.run(work())
    assert isinstance(near, Fetched)
    assert isinstance(far, Fetched)
    assert [a.target for a in through] == ["http://prometheus.example:9090/x"]


def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://u:{SECRET.replace('/', '')}@127.0.0.1:{port}".replace("#", ""))
    got = unavailable(fetch("http://prometheus.example:9090/x", deadline_s=20))
    assert f"prometheus.example:9090 (through the proxy 127.0.0.1:{port})" in got.reason


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and server.pem and client.pem signed by it, each with its .key."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=oncall test"
    )
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    openssl("ec", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key")
    return folder


def over_tls(
    folder: Path, tls: Tls | None, *, client_needed: bool = False, host: str = "127.0.0.1"
) -> Fetched | Unavailable:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED if client_needed else ssl.CERT_NONE

    async def work() -> Fetched | Unavailable:
        async with Stand(lambda asked: reply("{}"), context) as stand:
            url = stand.url.replace("127.0.0.1", host)
            return await fetch(url, backend=HttpBackend(url=url, tls=tls), deadline_s=20)

    return asyncio.run(work())


def _tls(folder: Path, **files: str) -> Tls:
    paths = {name: str(folder / file) for name, file in files.items()}
    return Tls(ca=paths.get("ca"), cert=paths.get("cert"), key=paths.get("key"))


def test_tls_with_an_own_authority_and_a_client_certificate(authority: Path) -> None:
    ca, cert, key = (str(authority / name) for name in ("ca.pem", "client.pem", "client.key"))
    assert isinstance(over_tls(authority, Tls(ca=ca)), Fetched)
    assert isinstance(over_tls(authority, Tls(verify=False)), Fetched)
    assert isinstance(over_tls(authority, Tls(ca=ca, cert=cert, key=key), client_needed=True), Fetched)


@pytest.mark.parametrize(
    ("tls", "host", "says"),
    [
        ({}, "127.0.0.1", "self-signed certificate in certificate chain"),
        ({"ca": "ca.pem"}, "localhost", "mismatch"),
        ({"ca": "none.pem"}, "127.0.0.1", "cannot read the TLS file"),
        ({"ca": "ca.key"}, "127.0.0.1", "not PEM"),
        ({"ca": "ca.pem", "cert": "client.pem", "key": "server.key"}, "127.0.0.1", "do not fit together"),
        ({"ca": "ca.pem", "cert": "client.pem", "key": "locked.key"}, "127.0.0.1", "do not fit together"),
    ],
)
def test_tls_faults_are_said_as_such(authority: Path, tls: dict[str, str], host: str, says: str) -> None:
    got = over_tls(authority, _tls(authority, **tls), host=host)
    assert isinstance(got, Unavailable)
    assert got.kind is Absence.TLS
    assert says in got.reason


def test_a_client_certificate_that_is_missing(authority: Path) -> None:
    got = over_tls(authority, Tls(ca=str(authority / "ca.pem")), client_needed=True)
    assert isinstance(got, Unavailable)
    assert got.kind is Absence.TLS
    assert "tls: {cert" in (got.hint or got.reason)


def test_https_to_a_server_without_tls() -> None:
    async def work() -> Fetched | Unavailable:
        async with Stand(lambda asked: reply("{}")) as stand:
            return await fetch(stand.url.replace("http:", "https:"), deadline_s=20)

    got = unavailable(work())
    assert (got.kind, "http://" in (got.hint or "")) == (Absence.TLS, True)


# --- an end by Ctrl-C ----------------------------------------------------------------------------


def test_a_cancelled_request_ends_and_the_server_can_be_asked_again() -> None:
    async def work() -> Fetched | Unavailable:
        def answer(asked: Asked) -> Answer:
            return silence() if asked.path == "/slow" else reply("{}")

        async with Stand(answer) as stand, HttpServer(stand.url) as server:
            slow = [asyncio.ensure_future(server.fetch("/slow", deadline_s=60)) for _ in range(12)]
            for _ in range(8):
                await stand.came.acquire()
            for task in slow:
                task.cancel()
            ended = await asyncio.gather(*slow, return_exceptions=True)
            assert all(isinstance(e, asyncio.CancelledError) for e in ended)
            return await server.fetch("/x", deadline_s=20)

    assert isinstance(asyncio.run(work()), Fetched)
