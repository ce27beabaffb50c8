"""What Postgres sends, as text, to plain values; and the encodings it is in."""

import codecs
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from oncall.model import Column, Scalar

LONGEST = 500
"""Characters of a query's text that are kept: more does not fit into any report."""
CUT = " …(cut)"
_CELL = 20_000


def codec(encoding: str) -> str:
    """Python's name for a Postgres encoding; UTF-8 where there is none (SQL_ASCII promises nothing)."""
    name = re.sub(r"^WIN(\d+)$", r"cp\1", encoding).replace("KOI8", "KOI8-")
    with suppress(LookupError):
        return "utf-8" if encoding in ("", "SQL_ASCII") else codecs.lookup(name).name
    return "utf-8"


def decode(raw: bytes, encoding: str) -> str:
    """Text of this database, or of another one in another encoding: shared views mix them. Never fails."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(encoding, "replace")


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _numeric(text: str) -> int | float | None:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else _number(text)


def _time(text: str) -> str:
    """`2026-01-01 03:12:00.5+00` to ISO 8601 in UTC. What Python cannot hold (infinity, BC) stays as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at.tzinfo else at.isoformat()


def _joined(text: str) -> str:
    """`{a,"b c",NULL}` to `a, b c, NULL`: an array of one dimension, for reading."""
    items = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,{}]+)', text)
    return ", ".join(re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for quoted, bare in items)


_ARRAYS = (1000, 1005, 1007, 1016, 1028, 1002, 1003, 1009, 1014, 1015, 1021, 1022, 1041, 1115, 1185, 1231)
READERS: dict[int, Callable[[str], Scalar]] = {
    16: lambda text: text == "t",
    **dict.fromkeys((20, 21, 23, 26, 28), int),  # bigint, smallint, integer, oid, xid
    **dict.fromkeys((700, 701), _number),
    1700: _numeric,
    **dict.fromkeys((1114, 1184), _time),
    **dict.fromkeys(_ARRAYS, _joined),
}
"""By type oid (stable for built-in types, src/include/catalog/pg_type.dat); all others stay text."""


def value(raw: bytes | None, oid: int, encoding: str) -> Scalar:
    """One cell. A text longer than any report can use is cut, and says so."""
    if raw is None:
        return None
    text = decode(raw, encoding)
    reader = READERS.get(oid)
    if reader is not None:
        return reader(text)
    return text if len(text) <= _CELL else text[:_CELL] + CUT


def query_text(text: str, track_activity_query_size: int) -> str:
    """A statement on one line. Marked where the server has cut it (at a whole character), or we do."""
    line = " ".join(text.split())
    cut = len(text.encode()) > track_activity_query_size - 5
    if len(line) > LONGEST:
        return line[:LONGEST] + CUT
    return line + CUT if cut else line


_UNITS = {"_s": "s", "_ms": "ms", "_ratio": "ratio", "_bytes": "bytes"}


def column(name: str) -> Column:
    """A column and, by the end of its name, its unit."""
    return Column(name=name, unit=next((unit for end, unit in _UNITS.items() if name.endswith(end)), None))
