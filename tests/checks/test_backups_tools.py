"""What the JSON of pgBackRest and Barman means where no server shows it: several repositories, gaps, errors."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.checks.backups import archiver, barman, pgbackrest
from oncall.checks.backups.common import Backup, line
from oncall.model import Absence, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt

NOW = 1_795_600_000.0
WAL = "0000000100000000000000"


def entry(ago: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # values of JSON
    """A full backup as pgBackRest 2.45 writes it."""
    return {
        "archive": {"start": f"{WAL}02", "stop": f"{WAL}03"},
        "backrest": {"format": 5, "version": "2.45"},
        "database": {"id": 1, "repo-key": 1},
        "error": False,
        "info": {"delta": 22992765, "repository": {"delta": 3044052, "size": 3044052}, "size": 22992765},
        "label": "20261125-090438F",
        "lsn": {"start": "0/2000028", "stop": "0/2000100"},
        "prior": None,
        "reference": None,
        "timestamp": {"start": NOW - ago - 3, "stop": NOW - ago},
        "type": "full",
        **more,
    }


def stanza(*backups: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "archive": [
            {"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": f"{WAL}05", "min": f"{WAL}01"}
        ],
        "backup": list(backups),
        "cipher": "none",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7712032439093395177, "version": "15"}],
        "name": "main",
        "repo": [{"cipher": "none", "key": 1, "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
        **more,
    }


def told(*stanzas: dict[str, Any]) -> CheckLine:
    found = pgbackrest.parse(json.dumps(stanzas), "main")
    assert not isinstance(found, Unavailable), found
    return line("base", BackupAt(pgbackrest="main"), pgbackrest.judge(found, NOW))


def test_a_good_one() -> None:
    found = told(stanza(entry(7200)))
    assert (found.severity, found.value) == ("ok", 7200)
    assert found.text == "full ended 2 h ago, 23 MB"
    assert found.notes == (f"its WAL is archived up to {WAL}05",)


def test_wrong_checksums() -> None:
    found = told(stanza(entry(60, error=True)))
    assert found.severity == "critical"
    assert (found.text or "").startswith("20261125-090438F has pages with wrong checksums; ")
    # Without checksums it is not told: no error
    without = entry(60)
    del without["error"]
    assert told(stanza(without)).severity == "ok"
    assert told(stanza(entry(60, error=None))).severity == "ok"


@pytest.mark.parametrize("reach", [("01", "02"), ("03", "05")])
def test_wal_that_is_missing(reach: tuple[str, str]) -> None:
    archive = {
        "database": {"id": 1, "repo-key": 1},
        "id": "15-1",
        "min": WAL + reach[0],
        "max": WAL + reach[1],
    }
    found = told(stanza(entry(60), archive=[archive]))
    assert found.severity == "critical"
    had = f"{WAL}{reach[0]} to {WAL}{reach[1]}"
    said = f"it cannot be restored: it needs WAL {WAL}02 to {WAL}03, the archive has {had}"
    assert (found.text or "").startswith(said)


def test_an_archive_without_wal() -> None:
    archive = {"database": {"id": 1, "repo-key": 1}, "id": "15-1", "min": None, "max": None}
    found = told(stanza(entry(60), archive=[archive]))
    assert (found.text or "").startswith("it cannot be restored: the archive has no WAL")


def test_the_repository_that_is_behind_decides() -> None:
    second = {"id": 1, "repo-key": 2}
    repos = [{"cipher": "none", "key": key, "status": {"code": 0, "message": "ok"}} for key in (1, 2)]
    archive = [
        {"database": {"id": 1, "repo-key": k}, "id": "15-1", "min": f"{WAL}01", "max": f"{WAL}05"}
        for k in (1, 2)
    ]
    both = stanza(entry(60), entry(30 * 3600, database=second), repo=repos, archive=archive)
    found = told(both)
    assert (found.severity, found.value) == ("warning", 30 * 3600)
    assert "full of repo 2 ended 30 h ago" in (found.text or "")
    found = told(stanza(entry(60), repo=repos, archive=archive))
    assert (found.severity, found.value) == ("critical", None)
    assert (found.text or "").startswith("there is none in repo 2")


def test_a_repository_that_cannot_be_read() -> None:
    bad = {"code": 99, "message": "[CryptoError] unable to load info file"}
    broken = stanza(
        repo=[{"cipher": "none", "key": 1, "status": bad}],
        status={"code": 99, "lock": {"backup": {"held": True}}, "message": "other"},
    )
    found = told(broken)
    assert found.severity == "critical"
    assert found.text == "pgbackrest says: [CryptoError] unable to load info file; running: a backup"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[{}]", "null", '[{"name": "main", "status": 0}]', "\ud800"]
)
def test_json_of_pgbackrest_that_is_none(text: str) -> None:
    found = pgbackrest.parse(text, "main")
    assert isinstance(found, Unavailable)
    assert found.kind in (Absence.BAD_ANSWER, Absence.CONFIG)


# --- Barman ----------------------------------------------------------------------------------------------

FINE = {"wal_archive": barman.Point(status="OK")}


def listed(*backups: dict[str, Any]) -> tuple[barman.Entry, ...]:
    found = barman.parse_list(json.dumps({"main": backups}), "main")
    assert not isinstance(found, Unavailable), found
    return found


def done(ago: float, id_: str, status: str = "DONE", size: int = 39908011) -> dict[str, Any]:
    """As Barman 3.4 writes it."""
    return {
        "backup_id": id_,
        "end_time": "Wed Nov 25 09:17:58 2026",
        "end_time_timestamp": str(int(NOW - ago)),
        "retention_status": "-",
        "size": "38.1 MiB",
        "size_bytes": size,
        "status": status,
        "tablespaces": [],
        "wal_size": "0 B",
        "wal_size_bytes": 0,
    }


def of_barman(*backups: dict[str, Any], points: barman.Points | Unavailable = FINE) -> CheckLine:
    return line("base", BackupAt(barman="main"), barman.judge(listed(*backups), points, NOW))


def test_barman_its_newest_and_one_that_runs() -> None:
    running = {"backup_id": "20261125T091757", "status": "STARTED"}
    found = of_barman(done(30 * 3600, "20261124T010000"), running, done(7200, "20261125T010000"))
    assert (found.severity, found.value) == ("ok", 7200)
    assert found.text == "20261125T010000 ended 2 h ago, 39.9 MB; running: 20261125T091757"
    assert of_barman(running).severity == "warning"
    assert (of_barman().severity, of_barman().text) == ("critical", "there is none")


def test_barman_wal_that_has_not_come() -> None:
    found = of_barman(done(600, "20261125T010000", "WAITING_FOR_WALS"))
    assert (found.severity, "its WAL is still coming" in (found.text or "")) == ("ok", True)
    found = of_barman(done(7200, "20261125T010000", "WAITING_FOR_WALS"))
    assert found.severity == "critical"
    assert (found.text or "").startswith("it cannot be restored: its WAL has not come")


def test_barman_a_failed_one_is_of_interest_until_the_next_good_one() -> None:
    failed = {"backup_id": "20261124T010000", "status": "FAILED"}
    assert of_barman(done(7200, "20261125T010000"), failed).severity == "ok"
    found = of_barman(done(7200, "20261123T010000"), failed)
    assert (found.text or "").startswith("the last one, 20261124T010000, is FAILED; 20261123T010000 ended")


def test_barman_a_check_that_fails_and_one_that_cannot_be_read() -> None:
    bad = {f"point_{n}": barman.Point(status="FAILED", hint="why" if n == 0 else "") for n in range(5)}
    found = of_barman(done(60, "20261125T010000"), points={**FINE, **bad})
    assert found.severity == "critical"
    said = "barman check fails: point_0 (why), point_1, point_2 and 2 more; "
    assert (found.text or "").startswith(said)
    late = Unavailable(kind=Absence.TIMEOUT, reason="barman did not end within 9 s")
    found = of_barman(done(60, "20261125T010000"), points=late)
    assert (found.severity, found.value) == ("unknown", 60)
    assert (found.text or "").startswith("barman check could not be read: barman did not end within 9 s; ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"main": 1}', '{"main": [{}]}', '{"_ERROR": 1}'])
def test_json_of_barman_that_is_none(text: str) -> None:
    assert isinstance(barman.parse_list(text, "main", "Traceback"), Unavailable)


# --- the archiver's names ----------------------------------------------------------------------------------


def row(last: str | None, current: str | None, segment: int = 16 * 2**20) -> archiver.Row:
    return {"last_archived_wal": last, "current_wal": current, "segment_bytes": segment}


@pytest.mark.parametrize(
    ("last", "current", "waiting"),
    [
        (f"{WAL}03", f"{WAL}04", 0),
        (f"{WAL}03", f"{WAL}09", 5),
        (f"{WAL}04", f"{WAL}04", 0),
        (f"{WAL}FF", "000000010000000100000000", 0),
        (f"{WAL}FF", "000000010000000100000002", 2),
        (f"{WAL}03.00000028.backup", f"{WAL}05", 1),
        ("00000002.history", f"{WAL}05", None),
        (f"{WAL}03", "000000020000000000000005", None),
        (None, f"{WAL}05", None),
        (f"{WAL}05", None, None),
    ],
)
def test_what_waits(last: str | None, current: str | None, waiting: int | None) -> None:
    assert archiver.pending(row(last, current)) == waiting


@given(st.integers(0, 2**33), st.integers(0, 5000), st.sampled_from([2**20, 16 * 2**20, 2**30]))
def test_what_waits_is_counted_whatever_the_size_of_a_segment(first: int, more: int, size: int) -> None:
    each = 2**32 // size

    def name(number: int) -> str:
        return f"00000001{number // each % 2**32:08X}{number % each:08X}"

    assert archiver.pending(row(name(first), name(first + more + 1), size)) == more


def test_nothing_archived_yet_is_unknown() -> None:
    fresh = {
        **row(None, f"{WAL}01"), "mode": "on", "replica": False, "has_command": True, "archived_count": 0,
        "archived_ago_s": None, "failed_ago_s": None, "failed_count": 0, "reset_ago_s": 180.0,
        "last_failed_wal": None,
    }  # fmt: skip
    found = archiver.judge(fresh, NOW, rpo=False)
    assert isinstance(found, Unavailable)
    assert found.reason == "nothing was archived in the 3 min that are counted: no segment was full"
    always = archiver.judge(
        {**fresh, "mode": "always", "replica": True, "archived_ago_s": 5.0}, NOW, rpo=False
    )
    assert isinstance(always, Backup)
