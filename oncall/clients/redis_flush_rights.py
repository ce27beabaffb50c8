"""May this user flush, by which way, and if not: the exact ACL SETUSER. Nothing is changed by asking."""

import secrets
from collections.abc import Mapping, Sequence

from oncall.clients.redis_flush import Line
from oncall.clients.redis_flush_names import pattern
from oncall.clients.redis_wire import Command, Refused, Word
from oncall.model import Frozen

# As it is tried on a key, and as ACL SETUSER names it.
_KEYED: Mapping[str, str] = {"TYPE": "+type", "HEXISTS": "+hexists", "UNLINK": "+unlink"}
_WATCHED: Mapping[str, str] = {"WATCH": "+watch", "MULTI": "+multi", "EXEC": "+exec"}


class Rights(Frozen, frozen=True):
    """`missing`: rules of ACL SETUSER; `gone`: commands that the server does not have; `unsure`: could not be told.

    `scripts` is False where batches must go by WATCH and MULTI instead."""

    missing: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    scripts: bool = True
    looking: tuple[str, ...] = ()
    """Rules that would only tell more."""


async def rights(line: Line, user: str, prefixes: Sequence[bytes], version: str, *, flush: bool) -> Rights:
    """For the keys of these prefixes; with `flush` for all keys and FLUSHDB. Raises Lost."""
    # A name that nobody uses: where it has to be tried, there is nothing to remove.
    ending = f"oncall-{secrets.token_hex(8)}".encode()
    keys = [prefix + ending for prefix in prefixes]
    asked = _commands(keys, flush=flush)
    told = await line.ask([("ACL", "DRYRUN", user, *command) for command, _, _ in asked])
    if any(_unanswered(one) for one in told):
        return await _tried(line, user, keys, prefixes, version, flush=flush)
    missing, gone = list[str](), list[str]()
    for (command, rule, prefix), reply in zip(asked, told, strict=True):
        _judge(str(command[0]), rule, _said(reply), prefix, missing, gone)
    return _decided(missing, gone, flush=flush)


def _commands(keys: Sequence[bytes], *, flush: bool) -> list[tuple[Command, str, bytes]]:
    """Command, its rule, and the prefix that the key stands for."""
    asked: list[tuple[Command, str, bytes]] = [(("SCAN", "0"), "+scan", b"")]
    for key in keys:
        prefix = key.rpartition(b"oncall-")[0]
        for name, rule in _KEYED.items():
            more: tuple[Word, ...] = ("x",) if name == "HEXISTS" else ()
            asked.append(((name, key, *more), rule, prefix))
        asked.append((("EVAL", "return 0", "1", key), "+eval", prefix))
        asked.append((("MEMORY", "USAGE", key), "+memory|usage", prefix))
    asked += [((name, *(("x",) if name == "WATCH" else ())), rule, b"") for name, rule in _WATCHED.items()]
    if flush:
        asked += [(("FLUSHDB", "ASYNC"), "+flushdb", b""), (("DBSIZE",), "+dbsize", b"")]
    return asked


def _unanswered(reply: object) -> bool:
    """ACL DRYRUN itself is not there, or not allowed."""
    return isinstance(reply, Refused) and (reply.denied or "subcommand" in reply.text or "ACL" in reply.text)


def _said(reply: object) -> str:
    return (
        reply.text
        if isinstance(reply, Refused)
        else bytes(reply).decode()
        if isinstance(reply, bytes)
        else ""
    )


def _judge(name: str, rule: str, said: str, prefix: bytes, missing: list[str], gone: list[str]) -> None:
    """Reads what DRYRUN, or the command itself, says."""
    if "to run the" in said:
        missing.append(rule)
    elif "to access" in said:
        if rule not in _WATCHED.values():
            missing.append("~" + pattern(prefix).decode("utf-8", "backslashreplace"))
    elif "not found" in said or "nknown command" in said:
        gone.append(name)


def _decided(missing: list[str], gone: list[str], unsure: Sequence[str] = (), *, flush: bool) -> Rights:
    """Scripts are the way; without them WATCH, MULTI and EXEC, which FLUSHDB's check cannot do without."""
    lacking, absent = dict.fromkeys(missing), dict.fromkeys(gone)
    watched = not any(rule in lacking for rule in _WATCHED.values()) and not any(
        n in absent for n in _WATCHED
    )
    scripts = "+eval" not in lacking and "EVAL" not in absent
    drop = {"+memory|usage", *_WATCHED.values()}
    drop |= {"+eval"} if watched and not flush else set()
    skip = {"MEMORY", *_WATCHED} | ({"EVAL"} if watched and not flush else set())
    return Rights(
        missing=tuple(rule for rule in lacking if rule not in drop),
        gone=tuple(name for name in absent if name not in skip),
        unsure=tuple(unsure),
        scripts=scripts,
        looking=("+memory|usage",) if "+memory|usage" in lacking else (),
    )


async def _tried(
    line: Line, user: str, keys: Sequence[bytes], prefixes: Sequence[bytes], version: str, *, flush: bool
) -> Rights:
    """Without DRYRUN (Redis 7): each is done to a key that is not there."""
    asked = [one for one in _commands(keys, flush=False) if one[1] not in _WATCHED.values()]
    told = await line.ask([command for command, _, _ in asked])
    missing, gone = list[str](), list[str]()
    for (command, rule, prefix), reply in zip(asked, told, strict=True):
        if isinstance(reply, Refused):
            said = "to access" if reply.denied_key else "to run the" if reply.denied else reply.text
            _judge(str(command[0]), rule, said, prefix, missing, gone)
    # What a transaction would need is not known: scripts, or nothing.
    missing += list(_WATCHED.values())
    unsure = [] if not flush else await _flushdb(line, user, version, gone)
    return _decided(missing, gone, unsure, flush=flush)


async def _flushdb(line: Line, user: str, version: str, gone: list[str]) -> list[str]:
    """FLUSHDB is not tried: is it there, and may this user run anything?"""
    known, who = await line.ask([("COMMAND", "INFO", "flushdb"), ("ACL", "GETUSER", user)])
    if isinstance(known, list) and (not known or known[0] is None):
        gone.append("FLUSHDB")
    old = version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < 6
    every = isinstance(who, list) and b"+@all" in who
    return [] if old or every else ["FLUSHDB"]
