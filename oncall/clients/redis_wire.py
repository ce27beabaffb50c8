"""One connection to Redis: pipelines of commands, each answered by a reply or by the server's own refusal.

redis-py's connection alone is loaded, without its client, its cluster, its commands and its modules: those take more
than half of the time that loading all of it takes (some 95 of 160 ms), and nothing here uses them."""

import sys
from asyncio import StreamReader
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

from oncall.clients.ajar import ajar
from oncall.clients.redis import fault, where
from oncall.errors import ConfigError
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import RedisAt

Word: TypeAlias = str | bytes
Command: TypeAlias = tuple[Word, ...]
MOST_BYTES = 64 * 2**20
"""Read from one connection at most: no server, and nobody who poses as one, fills our memory."""
# What an address may say about a pool, and what would name or watch the connection.
_NOT_OURS = (
    "connection_class",
    "max_connections",
    "timeout",
    "client_name",
    "health_check_interval",
    "retry_on_timeout",
    "legacy_responses",
)
_GREETING_S = 0.5


class Refused(Frozen, frozen=True):
    """An error that Redis answered one command with, in its own words (redis-py takes some of its codes away)."""

    text: str

    @property
    def denied(self) -> bool:
        """This user may not run the command; another may."""
        return "no permissions" in self.text and "access one of the" not in self.text

    @property
    def denied_key(self) -> bool:
        return "no permissions" in self.text and "access one of the" in self.text

    @property
    def unknown(self) -> bool:
        """The server does not have it: too old, renamed, or taken away."""
        return self.text.lower().startswith(("unknown command", "unknown subcommand", "err unknown"))


class TooMuch(Exception):
    """More was sent than is read here."""


class Wire:
    """An open connection; `user` and `db` are those of the address."""

    def __init__(self, connection: Any, user: str) -> None:  # noqa: ANN401  # the library's kinds share no public type
        self._connection = connection
        self.user = user
        self.db = int(connection.db or 0)

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        """All in one go; a reply or Refused for each, in order. Raises what `fault` reads."""
        await self.send(commands)
        return await self.replies(len(commands))

    async def send(self, commands: Iterable[Command]) -> None:
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def replies(self, count: int) -> list[object]:
        return [await self._reply() for _ in range(count)]

    async def _reply(self) -> object:
        from redis.exceptions import ResponseError

        try:
            reply: object = await self._connection.read_response(disconnect_on_error=False)
        except ResponseError as refused:
            # Busy with a script it answers nothing at all: that is about the server, not the command.
            if str(refused).startswith("BUSY "):
                raise
            return Refused(text=" ".join(str(refused).split()))
        except ValueError as error:  # a line without an end
            raise TooMuch(str(error)) from None
        return reply

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


async def open_wire(at: RedisAt) -> Wire:
    """Connects, signs in and selects the database of the address. Raises what `fault` reads, and ConfigError."""
    module = connections()
    try:
        given = module.parse_url(at.url)
        kind = given.get("connection_class", module.Connection)
        connection = _connection(kind, {k: v for k, v in given.items() if k not in _NOT_OURS})
    except (TypeError, ValueError):  # their words may hold the address, with its password
        raise ConfigError(
            "redis.url has an option that redis-py does not know", hint="see what follows its ?"
        ) from None
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    _cap(getattr(connection, "_reader", None))
    return Wire(connection, str(given.get("username") or "default"))


def _connection(kind: Any, given: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
    """Protocol 2: any version speaks it. No retries: what is sent is sent once. Our deadline is the only one.

    Nothing is said about the library (CLIENT SETINFO): a look leaves no trace."""
    plain = {**given, "protocol": 2, "socket_timeout": None, "socket_connect_timeout": None}
    plain |= {"decode_responses": False, "encoding_errors": "replace"}
    try:
        return kind(**plain, driver_info=None)
    except TypeError as wrong:
        if "driver_info" not in str(wrong):
            raise
        # an older redis-py, which has two words for it
        return kind(**plain, lib_name=None, lib_version=None)


def _cap(reader: StreamReader | None) -> None:
    if reader is None:
        return
    feed, left = reader.feed_data, MOST_BYTES

    def counted(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left >= 0:
            feed(data)
        elif reader.exception() is None:
            reader.set_exception(TooMuch(f"more than {MOST_BYTES // 2**20} MiB"))

    reader.feed_data = counted  # type: ignore[method-assign,assignment]  # the one place that all bytes pass


async def why_lost(at: RedisAt, lost: Unavailable) -> Unavailable:
    """The reason that a server gives as soon as somebody connects, before it is asked anything.

    Without a connection left it says so and hangs up; what was sent meanwhile makes the system drop its words."""
    module = connections()
    given = {k: v for k, v in module.parse_url(at.url).items() if k in ("host", "port", "path")}
    kind = module.parse_url(at.url).get("connection_class", module.Connection)
    connection = _connection(kind, given)
    try:
        await connection.connect()
        said = await connection.read_response(timeout=_GREETING_S)
    except Exception as failed:
        said = fault(failed, where(at.url))
    finally:
        await connection.disconnect(nowait=True)
    return said if isinstance(said, Unavailable) and said.kind is Absence.NO_SLOTS else lost


def connections() -> ModuleType:
    """redis.asyncio.connection, alone where that can be; whoever asks for the package later gets it whole."""
    if "redis" not in sys.modules:
        try:
            ajar("redis", "exceptions")
            ajar("redis.asyncio", "connection")
        except (ImportError, AttributeError):  # a version whose parts need the whole
            for name in [n for n in sys.modules if n.partition(".")[0] == "redis"]:
                del sys.modules[name]
    return import_module("redis.asyncio.connection")
