"""How long the certificates of the service file still hold, and whether a client would take them."""

import asyncio
import os
import shlex
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from msgspec.structs import replace

from oncall.clients.http_faults import Refused
from oncall.clients.http_options import tls_context
from oncall.clients.systemd import HERE, SSH_FAILED, no_ssh, run
from oncall.model import Absence, Column, Frozen, Next, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import Service, Tls
from oncall.numbers import day, duration

if TYPE_CHECKING:
    from cryptography import x509

WHY = "A certificate that expires takes everything down at a known moment."
DAY_S = 86_400.0
WARNING_S, CRITICAL_S = 21 * DAY_S, 7 * DAY_S
SHORT_S = 3 * WARNING_S
"""One that holds for less in all is renewed later: it is judged by the share of its time that is left."""
WARNING_SHARE, CRITICAL_SHARE = 1 / 4, 1 / 10
AT_ONCE = 16
_HTTPS = 443
_CAP = 2**20
_MOST_NAMES, _MOST_KEPT = 3, 100
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_ILLEGIBLE = "a name that cannot be read"
_BAD_NAME = (ValueError, TypeError, KeyError)
"""What the library raises for a name of a wrong type or letters: a server may show anything."""
_COLUMNS = (
    Column(name="certificate"),
    Column(name="issuer"),
    Column(name="left", unit="seconds"),
    Column(name="ends"),
    Column(name="names"),
)
# X509_V_ERR_*, of OpenSSL's x509_vfy.h
_EXPIRED = 10
_REASONS = {
    9: "it is not valid yet",
    18: "not trusted: it is signed by itself",
    19: "not trusted: its authority is not known here",
    20: "not trusted: its authority is not known here, or the server does not send the whole chain",
    21: "not trusted: the server does not send the whole chain",
    23: "it is revoked",
    62: "it is for another name",
    64: "it is for another address",
}


class Certificate(Frozen, frozen=True):
    """Who it is for, who issued it, and from when to when it holds (Unix seconds)."""

    subject: str
    issuer: str
    begins: float
    ends: float
    names: tuple[str, ...]
    """DNS names and addresses that it is for."""


class Shown(Frozen, frozen=True):
    """What a server or file shows: the certificate itself first. `fault`: why a client would refuse it."""

    chain: tuple[Certificate, ...]
    fault: str | None = None


async def look(service: Service, deadline_s: float) -> tuple[CheckLine, ...]:
    """A line for each certificate, in the order of the file, within `deadline_s` seconds. Raises nothing.

    Servers are met from here, also where the service has `ssh`; files are read where the service is."""
    if not service.certificates:
        return ()
    until = asyncio.get_running_loop().time() + 0.9 * deadline_s
    turns = asyncio.Semaphore(AT_ONCE)
    trust = _trust(service)

    async def one(target: str) -> CheckLine:
        async with turns:
            left = until - asyncio.get_running_loop().time()
            return await _look(target, trust, service.ssh, left)

    return tuple(await asyncio.gather(*(one(target) for target in service.certificates)))


async def _look(
    target: str, trust: ssl.SSLContext | Unavailable, ssh: str | None, deadline_s: float
) -> CheckLine:
    is_file = target.startswith("/")
    try:
        async with asyncio.timeout(deadline_s):
            if is_file:
                shown = await _file(target, ssh, deadline_s)
            else:
                shown = trust if isinstance(trust, Unavailable) else await _server(*address(target), trust)
    except TimeoutError:
        reason = f"it shows no certificate within {max(0.0, deadline_s):.3g} s"
        shown = Unavailable(kind=Absence.TIMEOUT, reason=reason)
    except Refused as refused:
        shown = refused.answer
    except ValueError as broken:
        shown = Unavailable(kind=Absence.BAD_ANSWER, reason=str(broken))
    return line(target, shown, time.time())


def address(target: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or of a URL."""
    parts = urlsplit(target if "://" in target else f"//{target}")
    return parts.hostname or "", parts.port or _HTTPS


def _trust(service: Service) -> ssl.SSLContext | Unavailable:
    """The system's authorities, and those of the service's own besides."""
    try:
        context = tls_context(Tls(), needed=True)
        if service.tls and service.tls.ca:
            context.load_verify_locations(service.tls.ca)
    except Refused as refused:
        return refused.answer
    except (OSError, ssl.SSLError) as wrong:
        reason = f"cannot read the authorities: {wrong}"
        return Unavailable(kind=Absence.TLS, reason=reason, hint="see tls.ca of the service")
    return context


# --- a server ----------------------------------------------------------------------------------------


async def _server(host: str, port: int, trust: ssl.SSLContext) -> Shown:
    """As a client meets it; where that fails, once more without trust, to see what is shown. Raises Refused."""
    try:
        return Shown(chain=await _handshake(host, port, trust))
    except ssl.SSLCertVerificationError as refused:
        fault = refused
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    try:
        chain = await _handshake(host, port, lenient)
    except ssl.SSLCertVerificationError:
        chain = ()
    return Shown(chain=chain, fault=why_refused(fault, chain, time.time()))


def why_refused(fault: ssl.SSLCertVerificationError, chain: Sequence[Certificate], now: float) -> str | None:
    """In words; None where all there is to say is that it has expired. Pure."""
    if fault.verify_code == _EXPIRED:
        own = bool(chain) and chain[0].ends < now
        return None if own else "a certificate of its chain has expired"
    return _REASONS.get(fault.verify_code) or f"not trusted: {fault.verify_message}"


async def _handshake(host: str, port: int, context: ssl.SSLContext) -> tuple[Certificate, ...]:
    """The chain that the handshake ended with: the trusted one without its root, else the certificate alone.

    Raises Refused, and SSLCertVerificationError where the context trusts it not."""
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, ssl.SSLError, UnicodeError) as failed:
        raise Refused(_unreached(host, failed)) from failed
    try:
        tls = writer.get_extra_info("ssl_object")
        chain = _verified(tls) if context.verify_mode is not ssl.CERT_NONE else ()
        own = tls.getpeercert(binary_form=True)
        return chain or ((from_der(own),) if own else ())
    finally:
        writer.transport.abort()


def _verified(tls: ssl.SSLObject) -> tuple[Certificate, ...]:
    """Public since Python 3.13, as DER; before that a step further in, as objects that write PEM."""
    get = getattr(tls, "get_verified_chain", None)
    get = get or getattr(getattr(tls, "_sslobj", None), "get_verified_chain", None)
    found = [_either(one) for one in (get() or ())] if get else []
    return tuple(found[:-1] if len(found) > 1 else found)


class _Written(Protocol):
    """What Python before 3.13 has in place of DER."""

    def public_bytes(self) -> str: ...


def _either(one: bytes | _Written) -> Certificate:
    return from_der(one) if isinstance(one, bytes) else from_pem(one.public_bytes())[0]


_NO_TLS = "is it a port that begins with TLS? Postgres and mail begin without: name the PEM file in its place"


def _unreached(host: str, failed: Exception) -> Unavailable:
    if isinstance(failed, socket.gaierror | UnicodeError):
        return Unavailable(kind=Absence.UNRESOLVED, reason=f"the host name {host} does not resolve")
    if isinstance(failed, ssl.SSLError):
        said = failed.reason or str(failed)
        reason = f"it does not speak TLS as we do: {said.replace('_', ' ').lower()}"
        return Unavailable(kind=Absence.TLS, reason=reason, hint=_NO_TLS)
    if isinstance(failed, ConnectionResetError):
        reason = "it closes the connection in place of a TLS handshake"
        return Unavailable(kind=Absence.TLS, reason=reason, hint=_NO_TLS)
    # asyncio's own words for it have the address once more, as a tuple
    number = getattr(failed, "errno", None)
    said = os.strerror(number) if number else str(failed) or type(failed).__name__
    return Unavailable(kind=Absence.DOWN, reason=f"it cannot be reached: {said.lower()}")


# --- a file ------------------------------------------------------------------------------------------


async def _file(path: str, ssh: str | None, deadline_s: float) -> Shown | Unavailable:
    """The certificates of a PEM file. Raises ValueError for a broken one."""
    ran = await run(("cat", "--", path), ssh, deadline_s, _CAP)
    if isinstance(ran, Unavailable):
        return ran
    if ssh and ran.code == SSH_FAILED:
        return no_ssh(ran, ssh)
    if ran.code != 0:
        said = ran.err.removeprefix("cat: ")[:200]
        return Unavailable(kind=Absence.CONFIG, reason=f"it cannot be read on {ssh or HERE}: {said}")
    chain = from_pem(ran.out)
    if not chain:
        return Unavailable(kind=Absence.CONFIG, reason="it holds no certificate in PEM")
    return Shown(chain=chain)


# --- a certificate -----------------------------------------------------------------------------------


def from_pem(text: str) -> tuple[Certificate, ...]:
    """Every certificate of a PEM file, in its order; keys and words beside them, whole or not, are passed over.

    Raises ValueError for one that is broken."""
    parts = text.split(_BEGIN)[1:]
    if any(_END not in part for part in parts):
        raise ValueError("a certificate has no end")
    return tuple(
        from_der(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{part.partition(_END)[0]}{_END}")) for part in parts
    )


def from_der(data: bytes) -> Certificate:
    """Raises ValueError for what is no certificate."""
    from cryptography import x509

    # It warns of what no client minds, as a serial number of zero
    with warnings.catch_warnings(action="ignore"):
        try:
            return _facts(x509.load_der_x509_certificate(data))
        except (ValueError, x509.InvalidVersion) as broken:
            raise ValueError("not a certificate, or a broken one") from broken


def _facts(of: "x509.Certificate") -> Certificate:
    names = _names(of)
    return Certificate(
        subject=_name(lambda: of.subject) or (names[0] if names else ""),
        issuer=_name(lambda: of.issuer),
        begins=of.not_valid_before_utc.timestamp(),
        ends=of.not_valid_after_utc.timestamp(),
        names=names,
    )


def _name(read: Callable[[], "x509.Name"]) -> str:
    """The common name, else the organisation."""
    from cryptography.x509 import NameOID

    try:
        found = {one.oid: str(one.value) for one in read()}
    except _BAD_NAME:
        # The letters of some old authorities; their dates are still good
        return _ILLEGIBLE
    return found.get(NameOID.COMMON_NAME) or found.get(NameOID.ORGANIZATION_NAME) or ""


def _names(of: "x509.Certificate") -> tuple[str, ...]:
    """None too where an extension cannot be read: whether a name fits is judged by OpenSSL, not from these."""
    from cryptography import x509

    try:
        found = of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (*_BAD_NAME, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    kept = [str(one.value) for one in found if isinstance(one, x509.DNSName | x509.IPAddress)]
    return tuple(kept[:_MOST_KEPT])


# --- the line ----------------------------------------------------------------------------------------


def line(target: str, shown: Shown | Unavailable, now: float) -> CheckLine:
    """The verdict: what ends first of the chain decides, and any reason for which a client refuses it. Pure."""
    bare = CheckLine(
        id=f"certificates.{target}",
        title=f"Certificate {target}",
        severity=Severity.UNKNOWN,
        why=WHY,
        source="file" if target.startswith("/") else "tls",
        target=_target(None),
        query=target,
    )
    if isinstance(shown, Unavailable):
        return replace(bare, reason=shown.reason, hint=shown.hint)
    first = min(shown.chain, key=lambda c: c.ends, default=None)
    if first is None:
        text = "; ".join(filter(None, (shown.fault, "it shows no certificate")))
        return replace(bare, severity=Severity.CRITICAL, text=text, next=_next(target))
    warning, critical = limits(first)
    severity = judge(shown, first, now)
    return replace(
        bare,
        severity=severity,
        value=first.ends - now,
        unit="seconds",
        text="; ".join(_said(shown, first, now)),
        target=_target(first),
        warning=warning,
        critical=critical,
        age_s=0.0,
        next=_next(target) if severity is not Severity.OK else None,
        detail=_table(shown.chain, now),
    )


def limits(of: Certificate) -> tuple[float, float]:
    """Seconds that should be left. Pure."""
    whole = of.ends - of.begins
    if whole < SHORT_S:
        return WARNING_SHARE * whole, CRITICAL_SHARE * whole
    return WARNING_S, CRITICAL_S


def judge(shown: Shown, first: Certificate, now: float) -> Severity:
    """Beyond, not at, a bound. Pure."""
    warning, critical = limits(first)
    left = first.ends - now
    if shown.fault or left < critical or any(c.begins > now for c in shown.chain):
        return Severity.CRITICAL
    return Severity.WARNING if left < warning else Severity.OK


def _said(shown: Shown, first: Certificate, now: float) -> list[str]:
    own, left = shown.chain[0], first.ends - now
    whose = "" if first is own else f"its issuer {first.subject} "
    ended = f"{whose}expired {duration(-left)} ago" if left < 0 else f"{whose}{duration(left)} left"
    until = f"{ended} ({day(_moment(first.ends))})"
    young = [] if shown.fault or own.begins <= now else [f"it is not valid before {day(_moment(own.begins))}"]
    names = [*dict.fromkeys(own.names or (own.subject,))]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    said = f"for {', '.join(names[:_MOST_NAMES])}{more}, by {own.issuer}"
    return [*([shown.fault] if shown.fault else []), *young, until, said]


def _target(of: Certificate | None) -> str:
    warning = WARNING_S if of is None else limits(of)[0]
    return f"above {duration(warning)} left"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _next(target: str) -> Next:
    if target.startswith("/"):
        return Next(command=f"openssl x509 -noout -text -in {shlex.quote(target)}", why="shows it in full")
    host, port = address(target)
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    words = f"openssl s_client -connect {shlex.quote(at)} -servername {shlex.quote(host)} -showcerts"
    return Next(command=f"{words} </dev/null", why="shows the chain as a client gets it")


def _table(chain: Sequence[Certificate], now: float) -> Table:
    rows = tuple(
        (c.subject, c.issuer, c.ends - now, day(_moment(c.ends)), ", ".join(c.names) or None) for c in chain
    )
    return Table(columns=_COLUMNS, rows=rows)
