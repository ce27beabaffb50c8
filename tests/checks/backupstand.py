"""A real Postgres that archives into a real pgBackRest and Barman, for tests: with backups made to order."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from oncall.lab.servers import find_binaries
from tests.clients.pgstand import Stand, open_folder, server_user, stand

STANZA = "main"


@dataclass(frozen=True)
class Repository:
    """A repository of pgBackRest for the stanza `main`, and the server that archives into it."""

    config: Path
    pg: Stand
    folder: Path
    archive: str
    """The server's archive_command."""

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """pgbackrest as the server's own user."""
        user = server_user()
        password = str(conninfo_to_dict(self.pg.server.url)["password"])
        command = ["pgbackrest", f"--config={self.config}", f"--stanza={STANZA}", *words]
        return subprocess.run(
            command,
            check=check,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": password},
            user=user[0] if user else None,
            group=user[1] if user else None,
        )


def lacking(*programs: str) -> str | None:
    """Why there can be none here; None where there can."""
    missing = [name for name in programs if not shutil.which(name)]
    return f"needs {', '.join(missing)}. Debian: apt-get install pgbackrest barman" if missing else None


@contextmanager
def repository() -> Iterator[Repository]:
    """A server whose archive is pgBackRest's; no backup has been made yet."""
    with open_folder() as folder:
        config = folder / "pgbackrest.conf"
        archive = f"pgbackrest --config={config} --stanza={STANZA} archive-push %p"
        with stand(
            folder / "pg",
            15,
            archive_mode="on",
            archive_command=archive,
            wal_level="replica",
            max_wal_senders=4,
            unix_socket_directories=str(folder),
        ) as pg:
            data = pg.value("SHOW data_directory")
            config.write_text(
                f"[global]\nrepo1-path={folder}/repo\nrepo1-retention-full=2\nlog-path={folder}\n"
                f"lock-path={folder}/lock\nspool-path={folder}/spool\nlog-level-console=warn\nstart-fast=y\n"
                f"[{STANZA}]\npg1-path={data}\npg1-port={pg.server.port}\npg1-socket-path={folder}\n"
                f"pg1-user=postgres\n"
            )
            for name in ("repo", "lock", "spool"):
                (folder / name).mkdir()
                if os.geteuid() == 0:
                    shutil.chown(folder / name, "postgres", "postgres")
            made = Repository(config, pg, folder, archive)
            made.run("stanza-create")
            yield made


@dataclass(frozen=True)
class Catalogue:
    """Barman's, with the server `main` whose backups it keeps."""

    config: Path
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """barman as the server's own user."""
        user = server_user()
        return subprocess.run(
            ["barman", "-c", str(self.config), *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.home,
            user=user[0] if user else None,
            group=user[1] if user else None,
        )


def catalogue(of: Repository) -> Catalogue:
    """Barman beside pgBackRest: from now on the server archives into both."""
    home = of.folder / "barman"
    (home / "main/incoming").mkdir(parents=True)
    if os.geteuid() == 0:
        for folder in (home, home / "main", home / "main/incoming"):
            shutil.chown(folder, "postgres", "postgres")
    given = conninfo_to_dict(of.pg.server.url)
    reached = (
        f"host=127.0.0.1 port={of.pg.server.port} user=postgres dbname=postgres password={given['password']}"
    )
    config = of.folder / "barman.conf"
    config.write_text(
        f"[barman]\nbarman_user = {getpass.getuser() if os.geteuid() else 'postgres'}\n"
        f"barman_home = {home}\nlog_file = {home}/barman.log\n"
        f"[{STANZA}]\ndescription = test\nconninfo = {reached}\nstreaming_conninfo = {reached}\n"
        f"backup_method = postgres\narchiver = on\npath_prefix = {find_binaries(15)}\n"
    )
    both = f"{of.archive} && cp %p {home}/main/incoming/%f"
    of.pg.admin.execute(sql.SQL("ALTER SYSTEM SET archive_command = {}").format(sql.Literal(both)))
    of.pg.admin.execute("SELECT pg_reload_conf()")
    made = Catalogue(config, home)
    made.run("list-backups", "main")
    return made
