"""Backups of a real Postgres 15: its archiver, pgBackRest and Barman, well and broken."""

import asyncio
import os
import re
from collections.abc import Iterator

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from oncall.checks.backups import look
from oncall.model import Severity
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt, PostgresAt, Service
from oncall.units import Duration, Size
from tests.checks.backupstand import STANZA, Catalogue, Repository, catalogue, lacking, repository
from tests.clients.pgstand import Stand, stand, standby


@pytest.fixture(scope="module")
def kept() -> Iterator[Repository]:
    """A server that archives into pgBackRest; the first test makes its first backup."""
    why = lacking("pgbackrest", "barman")
    if why:
        pytest.fail(why)
    with repository() as made:
        yield made


@pytest.fixture(scope="module")
def barman(kept: Repository) -> Catalogue:
    return catalogue(kept)


def seen(at: BackupAt, dsn: str | None = None) -> CheckLine:
    service = Service(backups={"base": at}, postgres=PostgresAt(dsn=dsn) if dsn else None)
    (found,) = asyncio.run(look(service, 60))
    return found


def of(kept: Repository, **more: object) -> BackupAt:
    return BackupAt(pgbackrest=STANZA, config=str(kept.config), **more)  # type: ignore[arg-type]


def broken(kept: Repository, command: str) -> None:
    """From now on the server archives by this."""
    text = sql.SQL("ALTER SYSTEM SET archive_command = {}").format(sql.Literal(command))
    kept.pg.admin.execute(text)
    kept.pg.admin.execute("SELECT pg_reload_conf()")
    kept.pg.until("SELECT current_setting('archive_command') = %s", command)


def switch(kept: Repository) -> None:
    """Fills a segment."""
    kept.pg.admin.execute("CREATE TABLE IF NOT EXISTS filled AS SELECT 1; INSERT INTO filled VALUES (1)")
    kept.pg.admin.execute("SELECT pg_switch_wal()")


# --- pgBackRest ----------------------------------------------------------------------------------------


def test_pgbackrest_before_and_after_its_first_backup(kept: Repository) -> None:
    found = seen(of(kept))
    assert (found.severity, found.value) == ("critical", None)
    assert found.text == "there is none: pgbackrest says: no valid backups"
    kept.run("backup", "--type=full")
    found = seen(of(kept))
    assert found.severity == "ok", found
    assert re.fullmatch(r"full ended [\d. mins]+ ago, 2\d(\.\d)? MB", found.text or "")
    assert re.fullmatch(r"its WAL is archived up to 0000000100000000[0-9A-F]{8}", found.notes[0])
    assert found.value is not None
    assert 0 <= found.value < 300
    assert found.source == "pgbackrest"
    assert found.query == f"pgbackrest --config={kept.config} --stanza=main info --output=json"
    kept.run("backup", "--type=incr")
    found = seen(of(kept))
    assert (found.text or "").startswith("incr ")
    assert "; the last full " in (found.text or "")
    assert found.detail is not None
    assert [row[1] for row in found.detail.rows] == ["incr", "full"]
    assert seen(of(kept, repo=1)).severity == "ok"


def test_a_stanza_a_repository_and_a_file_that_are_not_there(kept: Repository) -> None:
    found = seen(BackupAt(pgbackrest="other", config=str(kept.config)))
    assert found.severity == "critical"
    assert found.text == "there is no such stanza: pgbackrest says: missing stanza path"
    found = seen(BackupAt(pgbackrest=STANZA, config="/nowhere/pgbackrest.conf"))
    assert (found.severity, found.value) == ("unknown", None)
    assert "unable to open missing file '/nowhere/pgbackrest.conf'" in (found.reason or "")


def test_old_and_smaller_than_the_least(kept: Repository) -> None:
    found = seen(of(kept, within=Duration(0.001)))
    assert found.severity == "critical"
    assert "older than " in (found.text or "")
    found = seen(of(kept, least=Size(1e9)))
    assert (found.severity, found.target) == ("critical", "within 1d, at least 1 GB")
    assert (found.text or "").startswith("smaller than 1 GB"), found.text
    found = seen(of(kept, least=Size(1e6)))
    assert (found.severity, found.target) == ("ok", "within 1d, at least 1 MB")


def test_pgbackrest_that_is_not_installed(kept: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kept.folder))
    found = seen(of(kept))
    assert found.severity == "unknown"
    assert "pgbackrest cannot be run: no such file or directory" in (found.reason or "")


# --- the archiver ----------------------------------------------------------------------------------------

ARCHIVER = BackupAt(postgres_archiver=True)


def test_the_archiver_well_failing_and_behind(kept: Repository) -> None:
    url = kept.pg.server.url
    switch(kept)
    kept.pg.until("SELECT last_archived_time > now() - interval '1 hour' FROM pg_stat_archiver")
    kept.pg.until(
        "SELECT last_archived_time >= coalesce(last_failed_time, '-infinity') FROM pg_stat_archiver"
    )
    found = seen(ARCHIVER, url)
    assert found.severity == "ok", found
    assert re.fullmatch(
        r"the last WAL archived [\d. mins]+ ago(; (none waits|\d more waits?))?", found.text or ""
    )
    assert found.notes[0].startswith("archived up to 0000000")
    assert found.value is not None
    before = kept.pg.value("SHOW archive_command")
    try:
        broken(kept, "false")
        switch(kept)
        kept.pg.until("SELECT last_failed_time > last_archived_time FROM pg_stat_archiver")
        found = seen(ARCHIVER, url)
        assert found.severity == "critical"
        assert re.match(r"archiving fails: [0-9A-F]{24}, .* ago; the last success .* ago", found.text or "")
        assert found.next is not None
        # Without an address psql would ask another server.
        assert re.match(r"psql -h \S+ -p \d+ -U \S+ -d \S+ -c 'TABLE pg_stat_archiver'", found.next.command)
        for _ in range(3):
            switch(kept)
        found = seen(ARCHIVER, url)
        assert re.search(r"\d full segments \(\d+(\.\d)? MB\) wait to be archived", found.text or ""), found
        broken(kept, "")
        found = seen(ARCHIVER, url)
        assert found.severity == "critical"
        assert (found.text or "").startswith("nothing is archived: archive_command is empty")
    finally:
        broken(kept, before)
    kept.pg.until("SELECT last_archived_time > last_failed_time FROM pg_stat_archiver")
    kept.pg.until("SELECT count(*) = 0 FROM pg_ls_archive_statusdir() WHERE name LIKE '%%.ready'")
    found = seen(ARCHIVER, url)
    assert found.severity == "ok", found
    assert "failures since the counters began" in found.notes[-1]


def test_the_age_of_the_archive_counts_where_the_file_says_so(kept: Repository) -> None:
    at = BackupAt(postgres_archiver=True, within=Duration(0.001))
    found = seen(at, kept.pg.server.url)
    assert (found.severity, found.target) == ("critical", "within 0.001s")
    assert seen(ARCHIVER, kept.pg.server.url).target is None


def test_a_role_that_may_do_nothing_sees_the_archiver(kept: Repository) -> None:
    kept.pg.admin.execute("CREATE ROLE nobody LOGIN PASSWORD 'x'")
    assert seen(ARCHIVER, make_conninfo(kept.pg.server.url, user="nobody", password="x")).severity == "ok"


def test_a_server_that_archives_nothing_and_one_that_is_away(plain: Stand) -> None:
    found = seen(ARCHIVER, plain.server.url)
    assert (found.severity, found.text) == ("critical", "nothing is archived: archive_mode is off")
    found = seen(ARCHIVER, make_conninfo(plain.server.url, port=1))
    assert (found.severity, found.value, found.counts) == ("unknown", None, True)
    with standby(plain.server) as dsn:
        found = seen(ARCHIVER, dsn)
    assert (found.severity, found.counts) == ("unknown", False)
    assert found.reason == "not applicable: this is a replica, and its primary archives"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server of version 18 as it comes: it archives nothing."""
    with stand(tmp_path_factory.mktemp("plain"), 18, wal_level="replica", max_wal_senders=4) as made:
        yield made


# --- Barman ------------------------------------------------------------------------------------------------


def test_barman_before_and_after_its_first_backup(kept: Repository, barman: Catalogue) -> None:
    at = BackupAt(barman="main", config=str(barman.config))
    found = seen(at)
    assert found.severity == "critical"
    assert (found.text or "").startswith("there is none; barman check fails: wal_archive (")
    assert found.next is not None
    assert found.next.command == f"barman -c {barman.config} check main"
    barman.run("switch-wal", "--force", "--archive", "main")
    barman.run("backup", "--wait", "--wait-timeout", "60", "main")
    found = seen(at)
    assert found.severity == "ok", found
    assert re.fullmatch(r"\d{8}T\d{6} ended [\d. mins]+ ago, \d+(\.\d)? MB", found.text or "")
    assert found.detail is not None
    assert found.detail.rows[0][1] == "DONE"


def test_barman_that_does_not_know_the_server(barman: Catalogue) -> None:
    found = seen(BackupAt(barman="other", config=str(barman.config)))
    assert found.severity == "unknown"
    assert found.reason == "barman says of other: Unknown server 'other'"


def test_barman_that_cannot_reach_its_server_and_a_backup_that_failed(
    kept: Repository, barman: Catalogue
) -> None:
    text = barman.config.read_text()
    away = barman.config.with_name("away.conf")
    away.write_text(text.replace(f"port={kept.pg.server.port}", "port=1"))
    found = seen(BackupAt(barman="main", config=str(away)))
    assert (found.severity, found.value is not None) == ("critical", True)
    assert (found.text or "").startswith("barman check fails: ")
    assert "postgresql" in (found.text or "")
    made = sorted((barman.home / "main/base").iterdir())[-1]
    later = made.with_name("20990101T000000")
    later.mkdir()
    info = (made / "backup.info").read_text()
    info = re.sub(r"(?m)^status=.*$", "status=FAILED", info)
    (later / "backup.info").write_text(info)
    for path in (later, later / "backup.info"):
        os.chown(path, made.stat().st_uid, made.stat().st_gid)
    found = seen(BackupAt(barman="main", config=str(barman.config)))
    assert found.severity == Severity.CRITICAL
    assert (found.text or "").startswith("the last one, 20990101T000000, is FAILED; ")
