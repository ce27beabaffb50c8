"""One whole number in a text of settings: where it stands, and the same text with another in its place.

The place is proven before anything is written: the format's own parser reads the text before and after, and the two
differ in that key alone. Comments, order, quotes and line ends are bytes that nobody touches. Pure.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePath
from typing import NamedTuple

from oncall.remediation.actions.settings_lines import env_leaves, env_spans, ini_leaves, ini_spans
from oncall.remediation.actions.settings_tree import (
    Leaf,
    Path,
    Span,
    json_leaves,
    json_spans,
    toml_leaves,
    toml_spans,
    yaml_leaves,
    yaml_spans,
)

_MOST_LOOKALIKES = 200
_BOM = "\ufeff"


class Unreadable(ValueError):
    """The text is not what its format says; or the key is not in it."""

    def __init__(self, said: str, hint: str | None = None) -> None:
        super().__init__(said)
        self.hint = hint


class Unfit(ValueError):
    """The key is there, and its value cannot be replaced by itself."""


class Place(NamedTuple):
    """Where a number stands in the text, by characters; `line` counts from 1."""

    start: int
    end: int
    number: int
    line: int


class _Format(NamedTuple):
    """`leaves` raises ValueError; `spans` may offer too much: each is proven. `flat`: the key is one word."""

    leaves: Callable[[str], list[Leaf]]
    spans: Callable[[str, Path], Iterator[Span]]
    flat: bool = False


FORMATS: Mapping[str, _Format] = {
    "yaml": _Format(yaml_leaves, yaml_spans),
    "json": _Format(json_leaves, json_spans),
    "toml": _Format(toml_leaves, toml_spans),
    "ini": _Format(ini_leaves, ini_spans, flat=True),
    "env": _Format(env_leaves, env_spans, flat=True),
}
_ENDINGS = {
    "yml": "yaml",
    "yaml": "yaml",
    "toml": "toml",
    "ini": "ini",
    "cfg": "ini",
    "properties": "ini",
    "env": "env",
    "json": "json",
}


def format_of(file: str) -> str | None:
    """The format by the file's name; None where it does not tell (`app.conf`)."""
    name = PurePath(file).name.lower()
    if name == ".env" or name.startswith(".env."):
        return "env"
    return _ENDINGS.get(name.rpartition(".")[2]) if "." in name else None


_PART = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^.'"\s](?:[^.'"]*[^.'"\s])?))(?:\.|\Z)""")


def key_parts(key: str) -> tuple[str, ...]:
    """`database."pool.size"` in its parts. Raises Unreadable."""
    found, at = [], 0
    while match := _PART.match(key, at):
        found.append(match[1] or match[2] or match[3])
        at = match.end()
    if at < len(key) or not found or key.endswith("."):
        said = "expected words with dots between them: database.pool_size (a dot within: in quotes)"
        raise Unreadable(f"the key {key!r}: {said}")
    return tuple(found)


def locate(form: str, text: str, key: str) -> Place:
    """Where the number of a key stands. Raises Unreadable and Unfit, with what was found instead."""
    body = text.removeprefix(_BOM)
    shift = len(text) - len(body)
    way = FORMATS[form]
    path: Path = (".".join(key_parts(key)),) if way.flat else key_parts(key)
    before = _leaves(way, body)
    index = _index(before, path, key)
    written, number = _written(before[index].text, flat=way.flat)
    if number is None:
        raise Unfit(f"{key} is {_instead(before[index])}: not a plain whole number")
    good = _proven(way, body, path, number, before, index, written.format(number + 1))
    if len(good) != 1:
        raise Unfit(f"{key} is {number}, and where that is written cannot be told for sure")
    ((start, end),) = good
    return Place(start + shift, end + shift, number, body.count("\n", 0, start) + 1)


def replaced(form: str, text: str, key: str, place: Place, to: int) -> str:
    """The text with another number in that place. Raises Unfit where the parser does not see just that."""
    after = text[: place.start] + str(to) + text[place.end :]
    if to == place.number:
        return after
    way = FORMATS[form]
    path: Path = (".".join(key_parts(key)),) if way.flat else key_parts(key)
    before = _leaves(way, text.removeprefix(_BOM))
    index = _index(before, path, key)
    written, _ = _written(before[index].text, flat=way.flat)
    if not _differ_in(way, before, after.removeprefix(_BOM), index, written.format(to)):
        raise Unfit(f"with {to} in its place, more than {key} would change")
    return after


def _leaves(way: _Format, body: str) -> list[Leaf]:
    if "\0" in body:
        raise Unreadable("it holds a zero byte: it is no text")
    try:
        return way.leaves(body)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _index(leaves: Sequence[Leaf], path: Path, key: str) -> int:
    """The one place of a key among the leaves."""
    found = [i for i, leaf in enumerate(leaves) if leaf.path == path]
    if len(found) == 1:
        return found[0]
    if found:
        raise Unfit(f"{key} is written {len(found)} times: readers differ in which one counts")
    raise Unreadable(f"it has no key {key}", hint=_alike(leaves, path, key))


_NO_VALUES = ("mapping", "list", "alias", "section")


def _alike(leaves: Sequence[Leaf], path: Path, key: str) -> str | None:
    from difflib import get_close_matches

    values = [leaf for leaf in leaves if leaf.kind not in _NO_VALUES]
    words = {_in_words(leaf.path): leaf for leaf in values if all(isinstance(p, str) for p in leaf.path)}
    last = str(path[-1]).rpartition(".")[2].lower()
    same = [w for w, leaf in words.items() if leaf.path and str(leaf.path[-1]).lower().endswith(last)]
    near = [*same, *get_close_matches(key, words, n=3, cutoff=0.6)]
    shown = list(dict.fromkeys(near))[:5]
    return f"Keys that look alike: {', '.join(shown)}." if shown else None


def _in_words(path: Path) -> str:
    flat = len(path) == 1
    return ".".join(str(p) if flat or "." not in str(p) else f'"{p}"' for p in path)


def _proven(
    way: _Format, body: str, path: Path, number: int, before: Sequence[Leaf], index: int, value: str
) -> set[Span]:
    """The places where the next number instead of this one changes the leaf of that index, and nothing else."""
    good = set()
    try:
        for start, end in islice(way.spans(body, path), _MOST_LOOKALIKES):
            after = body[:start] + str(number + 1) + body[end:]
            if body[start:end] == str(number) and _differ_in(way, before, after, index, value):
                good.add((start, end))
    except ValueError as error:
        raise Unfit(f"{'.'.join(map(str, path))} is {number}, and {error}") from None
    return good


def _differ_in(way: _Format, before: Sequence[Leaf], text: str, index: int, value: str) -> bool:
    """Whether the parser reads the text as before, but for the leaf of that index, which has this value."""
    try:
        after = way.leaves(text)
    except (ValueError, RecursionError):
        return False
    return after == [*before[:index], before[index]._replace(text=value), *before[index + 1 :]]


_PLAIN = re.compile(r"(0|[1-9][0-9]{0,8})")
_LINE_VALUE = re.compile(r"""(["']?)(0|[1-9][0-9]{0,8})(\1(?:[ \t]+[;#].*)?)""")


def _written(text: str, *, flat: bool) -> tuple[str, int | None]:
    """A pattern for the value as written, and the number in it; None where there is no plain one.

    `020` is none: it is 20 to some readers and 16 to others. Formats of lines keep quotes and remarks in it."""
    found = (_LINE_VALUE if flat else _PLAIN).fullmatch(text)
    if not found:
        return "", None
    if not flat:
        return "{}", int(found[1])
    rest = found[3].replace("{", "{{").replace("}", "}}")
    return f"{found[1]}{{}}{rest}", int(found[2])


_VARIABLE = re.compile(r"\$(?:\{\s*([A-Za-z_]\w{0,80})|([A-Za-z_]\w{0,80})|ENV\b)", re.ASCII)


def _instead(leaf: Leaf) -> str:
    """What stands there, in words; never the text itself: the key may be the wrong one, and the text a secret."""
    text = leaf.text.strip("'\" \t")
    if leaf.kind in _NO_VALUES:
        return {"alias": "an alias (*) of another value", "list": "a list"}.get(
            leaf.kind, "a mapping of keys"
        )
    if found := _VARIABLE.match(text):
        return f"taken from the variable {found[1] or found[2] or ''}".rstrip() + " (set it there)"
    if "{{" in text or "<%" in text or "{%" in text or text.startswith("@"):
        return "filled in by a template (change what fills it)"
    if re.fullmatch(r"[+-]?[0-9][0-9_.xXobeE]{0,15}", text):
        return text
    return "empty" if not text else "another kind of value"
