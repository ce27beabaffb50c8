"""What somebody starts once, and what then never ends by itself: mended for good when it is ended."""

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from oncall.errors import LabError
from oncall.lab import place
from oncall.lab.endpoints import POOL_TIMEOUT, REPORT
from oncall.lab.kinds import Admin, admin
from oncall.lab.place import Fault
from oncall.lab.process import wait_until

REPORTS = "runaway_reports"
"""The variant's name, whatever issue it shows in."""
JOB = "runaway_job"
BURN_S = 0.5
WHAT = "somebody asks for many reports at once, each of which takes an hour in the database"
_FEW, _MANY = 17, 18
"""Of the pool's twenty connections. Usual life needs four: with fewer reports nobody would wait for long."""
_HEAL_S = 30


def reports(folder: Path, fault: Fault) -> None:
    """Somebody asks for many reports at once, and closes the window; returns when Postgres works on them.

    Raises LabError."""
    for number in range(_MANY if fault.intensity > 1 else _FEW):
        _ask(folder, f"GET /api/report?id={number}", f"finance-{number:02}")
    with admin(folder) as session:
        wait_until(lambda: _at_work(session) > 0, "the first report")


def job(folder: Path, fault: Fault) -> None:
    """Somebody starts a job in the service itself. Raises LabError."""
    _ask(folder, f"POST /api/recount?burn={BURN_S * fault.intensity:g}", "backoffice", patient=True)


def _ask(folder: Path, what: str, client: str, *, patient: bool = False) -> None:
    """Sends one request; the answer is waited for only where somebody is patient. Raises LabError."""
    at = urlsplit(place.running(folder).part("service").url or "")
    head = f"{what} HTTP/1.0\r\nHost: lab\r\nX-Client: {client}\r\n\r\n"
    try:
        with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as link:
            link.sendall(head.encode())
            if patient:
                link.recv(100)
    except OSError as error:
        raise LabError(f"the lab's service does not answer: {error}", hint="oncall lab status") from None


def end_reports(folder: Path, fault: Fault) -> None:
    """Cancels them, those too that had to wait for a connection until now."""
    with admin(folder) as session:
        wait_until(lambda: _all_over(session, fault), "the end of the reports", seconds=_HEAL_S)


def _all_over(session: Admin, fault: Fault) -> bool:
    """Cancels what is at work; whether nothing is, and nothing waits for a connection any more."""
    session.execute(f"SELECT pg_cancel_backend(pid) {_AT_WORK}".encode(), (REPORT,))
    return _at_work(session) == 0 and time.time() > fault.since + POOL_TIMEOUT + 1


_AT_WORK = "FROM pg_stat_activity WHERE usename = 'app' AND state = 'active' AND query = %s"


def _at_work(session: Admin) -> int:
    row = session.execute(f"SELECT count(*) {_AT_WORK}".encode(), (REPORT,)).fetchone()
    return int(str(row[0])) if row else 0
