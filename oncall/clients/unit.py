"""The service's systemd unit: state, restarts, memory and tasks, in one call of systemctl."""

import re
import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from oncall.clients.systemd import HERE, Ran, not_loaded, refusal, run
from oncall.model import Absence, Column, Scalar, StepReading, Table, Unavailable

COLUMNS = (
    *(Column(name=name) for name in ("unit", "load", "state", "sub", "result", "restarts")),
    Column(name="active_s", unit="seconds"),
    Column(name="pid"),
    *(Column(name=name, unit="bytes") for name in ("memory", "memory_max", "memory_high")),
    Column(name="memory_ratio", unit="ratio"),
    *(Column(name=name, unit="bytes") for name in ("memory_peak", "swap")),
    Column(name="cpu_s", unit="seconds"),
    *(Column(name=name) for name in ("tasks", "tasks_max", "oom_kills", "restart_policy")),
)
PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,NRestarts,Restart,MainPID,ControlGroup,"
    "ActiveEnterTimestamp,InactiveExitTimestamp,MemoryCurrent,MemoryMax,MemoryHigh,MemoryLimit,"
    "MemoryPeak,MemorySwapCurrent,CPUUsageNSec,TasksCurrent,TasksMax"
)
_CGROUPS = Path("/sys/fs/cgroup")
# As config_rules has it, which this room may not import; a test keeps the two the same.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}", re.ASCII)
_TYPED = re.compile(r"\.(service|socket|target|device|mount|automount|swap|timer|path|slice|scope)\Z")
_NO_LIMIT = 2**64 - 1
_RUNS = ("active", "reloading")


async def state(unit: str, ssh: str | None, deadline_s: float) -> StepReading:
    """One row on the unit, from this machine's systemd or that of `ssh`, within `deadline_s` seconds.

    Text that systemd says is not set or infinite, and what this version does not tell, is None."""
    name = full_name(unit)
    if name is None:
        return StepReading(source="systemd", query=None, answer=_no_name())
    words = ["systemctl", "show", "--no-pager", f"--property={PROPERTIES}", "--", name]
    query = shlex.join(words)
    # Times are printed in the zone of whoever asks; the clock to compare them with is the one there
    script = f"TZ=UTC {query} && date +Now=%s"
    ran = await run(("sh", "-c", script) if ssh else ("env", "TZ=UTC", *words), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return StepReading(source="systemd", query=query, answer=ran)
    return StepReading(source="systemd", query=query, answer=_answer(name, ssh or HERE, ran), ms=ran.ms)


def full_name(unit: str) -> str | None:
    """The unit's name with its type; None for what is not the plain name of one unit."""
    if not _NAME.fullmatch(unit) or ".." in unit:
        return None
    # `systemctl show 12` is job 12, not the unit 12.service
    return unit if _TYPED.search(unit) else f"{unit}.service"


def _no_name() -> Unavailable:
    reason = "unit is not the plain name of one systemd unit: no path, pattern, blank, `..` or `;`"
    return Unavailable(kind=Absence.CONFIG, reason=reason, hint="check unit in the service file")


def _answer(unit: str, place: str, ran: Ran) -> Table | Unavailable:
    if ran.code != 0:
        return refusal(ran, place)
    shown = dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)
    load = shown.get("LoadState", "")
    gone = shown.get("ActiveState", "inactive") == "inactive"
    if load not in ("loaded", "stub", "merged") and gone:
        return not_loaded(unit, load, place)
    own = _cgroup(shown.get("ControlGroup", "")) if place == HERE else {}
    now = float(shown.get("Now") or time.time())
    return Table(columns=COLUMNS, rows=(_row(unit, shown, own, now),), notes=notes(shown, now))


def _row(unit: str, shown: Mapping[str, str], own: Mapping[str, int], now: float) -> tuple[Scalar, ...]:
    most, high = _number(shown, "MemoryMax") or _number(shown, "MemoryLimit"), _number(shown, "MemoryHigh")
    memory, cpu = _number(shown, "MemoryCurrent"), _number(shown, "CPUUsageNSec")
    limits = [limit for limit in (most, high) if limit]
    texts = (shown.get(name) or None for name in ("LoadState", "ActiveState", "SubState", "Result"))
    since = _ago(shown, "ActiveEnterTimestamp", now) if shown.get("ActiveState") in _RUNS else None
    return (
        shown.get("Id") or unit,
        *texts,
        _number(shown, "NRestarts"),
        since,
        _number(shown, "MainPID") or None,
        memory,
        most,
        high,
        None if memory is None or not limits else memory / min(limits),
        _first(_number(shown, "MemoryPeak"), own.get("peak")),
        _first(_number(shown, "MemorySwapCurrent"), own.get("swap")),
        None if cpu is None else cpu / 1e9,
        _number(shown, "TasksCurrent"),
        _number(shown, "TasksMax"),
        own.get("oom_kills"),
        shown.get("Restart") or None,
    )


def notes(shown: Mapping[str, str], now: float) -> tuple[str, ...]:
    """What a state means that is easily misread. After a crash loop `Result` says how the last try ended,
    never that systemd has given up; that is told by `failed` and the restarts."""
    active, restarts = shown.get("ActiveState"), _number(shown, "NRestarts") or 0
    result, load = shown.get("Result", "?"), shown.get("LoadState", "")
    said = []
    if shown.get("SubState") == "auto-restart":
        said.append(f"it keeps crashing ({result}) and waits to be started again: {restarts} restarts so far")
    elif active == "failed" and restarts:
        said.append(f"it crashed in a loop ({result}): systemd gave up after {restarts} restarts")
    elif active == "failed":
        said.append(f"it has failed ({result}) and is not started again")
    elif active == "activating":
        waited = _ago(shown, "InactiveExitTimestamp", now)
        since = "" if waited is None else f" since {waited:.0f} s"
        said.append(f"it is starting{since} and has not said that it is ready ({restarts} restarts so far)")
    elif active == "deactivating":
        said.append(f"it was told to stop and has not ended yet ({shown.get('SubState', '?')})")
    if load not in ("loaded", "stub", "merged"):
        said.append(f"its unit file is {load}: it still has a state, but could not be started again")
    return tuple(said)


def _number(shown: Mapping[str, str], name: str) -> int | None:
    """`[not set]`, `infinity`, nothing, and the largest number of 64 bits mean that there is none."""
    text = shown.get(name, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None
    return None if number is None or number >= _NO_LIMIT else number


def _ago(shown: Mapping[str, str], name: str, now: float) -> float | None:
    """Seconds since a time such as `Mon 2026-01-05 03:12:41 UTC`; None where there is none."""
    words = shown.get(name, "").split()
    try:
        then = datetime.strptime(" ".join(words[1:3]), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    # The time is cut to whole seconds, and so may be the clock that it is compared with
    return max(0.0, now - then.timestamp())


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


# --- the unit's control group: what older versions of systemd do not tell ------------------------


def _cgroup(group: str) -> dict[str, int]:
    """oom_kills, and peak and swap in bytes, as far as the kernel's files can be read (cgroup v2, else v1)."""
    if not group.startswith("/") or group == "/" or ".." in group.split("/"):
        return {}
    two, one = _CGROUPS / group[1:], _CGROUPS / "memory" / group[1:]
    kills = (_text(two / "memory.events") or _text(one / "memory.oom_control")).splitlines()
    found = {
        "oom_kills": next((line.split()[1] for line in kills if line.startswith("oom_kill ")), ""),
        "peak": _text(two / "memory.peak") or _text(one / "memory.max_usage_in_bytes"),
        "swap": _text(two / "memory.swap.current"),
    }
    return {name: int(text) for name, text in found.items() if text.strip().isdecimal()}


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
