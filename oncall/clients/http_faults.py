"""What can go wrong with HTTP, each by its name. No secret gets into a reason."""

import socket
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from oncall.model import Absence, Unavailable

_LINE = 200
_TLS_HINTS = {
    "self-signed": "set tls: {ca: FILE} to the certificate of the authority that signed it",
    "self signed": "set tls: {ca: FILE} to the certificate of the authority that signed it",
    "local issuer": "set tls: {ca: FILE} to the certificate of the authority that signed it",
    "mismatch": "use the host name that stands in the certificate",
    "wrong version number": "the server does not speak TLS there: is it http:// and not https://?",
    "record layer": "the server does not speak TLS there: is it http:// and not https://?",
    "packet length": "the server does not speak TLS there: is it http:// and not https://?",
    "certificate required": "the server asks for a client certificate: set tls: {cert: FILE, key: FILE}",
    "handshake failure": "the server may ask for a client certificate: set tls: {cert: FILE, key: FILE}",
}


# What the TLS library raises when it only has to wait
_NO_FAULTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Refused(Exception):
    """A request that must not be made, or an answer that must not be read on; it carries the reason."""

    def __init__(self, answer: Unavailable) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Progress:
    """How far a request came: this tells a server that is away from one that does not answer."""

    def __init__(self) -> None:
        self.event = ""
        self.size = 0
        self.shook_hands = False
        """The TLS handshake was made in this request."""

    async def trace(self, event: str, info: object) -> None:
        """The trace extension of httpx: it is told each event of a request."""
        self.event = event
        self.shook_hands |= event.endswith("start_tls.complete")

    @property
    def connected(self) -> bool:
        """A connection to the server stands."""
        return self.event.startswith("http") or self.event.endswith(("tcp.complete", "tls.complete"))


def one_line(text: str, limit: int = _LINE) -> str:
    """Foreign text as one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def split(url: str) -> SplitResult:
    """The parts of an http address. Raises ValueError where it is none, or where its password would be cut."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("no http:// or https:// address")
    if "@" in parts.path + parts.query + parts.fragment:
        # http://me:pa/ss@host is the host `me` to a parser: what looks like a host may be half a password
        raise ValueError("an @ behind the host: a password must be percent-encoded")
    return parts


def where(url: str) -> str:
    """host:port of an address, for messages: never its credentials."""
    try:
        parts = split(url)
    except ValueError:
        return "the configured address"
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def too_late(progress: Progress, place: str, deadline_s: float) -> Unavailable:
    """The deadline passed: how far did it come?"""
    within, hint = f"within {deadline_s:.3g} s", None
    if progress.size:
        reason = f"{place} began to answer but did not end {within} ({progress.size} bytes came)"
    elif progress.connected:
        reason, hint = (
            f"{place} took the connection but did not answer {within}",
            "it may be frozen or overloaded",
        )
    elif "start_tls" in progress.event:
        reason = f"no TLS handshake with {place} {within}"
    elif progress.event:
        reason, hint = f"no connection to {place} {within}", "host away, or a firewall that drops packets?"
    else:
        reason = f"{place} was still busy with earlier questions {within}"
    return Unavailable(kind=Absence.TIMEOUT, reason=reason, hint=hint)


def fault(error: BaseException, place: str) -> Unavailable:
    """The reason behind an exception of the request to `place` (host:port)."""
    for kind, tell in _TELLERS:
        found = next((cause for cause in _causes(error) if isinstance(cause, kind)), None)
        if found is not None:
            return tell(found, place)
    return _by_type(error, place)


def after_handshake(place: str) -> Unavailable:
    """A connection that ends instead of a first answer: a missing client certificate does that."""
    return Unavailable(
        kind=Absence.TLS,
        reason=f"{place} ended the connection after the TLS handshake, without an answer",
        hint="it may ask for a client certificate: set tls: {cert: FILE, key: FILE}",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and the members of groups: the innermost ones tell most."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        if not isinstance(cause, _NO_FAULTS):
            yield cause
        members = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        waiting += [c for c in (*members, cause.__cause__, cause.__context__) if c is not None]


def _refused_by_us(error: BaseException, place: str) -> Unavailable:
    assert isinstance(error, Refused)
    return error.answer


def _unresolved(error: BaseException, place: str) -> Unavailable:
    text = error.strerror if isinstance(error, OSError) else None
    return Unavailable(
        kind=Absence.UNRESOLVED,
        reason=f"cannot resolve {place.rpartition(':')[0]}: {one_line(text or 'unknown name')}",
        hint="check the host name, and the DNS of this machine",
    )


def _tls(error: BaseException, place: str) -> Unavailable:
    text = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    text = text.replace("_", " ").lower() if text.isupper() or "_" in text else text
    hint = next((hint for part, hint in _TLS_HINTS.items() if part in text.lower()), None)
    return Unavailable(kind=Absence.TLS, reason=f"TLS with {place} failed: {one_line(text)}", hint=hint)


def _down(text: str, hint: str | None = None) -> Callable[[BaseException, str], Unavailable]:
    return lambda error, place: Unavailable(kind=Absence.DOWN, reason=f"{text} {place}", hint=hint)


def _os(error: BaseException, place: str) -> Unavailable:
    assert isinstance(error, OSError)
    return Unavailable(
        kind=Absence.DOWN, reason=f"cannot reach {place}: {one_line(error.strerror or str(error))}"
    )


def _not_installed(error: BaseException, place: str) -> Unavailable:
    return Unavailable(
        kind=Absence.NOT_INSTALLED,
        reason=f"the proxy of the environment needs a package that is missing: {one_line(str(error))}",
        hint="add the host to NO_PROXY",
    )


_TELLERS: tuple[tuple[type[BaseException], Callable[[BaseException, str], Unavailable]], ...] = (
    (Refused, _refused_by_us),
    (ImportError, _not_installed),
    (socket.gaierror, _unresolved),
    (ssl.SSLError, _tls),
    (ConnectionRefusedError, _down("connection refused at", "is it running, and is this its port?")),
    (ConnectionError, _down("connection reset by")),
)


def _by_type(error: BaseException, place: str) -> Unavailable:
    """What is told by httpx's own exceptions, by name: the library is not imported here."""
    name, text = type(error).__name__, str(error)
    if name == "RemoteProtocolError" and "without sending a response" in text:
        return _down("no answer: connection closed by")(error, place)
    if name == "RemoteProtocolError" and "complete message body" in text:
        return bad(f"the answer of {place} is cut: the connection closed in the middle")
    if name == "RemoteProtocolError":
        return bad(f"{place} does not speak HTTP: {one_line(text, 100)}", "is this the right port?")
    if name == "ProxyError":
        return _down("the proxy refused to connect to")(error, place)
    if name in ("ReadError", "WriteError", "CloseError"):
        return _down("connection lost to")(error, place)
    numbered = [cause for cause in _causes(error) if isinstance(cause, OSError) and cause.errno]
    if numbered or isinstance(error, OSError):
        return _os(numbered[-1] if numbered else error, place)
    if name == "ConnectError":
        return _down("cannot connect to")(error, place)
    # Texts of the rest may quote headers or the address: both may hold secrets
    return Unavailable(
        kind=Absence.BAD_QUERY,
        reason=f"not an address that can be asked by HTTP: {place} ({name})",
        hint="it should look like http://host:port; in a password write %2F for /, %23 for #, %40 for @",
    )


def bad(reason: str, hint: str | None = None) -> Unavailable:
    """An answer that came but cannot be used."""
    return Unavailable(kind=Absence.BAD_ANSWER, reason=reason, hint=hint)


def status_text(status: int) -> str:
    """`503 Service Unavailable`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def status_fault(status: int, location: str, place: str) -> Unavailable | None:
    """Why an answer with this status is none; None where it is one (2xx)."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return bad(
            f"{place} redirects ({status}) to {redirect_target(location)}: not followed",
            "a login page? Put the final address, or the credentials, into the service file",
        )
    if status in (401, 403):
        return Unavailable(
            kind=Absence.AUTH,
            reason=f"{place} refuses access: {status_text(status)}",
            hint="set basic, bearer or headers of this backend in the service file",
        )
    return bad(f"{place} answers {status_text(status)}")


def redirect_target(location: str) -> str:
    """Where a redirect leads, without query or credentials (both carry tokens)."""
    try:
        parts = urlsplit(location)
        target = SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()
    except ValueError:
        target = ""
    return one_line(target, 100) or "nowhere"
