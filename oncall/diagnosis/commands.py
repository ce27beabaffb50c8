"""The command lines that a cause hands over: complete, quoted, aimed at exactly what was seen.

Each runs as it stands. `oncall remediate` looks again, guards, acts and proves; the issue is named so that it knows
whose symptoms tell whether it helped."""

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from oncall.model import Unavailable
from oncall.model_service import RedisAt, Service

if TYPE_CHECKING:
    from oncall.diagnosis.readings import DatabaseTarget, Facts

_SLOW = "1s"
"""The monitoring document calls a query slow above one second."""
_USUAL_MOST = 5
_MOST = 50
# What ends a prefix and is no part of it, and what would not be one literal prefix.
_GLOB = frozenset("*?[]\\")
_LITERAL = re.compile(r"[^*?\[\\]*")
_COMMITTED = "IPC:SyncRep"
"""It waits for a synchronous standby: its work is committed, and a signal rolls nothing back."""


def command_lines(facts: "Facts") -> dict[str, str]:
    """Every command that can be said in full now, by the name that runbooks use."""
    lines: dict[str, str | None] = {
        # The runbook says the issue behind it.
        "diagnose": shlex.join(["oncall", "diagnose", *facts.address]),
        "restart": restart(facts),
        "restart_database": _restart_database(facts),
        "flush_cache": _flush(facts),
        # The runbook says the size behind it.
        "resize_pool": _remediate(facts, "resize-pool", end="--to") if facts.service.pool else None,
    }
    target = facts.readings.database
    if target and not target.pooler:
        root = _first(_rows(facts, "locks"))
        lines["cancel_root"] = _kill(facts, root)
        lines["terminate_root"] = _kill(facts, root, "--terminate")
        lines["cancel_slow"] = _cancel_slow(facts)
        lines["rollback_prepared"] = _rollback(target, root)
    return {name: line for name, line in lines.items() if line}


def restart(facts: "Facts") -> str | None:
    """What restarts the service; None where the service file does not say how."""
    return _remediate(facts, "restart") if can_restart(facts.service) else None


def can_restart(service: Service) -> bool:
    return bool(service.restart or service.unit)


def _remediate(facts: "Facts", action: str, *options: str, end: str = "") -> str:
    words = ["oncall", "remediate", action, *facts.address, *options, "--issue", facts.runbook.issue]
    return shlex.join([*words, "--confirm", *filter(None, [end])])


def _restart_database(facts: "Facts") -> str | None:
    at = facts.service.postgres
    return _remediate(facts, "restart-database") if at and (at.unit or at.restart) else None


def _flush(facts: "Facts") -> str | None:
    """The prefix that fills Redis most, where it is one, and nothing speaks against its being a cache."""
    row, at = _first(_rows(facts, "prefixes")), facts.service.redis
    prefix = row.get("prefix", "").removesuffix("*")
    if not prefix or prefix[-1].isalnum() or _GLOB & set(prefix) or (at and not _is_cache(prefix, at)):
        return None
    return _remediate(facts, "flush-cache", "--prefix", prefix)


def _is_cache(prefix: str, at: RedisAt) -> bool:
    """By what the service file says: within a declared cache, where it declares any, and beside what it protects."""
    declared = not at.cache or prefix.startswith(at.cache)
    return declared and not any(_touches(glob, prefix) for glob in at.protected)


def _touches(glob: str, prefix: str) -> bool:
    """Whether keys of the prefix may be meant by a pattern. One that begins with a star says nothing of a prefix:
    the flush itself looks at the keys."""
    # Late: a service without Redis does not load its client.
    from oncall.clients.redis_flush_names import matches

    head = _LITERAL.match(glob)
    return bool(head and head[0] and head[0].startswith(prefix)) or matches(glob.encode(), prefix.encode())


def _kill(facts: "Facts", row: dict[str, str], *options: str) -> str | None:
    """That very transaction: the pid with the moment when it began, which is checked again before it is signalled."""
    if not row.get("pid") or not row.get("xact_start") or row["pid"] == "0" or not _would_end(facts, row):
        return None
    named = f"{int(row['pid'])}@{row['xact_start']}"
    return _remediate(facts, "kill-queries", "--pid", named, *options)


def _cancel_slow(facts: "Facts") -> str | None:
    """The app's statements that work for longer than a second; as many as there are, within bounds."""
    slow = [row for row in _of_app(_rows(facts, "longest"), _is_slow) if _would_end(facts, row)]
    if not slow:
        return None
    at = facts.service.postgres
    named = ["--application", at.application_name] if at and at.application_name else []
    count = _first(_rows(facts, "sessions")).get("running_over_1s", "0")
    most = min(max(len(slow), int(float(count))), _MOST)
    more = ["--max", str(most)] if most > _USUAL_MOST else []
    return _remediate(facts, "kill-queries", "--older-than", _SLOW, *named, *more)


def _is_slow(row: dict[str, str]) -> bool:
    return float(row.get("running_s", 0)) >= 1


def _would_end(facts: "Facts", row: dict[str, str]) -> bool:
    """Whether a signal would be let through and do what it is sent for: our role may, nothing is committed."""
    committed = {one["pid"] for one in _rows(facts, "longest") if one.get("wait") == _COMMITTED}
    return "right_needed" not in row and row["pid"] not in committed


def _rows(facts: "Facts", step: str) -> list[dict[str, str]]:
    """The rows of a step as text; none where it was not read."""
    reading = facts.readings.steps.get(step)
    if reading is None or isinstance(reading.answer, Unavailable):
        return []
    names = [c.name for c in reading.answer.columns]
    return [
        {name: str(v) for name, v in zip(names, row, strict=True) if v is not None}
        for row in reading.answer.rows
    ]


def _of_app(rows: list[dict[str, str]], wanted: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
    """Statements of the app that work, and do not themselves wait for somebody."""
    return [row for row in rows if row.get("app") == "True" and "blocked_by" not in row and wanted(row)]


def _first(rows: list[dict[str, str]]) -> dict[str, str]:
    return rows[0] if rows else {}


def _rollback(target: "DatabaseTarget", row: dict[str, str]) -> str | None:
    """No action of ours: a prepared transaction is somebody's two-phase commit. Only its owner or a superuser may."""
    gid = row.get("gid")
    if not gid:
        return None
    place = ["-h", target.host, "-p", str(target.port), "-U", row.get("usename") or target.role]
    literal = "'" + gid.replace("'", "''") + "'"
    return shlex.join(["psql", *place, "-d", target.database, "-c", f"ROLLBACK PREPARED {literal}"])
