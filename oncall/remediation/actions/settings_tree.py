"""YAML, JSON and TOML as leaves: each key path with its value as the format's own parser reads it. Pure."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import yaml
    from yaml._yaml import Mark as _CMark

Path: TypeAlias = tuple[str | int, ...]
"""Keys from the top down; a number is an item of a list."""
Span: TypeAlias = tuple[int, int]


class Leaf(NamedTuple):
    """A value, or the beginning of a mapping or list. `kind`: its type, for YAML how it is written."""

    path: Path
    kind: str
    text: str


# --- YAML ----------------------------------------------------------------------------------------

_COMPLEX = -1
"""Stands in a path for a key that is itself a mapping, a list or an alias."""
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class _Frame:
    """A mapping or list that is open while its events come."""

    def __init__(self, path: Path, *, mapping: bool, is_key: bool) -> None:
        self.path = path
        self.mapping = mapping
        self.is_key = is_key
        self.key: str | int | None = None
        self.items = 0


class _Node(NamedTuple):
    leaf: Leaf
    span: Span
    anchor: str | None


def yaml_leaves(text: str) -> list[Leaf]:
    """Raises ValueError for what is not one YAML document."""
    return [node.leaf for node in _yaml(text)]


def yaml_spans(text: str, path: Path) -> Iterator[Span]:
    """Where the scalar of a path stands, without anchor, tag and quotes. Raises ValueError where others share it."""
    nodes = _yaml(text)
    shared = {node.leaf.text for node in nodes if node.leaf.kind == "alias"}
    for node in nodes:
        if node.anchor in shared and node.leaf.path == path[: len(node.leaf.path)]:
            raise ValueError(f"others take it over by the alias *{node.anchor}: they would change with it")
    for node in nodes:
        if node.leaf.path == path:
            begun = _PROPERTIES.match(text, *node.span)
            start, end = begun.end() if begun else node.span[0], node.span[1]
            quoted = text[start : start + 1] in ("'", '"')
            yield (start + 1, end - 1) if quoted else (start, end)


def _yaml(text: str) -> list[_Node]:
    """Events, not nodes: no recursion to exhaust, and an alias stays the one word that it is."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return list(_nodes(yaml.parse(text, Loader=loader)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{line}{getattr(error, 'problem', None) or 'not YAML'}") from None


def _nodes(events: "Iterator[yaml.Event]") -> Iterator[_Node]:
    from yaml import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
    from yaml.events import CollectionEndEvent

    frames: list[_Frame] = []
    documents = 0
    for event in events:
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ValueError(f"line {_mark(event.start_mark).line + 1}: a second document begins (---)")
        elif isinstance(event, CollectionEndEvent):
            if frames.pop().is_key:
                frames[-1].key = _COMPLEX
        elif isinstance(event, ScalarEvent | AliasEvent | MappingStartEvent | SequenceStartEvent):
            path, is_key = _enter(frames, event)
            yield _node(event, path, is_key)
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                frames.append(_Frame(path, mapping=isinstance(event, MappingStartEvent), is_key=is_key))


def _enter(frames: list[_Frame], event: "yaml.NodeEvent") -> tuple[Path, bool]:
    """The path of a node that begins, and whether it is the key of what follows."""
    from yaml import AliasEvent, ScalarEvent

    if not frames:
        return (), False
    frame = frames[-1]
    if not frame.mapping:
        frame.items += 1
        return (*frame.path, frame.items - 1), False
    if frame.key is None:
        if isinstance(event, ScalarEvent):
            frame.key = event.value
        elif isinstance(event, AliasEvent):
            frame.key = _COMPLEX
        return (*frame.path, _COMPLEX), True
    path = (*frame.path, frame.key)
    frame.key = None
    return path, False


def _node(event: "yaml.NodeEvent", path: Path, is_key: bool) -> _Node:
    from yaml import AliasEvent, MappingStartEvent, ScalarEvent

    kind, text = "list", ""
    if isinstance(event, AliasEvent):
        kind, text = "alias", event.anchor or ""
    elif isinstance(event, ScalarEvent):
        kind, text = f"{'key' if is_key else 'scalar'} {event.tag or ''} {event.style or ''}", event.value
    elif isinstance(event, MappingStartEvent):
        kind = "mapping"
    anchor = None if kind == "alias" else event.anchor
    return _Node(Leaf(path, kind, text), (_mark(event.start_mark).index, _mark(event.end_mark).index), anchor)


def _mark(mark: "yaml.Mark | _CMark | None") -> "yaml.Mark | _CMark":
    assert mark is not None  # the parser of text gives every event its place
    return mark


# --- JSON ----------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, object]]):
    """An object of JSON as it is written: a key may stand there twice."""


_JSON_KEY = re.compile(r'(?=("(?:[^"\\\n]|\\.)*")\s*:\s*"?([0-9]+))')


def json_leaves(text: str) -> list[Leaf]:
    """Raises ValueError for what is not JSON (comments and commas at the end are not)."""
    try:
        return list(_walk((), json.loads(text, object_pairs_hook=_Pairs)))
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg[:1].lower()}{error.msg[1:]}") from None


def json_spans(text: str, path: Path) -> Iterator[Span]:
    """Whole numbers after a key of that name, anywhere."""
    for found in _JSON_KEY.finditer(text):
        try:
            same = json.loads(found[1]) == path[-1]
        except ValueError:
            continue
        if same:
            yield found.span(2)


def _walk(path: Path, value: object) -> Iterator[Leaf]:
    if isinstance(value, _Pairs | dict):
        yield Leaf(path, "mapping", "")
        for key, below in value.items() if isinstance(value, dict) else value:
            yield from _walk((*path, key), below)
    elif isinstance(value, list):
        yield Leaf(path, "list", "")
        for index, below in enumerate(value):
            yield from _walk((*path, index), below)
    else:
        yield Leaf(path, type(value).__name__, str(value))


# --- TOML ----------------------------------------------------------------------------------------

_TOML_KEY = re.compile(
    r"""(?=((?<![\w-])[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*=[ \t]*["']?([0-9]+))"""
)


def toml_leaves(text: str) -> list[Leaf]:
    """Raises ValueError for what is not TOML."""
    import tomllib

    try:
        return list(_walk((), tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(str(error)[:1].lower() + str(error)[1:]) from None


def toml_spans(text: str, path: Path) -> Iterator[Span]:
    """Whole numbers after a key of that name, anywhere."""
    import tomllib

    for found in _TOML_KEY.finditer(text):
        try:
            same = tomllib.loads(f"{found[1]} = 0") == {path[-1]: 0}
        except tomllib.TOMLDecodeError:
            continue
        if same:
            yield found.span(2)
