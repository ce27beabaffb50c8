"""One YAML document to nodes that know their lines, built from the parser's events.

Built here, not constructed by the library, so that nothing is read that was not meant. Scalars follow the
core schema of YAML 1.2 (`012`, `12:30`, `yes` stay text); equal keys, tags and alias bombs are refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from oncall.errors import OncallError
from oncall.yamlwords import Value, kind_of, masked

if TYPE_CHECKING:
    import yaml

MAX_ALIASED = 10_000
MAX_DEPTH = 40

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?=[eE])))(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_CORE = "tag:yaml.org,2002:"
_TAGS: Mapping[str, tuple[type, ...]] = {
    _CORE + "str": (str,),
    _CORE + "int": (int,),
    _CORE + "float": (int, float),
    _CORE + "bool": (bool,),
    _CORE + "null": (type(None),),
    _CORE + "map": (dict,),
    _CORE + "seq": (list,),
    "!": (str, dict, list),
}


class Node:
    """A value with the line that it stands on (from 1), and its parts."""

    __slots__ = ("height", "key_lines", "kids", "line", "raw", "size", "value")

    def __init__(self, line: int, value: Value, raw: str | None = None) -> None:
        self.line = line
        self.value = value
        self.raw = raw
        """A scalar as it was written."""
        self.kids: dict[str | int, Node] = {}
        self.key_lines: dict[str | int, int] = {}
        self.size = 1
        self.height = 1

    def add(self, key: str | int, line: int, kid: "Node") -> None:
        """Take a part in, under its key or index."""
        self.kids[key] = kid
        self.key_lines[key] = line
        self.size += kid.size
        self.height = max(self.height, kid.height + 1)


def scalar(text: str) -> str | int | float | bool | None:
    """A plain scalar by the core schema of YAML 1.2: what is not a number, true, false or null is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(number := float(text)):
        return number
    return text


class Builder:
    """Builds the nodes of one document from the parser's events."""

    def __init__(self, text: str, path: Path, error: type[OncallError]) -> None:
        self._lines = text.splitlines()
        self._path = path
        self._error = error
        self._events = self._parse(text)
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0

    def document(self) -> Node:
        """The root node of the only document."""
        import yaml

        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._fail(_line(event), "a second document (---) begins: a file holds one")
                root = self._node(next(self._events), 1)
        return root or Node(1, None)

    def _parse(self, text: str) -> "Iterator[yaml.Event]":
        import yaml

        try:
            # The events carry text alone: nothing is constructed, whatever the loader is.
            yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as failed:
            self._syntax(failed)
        except yaml.YAMLError:
            self._fail(1, "this is not YAML text")

    def _syntax(self, failed: "yaml.MarkedYAMLError") -> NoReturn:
        mark = failed.problem_mark or failed.context_mark
        line = mark.line + 1 if mark else 1
        if "nesting" in (failed.problem or ""):
            # PyYAML from 6.0.4 on has a limit of its own, and reaches it before we see the events.
            self._fail(line, f"nested deeper than {MAX_DEPTH} levels")
        begun = failed.context_mark.line + 1 if failed.context_mark else line
        context = failed.context
        if context and begun < line:
            context += f" that begins in line {begun}"
        what = ", ".join(part for part in (context, failed.problem) if part)
        hint = _hint(self._lines[begun - 1 : line], failed.problem or "")
        self._fail(line, f"not valid YAML: {what or 'it cannot be parsed'}", hint)

    def _fail(self, line: int, message: str, hint: str | None = None) -> NoReturn:
        raise self._error(f"{self._path}:{line}: {message}", hint=hint)

    def _node(self, event: "yaml.Event", depth: int) -> Node:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        # The parser's grammar leaves nothing else here.
        assert isinstance(event, yaml.ScalarEvent | yaml.events.CollectionStartEvent)
        if depth > MAX_DEPTH:
            self._fail(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        self._check_tag(event.tag, node)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: "yaml.AliasEvent", depth: int) -> Node:
        # The name is not shown: `password: *secret` is a password that lacks its quotes.
        quotes = "Text that begins with * needs quotes."
        if event.anchor is None or event.anchor not in self._anchors:
            self._fail(_line(event), "an alias (*name) that no anchor (&name) above defines", quotes)
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(_line(event), "an alias (*name) within the value that it names")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            self._fail(_line(event), f"the aliases repeat more than {MAX_ALIASED} values")
        if depth + node.height - 1 > MAX_DEPTH:
            self._fail(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _scalar(self, event: "yaml.ScalarEvent") -> Node:
        plain = event.implicit[0] and not event.style
        return Node(_line(event), scalar(event.value) if plain else event.value, event.value)

    def _sequence(self, event: "yaml.Event", depth: int) -> Node:
        import yaml

        node = Node(_line(event), [])
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            kid = self._node(item, depth + 1)
            node.add(len(node.value), _line(item), kid)
            node.value.append(kid.value)
        return node

    def _mapping(self, event: "yaml.Event", depth: int) -> Node:
        import yaml

        node = Node(_line(event), {})
        while not isinstance(item := next(self._events), yaml.MappingEndEvent):
            key = self._key(item, depth + 1)
            if key in node.kids:
                first = node.key_lines[key]
                message = f"the key {masked(key)} is written twice: first in {self._path}:{first}, then here"
                self._fail(_line(item), message, "Keep one of the two.")
            kid = self._node(next(self._events), depth + 1)
            node.add(key, _line(item), kid)
            node.value[key] = kid.value
        return node

    def _key(self, event: "yaml.Event", depth: int) -> str:
        import yaml

        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
            hint = "Write the keys out, or use an alias for a whole value (key: *name)."
            self._fail(_line(event), "merge keys (<<) are not part of YAML 1.2 and are not read", hint)
        key = self._node(event, depth).value
        if not isinstance(key, str):
            self._fail(_line(event), f"a key is {kind_of(key)}, expected text", "Write the key in quotes.")
        return key

    def _check_tag(self, tag: str | None, node: Node) -> None:
        if tag is None:
            return
        if tag in _TAGS and node.raw is not None:
            node.value = node.raw if str in _TAGS[tag] else scalar(node.raw)
        if not isinstance(node.value, _TAGS.get(tag, ())):
            hint = "Leave the tag out. Text that begins with ! needs quotes."
            self._fail(node.line, "a tag (!name) that does not belong here", hint)


def _hint(lines: Sequence[str], problem: str) -> str:
    """What most often lies behind a mistake in the syntax of these lines."""
    if "tab" in problem or any("\t" in text[: len(text) - len(text.lstrip())] for text in lines[-1:]):
        return "Indent with spaces; YAML does not allow tabs there."
    if any("${" in text and "{" in text.replace("${", "") for text in lines):
        return 'Within { }, write ${NAME} in quotes: "${NAME}".'
    return "Check the indentation, the colons and the quotes in and above this line."


def _line(event: "yaml.Event") -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 1
