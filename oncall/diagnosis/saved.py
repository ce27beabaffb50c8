"""What was read, as a file that another day can judge again: one JSON document, without secrets. Pure."""

import gzip
import json
import math
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from oncall.diagnosis.kept import Form, Saved
from oncall.diagnosis.readings import DatabaseTarget, Gathered
from oncall.diagnosis.redact import redacted
from oncall.errors import UsageFault
from oncall.model import Column, Frozen, Scalar, SignalReading, StepReading, Table, Unavailable, Unseen
from oncall.model_service import Service
from oncall.units import Duration, Size

SCHEMA = "oncall/saved/1"
MOST_BYTES = 64_000_000
"""Of a file, packed or not: a usual one has less than one."""
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")

# --- the file ------------------------------------------------------------------------------------


class _Odd(Frozen, frozen=True):
    """A number that JSON does not have."""

    float: Literal["nan", "inf", "-inf"]


_Number = float | int | _Odd
_Cell = str | int | float | bool | _Odd | None


class _Signal(Frozen, frozen=True, omit_defaults=True):
    source: str
    form: dict[str, str | float | dict[str, str]] = {}
    query: str | None = None
    now: _Number | None = None
    unavailable: Unavailable | None = None
    age_s: _Number | None = None
    baseline_samples: int = 0
    instances: int | None = None
    over_s: _Number | None = None
    times: tuple[_Number, ...] = ()
    values: tuple[_Number, ...] = ()
    id: str | None = None


class _Answer(Frozen, frozen=True, omit_defaults=True):
    source: str
    query: str | None = None
    ms: _Number | None = None
    unavailable: Unavailable | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[_Cell, ...], ...] = ()


class _File(Frozen, frozen=True, tag_field="schema", tag=SCHEMA):
    oncall: str
    saved: datetime
    redacted: bool
    service: str
    issues: tuple[str, ...]
    alone: bool
    took_ms: int
    at: float | int
    window_s: float | int
    baseline_s: float | int
    skew_s: float | int
    database: DatabaseTarget | None
    asked: tuple[str, ...]
    refusals: dict[str, Unavailable]
    failed: tuple[Unseen, ...]
    unseen: tuple[Unseen, ...]
    notes: dict[str, tuple[str, ...]]
    settings: Service
    patterns: dict[str, str]
    live: dict[str, _Number]
    signals: dict[str, _Signal]
    answers: dict[str, _Answer]


def dump(look: Saved, *, redact: bool, packed: bool = False) -> bytes:
    """The file of a look: JSON that a person can read, as gzip where `packed`.

    `redact` masks literals and what else only the owner may know; secrets are not in a look anyway."""
    found = redacted(look.gathered) if redact else look.gathered
    document = msgspec.to_builtins(_file(look, found, redact=redact or look.redacted), enc_hook=_plain)
    document["settings"] = _pruned(document["settings"])
    # Half a character has no UTF-8: kept as the escape that it would be, which is how reports show it.
    text = _SURROGATE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", _written(document, "") + "\n")
    data = text.encode()
    return gzip.compress(data, 6, mtime=0) if packed else data


def load(data: bytes, path: str) -> Saved:
    """The look of a file. Raises UsageFault that names the path and says what was found instead."""
    document = _parsed(_unpacked(data, path), path)
    try:
        file = msgspec.convert(document, _File, strict=True, dec_hook=_length)
        return _checked(_look(file), path)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        writer = document.get("oncall")
        raise UsageFault(
            f"{path}: a damaged file of --save: {error}",
            hint=f"It says that oncall {writer} wrote it; was it edited, or is this an older oncall?",
        ) from None


def is_saved(head: bytes) -> bool:
    """Whether the first bytes of a file (some hundred of them) are those of a saved look."""
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 400)
        except zlib.error:
            return False
    return head.startswith(b"{") and b'"schema": "oncall/saved/' in head[:200]


def _unpacked(data: bytes, path: str) -> bytes:
    if data.startswith(_GZIP):
        unpack = zlib.decompressobj(wbits=31)
        try:
            data = unpack.decompress(data, MOST_BYTES + 1)
        except zlib.error as error:
            raise UsageFault(f"{path}: damaged gzip: {error}", hint="Copy the file again.") from None
        if len(data) <= MOST_BYTES and not unpack.eof:
            raise UsageFault(f"{path}: the gzip ends too early", hint="Copy the file again.")
    if len(data) > MOST_BYTES:
        most = f"more than {MOST_BYTES // 1_000_000} MB, which no saved look has"
        raise UsageFault(f"{path}: {most}", hint="Give a file that --save wrote.")
    return data


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    """The JSON object, which says that it is a saved look of this version of the format."""
    hint = "Give a file that `oncall diagnose --save` wrote."
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = "it is empty" if not data.strip() else str(error)
        raise UsageFault(f"{path}: not JSON: {found}", hint=hint) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(schema, str):
        raise UsageFault(f"{path}: JSON, but not a saved look: it names no schema", hint=hint)
    if schema == SCHEMA:
        return document
    if schema.startswith("oncall/saved/"):
        writer = document.get("oncall")
        newer = f"saved by another oncall ({writer}): {schema}, and this one reads {SCHEMA}"
        raise UsageFault(f"{path}: {newer}", hint="Use the oncall that saved it, or a newer one.")
    if schema in ("oncall/diagnosis/1", "oncall/diagnoses/1"):
        hint = "That is a report of --output json, which cannot be judged again. " + hint
    raise UsageFault(f"{path}: not a saved look: its schema is {schema!r}", hint=hint)


def _checked(look: Saved, path: str) -> Saved:
    """What the judges take for granted. Raises ValueError."""
    found = look.gathered
    datetime.fromtimestamp(round(found.at), UTC)
    if not (found.window_s > 0 and found.baseline_s > 0 and look.issues):
        raise ValueError("window, baseline or issues are missing")
    for key, signal in found.signals.items():
        if len(signal.times) != len(signal.values):
            raise ValueError(f"signals.{key}: as many times as values are needed")
    for key, step in found.answers.items():
        table = step.answer
        if isinstance(table, Table) and any(len(row) != len(table.columns) for row in table.rows):
            raise ValueError(f"answers.{key}: a row has not as many cells as there are columns")
    return look


def _file(look: Saved, found: Gathered, *, redact: bool) -> _File:
    return _File(
        oncall=look.version,
        saved=look.saved,
        redacted=redact,
        service=look.name,
        issues=look.issues,
        alone=look.alone,
        took_ms=look.took_ms,
        at=found.at,
        window_s=found.window_s,
        baseline_s=found.baseline_s,
        skew_s=found.skew_s,
        database=found.database,
        asked=found.asked,
        refusals=dict(found.refusals),
        failed=found.failed,
        unseen=found.unseen,
        notes=dict(found.notes),
        settings=look.service,
        patterns=dict(look.patterns),
        live={k: _out(v) for k, v in found.live.items()},
        signals={k: _signal(k, s, look.forms.get(k, {})) for k, s in found.signals.items()},
        answers={k: _answer(a) for k, a in found.answers.items()},
    )


def _signal(key: str, read: SignalReading, form: Form) -> _Signal:
    return _Signal(
        source=read.source,
        form=dict(form),
        query=read.query,
        now=None if isinstance(read.now, Unavailable) else _out(read.now),
        unavailable=read.now if isinstance(read.now, Unavailable) else None,
        age_s=None if read.age_s is None else _out(read.age_s),
        baseline_samples=read.baseline_samples,
        instances=read.instances,
        over_s=None if read.over_s is None else _out(read.over_s),
        times=tuple(map(_out, read.times)),
        values=tuple(map(_out, read.values)),
        id=None if read.id == key else read.id,
    )


def _answer(read: StepReading) -> _Answer:
    gone = read.answer if isinstance(read.answer, Unavailable) else None
    table = read.answer if isinstance(read.answer, Table) else Table(columns=(), rows=())
    return _Answer(
        source=read.source,
        query=read.query,
        ms=None if read.ms is None else _out(read.ms),
        unavailable=gone,
        notes=table.notes,
        columns=table.columns,
        rows=tuple(tuple(map(_cell, row)) for row in table.rows),
    )


def _look(file: _File) -> Saved:
    found = Gathered(
        at=file.at,
        window_s=file.window_s,
        baseline_s=file.baseline_s,
        signals={k: _reading(k, s) for k, s in file.signals.items()},
        live={k: _in(v) for k, v in file.live.items()},
        answers={k: _step(a) for k, a in file.answers.items()},
        asked=file.asked,
        refusals=file.refusals,
        database=file.database,
        failed=file.failed,
        unseen=file.unseen,
        notes=file.notes,
        skew_s=file.skew_s,
    )
    return Saved(
        name=file.service,
        service=file.settings,
        gathered=found,
        issues=file.issues,
        alone=file.alone,
        forms={k: s.form for k, s in file.signals.items() if s.form},
        patterns=file.patterns,
        took_ms=file.took_ms,
        version=file.oncall,
        saved=file.saved,
        redacted=file.redacted,
    )


def _reading(key: str, kept: _Signal) -> SignalReading:
    now = kept.unavailable if kept.now is None else _in(kept.now)
    if now is None:
        raise ValueError(f"signals.{key}: neither `now` nor `unavailable`")
    return SignalReading(
        id=key if kept.id is None else kept.id,
        source=kept.source,
        query=kept.query,
        now=now,
        times=tuple(map(_in, kept.times)),
        values=tuple(map(_in, kept.values)),
        age_s=None if kept.age_s is None else _in(kept.age_s),
        baseline_samples=kept.baseline_samples,
        instances=kept.instances,
        over_s=None if kept.over_s is None else _in(kept.over_s),
    )


def _step(kept: _Answer) -> StepReading:
    rows = tuple(tuple(_in(c) if isinstance(c, _Odd) else c for c in row) for row in kept.rows)
    return StepReading(
        source=kept.source,
        query=kept.query,
        answer=kept.unavailable or Table(columns=kept.columns, rows=rows, notes=kept.notes),
        ms=None if kept.ms is None else _in(kept.ms),
    )


def _out(value: float) -> _Number:
    return value if math.isfinite(value) else _Odd(float=_NAMES[str(value)])


_NAMES: Mapping[str, Literal["nan", "inf", "-inf"]] = {"nan": "nan", "inf": "inf", "-inf": "-inf"}


def _in(value: _Number) -> float:
    return float(value.float) if isinstance(value, _Odd) else value


def _cell(value: Scalar) -> _Cell:
    return _out(value) if isinstance(value, float) else value


def _plain(value: object) -> float:
    """Durations and sizes are numbers."""
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _length(kind: type, value: object) -> object:
    """And back."""
    if kind in (Duration, Size) and isinstance(value, float | int):
        return kind(value)
    raise ValueError(f"expected a number, got {value!r}")


def _pruned(value: Any) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Without what is not set."""
    if not isinstance(value, dict):
        return value
    kept = {k: _pruned(v) for k, v in value.items() if v is not None}
    return {k: v for k, v in kept.items() if v != {}}


def _written(value: Any, indent: str) -> str:  # noqa: ANN401 - JSON is any of its types
    """JSON with what belongs together on one line: a row of a table, the values of a signal."""
    if not isinstance(value, dict | list | tuple) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + "  "
    pairs = value.items() if isinstance(value, dict) else [(None, item) for item in value]
    if not any(isinstance(item, dict | list | tuple) for _, item in pairs):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    lines = [
        f"{inner}{'' if k is None else json.dumps(k, ensure_ascii=False) + ': '}{_written(v, inner)}"
        for k, v in pairs
    ]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n" + ",\n".join(lines) + f"\n{indent}{last}"
