"""The command lines that a cause hands over: complete, quoted, aimed at exactly what was seen."""

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING

from oncall.model import Service, Unavailable

if TYPE_CHECKING:
    from oncall.diagnosis.readings import DatabaseTarget, Facts

# The identity is checked again in the statement that signals: a transaction (or query) that began when the one that
# was seen did. The function stands in the select list, never in WHERE, where the planner may call it on rows that do
# not match.
_SIGNAL = (
    "SELECT a.pid, pg_catalog.{function}(a.pid) FROM pg_catalog.pg_stat_activity a"
    " WHERE a.pid = {pid} AND a.{began} BETWEEN '{low}' AND '{high}'"
    " AND a.backend_type = 'client backend' AND a.datname = pg_catalog.current_database()"
    " AND a.pid <> pg_catalog.pg_backend_pid()"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r"
    " WHERE r.oid = a.usesysid AND (r.rolsuper OR r.rolreplication))"
)
# The answer of a step and the server's clock are milliseconds apart; no pid comes back within this time.
_SLACK_S = 1.0


def command_lines(facts: "Facts") -> dict[str, str]:
    """Every command that can be said in full now, by the name that runbooks use."""
    lines: dict[str, str | None] = {"restart": restart(facts.service)}
    target = facts.readings.database
    if target and not target.pooler:
        root, longest = _first(_rows(facts, "locks")), _first(_of_app(_rows(facts, "longest")))
        lines["cancel_root"] = _signal(target, "pg_cancel_backend", root, "xact_start", "xact_s")
        lines["terminate_root"] = _signal(target, "pg_terminate_backend", root, "xact_start", "xact_s")
        lines["cancel_longest"] = _signal(target, "pg_cancel_backend", longest, "query_start", "running_s")
        lines["rollback_prepared"] = _rollback(target, root)
    return {name: line for name, line in lines.items() if line}


def restart(service: Service) -> str | None:
    """What restarts the service; None where the service file does not say."""
    if service.restart:
        return shlex.join(service.restart.command)
    if not service.unit:
        return None
    line = f"systemctl restart {shlex.quote(service.unit)}"
    return f"ssh {shlex.quote(service.ssh)} {shlex.quote(line)}" if service.ssh else line


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


def _of_app(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Statements of the app that work, and do not themselves wait for somebody."""
    return [row for row in rows if row.get("app") == "True" and "blocked_by" not in row]


def _first(rows: list[dict[str, str]]) -> dict[str, str]:
    return rows[0] if rows else {}


def _psql(target: "DatabaseTarget", statement: str, role: str | None = None) -> str:
    place = ["-h", target.host, "-p", str(target.port), "-U", role or target.role, "-d", target.database]
    return shlex.join(["psql", *place, "-c", statement])


def _signal(target: "DatabaseTarget", function: str, row: dict[str, str], began: str, age: str) -> str | None:
    if not row.get("pid") or not row.get(age) or row["pid"] == "0":
        return None
    low, high = (
        (target.clock - timedelta(seconds=float(row[age]) - slack)).isoformat(timespec="milliseconds")
        for slack in (-_SLACK_S, _SLACK_S)
    )
    return _psql(
        target, _SIGNAL.format(function=function, pid=int(row["pid"]), began=began, low=low, high=high)
    )


def _rollback(target: "DatabaseTarget", row: dict[str, str]) -> str | None:
    gid = row.get("gid")
    if not gid:
        return None
    literal = "'" + gid.replace("'", "''") + "'"
    # Only its owner or a superuser may.
    return _psql(target, f"ROLLBACK PREPARED {literal}", row.get("usename"))
