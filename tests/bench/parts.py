"""The parts of the bench. Each gives rows of the table: what was measured against what, figures, the target."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from oncall.lab.servers import start_prometheus, stop
from tests.bench import script
from tests.bench.acting import signal_and_plan
from tests.bench.measure import MIB, Program, Taken, by_turns
from tests.bench.stand import ONCALL, Stand, helper, ports, postgres

ROUND_TRIP_MS = 40
SESSIONS = (20, 1000)
SERIES = (1_000, 200_000)
_ROOM = {"max_connections": "1100"}


@dataclass(frozen=True)
class Row:
    """One line: `ours` against `theirs`, their ratio, and what was aimed at."""

    what: str
    ours: str
    theirs: str
    ratio: str
    target: str


def _ms(taken: Taken) -> str:
    return f"{taken.median_s * 1000:.0f} ms"


def _against(what: str, ours: Taken, theirs: Taken, target: float) -> Row:
    ratio = ours.median_s / theirs.median_s
    return Row(what, _ms(ours), _ms(theirs), f"{ratio:.2f}", f"≤ {target:g}")


# --- against a shell script -------------------------------------------------------------------------


def near(stand: Stand, runs: int) -> Iterator[Row]:
    """Servers on this machine; and the memory of these runs."""
    taken = _with_scripts(stand, stand.service_file("near"), "near", runs)
    ours = taken.pop("oncall")
    for name, theirs in taken.items():
        yield _against(f"diagnose pool · {name}, servers on this machine", ours, theirs, 1.0)
    yield Row("peak memory of diagnose pool", f"{ours.peak_bytes / MIB:.0f} MB", "", "", "≤ 90 MB")


def far(stand: Stand, runs: int) -> Iterator[Row]:
    """Each server further away."""
    service = stand.service
    urls = [service["url"], service["prometheus"]["url"], service["postgres"]["dsn"]]
    with helper("delay", ROUND_TRIP_MS, *ports(urls)) as line:
        moved = {str(old): new for old, new in zip(ports(urls), line.split(), strict=True)}

        def further(url: str) -> str:
            (old,) = ports([url])
            return url.replace(f":{old}", f":{moved[str(old)]}")

        path = stand.service_file(
            "far",
            url=further(service["url"]),
            prometheus={**service["prometheus"], "url": further(service["prometheus"]["url"])},
            postgres={**service["postgres"], "dsn": further(service["postgres"]["dsn"])},
        )
        taken = _with_scripts(stand, path, "far", max(3, runs // 2))
    ours = taken.pop("oncall")
    for name, theirs in taken.items():
        yield _against(f"diagnose pool · {name}, each server {ROUND_TRIP_MS} ms away", ours, theirs, 0.35)


def _with_scripts(stand: Stand, service_file: Path, name: str, runs: int) -> dict[str, Taken]:
    return by_turns(_programs(stand, service_file, name, "pool"), runs)


def _programs(stand: Stand, service_file: Path, name: str, issue: str) -> list[Program]:
    """Ours, and the script that asks the same with each psql."""
    ours = stand.diagnosis("oncall", service_file, issue)
    report = script.report_of(list(ours.command), stand.env)
    programs = [ours]
    for label, psql in _psqls():
        path = stand.folder / f"{name}-{len(programs)}.sh"
        script.write(path, report, service_file, "bench", psql)
        programs.append(Program(f"{script.questions(path)}{label}", [str(path)], stand.env))
    return programs


def every(stand: Stand, runs: int) -> Iterator[Row]:
    """All issues at once: against one of them, and against a script that asks the same."""
    path = stand.service_file("every")
    pool = stand.diagnosis("pool", path)
    taken = by_turns([pool, *_programs(stand, path, "every", "all")], runs)
    one, ours = taken.pop("pool"), taken.pop("oncall")
    yield _against("diagnose (all) · diagnose pool", ours, one, 1.5)
    for name, theirs in taken.items():
        yield _against(f"diagnose (all) · {name}", ours, theirs, 0.6)
    yield Row("processor time of diagnose (all)", f"{ours.cpu_s * 1000:.0f} ms", "", "", "")
    yield Row("peak memory of diagnose (all)", f"{ours.peak_bytes / MIB:.0f} MB", "", "", "≤ 90 MB")


def _psqls() -> list[tuple[str, str]]:
    """psql as it is found on PATH; where that is Debian's wrapper, which takes its time, also what it starts."""
    found = shutil.which("psql")
    if found is None:
        raise RuntimeError("psql is not on PATH")
    resolved = Path(found).resolve()
    if resolved.read_bytes()[:2] != b"#!":
        return [("", found)]
    real = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    return [(" (Debian's psql)", found), *((" (psql itself)", str(path)) for path in real[-1:])]


# --- acting --------------------------------------------------------------------------------------------


def act(stand: Stand, runs: int) -> Iterator[Row]:
    """From --confirm to the signal, against the plan."""
    acted, planned = signal_and_plan(stand, stand.service_file("act"), runs)
    what = "kill-queries --confirm until the signal · its plan"
    ours, theirs = f"{acted * 1000:.0f} ms", f"{planned * 1000:.0f} ms"
    yield Row(what, ours, theirs, f"{acted / planned:.2f}", "≤ 1.3")


# --- start-up ------------------------------------------------------------------------------------------


def start(stand: Stand, runs: int) -> Iterator[Row]:
    """The help against the import of what it is made with."""
    help_ = Program("help", [ONCALL, "--help"], stand.env)
    bare = Program("typer", [sys.executable, "-c", "import typer"], stand.env)
    taken = by_turns([help_, bare], runs * 2)
    yield _against("oncall --help · python -c 'import typer'", taken["help"], taken["typer"], 1.5)


# --- size ------------------------------------------------------------------------------------------------


def sessions(stand: Stand, runs: int) -> Iterator[Row]:
    """The same diagnosis on a server with few and on one with many sessions."""
    with contextlib.ExitStack() as kept:
        programs = []
        for count in SESSIONS:
            server, dsn = kept.enter_context(postgres(stand.folder / f"pg{count}", _ROOM))
            kept.enter_context(helper("sessions", count, first=server.dsn))
            path = stand.service_file(f"pg{count}", postgres={**stand.service["postgres"], "dsn": dsn})
            programs.append(stand.diagnosis(f"{count:,}", path))
        few, many = by_turns(programs, runs).values()
    yield _against(f"{many.name} · {few.name} Postgres sessions", many, few, 1.3)


def series(stand: Stand, runs: int) -> Iterator[Row]:
    """The same diagnosis on Prometheus servers with few and with many series."""
    few, many = SERIES
    kinds = ((few, "other"), (many, "other"), (many, "same"))
    with contextlib.ExitStack() as kept:
        paths = {
            f"{count:,} of {which}": kept.enter_context(_prometheus(stand, count, which))
            for count, which in kinds
        }
        programs = [stand.diagnosis(name, path) for name, path in paths.items()]
        base, *larger = by_turns(programs, runs).values()
    for taken, words in zip(larger, ("services' same metrics", "metrics of the same service"), strict=True):
        what = f"{many:,} · {few:,} Prometheus series (other {words})"
        yield _against(what, taken, base, 1.3)


@contextlib.contextmanager
def _prometheus(stand: Stand, count: int, which: str) -> Iterator[Path]:
    name = f"prom-{count}-{which}"
    (service,) = ports([stand.service["url"]])
    with helper("series", count, which) as port:
        own, page = f"127.0.0.1:{service}", f"127.0.0.1:{port}"
        targets = (
            {"bot-controller": [own, page]}
            if which == "same"
            else {"bot-controller": [own], "others": [page]}
        )
        server = start_prometheus(stand.folder / name, targets, "10s")
        try:
            at = {**stand.service["prometheus"], "url": server.url}
            yield stand.service_file(name, prometheus=at, windows={"rate": "1m", "baseline": "4m"})
        finally:
            stop(server)


# --- what Postgres sees ------------------------------------------------------------------------------------


def statements(stand: Stand, _runs: int) -> Iterator[Row]:
    """Connections and statements of one diagnosis, as the server logs them."""
    loud = {**_ROOM, "log_connections": "on", "log_min_messages": "log", "log_line_prefix": "%m [%p] %u %a: "}
    with postgres(stand.folder / "pg-loud", loud) as (server, dsn):
        path = stand.service_file("loud", postgres={**stand.service["postgres"], "dsn": dsn})
        program = stand.diagnosis("loud", path)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("ALTER ROLE oncall SET log_statement = 'all'")
        before = len(server.log.read_text().splitlines())
        subprocess.run(list(program.command), env=dict(program.env), stdout=subprocess.DEVNULL)
        lines = server.log.read_text().splitlines()[before:]
    opened = sum("connection received" in line for line in lines)
    # `execute` in the extended protocol, `statement` in the simple one.
    sent = sum("LOG:  execute" in line or "LOG:  statement" in line for line in lines)
    yield Row("connections to Postgres of one diagnosis", f"{opened}", "", "", "1")
    yield Row("statements of one diagnosis", f"{sent}", "", "", "≤ 15")


PARTS = {
    "near": near,
    "far": far,
    "all": every,
    "act": act,
    "start": start,
    "sessions": sessions,
    "series": series,
    "statements": statements,
}
