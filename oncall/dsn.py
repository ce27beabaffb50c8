"""Where a connection string holds what, without the driver: to check it and mask it before anything connects.

Follows libpq (fe-connect.c, conninfo_uri_parse_options and conninfo_parse), but refuses what it accepts by
accident: an `@` of a password that was not percent-encoded makes it take the rest of the password for a host.
No message of this module holds any part of the string.
"""

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple
from urllib.parse import unquote

SECRET_OPTIONS = frozenset({"password", "sslpassword", "oauth_client_secret"})
_SCHEMES = ("postgresql://", "postgres://")
_ENCODE = "percent-encode special characters of user and password (@ is %40, / is %2F, # is %23, % is %25)"
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")
_OPTION = re.compile(r"\s*([a-z_]+)\s*=\s*", re.ASCII)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'(?=\s|$)", re.DOTALL)
_BARE = re.compile(r"(?:[^\s\\']|\\.)*(?=\s|$)", re.DOTALL)


class Part(NamedTuple):
    """One option: its value, and where it stands in the string as it was written."""

    option: str
    value: str
    start: int
    end: int


def parts(dsn: str) -> tuple[Part, ...]:
    """The options of a connection string, URL or `key=value`. Raises ValueError with what is allowed."""
    scheme = next((s for s in _SCHEMES if dsn.startswith(s)), None)
    if scheme is None and "://" in dsn.split("=", 1)[0]:
        raise ValueError("the URL must begin with postgresql://")
    found = tuple(_url(dsn, len(scheme)) if scheme else _pairs(dsn))
    for part in found:
        if part.option == "port":
            _check_port(part.value)
    return found


def secrets(dsn: str) -> tuple[str, ...]:
    """The secret values, as written and as meant. Raises ValueError for a string that cannot be parsed."""
    secret = [part for part in parts(dsn) if part.option in SECRET_OPTIONS]
    return tuple(
        text for part in secret for text in (dsn[part.start : part.end].strip("'"), part.value) if text
    )


def mask(dsn: str) -> str:
    """The string with `***` for each secret; for the whole of it where it cannot be parsed."""
    try:
        secret = [part for part in parts(dsn) if part.option in SECRET_OPTIONS]
    except ValueError:
        return "***"
    for part in sorted(secret, key=lambda p: p.start, reverse=True):
        dsn = dsn[: part.start] + "***" + dsn[part.end :]
    return dsn


# --- postgresql://user:password@host:port,host:port/dbname?option=value ---------------------


def _url(dsn: str, start: int) -> Iterator[Part]:
    if _SPACE.search(dsn):
        raise ValueError("a URL holds no blanks (a blank is %20)")
    if _BAD_PERCENT.search(dsn):
        raise ValueError(f"a % is not followed by two hex digits: {_ENCODE}")
    stop = _until(dsn, start, "@/")
    if dsn[stop : stop + 1] == "@":
        user_end = min(_until(dsn, start, ":"), stop)
        yield _part(dsn, "user", start, user_end)
        if user_end < stop:
            yield _part(dsn, "password", user_end + 1, stop)
        start = stop + 1
    if "@" in dsn[start:] or "#" in dsn[start:]:
        raise ValueError(f"it has an @ or # where none belongs: {_ENCODE}")
    at = yield from _hosts(dsn, start)
    if dsn[at : at + 1] == "/":
        end = _until(dsn, at, "?")
        yield _part(dsn, "dbname", at + 1, end)
        at = end
    if dsn[at : at + 1] == "?":
        yield from _query(dsn, at + 1)


def _hosts(dsn: str, at: int) -> Generator[Part, None, int]:
    """Hosts and ports; returns where they end."""
    while True:
        end = _host_end(dsn, at)
        yield _part(dsn, "host", at, end)
        if dsn[end : end + 1] == ":":
            at, end = end + 1, _until(dsn, end + 1, "/?,")
            yield _part(dsn, "port", at, end)
        if dsn[end : end + 1] != ",":
            return end
        at = end + 1


def _host_end(dsn: str, at: int) -> int:
    if dsn[at : at + 1] != "[":
        return _until(dsn, at, ":/?,")
    end = dsn.find("]", at) + 1
    if not end or dsn[end : end + 1] not in ("", ":", "/", "?", ","):
        raise ValueError("an IPv6 address is written [::1]")
    return end


def _query(dsn: str, at: int) -> Iterator[Part]:
    while at < len(dsn):
        end = _until(dsn, at, "&")
        name, equals, value = dsn[at:end].partition("=")
        if not equals or not name or "=" in value:
            raise ValueError(f"after the ? come options like sslmode=require; {_ENCODE}")
        yield _part(dsn, unquote(name), at + len(name) + 1, end)
        at = end + 1


def _part(dsn: str, option: str, start: int, end: int) -> Part:
    try:
        value = unquote(dsn[start:end], errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a percent-encoded part is not UTF-8 text") from None
    return Part(option, value.strip("[]") if option == "host" else value, start, end)


def _until(text: str, at: int, stops: str) -> int:
    return next((i for i in range(at, len(text)) if text[i] in stops), len(text))


# --- host=... dbname=... password='...' ------------------------------------------------------


def _pairs(dsn: str) -> Iterator[Part]:
    if not dsn.strip():
        raise ValueError("it is empty: write postgresql://USER@HOST/DATABASE, or service=NAME")
    at = 0
    while dsn[at:].strip():
        option = _OPTION.match(dsn, at)
        if not option:
            raise ValueError("expected postgresql://USER@HOST/DATABASE, or options like host=... dbname=...")
        start = option.end()
        value = (_QUOTED if dsn[start : start + 1] == "'" else _BARE).match(dsn, start)
        if not value:
            raise ValueError("a quote ' is not closed, or stands within a value (write \\')")
        text = value[1] if value.re is _QUOTED else value[0]
        yield Part(option[1], re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL), start, value.end())
        at = value.end()


def _check_port(ports: str) -> None:
    for port in ports.split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ValueError("the port must be a number from 1 to 65535")
