"""YAML as people write it, to plain data whose every key knows its line, and on to types.

Each mistake has its file:line, the key, what was found (never a secret) and what is allowed.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from oncall.errors import OncallError
from oncall.units import Duration, Size, parse_duration, parse_size
from oncall.yamlnodes import Builder, Node, scalar
from oncall.yamlwords import (
    Key,
    Value,
    expected_words,
    found_words,
    in_words,
    keys_of,
    kind_of,
    masked,
    nearest,
    types_at,
    words_of,
)

T = TypeVar("T")

MAX_BYTES = 1_000_000

_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Document:
    """Plain data of one file. `data` is shared between aliases: read it, never change it."""

    def __init__(self, data: Value, path: Path, root: Node) -> None:
        self.data = data
        self.path = path
        self.replaced: frozenset[tuple[str | int, ...]] = frozenset()
        """Key paths of text that was put in after parsing; it may still become a number where one is due."""
        self._root = root

    def node(self, key: Key) -> tuple[Node, int]:
        """The node of a key path or of its nearest ancestor, and the line where it begins (its key's)."""
        node, line = self._root, self._root.line
        for part in key:
            if part not in node.kids:
                break
            node, line = node.kids[part], node.key_lines[part]
        return node, line

    def where(self, key: Key = ()) -> str:
        """`file:line` of a key path; of its nearest existing ancestor where it is not written."""
        return f"{self.path}:{self.node(key)[1]}"

    def raw(self, key: Key) -> str | None:
        """A scalar as it was written, before anything was put in."""
        return self.node(key)[0].raw

    def map_text(self, change: Callable[[tuple[str | int, ...], str], str]) -> "Document":
        """The same document with each text value (never a key) replaced by `change(key path, text)`."""
        replaced: set[tuple[str | int, ...]] = set()

        def walk(value: Value, at: tuple[str | int, ...]) -> Value:
            if isinstance(value, dict):
                return {k: walk(v, (*at, k)) for k, v in value.items()}
            if isinstance(value, list):
                return [walk(v, (*at, i)) for i, v in enumerate(value)]
            if not isinstance(value, str) or (text := change(at, value)) == value:
                return value
            replaced.add(at)
            return text

        new = Document(walk(self.data, ()), self.path, self._root)
        new.replaced = frozenset(replaced)
        return new


# --- text to nodes -------------------------------------------------------------------------


def read(path: Path, error: type[OncallError]) -> Document:
    """Parse a file. Raises `error` for one that cannot be read, is too large or is not UTF-8 text."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as failed:
        raise error(f"{path}: cannot be read: {(failed.strerror or 'no reason given').lower()}") from None
    if len(data) > MAX_BYTES:
        raise error(f"{path}:1: the file is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as failed:
        line = data.count(b"\n", 0, failed.start) + 1
        message = f"{path}:{line}: found the byte 0x{data[failed.start]:02x}, expected UTF-8 text"
        raise error(message, hint="Save the file as UTF-8.") from None
    return parse(text, path, error)


def parse(text: str, path: Path, error: type[OncallError]) -> Document:
    """Plain data of one document whose top level is a mapping. Raises `error` with file:line for all else."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        raise error(f"{path}:1: the text is larger than {MAX_BYTES // 1_000_000} MB")
    if bad := _CONTROL.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise error(f"{path}:{line}: found the character U+{ord(bad[0]):04X}, expected text and line breaks")
    root = Builder(text, path, error).document()
    if isinstance(root.value, dict):
        return Document(root.value, path, root)
    found = "an empty file" if root.value is None else kind_of(root.value)
    raise error(f"{path}:{root.line}: found {found}, expected a mapping (lines of `key: value`)")


# --- data to types -------------------------------------------------------------------------

_PLACE = re.compile(r"(.*?)(?: - at `(?:key` in `)?(\$[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def decode(doc: Document, type: type[T], error: type[OncallError], at: Key = ()) -> T:
    """The value at a key path, as a type. Raises `error`: file:line, key, what was found and what is allowed.

    Durations and sizes are text (`5m`, `2GB`). Nothing is converted silently: `"5"` is no number, 5 no text.
    """
    import msgspec

    data = _value_at(doc.data, at)
    while True:
        try:
            return msgspec.convert(data, type, strict=True, dec_hook=_from_text)
        except msgspec.ValidationError as failed:
            message, key = _locate(data, type, str(failed))
        # What came from the environment is text; where a number is due, it is read as YAML would.
        value = _value_at(data, key)
        if (*at, *key) not in doc.replaced or not isinstance(value, str) or scalar(value) == value:
            raise _mistake(doc, type, error, tuple(at), key, message)
        data = _put(data, key, scalar(value))


def _from_text(type: type[Any], value: object) -> object:
    """Durations and sizes from text; the message has the form of msgspec's own."""
    parse_it, name = (parse_duration, "duration") if type is Duration else (parse_size, "size")
    if type not in (Duration, Size):
        # As msgspec asks of a dec_hook that does not know the type: it then says itself what is wrong.
        raise NotImplementedError
    try:
        return parse_it(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"Expected `{name}`") from None


def _value_at(data: Value, key: Key) -> Value:
    for part in key:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return None
    return data


def _put(data: Value, key: Key, value: object, alone: bool = False) -> Value:
    """A copy of data with another value at a key path; `alone`: the last mapping keeps that key only."""
    if not key:
        return value
    first, rest = key[0], key[1:]
    if isinstance(data, list):
        return [_put(v, rest, value, alone) if i == first else v for i, v in enumerate(data)]
    changed = _put(data[first], rest, value, alone)
    return {first: changed} if alone and not rest else {**data, first: changed}


def _locate(data: Value, type: type[Any], message: str) -> tuple[str, tuple[str | int, ...]]:
    """What is wrong, and its key path. msgspec writes `[...]` for a mapping's key: it is found by trial."""
    found = _PLACE.fullmatch(message)
    what, place = (found[1], found[2] or "$") if found else (message, "$")
    key: tuple[str | int, ...] = ()
    for name, index in _STEP.findall(place):
        part = name or (int(index) if index != "..." else _culprit(data, type, message, key))
        if part is None:
            break
        key = (*key, part)
        if index == "...":  # Only this one from here on: another may have the same mistake.
            data = _put(data, key, _value_at(data, key), alone=True)
    return what, key


def _culprit(data: Value, type: type[Any], message: str, key: Key) -> str | None:
    """The key of the mapping at a key path whose value alone brings the same message."""
    mapping = _value_at(data, key)
    for name in mapping if isinstance(mapping, dict) else ():
        if _complaint(_put(data, (*key, name), mapping[name], alone=True), type) == message:
            return str(name)
    return None


def _complaint(data: Value, type: type[Any]) -> str | None:
    import msgspec

    try:
        msgspec.convert(data, type, strict=True, dec_hook=_from_text)
    except msgspec.ValidationError as failed:
        return str(failed)
    return None


# --- mistakes ------------------------------------------------------------------------------

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_NAME = re.compile(r"matching regex '(.*)'")
_ENUM = re.compile(r"Invalid (?:enum )?value .*", re.DOTALL)


def _mistake(
    doc: Document,
    type: type[Any],
    error: Callable[..., OncallError],
    at: tuple[str | int, ...],
    key: tuple[str | int, ...],
    what: str,
) -> OncallError:
    """The error to raise for msgspec's message about a key path."""
    full = (*at, *key)
    said, hint = None, None
    named = _NAME.search(what)
    bad = next((k for k in _keys(doc, full) if named and not re.search(named[1], k)), None)
    if bad is not None:
        full = (*full, bad)
        said = f"{masked(bad)} is no name here, expected text matching {named[1] if named else ''}"
    elif unknown := _UNKNOWN.fullmatch(what):
        full = (*full, unknown[1])
        allowed = keys_of(types_at(type, key))
        said = f"unknown key {masked(unknown[1])}; allowed: {', '.join(allowed)}"
        hint = nearest(unknown[1], allowed)
    elif missing := _MISSING.fullmatch(what):
        said = f"the key {missing[1]} is missing"
    elif _ENUM.fullmatch(what):
        said, hint = _not_in(doc, full, words_of(types_at(type, key)))
    elif expected := expected_words(what):
        said = f"found {_found(doc, full)}, expected {expected}"
        hint = "Write it in quotes." if expected == "text" and _is_number(doc, full) else None
    return error(f"{doc.where(full)}: {in_words(full)}: {said or what}", hint=hint)


def _keys(doc: Document, key: Key) -> list[str]:
    value = _value_at(doc.data, key)
    return list(value) if isinstance(value, dict) else []


def _not_in(doc: Document, key: Key, allowed: list[str]) -> tuple[str, str | None]:
    value = _value_at(doc.data, key)
    said = f"found {_found(doc, key)}, allowed: {', '.join(allowed)}"
    return said, nearest(value, allowed) if isinstance(value, str) else None


def _found(doc: Document, key: Key) -> str:
    return found_words(key, _value_at(doc.data, key), doc.raw(key))


def _is_number(doc: Document, key: Key) -> bool:
    return isinstance(_value_at(doc.data, key), bool | int | float)
