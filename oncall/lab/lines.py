"""The sample service's log: one JSON object a line, and no more lines than a disk can take."""

import json
import logging
import logging.handlers
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

PER_SECOND = 25
"""Lines a second of one kind (a logger's message before its values are put in); the rest is counted only."""


class JsonLines(logging.Formatter):
    """One JSON object a line, as a log shipper likes it; a traceback is a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": " ".join(record.getMessage().split()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Bounded(logging.Filter):
    """Lets so many lines of one kind pass in a second; the next one that passes says how many did not."""

    def __init__(self, most: int = PER_SECOND) -> None:
        super().__init__()
        self._most = most
        self._second = 0
        self._passed: dict[str, int] = defaultdict(int)
        self._dropped: dict[str, int] = defaultdict(int)

    def filter(self, record: logging.LogRecord) -> bool:
        kind = f"{record.name} {record.levelno} {record.msg}"
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._passed.clear()
        self._passed[kind] += 1
        if self._passed[kind] > self._most:
            self._dropped[kind] += 1
            return False
        dropped = self._dropped.pop(kind, 0)
        if dropped:
            record.fields = {**getattr(record, "fields", {}), "not_logged": dropped}
        return True


def log_to(path: Path) -> None:
    """Sends every logger's lines there, 10 MB at most."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=1)
    handler.setFormatter(JsonLines())
    handler.addFilter(Bounded())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
