"""One connection to Postgres, at the level of libpq.

psycopg's own connection gives no SQLSTATE when it is refused, decodes by one encoding only, and when one of
several statements fails drops what had been answered; its wrapper of libpq leaves all three to us."""

import asyncio
import ctypes
import os
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncall.clients.pg_dsn import NoAddress, Params, addresses, scrub
from oncall.clients.pg_errors import ServerError, one_line, parse_refusal
from oncall.clients.pg_values import codec, decode, value
from oncall.model import Frozen, Scalar

if TYPE_CHECKING:
    from psycopg.pq import DiagnosticField
    from psycopg.pq.abc import PGconn, PGresult

MOST_ROWS = 500
"""Rows kept of one answer; the rest is read and dropped, so that no question can fill the memory."""


class Rows(Frozen, frozen=True):
    """An answer. `cut`: there were more rows."""

    names: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    cut: bool = False


class Refused(Exception):
    """No connection: what was said, and to which target it was tried. `timeout`: nothing was said."""

    def __init__(self, error: ServerError, params: Mapping[str, str], *, timeout: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.params = params
        self.timeout = timeout


class Lost(Exception):
    """The connection ended in the middle."""


# --- connecting ----------------------------------------------------------------------------------


async def connect(params: Params, until: float) -> "Wire":
    """Connects by `until` (the loop's time), to the first of the DSN's hosts and addresses that answers.

    A host that does not answer leaves the others their share of the time. Raises Refused, NoAddress."""
    targets = await addresses(params, until)
    first: Refused | None = None
    for index, target in enumerate(targets):
        now = asyncio.get_running_loop().time()
        share = (until - now) / (len(targets) - index)
        try:
            return await _connect(target, now + min(share, _patience(params)))
        except Refused as refusal:
            state = refusal.error.sqlstate
            first = refusal if first is None or state else first
            if state not in (None, "57P03"):  # a server has spoken: as libpq does, ask no other
                break
    raise first or NoAddress("no host", timeout=False)


def _patience(params: Params) -> float:
    """connect_timeout in seconds; without one, or 0, the deadline alone counts."""
    with suppress(ValueError):
        return float(params.get("connect_timeout", "0")) or float("inf")
    return float("inf")


async def _connect(params: Params, until: float) -> "Wire":
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    conn = pq.PGconn.connect_start(make_conninfo("", **params).encode())
    try:
        _be_verbose(conn)
        async with asyncio.timeout_at(until):
            await _handshake(conn)
        if conn.status != pq.ConnStatus.OK:
            said = scrub(conn.error_message.decode("utf-8", "replace"), params)
            raise Refused(parse_refusal(said), params)
    except TimeoutError:
        stage = ServerError(message=_stage(conn))
        conn.finish()
        raise Refused(stage, params, timeout=True) from None
    except BaseException:
        conn.finish()
        raise
    conn.nonblocking = 1
    return Wire(conn)


async def _handshake(conn: "PGconn") -> None:
    from psycopg.pq import ConnStatus, PollingStatus

    if conn.status == ConnStatus.BAD:
        return
    reading = False  # libpq: until told otherwise, wait until the socket can be written
    while True:
        await _ready(conn.socket, read=reading, write=not reading)
        state = conn.connect_poll()
        if state in (PollingStatus.OK, PollingStatus.FAILED):
            return
        reading = state == PollingStatus.READING


def _stage(conn: "PGconn") -> str:
    """How far a connection got that took too long."""
    from psycopg.pq import ConnStatus

    if conn.status == ConnStatus.STARTED:
        return "no answer: the host is down, or a firewall drops what is sent"
    if conn.status == ConnStatus.AUTH_OK:
        return "it let us in, but the session did not begin in time"
    return "the port is open, but the server says nothing: frozen, or overloaded"


def _be_verbose(conn: "PGconn") -> None:
    """Has libpq put SQLSTATE and routine into the text of a refusal, for which psycopg has no call."""
    library = _libpq()
    if library is not None:
        pointer = conn.pgconn_ptr  # type: ignore[attr-defined]  # documented; the protocol class leaves it out
        library.PQsetErrorVerbosity(pointer, 2)  # PQERRORS_VERBOSE


def _libpq() -> Any:  # noqa: ANN401  # a ctypes library has no type of its own
    """The libpq that psycopg has loaded, and no other: another would not know this connection's layout."""
    for path in _libraries():
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            library.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
            return library
    return None


def _libraries() -> list[str]:
    from psycopg import pq

    if pq.__impl__ == "binary":
        import psycopg_binary

        home = Path(psycopg_binary.__file__).parent
        folders = (home.parent / "psycopg_binary.libs", home / ".dylibs")
        return [str(path) for folder in folders for path in folder.glob("libpq*")]
    found = pq.misc.find_libpq_full_path()
    return [found] if found else []


@contextmanager
def _or_lost() -> Iterator[None]:
    """libpq's complaint in the middle: the connection has ended."""
    from psycopg.errors import Error

    try:
        yield
    except Error as error:
        raise Lost(one_line(str(error))) from None


async def _ready(fd: int, *, read: bool = False, write: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    if read:
        loop.add_reader(fd, wake)
    if write:
        loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
        loop.remove_writer(fd)


# --- asking --------------------------------------------------------------------------------------


class Wire:
    """An open connection. `sent` counts the statements that the server got."""

    def __init__(self, conn: "PGconn") -> None:
        self.conn = conn
        self.sent = 0
        self.codec = codec(self.parameter("server_encoding"))
        self._owed = 0  # messages whose end has not come back yet

    def parameter(self, name: str) -> str:
        """A setting that the server reported by itself; empty where it did not."""
        return (self.conn.parameter_status(name.encode()) or b"").decode("utf-8", "replace")

    @property
    def host(self) -> str:
        return decode(self.conn.host or self.conn.hostaddr, "utf-8")

    @property
    def port(self) -> int:
        return int(self.conn.port or 0)

    @property
    def ssl(self) -> bool:
        return bool(self.conn.ssl_in_use)

    async def pipeline(self, statements: Sequence[str]) -> AsyncGenerator[Rows | ServerError, None]:
        """All at once, each a transaction of its own; answers in order, as they come. Raises Lost."""
        with _or_lost():
            self.conn.enter_pipeline_mode()
            for statement in statements:
                self.conn.send_query_params(statement.encode(self.codec), None)
                self.conn.pipeline_sync()
        await self._sent(len(statements), ends=len(statements))
        for left in reversed(range(len(statements))):
            answer = await self._rows()
            while self._owed > left:
                await self._result()
            yield answer or ServerError(message="no answer")
        self.conn.exit_pipeline_mode()

    async def message(self, statements: Sequence[str]) -> AsyncGenerator[Rows | ServerError, None]:
        """One message of several statements; the server stops at the first that fails. Raises Lost."""
        with _or_lost():
            # The semicolon on a line of its own: a statement may end in a comment.
            self.conn.send_query("\n;\n".join(statements).encode(self.codec))
        await self._sent(len(statements), ends=1)
        while (answer := await self._rows()) is not None:
            yield answer

    async def _rows(self) -> Rows | ServerError | None:
        """The next answer, its rows taken one by one and only so many kept. None: there is no other."""
        from psycopg.errors import Error
        from psycopg.pq import ExecStatus

        with suppress(Error):  # it has begun already: then libpq gathers it whole
            self.conn.set_single_row_mode()
        rows: list[tuple[Scalar, ...]] = []
        total = 0
        while (result := await self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                return self._error(result)
            total += result.ntuples
            rows += self._values(result, MOST_ROWS - len(rows))
            if result.status != ExecStatus.SINGLE_TUPLE:
                return Rows(names=self._names(result), rows=tuple(rows), cut=total > len(rows))
        return None

    async def _sent(self, statements: int, *, ends: int) -> None:
        """Sees to it that all of it goes out; so many ends are owed to us then."""
        self.sent += statements
        self._owed = ends
        with _or_lost():
            while self.conn.flush():
                await _ready(self.conn.socket, read=True, write=True)
                self.conn.consume_input()

    async def _result(self) -> "PGresult | None":
        """libpq's next result; None ends a statement of the pipeline, or else the message."""
        from psycopg.pq import ExecStatus, PipelineStatus

        with _or_lost():
            while self.conn.is_busy():
                await _ready(self.conn.socket, read=True)
                self.conn.consume_input()
            result = self.conn.get_result()
        if result is None and self.conn.pipeline_status == PipelineStatus.OFF:
            self._owed = 0
        if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
            self._owed -= 1
        return result

    def _error(self, result: "PGresult") -> ServerError:
        from psycopg.pq import DiagnosticField as Field

        def said(field: "DiagnosticField") -> str | None:
            found = result.error_field(field)
            return None if found is None else one_line(decode(found, self.codec))

        return ServerError(
            message=said(Field.MESSAGE_PRIMARY) or one_line(decode(result.error_message, self.codec)),
            sqlstate=said(Field.SQLSTATE),
            routine=said(Field.SOURCE_FUNCTION),
            hint=said(Field.MESSAGE_HINT),
        )

    def _names(self, result: "PGresult") -> tuple[str, ...]:
        return tuple(decode(result.fname(at) or b"", self.codec) for at in range(result.nfields))

    def _values(self, result: "PGresult", most: int) -> list[tuple[Scalar, ...]]:
        oids = [result.ftype(at) for at in range(result.nfields)]
        return [
            tuple(value(result.get_value(row, at), oid, self.codec) for at, oid in enumerate(oids))
            for row in range(min(result.ntuples, max(0, most)))
        ]

    # --- ending ----------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Reads away what an earlier round, given up at its deadline, still gets: the next answer must be its own.

        Raises Lost."""
        from psycopg.pq import ConnStatus, PipelineStatus

        while self._owed:
            if self.conn.status == ConnStatus.BAD:
                raise Lost("it had ended before")
            await self._result()
        if self.conn.pipeline_status == PipelineStatus.ON:
            with _or_lost():
                self.conn.exit_pipeline_mode()

    async def close(self, patience: float = 0.3) -> None:
        """Ends the connection; what still runs is canceled first, for at most `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                while self._owed:  # one cancel for each statement that the server has already been sent
                    await self._cancel()
                    await self._drain()
        except (TimeoutError, Lost):
            pass
        finally:
            self.conn.finish()

    async def _cancel(self) -> None:
        from psycopg.errors import NotSupportedError
        from psycopg.pq import PollingStatus

        try:
            cancel = self.conn.cancel_conn()
        except NotSupportedError:  # libpq before 17 has the blocking call only
            threading.Thread(target=self.conn.get_cancel().cancel, daemon=True).start()
            return
        try:
            with _or_lost():
                cancel.start()
                while (state := cancel.poll()) not in (PollingStatus.OK, PollingStatus.FAILED):
                    reading = state == PollingStatus.READING
                    await _ready(cancel.socket, read=reading, write=not reading)
        finally:
            cancel.finish()

    async def _drain(self) -> None:
        """Reads on, until nothing is owed or for a moment nothing comes: then a further statement runs."""
        with suppress(TimeoutError):
            while self._owed:
                async with asyncio.timeout(0.05):
                    await self._result()
