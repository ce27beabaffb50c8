"""Sessions of others that get in the service's way.

`python -m oncall.lab.holder FOLDER KIND WORDS`: takes what it came for, writes KIND.held into the folder, and
keeps it until it is ended. Kinds: lock VARIANT BOTS, slots LEAVE, batch BOTS, filler, neighbour PROGRAMS,
analytics."""

import contextlib
import multiprocessing
import os
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

BATCH_S, PAUSE_S = 3.5, 1.0
FIGURES = """SELECT b.name, count(*), count(DISTINCT m.body) FROM messages m JOIN bots b ON b.id = m.bot_id,
  generate_series(1, 15) GROUP BY b.name ORDER BY 2 DESC"""

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


def batch(folder: Path, record: Record, bots: int) -> None:
    """A batch job: locks the first `bots` bots for some seconds, pauses, and again."""
    session = psycopg.connect(record.roles["deploy"], application_name="billing-batch")
    _say(folder, "batch", bots)
    while True:
        # What stands in its way (a lock, a schema that is being changed) it tries again.
        with contextlib.suppress(psycopg.OperationalError), session.transaction():
            session.execute(ROWS, (bots,))
            time.sleep(BATCH_S)
        time.sleep(PAUSE_S)


def filler(folder: Path, record: Record) -> None:
    """Writes into Redis until nothing fits any more, and goes on trying."""
    import redis

    client = redis.Redis.from_url(record.roles["redis"], client_name="import", socket_timeout=5)
    number = 0
    said = False
    while True:
        for size in (1_000_000, 10_000, 100):
            with contextlib.suppress(redis.RedisError):
                while True:
                    client.set(f"import:{number}", b"x" * size)
                    number += 1
        if not said:
            _say(folder, "filler", number)
            said = True
        time.sleep(0.1)


def neighbour(folder: Path, programs: int) -> None:
    """So many programs that compute without end, as a build or a backup does."""
    children = [
        multiprocessing.Process(target=_compute, args=(os.getpid(),), daemon=True) for _ in range(programs)
    ]
    for child in children:
        child.start()
    _say(folder, "neighbour", programs)
    while True:
        time.sleep(3600)


def _compute(parent: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Whatever ends the parent ends this too: a machine must not be left to it.
    while os.getppid() == parent:
        sum(number * number for number in range(200_000))


def analytics(folder: Path, record: Record) -> None:
    """Somebody who looks at figures: statements of many seconds, one after the other."""
    session = psycopg.connect(record.roles["reporting"], application_name="metabase", autocommit=True)
    _say(folder, "analytics", 1)
    while True:
        session.execute(FIGURES)
        time.sleep(2)


def main(folder: Path, kind: str, words: list[str]) -> None:
    """Runs one of the kinds. A statement that runs is left by the signal's own exception."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    record = read(folder / "lab.json", Record) or running(folder)
    {
        "lock": lambda: lock(folder, record, words[0], int(words[1])),
        "slots": lambda: slots(folder, record, int(words[0])),
        "batch": lambda: batch(folder, record, int(words[0])),
        "filler": lambda: filler(folder, record),
        "neighbour": lambda: neighbour(folder, int(words[0])),
        "analytics": lambda: analytics(folder, record),
    }[kind]()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
