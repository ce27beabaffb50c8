"""The machine that the service runs on: CPU, load, memory and pressure, from the kernel's own files."""

import asyncio
import os
import platform
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeAlias
from urllib.parse import urlsplit

from oncall.clients.http_options import is_loopback
from oncall.clients.systemd import SSH_FAILED, no_ssh, run
from oncall.model import Absence, Column, StepReading, Table, Unavailable
from oncall.model_service import Service

FILES = (
    "/proc/stat",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/uptime",
    "/proc/pressure/cpu",
    "/proc/pressure/memory",
    "/proc/pressure/io",
)
COLUMNS = (
    Column(name="cores"),
    *(Column(name=name, unit="ratio") for name in ("cpu_used", "iowait", "steal")),
    Column(name="load_1m"),
    Column(name="load_per_core"),
    *(Column(name=f"{name}_pressure", unit="ratio") for name in ("cpu", "memory", "io")),
    *(Column(name=f"memory_{name}", unit="bytes") for name in ("total", "available")),
    Column(name="available_share", unit="ratio"),
    Column(name="swap_used", unit="bytes"),
    Column(name="uptime_s", unit="seconds"),
)
GAP_S = 0.2
_FULL = 0.05
"""With less than this share idle, somebody waits for the CPU."""
_MARK = "== "
_AGAIN, _OWN = "again", "own"
_CAP = 2**20
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
Texts: TypeAlias = Mapping[str, str]
"""The kernel's files by their path; `again` is /proc/stat a moment later, `own` the ticks that this program took in
between. What is not there is missing."""


async def state(ssh: str | None, deadline_s: float, gap_s: float = GAP_S) -> StepReading:
    """One row on this machine, or on `ssh`: two looks at the CPU, `gap_s` seconds apart, within `deadline_s`."""
    gap_s, begun = min(gap_s, deadline_s / 2), perf_counter()
    query = f"cat {' '.join(FILES)}; sleep {gap_s:g}; cat /proc/stat"
    texts = await (_there(ssh, deadline_s, gap_s) if ssh else _here(gap_s))
    answer = texts if isinstance(texts, Unavailable) else parse(texts, ssh or "this machine")
    # The gap is ours: what the machine took is the rest
    ms = max(0.0, perf_counter() - begun - gap_s) * 1000
    return StepReading(source="host", query=query, answer=answer, ms=ms)


def where_from(service: Service) -> str | Unavailable | None:
    """Where the service's machine can be looked at: None is here, a text is the host for ssh.

    As far as the service file tells: a unit or log without `ssh` is of this machine, unless the url says
    that the service is elsewhere. Nothing is looked up in the DNS: a name is ours only where it is equal."""
    if service.ssh is not None:
        return service.ssh
    if service.url is None:
        if service.unit is not None or service.logs is not None:
            return None
        reason = "not configured: the service file does not say where the service runs"
        return Unavailable(
            kind=Absence.NOT_CONFIGURED, reason=reason, hint="set url, and ssh if it is elsewhere"
        )
    host = _host_of(service.url)
    if is_here(host):
        return None
    reason = f"the service runs on {host or 'a host that cannot be read'}; set `ssh` to look at it there"
    return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason, hint="set ssh of the service: USER@HOST")


def is_here(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    own = socket.gethostname().lower()
    if not host or is_loopback(host) or host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return bool(host)
    return host in (own, own.partition(".")[0]) or _is_own_address(host)


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own_address(host: str) -> bool:
    """Only an address of this machine can be bound to."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


# --- reading -----------------------------------------------------------------------------------


async def _here(gap_s: float) -> Texts | Unavailable:
    texts = {name: text for name in FILES if (text := _text(name))}
    if "/proc/stat" not in texts:
        reason = f"not available on this machine, because {platform.system() or 'it'} has no /proc/stat"
        return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason, hint="only Linux can be looked at")
    own = _own_ticks()
    await asyncio.sleep(gap_s)
    return {**texts, _AGAIN: _text("/proc/stat"), _OWN: f"{_own_ticks() - own:.2f}"}


def _own_ticks() -> float:
    """The CPU time that this program has taken so far, in the ticks of /proc/stat."""
    return process_time() * os.sysconf("SC_CLK_TCK")


def _text(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            return file.read(_CAP).decode("ascii", "replace")
    except OSError:
        return ""


async def _there(ssh: str, deadline_s: float, gap_s: float) -> Texts | Unavailable:
    # A small `sleep` may not know fractions
    script = (
        f'for f in {" ".join(FILES)}; do echo "{_MARK}$f"; cat "$f" 2>/dev/null; done; '
        f'sleep {gap_s:g} 2>/dev/null || sleep 1; echo "{_MARK}{_AGAIN}"; cat /proc/stat 2>/dev/null; :'
    )
    ran = await run(("sh", "-c", script), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    if ran.code == SSH_FAILED:
        return no_ssh(ran, ssh)
    texts = sections(ran.out)
    if "/proc/stat" not in texts:
        said = f": {ran.err[:200]}" if ran.err else ", because it has no /proc/stat"
        reason = f"not available on {ssh}{said}"
        return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason, hint="only Linux can be looked at")
    return texts


def sections(out: str) -> dict[str, str]:
    """What was printed under each mark; sections without text are left out."""
    parts = re.split(rf"^{_MARK}(\S+)\n", out, flags=re.MULTILINE)
    return {name: text for name, text in zip(parts[1::2], parts[2::2], strict=True) if text.strip()}


# --- what the files say ------------------------------------------------------------------------


def parse(texts: Texts, place: str) -> Table | Unavailable:
    """One row; a number that this kernel does not tell is None."""
    first, cores = _cpu(texts.get("/proc/stat", ""))
    if first is None:
        reason = f"/proc/stat of {place} has no line on the CPU"
        return Unavailable(kind=Absence.BAD_ANSWER, reason=reason)
    again, _ = _cpu(texts.get(_AGAIN, ""))
    own = _numbers(texts.get(_OWN, ""))[:1] or [None]
    used, iowait, steal = shares(first, again or first, own[0] or 0.0)
    load = _numbers(texts.get("/proc/loadavg", ""))[:1] or [None]
    memory = _memory(texts.get("/proc/meminfo", ""))
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    swap, free = memory.get("SwapTotal"), memory.get("SwapFree")
    uptime = _numbers(texts.get("/proc/uptime", ""))[:1] or [None]
    row = (
        cores or None,
        used,
        iowait,
        steal,
        load[0],
        load[0] / cores if load[0] is not None and cores else None,
        *(_pressure(texts.get(f"/proc/pressure/{name}", "")) for name in ("cpu", "memory", "io")),
        total,
        available,
        available / total if available is not None and total else None,
        None if swap is None or free is None else max(0, swap - free),
        uptime[0],
    )
    return Table(columns=COLUMNS, rows=(row,))


def shares(
    before: tuple[int, ...], after: tuple[int, ...], own: float = 0.0
) -> tuple[float | None, float | None, float | None]:
    """Shares of the CPU time between two looks: used, waiting for disks, taken by the hypervisor.

    Fields as in proc(5): user nice system idle iowait irq softirq steal (guest is within user). Used is all
    that is neither idle nor waiting nor our `own`: stolen time is not there for anybody. None where no time has
    passed (to others)."""
    steps = [max(0, b - a) for a, b in zip(before[:8], after[:8], strict=False)]
    whole = sum(steps)
    if not whole or len(steps) < 4:
        return None, None, None
    iowait = steps[4] if len(steps) > 4 else None
    idle = steps[3] + (iowait or 0)
    others = max(0.0, whole - idle - own)
    # Where nothing was idle, others would have taken what we took; else they had what they wanted.
    there = whole - own if idle < _FULL * whole else whole
    used = min(1.0, others / there) if there > 0 else None
    steal = steps[7] / whole if len(steps) > 7 else None
    return used, None if iowait is None else iowait / whole, steal


def _cpu(text: str) -> tuple[tuple[int, ...] | None, int]:
    """The line of all CPUs together, and how many are online."""
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    whole = next((words[1:] for words in lines if words[0] == "cpu"), [])
    fields = tuple(int(word) for word in whole if word.isdecimal())
    return (fields if len(fields) >= 4 and len(fields) == len(whole) else None), len(lines) - bool(whole)


def _numbers(text: str) -> list[float | None]:
    # No "nan", "inf" or 1e999: JSON has none of them
    return [float(word) if _DECIMAL.fullmatch(word) else None for word in text.split()]


def _memory(text: str) -> dict[str, int]:
    """Bytes by name."""
    found = re.findall(r"^(\w+): +([0-9]{1,15}) kB$", text, re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in found}


def _pressure(text: str) -> float | None:
    """`some avg10`: the share of the last ten seconds in which some task had to wait."""
    found = re.search(r"^some avg10=([0-9]{1,3}(?:\.[0-9]+)?)", text, re.MULTILINE)
    return float(found[1]) / 100 if found else None
