"""How a server is spoken to: credentials, TLS, proxies."""

import base64
import ssl
import sys
import urllib.request
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote

from oncall.clients.http_faults import Refused
from oncall.model import Absence, Unavailable
from oncall.model_service import Basic, Tls


def authorization(basic: Basic | None, bearer: str | None, parts: SplitResult) -> dict[str, str]:
    """The header for a bearer token, else a name and password, else those in the address itself."""
    if bearer:
        return {"Authorization": f"Bearer {bearer}"}
    if basic is None and parts.username:
        basic = Basic(username=unquote(parts.username), password=unquote(parts.password or ""))
    if basic is None:
        return {}
    pair = f"{basic.username}:{basic.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def asyncio_alone() -> None:
    """httpcore looks for the library `sniffio` at every lock; where it is not there, that took a third of a request.

    It tells asyncio from trio, and here is asyncio alone."""
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # None: not to be imported


def is_loopback(host: str) -> bool:
    """This machine itself, by name or address; names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_for(parts: SplitResult) -> str | None:
    """The proxy of the environment, as curl finds it: http_proxy, https_proxy, all_proxy, no_proxy.

    Never for this machine: a jump host's HTTP_PROXY must not swallow a question to its own loopback."""
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or is_loopback(host) or urllib.request.proxy_bypass(f"{host}:{parts.port or 0}"):
        return None
    return found if "://" in found else f"http://{found}"


def tls_context(tls: Tls, needed: bool) -> ssl.SSLContext:
    """Trusts the system's authorities (internal ones are known there), or `tls.ca` alone. Raises Refused."""
    if not needed:
        # Loading the authorities takes 20 ms
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in filter(None, (tls.ca, tls.cert, tls.key)):
        _readable(path)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.ca is None and not _system_has_authorities():
            import certifi

            context.load_verify_locations(certifi.where())
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            # An empty password: OpenSSL would ask the terminal for one
            context.load_cert_chain(tls.cert, tls.key, password="")
    except ssl.SSLError as error:
        files = ", ".join(filter(None, (tls.ca, tls.cert, tls.key)))
        reason = f"the TLS files do not fit together or are not PEM ({error.reason or 'unreadable'}): {files}"
        raise Refused(Unavailable(kind=Absence.TLS, reason=reason)) from error
    return context


def _readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise Refused(
            Unavailable(kind=Absence.TLS, reason=f"cannot read the TLS file {path}: {error.strerror}")
        ) from error


def _system_has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))
