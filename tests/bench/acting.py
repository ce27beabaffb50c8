"""From --confirm to the signal, against the plan alone: both look, diagnose and guard; only one acts."""

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from tests.bench.measure import Program, once
from tests.bench.stand import ONCALL, Stand


@contextmanager
def _victim(dsn: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session that sleeps; its statement has been sent when this begins."""
    # Closed, not committed: it is in the middle of a statement, canceled or not.
    with closing(psycopg.connect(dsn, autocommit=True, application_name="victim")) as link:
        link.pgconn.send_query(b"SELECT pg_sleep(600)")
        link.pgconn.flush()
        yield link


def _signalled(link: "psycopg.Connection[tuple[object, ...]]", command: list[str], stand: Stand) -> float:
    """Seconds from the start of the program until its signal has arrived."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=stand.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        result = link.pgconn.get_result()
        took = time.perf_counter() - begun
        said = child.communicate()[0].decode()
    if result is None or b"user request" not in result.error_message:
        raise RuntimeError(f"the victim was not canceled: {said[-600:]}")
    return took


def signal_and_plan(stand: Stand, service_file: Path, runs: int) -> tuple[float, float]:
    """Medians in seconds, by turns: from the start until the signal, and of the plan."""
    base = [ONCALL, "--config", str(service_file), "-s", "bench", "remediate", "kill-queries"]
    anyway = ["--override", "already-healthy", "--reason", "bench", "--wait", "0s", "--confirm"]
    acts, plans = [], []
    for turn in range(runs + 1):
        with _victim(stand.service["postgres"]["dsn"]) as link:
            command = [*base, "--pid", str(link.info.backend_pid)]
            plans.append(once(Program("plan", command, stand.env)).wall_s)
            acts.append(_signalled(link, [*command, *anyway], stand))
        if turn == 0:  # cold caches
            plans.clear()
            acts.clear()
    return statistics.median(acts), statistics.median(plans)
