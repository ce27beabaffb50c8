"""A libpq connection string: its parameters, its addresses, and what of it must never be shown."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from oncall import dsn
from oncall import scrub as scrubbing
from oncall.clients.ajar import ajar
from oncall.errors import ConfigError

Params = dict[str, str]


def parse_dsn(text: str, key: str = "postgres.dsn") -> Params:
    """The parameters of a DSN. Raises ConfigError that shows nothing of it: any part may be a password."""
    ajar("psycopg", "pq")
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.errors import Error

    try:
        # First by our own rules: libpq takes the rest of an unescaped password for a host, and shows that.
        dsn.parts(text)
        found = conninfo_to_dict(text)
    except ValueError as error:
        raise ConfigError(f"{key} cannot be read (it is not shown): {error}") from None
    except Error:
        hint = "an option of it is none that libpq knows"
        raise ConfigError(f"{key} cannot be read (it is not shown)", hint=hint) from None
    return {name: str(value) for name, value in found.items() if value is not None}


def scrub(text: str, params: Mapping[str, str]) -> str:
    """The text without the DSN's secrets."""
    secrets = [
        value
        for name, value in params.items()
        if name in dsn.SECRET_OPTIONS and len(value) >= scrubbing.SHORTEST
    ]
    return scrubbing.scrub(text, sorted(secrets, key=len, reverse=True))


class NoAddress(Exception):
    """None of the DSN's hosts could be resolved. `timeout`: the resolver did not answer."""

    def __init__(self, message: str, *, timeout: bool) -> None:
        super().__init__(message)
        self.timeout = timeout


async def addresses(params: Params, until: float) -> list[Params]:
    """One set of parameters for each address, by `until` (the loop's time). Raises NoAddress.

    Left to libpq, looking a name up would hold up everything else."""
    if "service" in params or params.get("target_session_attrs") == "prefer-standby":
        return [params]
    found: list[Params] = []
    failure: OSError | None = None
    for one in hosts_of(params):
        try:
            found += [{**one, **({"hostaddr": item} if item else {})} for item in await _resolve(one, until)]
        except OSError as error:
            failure = error
    if not found:
        reason = (failure and failure.strerror) or "no address"
        raise NoAddress(f"{params.get('host')}: {reason}", timeout=isinstance(failure, TimeoutError))
    return found


def hosts_of(params: Params) -> list[Params]:
    """The parameters once for each host of a list `host=a,b port=1,2`, as libpq pairs them."""
    lists = {
        "host": params.get("host") or os.environ.get("PGHOST", ""),
        "hostaddr": params.get("hostaddr") or os.environ.get("PGHOSTADDR", ""),
        "port": params.get("port") or os.environ.get("PGPORT", ""),
    }
    split = {name: text.split(",") for name, text in lists.items()}
    count = max(len(split["host"]), len(split["hostaddr"]))
    rest = {name: value for name, value in params.items() if name not in lists}
    hosts = []
    for index in range(count):
        own = {name: values[index if len(values) > index else -1] for name, values in split.items()}
        if len(split["hostaddr"]) != count:
            own["hostaddr"] = ""
        hosts.append({**rest, **{name: value for name, value in own.items() if value}})
    return hosts


async def _resolve(params: Params, until: float) -> list[str]:
    host = params.get("host", "")
    if "hostaddr" in params or not _is_name(host):
        return [params.get("hostaddr", "")]
    return await look_up(host, until)


def _is_name(host: str) -> bool:
    if not host or host.startswith(("/", "@")):
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return False
    return True


async def look_up(host: str, until: float) -> list[str]:
    """A host's addresses, by a daemon thread: a resolver that hangs must not keep the program from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if answer.done() else act())

    def look() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raised = error if isinstance(error, OSError) else OSError(0, "not a host name")
            settle(lambda: answer.set_exception(raised))
        else:
            names = list(dict.fromkeys(str(item[4][0]) for item in found))
            settle(lambda: answer.set_result(names))

    threading.Thread(target=look, daemon=True, name="resolve").start()
    try:
        async with asyncio.timeout_at(until):
            return await answer
    except TimeoutError:
        raise TimeoutError(0, "the resolver did not answer in time") from None
