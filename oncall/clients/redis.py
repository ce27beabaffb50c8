"""Redis: is it there, what is it, and what may this login do?"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from oncall.model import Absence, Met, Right, Unavailable
from oncall.model_service import RedisAt

if TYPE_CHECKING:
    from redis.asyncio import Redis

Words: TypeAlias = tuple[str, ...]
# What a look needs, and what flush-cache needs: each as it is tried, and as ACL SETUSER names it.
LOOKING: Mapping[Words, str] = {
    ("INFO",): "+info",
    ("SCAN", "0"): "+scan",
    ("TYPE", "x"): "+type",
    ("MEMORY", "USAGE", "x"): "+memory|usage",
}
ACTING: Mapping[Words, str] = {("UNLINK", "x"): "+unlink"}

# Its errors, by the word that the server puts in front; the rest of the text is its own.
_FAULTS: tuple[tuple[str, Absence, str, str | None], ...] = (
    (
        "authentication required",
        Absence.AUTH,
        "it asks for a password",
        "put it into redis.url: redis://:${REDIS_PASSWORD}@HOST/0",
    ),
    (
        "WRONGPASS",
        Absence.AUTH,
        "user name or password is wrong",
        "check redis.url, and ACL LIST on the server",
    ),
    ("invalid username-password", Absence.AUTH, "user name or password is wrong", "check redis.url"),
    ("invalid password", Absence.AUTH, "the password is wrong", "check redis.url"),
    (
        "AUTH called without any password",
        Absence.AUTH,
        "it has no password",
        "take the password out of redis.url",
    ),
    (
        "AUTH <password> called without",
        Absence.AUTH,
        "it has no password",
        "take the password out of redis.url",
    ),
    ("NOPERM", Absence.DENIED, "this user may not do that", None),
    ("no permissions", Absence.DENIED, "this user may not do that", None),
    ("LOADING", Absence.STARTING, "it is loading its data", "ask again in a moment"),
    ("loading the dataset", Absence.STARTING, "it is loading its data", "ask again in a moment"),
    (
        "BUSY",
        Absence.DOWN,
        "it is busy with a script",
        "SCRIPT KILL ends one that has not written; afterwards SLOWLOG tells which it was",
    ),
    (
        "max number of clients",
        Absence.NO_SLOTS,
        "it has no connection left (maxclients)",
        "see who: CLIENT LIST",
    ),
    (
        "DB index is out of range",
        Absence.CONFIG,
        "it has no such database",
        "check the number at the end of redis.url",
    ),
    ("MASTERDOWN", Absence.DOWN, "a replica without its master", None),
    ("Link with MASTER is down", Absence.DOWN, "a replica without its master", None),
)


async def meet(at: RedisAt, deadline_s: float) -> Met | Unavailable:
    """Version, round trip and missing rights, within `deadline_s` seconds. Writes nothing."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    place = where(at.url)
    # No retries: what is sent is sent once. Protocol 2: any version speaks it.
    client: Redis = Redis.from_url(
        at.url, protocol=2, decode_responses=True, encoding_errors="replace", retry=Retry(NoBackoff(), 0),
        socket_timeout=None, socket_connect_timeout=None, single_connection_client=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(deadline_s):
            return await _meet(client, urlsplit(at.url).username or "default")
    except TimeoutError:
        return Unavailable(kind=Absence.TIMEOUT, reason=f"no answer from {place} within {deadline_s:g} s")
    except (RedisError, OSError) as failed:
        return fault(failed, place)
    finally:
        await client.aclose()


def where(url: str) -> str:
    """host:port/database of an address, for messages: never its credentials."""
    parsed = urlsplit(url)
    # As redis-py has it: ?db= wins over the path. Another database is another target.
    given = parse_qs(parsed.query).get("db", [""])[0]
    if parsed.scheme == "unix":
        return f"{parsed.path}/{given or 0}"
    host = parsed.hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parsed.port or 6379}/{given or parsed.path.strip('/') or 0}"


async def _meet(client: "Redis", user: str) -> Met:
    await client.initialize()
    begun = perf_counter()
    await _try(client, "PING")
    ms = (perf_counter() - begun) * 1000
    info = _fields(await _try(client, "INFO", "server"))
    role = _fields(await _try(client, "INFO", "replication")).get("role")
    missing, unknown = await _rights(client, user)
    notes = (
        "a replica: it can be read, not flushed" if role == "slave" else "",
        f"it runs as {info['redis_mode']}" if info.get("redis_mode", "standalone") != "standalone" else "",
        unknown,
    )
    return Met(ms=ms, version=info.get("redis_version"), missing=missing, notes=tuple(filter(None, notes)))


async def _try(client: "Redis", *words: str) -> object | None:
    """The reply; None where this user may not ask, or the server does not know the command."""
    from redis.exceptions import NoPermissionError, ResponseError

    execute: Any = client.execute_command  # The library leaves it without types.
    try:
        reply: object = await execute(*words)
    except NoPermissionError:
        return None
    except ResponseError as failed:
        if str(failed).lower().startswith(("unknown command", "unknown subcommand")):
            return None
        raise
    return reply


def _fields(info: object) -> dict[str, str]:
    """INFO as fields, however far the library has read it already."""
    if isinstance(info, dict):
        return {str(name): str(value) for name, value in info.items()}
    lines = (line.partition(":") for line in str(info or "").splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


async def _rights(client: "Redis", user: str) -> tuple[tuple[Right, ...], str]:
    """The rights that are missing, and what is said where not all of them are known."""
    user = str(await _try(client, "ACL", "WHOAMI") or user)
    found = {words: await _dry_run(client, user, words) for words in (*LOOKING, *ACTING)}
    if None not in found.values():
        return tuple(_missing(user, [words for words, may in found.items() if not may])), ""
    # Without ACL DRYRUN (Redis 7): what reads no key is tried.
    denied = [words for words in LOOKING if "x" not in words and await _try(client, *words) is None]
    note = f"its other rights are not known (Redis 7 tells them: ACL SETUSER {user} +acl|whoami +acl|dryrun)"
    return tuple(_missing(user, denied)), note


async def _dry_run(client: "Redis", user: str, words: Words) -> bool | None:
    """Whether the command is allowed; that a key is not does not count, for which keys is not known yet."""
    said = await _try(client, "ACL", "DRYRUN", user, *words)
    return None if said is None else "to run the" not in str(said)


def _missing(user: str, denied: list[Words]) -> Iterator[Right]:
    for names, acting, what in (
        (LOOKING, False, "look at keys and memory"),
        (ACTING, True, "remove cache keys"),
    ):
        rules = [rule for words, rule in names.items() if words in denied]
        if rules:
            said = f"user {user} may not {what}: {', '.join(rule[1:] for rule in rules)}"
            yield Right(what=said, grant=f"ACL SETUSER {user} {' '.join(rules)}", acting=acting)


def fault(failed: BaseException, place: str) -> Unavailable:
    """An error of the library or the system, by its name."""
    text = " ".join(str(failed).split())
    for mark, kind, said, hint in _FAULTS:
        if mark.lower() in text.lower():
            return Unavailable(kind=kind, reason=f"{place}: {said}", hint=hint)
    for cause in _causes(failed):
        if isinstance(cause, socket.gaierror):
            hint = "check the host name, and the DNS of this machine"
            return Unavailable(
                kind=Absence.UNRESOLVED, reason=f"cannot resolve the host of {place}", hint=hint
            )
        if isinstance(cause, ssl.SSLError):
            return Unavailable(
                kind=Absence.TLS, reason=f"TLS with {place} failed: {cause.reason or 'no reason given'}"
            )
        if isinstance(cause, ConnectionRefusedError | FileNotFoundError):
            hint = "is it running, and is this its port?"
            return Unavailable(kind=Absence.DOWN, reason=f"connection refused at {place}", hint=hint)
    if isinstance(failed, OSError) or "onnection" in type(failed).__name__ or "onnection" in text:
        return Unavailable(kind=Absence.DOWN, reason=f"connection lost to {place}")
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"{place} does not answer as Redis does: {text[:120]}")


def _causes(failed: BaseException | None) -> Iterator[BaseException]:
    while failed is not None:
        yield failed
        failed = failed.__cause__ or failed.__context__
