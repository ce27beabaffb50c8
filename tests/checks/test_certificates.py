"""Certificates as lines of a check: real TLS servers with certificates of every kind, and PEM files."""

import asyncio
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.checks import certificates
from oncall.checks.certificates import DAY_S, Certificate, Shown, address, from_der, from_pem, line, look
from oncall.model_checks import CheckLine
from oncall.model_service import Service, Tls
from tests.checks.authority import KEY, Authority
from tests.clients.webstand import Stand, forever, reply

_SAMPLE = ssl.PEM_cert_to_DER_cert(
    """-----BEGIN CERTIFICATE-----
MIIBuDCCAV6gAwIBAgIUYMHgFnE/+Ss6RGEYoJWLF9RLbzwwCgYIKoZIzj0EAwIw
IDENMAsGA1UECgwEQm90czEPMA0GA1UEAwwGc2FtcGxlMB4XDTI2MTEyNTA5MjM0
MVoXDTM1MDIxMTA5MjM0MVowIDENMAsGA1UECgwEQm90czEPMA0GA1UEAwwGc2Ft
cGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzzHvcCoBcH2FkThj7wCfKla6
Jfar75bcN4l+O2D5bVDd8LSnjHU0QruoW5sUmtgdSk6xrq0ZHUOUts3+hfkb2qN2
MHQwHQYDVR0OBBYEFIhOJvR1A2x4yckQ+9xQfaGI4YMXMB8GA1UdIwQYMBaAFIhO
JvR1A2x4yckQ+9xQfaGI4YMXMA8GA1UdEwEB/wQFMAMBAf8wIQYDVR0RBBowGIIJ
YS5leGFtcGxlhwR/AAABgQV4QHkuejAKBggqhkjOPQQDAgNIADBFAiBK86v0ZeRM
8V2T4Hutl6tQyTLZqWgy8jMVBpgOJfLNPgIhAJYmmX3V8rK23y55zcoMRj4exfgZ
eKX5R+6dx8KaM1dE
-----END CERTIFICATE-----
"""
)
"""An elliptic curve's, for sample, a.example and 127.0.0.1."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def served(chain: Path, authority: Authority, *, host: str = "127.0.0.1", trusted: bool = True) -> CheckLine:
    """The line of a server that shows this chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, authority.folder / f"{chain.stem}.key")

    async def work() -> CheckLine:
        async with Stand(lambda _: reply("{}"), context) as stand:
            tls = Tls(ca=str(authority.ca)) if trusted else None
            (found,) = await look(Service(certificates=(f"{host}:{stand.port}",), tls=tls), 30)
            return found

    return asyncio.run(work())


def seen(*targets: str, deadline_s: float = 20) -> tuple[CheckLine, ...]:
    return asyncio.run(look(Service(certificates=targets), deadline_s))


# --- servers -----------------------------------------------------------------------------------------


def test_a_good_one(authority: Authority) -> None:
    found = served(authority.issue("good", 90), authority)
    assert found.severity == "ok", found
    ends = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * DAY_S))
    # Of the day's last seconds
    said = re.sub(r"\(\d{4}-\d\d-\d\d\)", f"({ends})", found.text or "")
    assert said == f"90 d left ({ends}); for bot.example, *.bot.example, 127.0.0.1, by middle"
    assert found.value == pytest.approx(90 * DAY_S, abs=120)
    assert (found.source, found.target, found.next) == ("tls", "above 21 d left", None)
    assert (found.warning, found.critical) == (21 * DAY_S, 7 * DAY_S)
    assert found.detail is not None
    assert [row[0] for row in found.detail.rows] == ["good", "middle"]


def test_one_that_ends_soon_has_ended_or_hangs_on_one_that_ends_first(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.middle("old", 200)
    chain = authority.issue("young", 300, by="old")
    with monkeypatch.context() as later:
        later.setattr(certificates, "time", SimpleNamespace(time=lambda: time.time() + 180 * DAY_S))
        found = served(chain, authority)
        assert found.severity == "warning"
        assert re.match(r"its issuer old (20 d|19 d 23 h) left \(", found.text or "")
        later.setattr(certificates, "time", SimpleNamespace(time=lambda: time.time() + 194 * DAY_S))
        assert served(chain, authority).severity == "critical"
    found = served(authority.issue("gone", -1), authority)
    assert found.severity == "critical"
    assert re.match(r"expired (1 d|24 h).* ago \(", found.text or ""), found.text
    assert found.value is not None
    assert found.value < 0
    assert found.next is not None
    assert found.next.command.startswith("openssl s_client -connect 127.0.0.1:")
    authority.middle("dead", -1)
    found = served(authority.issue("orphan", 300, by="dead"), authority)
    assert found.severity == "critical"
    assert re.match(r"a certificate of its chain has expired; 300 d left \(", found.text or ""), found.text


def test_one_for_another_name_or_address(authority: Authority) -> None:
    chain = authority.issue("other", 300, extensions="subjectAltName=DNS:else.example")
    found = served(chain, authority)
    assert (found.severity, (found.text or "").split("; ")[0]) == ("critical", "it is for another address")
    assert "for else.example, by middle" in (found.text or "")
    found = served(chain, authority, host="localhost")
    assert (found.severity, (found.text or "").split("; ")[0]) == ("critical", "it is for another name")


def test_one_that_nobody_trusts_and_a_chain_that_is_not_whole(authority: Authority) -> None:
    chain = authority.issue("private", 300)
    found = served(chain, authority, trusted=False)
    assert found.severity == "critical"
    assert (found.text or "").startswith("not trusted: its authority is not known here")
    assert "300 d left" in (found.text or "")
    chain.write_text((authority.folder / "private.pem").read_text())
    found = served(chain, authority)
    assert found.severity == "critical"
    assert "the server does not send the whole chain; 300 d left" in (found.text or "")
    alone = authority.folder / "alone.pem"
    words = ["openssl", "req", "-x509", *KEY, "-keyout", "alone.key", "-out", "alone.pem", "-days", "300"]
    subprocess.run([*words, "-subj", "/CN=alone"], cwd=authority.folder, check=True, capture_output=True)
    found = served(alone, authority)
    assert (found.text or "").split("; ")[0] == "not trusted: it is signed by itself"
    assert "for alone, by alone" in (found.text or "")


def test_the_name_that_is_asked_for_is_sent(authority: Authority) -> None:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("sni", 300), authority.folder / "sni.key")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def work() -> None:
        async with Stand(lambda _: reply("{}"), context) as stand:
            await look(Service(certificates=(f"https://localhost:{stand.port}/x",)), 30)

    asyncio.run(work())
    # As a client does, and once more to see what it shows
    assert asked == ["localhost", "localhost"]


def test_what_shows_no_certificate_is_unknown_and_the_others_have_their_lines(authority: Authority) -> None:
    good = authority.folder / "middle.pem"

    async def work() -> tuple[CheckLine, ...]:
        async with Stand(lambda _: forever(b"", b"", 10)) as plain:
            silent = await asyncio.start_server(lambda _r, _w: asyncio.sleep(60), "127.0.0.1", 0)
            port = silent.sockets[0].getsockname()[1]
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                targets = (
                    f"127.0.0.1:{plain.port}",
                    f"127.0.0.1:{port}",
                    f"127.0.0.1:{closed.getsockname()[1]}",
                    "no-such-host.invalid:443",
                    str(good),
                )
                found = await look(Service(certificates=targets), 3)
            silent.close()
            return found

    no_tls, silent, closed, unresolved, file = asyncio.run(work())
    assert file.severity == "ok"
    for one in (no_tls, silent, closed, unresolved):
        assert (one.severity, one.value, one.counts) == ("unknown", None, True)
    assert "does not speak TLS as we do" in (no_tls.reason or ""), no_tls
    assert re.search(r"shows no certificate within 2\.?\d* s", silent.reason or ""), silent
    assert (closed.reason or "") == "it cannot be reached: connection refused", closed
    assert unresolved.reason == "the host name no-such-host.invalid does not resolve"


def test_nothing_is_said_where_none_is_named() -> None:
    assert seen() == ()


def test_authorities_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    service = Service(certificates=("127.0.0.1:1",), tls=Tls(ca=str(tmp_path / "away.pem")))
    (found,) = asyncio.run(look(service, 20))
    assert found.severity == "unknown"
    assert (found.reason or "").startswith("cannot read the authorities: ")


# --- files -------------------------------------------------------------------------------------------


def test_a_file_with_its_key_and_chain(authority: Authority) -> None:
    chain = authority.issue("file", 10)
    whole = authority.folder / "whole.pem"
    whole.write_text((authority.folder / "file.key").read_text() + chain.read_text())
    (found,) = seen(str(whole))
    assert (found.severity, found.source) == ("ok", "file")
    assert "for bot.example, *.bot.example, 127.0.0.1, by middle" in (found.text or "")
    assert certificates._next(str(whole)).command == f"openssl x509 -noout -text -in {whole}"
    assert "PRIVATE" not in repr(found)


def test_files_that_hold_none(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "key.pem").write_text((authority.folder / "ca.key").read_text())
    text = authority.ca.read_text()
    (tmp_path / "cut.pem").write_text(text[: len(text) // 2])
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    names = ("key.pem", "cut.pem", "bad.pem", "away.pem", ".")
    found = seen(*(str(tmp_path / name) for name in names))
    assert {one.severity for one in found} == {"unknown"}
    assert found[0].reason == "it holds no certificate in PEM"
    assert found[1].reason == "a certificate has no end"
    assert (found[2].reason or "").startswith("not a certificate")
    assert "No such file" in (found[3].reason or "")


# --- the verdict -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "left", "severity"),
    [
        (398, 22, "ok"), (398, 20.9, "warning"), (398, 6.9, "critical"), (398, -1, "critical"),
        (90, 21.1, "ok"), (90, 20.9, "warning"),
        # A short-lived one is renewed when a third of its time is left: 47 days, 6 days, a day
        (47, 15, "ok"), (47, 11, "warning"), (47, 4, "critical"),
        (6, 2, "ok"), (6, 1, "warning"), (1, 0.3, "ok"), (1, 0.05, "critical"),
    ],
)  # fmt: skip
def test_how_long_should_be_left(whole: float, left: float, severity: str) -> None:
    now = 1_800_000_000.0
    ends = now + left * DAY_S
    one = Certificate(subject="a", issuer="b", begins=ends - whole * DAY_S, ends=ends, names=())
    found = line("a:443", Shown(chain=(one,)), now)
    assert found.severity == severity
    assert "for a, by b" in (found.text or "")


def test_one_that_is_not_valid_yet() -> None:
    now = 1_800_000_000.0
    one = Certificate(subject="a", issuer="b", begins=now + DAY_S, ends=now + 400 * DAY_S, names=())
    found = line("/a.pem", Shown(chain=(one,)), now)
    assert found.severity == "critical"
    assert (found.text or "").startswith("it is not valid before 2027-01-16; ")


def test_where_a_target_is() -> None:
    assert address("example.org:8443") == ("example.org", 8443)
    assert address("https://example.org/x") == ("example.org", 443)
    assert address("[::1]:8443") == ("::1", 8443)
    assert certificates._next("[::1]:8443").command.startswith("openssl s_client -connect '[::1]:8443'")


# --- reading one -------------------------------------------------------------------------------------


def test_what_is_read() -> None:
    assert from_der(_SAMPLE) == Certificate(
        subject="sample",
        issuer="sample",
        begins=ssl.cert_time_to_seconds("Nov 25 09:23:41 2026 GMT"),
        ends=ssl.cert_time_to_seconds("Feb 11 09:23:41 2035 GMT"),
        names=("a.example", "127.0.0.1"),
    )


def test_who_it_is_for_without_a_common_name(authority: Authority) -> None:
    assert _alone(authority, "/O=Bots/O=Newer").subject == "Newer"
    bare = _alone(authority, "/", "-addext", "subjectAltName=IP:::1,email:a@b.example,DNS:b.example")
    assert (bare.subject, bare.issuer, bare.names) == ("::1", "", ("::1", "b.example"))


@pytest.mark.filterwarnings("error")
def test_the_dates_are_read_beside_what_cannot_be(authority: Authority) -> None:
    """A serial number of zero, an address of a byte, the letters of an old authority."""
    one = _alone(authority, "/CN=a", "-set_serial", "0", "-addext", "subjectAltName=DER:30:03:87:01:01")
    assert (one.subject, one.names) == ("a", ())
    (authority.folder / "latin").write_bytes(
        b"[req]\ndistinguished_name=who\nprompt=no\nstring_mask=MASK:0x4\n[who]\nCN=caf\xe9\n"
    )
    old = _alone(authority, "", "-config", "latin")
    assert old.subject == old.issuer == "a name that cannot be read"
    assert one.ends == pytest.approx(old.ends, abs=60)


@pytest.mark.parametrize("tag", [b"\x03", b"\x05", b"\x1e"], ids=["bits", "null", "wide"])
def test_a_name_of_a_wrong_type(tag: bytes) -> None:
    good, bad = from_der(_SAMPLE), from_der(_SAMPLE.replace(b"\x0c\x06sample", tag + b"\x06sampl\xd8"))
    assert (bad.ends, bad.names) == (good.ends, good.names)
    assert bad.subject != good.subject


def _alone(authority: Authority, subject: str, *more: str) -> Certificate:
    """One that is signed by itself."""
    said = ("-subj", subject) if subject else ()
    out = ("-keyout", "one.key", "-out", "one.pem", "-days", "30")
    authority._openssl("req", "-x509", *KEY, *out, *said, *more)
    (found,) = from_pem((authority.folder / "one.pem").read_text())
    return found


@given(at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 2000))
def test_a_broken_one_is_an_error_of_ours(at: int, byte: int, cut: int) -> None:
    data = bytearray(_SAMPLE)
    data[at % len(data)] = byte
    for broken in (bytes(data), bytes(data[: cut % len(data)]), bytes(data[cut % len(data) :])):
        try:
            from_der(broken)
        except ValueError:
            continue


@given(st.binary(max_size=300), st.text(max_size=300))
def test_what_is_no_certificate_is_an_error_of_ours(data: bytes, text: str) -> None:
    for read in (lambda: from_der(data), lambda: from_pem(f"-----BEGIN CERTIFICATE-----{text}")):
        try:
            read()
        except ValueError:
            continue
