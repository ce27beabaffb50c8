"""Sessions of others that get in the service's way.

`python -m oncall.lab.holder FOLDER lock VARIANT BOTS`, or `... FOLDER slots LEAVE`: takes what it came for,
writes KIND.held into the folder, and keeps it until it is ended."""

import signal
import sys
import time
from pathlib import Path

import psycopg

from oncall.lab.place import Record, read, running, write

ACCESS_EXCLUSIVE = "ALTER TABLE messages ADD COLUMN IF NOT EXISTS archived_at timestamptz"
BACKFILL = """DO $$ BEGIN FOR part IN 0..7999 LOOP
  UPDATE messages SET archived_at = created_at + interval '30 days'
  WHERE id BETWEEN part * 20 AND part * 20 + 19;
  PERFORM pg_sleep(0.3); END LOOP; END $$"""
ROWS = "UPDATE bots SET name = name WHERE id <= %s"
GID = "settle_2026_03"
"""The prepared transaction's name: that of a two-phase commit whose coordinator is gone."""

Session = psycopg.Connection[tuple[object, ...]]


def _say(folder: Path, name: str, what: object) -> None:
    write(folder / f"{name}.held", what)


def lock(folder: Path, record: Record, variant: str, bots: int) -> None:
    """Takes a lock that the service needs, as `variant` does it; by row, on the first `bots` bots."""
    tool = {"row_lock": "psql", "prepared_transaction": "settlement"}.get(variant, "alembic")
    session = psycopg.connect(record.roles["deploy"], application_name=tool)
    if variant == "row_lock":
        session.execute(ROWS, (bots,))
    elif variant == "prepared_transaction":
        session.tpc_begin(session.xid(1, GID, "1"))
        session.execute(ROWS, (bots,))
        session.tpc_prepare()
        session.close()
    else:
        session.execute(ACCESS_EXCLUSIVE)
    _say(folder, "lock", variant)
    if variant == "migration":
        session.execute(BACKFILL)
    while True:
        time.sleep(3600)


def slots(folder: Path, record: Record, leave: int) -> None:
    """Opens connections until the server refuses, but for `leave`; with none to leave it goes on trying."""
    held: list[Session] = []
    refused = False
    while not refused:
        refused = not _one_more(record, held)
    for session in held[-leave:] if leave else []:
        session.close()
    limit = len(held) - leave
    del held[limit:]
    _say(folder, "slots", limit)
    if leave:
        while True:
            time.sleep(3600)
    while True:
        while _one_more(record, held):
            _say(folder, "slots", len(held))
        time.sleep(0.1)


def _one_more(record: Record, held: list[Session]) -> bool:
    try:
        session = psycopg.connect(
            record.roles["reporting"], application_name="nightly-report", autocommit=True
        )
    except psycopg.OperationalError:
        return False
    session.execute("SELECT count(*) FROM exports")
    held.append(session)
    return True


def main(folder: Path, kind: str, words: list[str]) -> None:
    """Runs one of the kinds. A migration that runs is left by the signal's own exception."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    record = read(folder / "lab.json", Record) or running(folder)
    if kind == "lock":
        lock(folder, record, words[0], int(words[1]))
    else:
        slots(folder, record, int(words[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
