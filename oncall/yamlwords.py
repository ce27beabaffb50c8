"""What is said of a mistake in a YAML file: the key, what was found (never a secret) and what is allowed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

Key: TypeAlias = Sequence[str | int]
Value: TypeAlias = Any
"""Any YAML value: text, numbers, true, false, None, and dicts and lists of them."""
Hint: TypeAlias = Any
"""A type as typing has it."""

_SECRET_KEY = re.compile(
    r"(?i)pass|secret|token|bearer|dsn|auth|basic|headers|cookie|api_?-?key|postgres|redis"
)
_CREDENTIALS = re.compile(r"(?i)@|://|pass\w*\s*=")
_HARMLESS = re.compile(r"[\w .,:;/%*+<>=~^|!?$&(){}'\"\[\]-]{0,60}")
_KINDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a mapping (lines of `key: value`)",
    list: "a list",
    type(None): "nothing",
}


def kind_of(value: object) -> str:
    return _KINDS.get(type(value), "something else")


def masked(text: str) -> str:
    """Text fit to be shown: quoted and cut; `***` for what may hold credentials or control a terminal."""
    if _CREDENTIALS.search(text) or not _HARMLESS.fullmatch(text[:60]):
        return "***"
    return repr(text[:57] + "...") if len(text) > 60 else repr(text)


def is_secret(key: Key) -> bool:
    """Whether the value of a key path may hold a secret, by the words in the path."""
    return any(isinstance(part, str) and _SECRET_KEY.search(part) for part in key)


def in_words(key: Key) -> str:
    """A key path as people say it: `services.bot.restart.command[item 2]`."""
    words = ""
    for part in key:
        if isinstance(part, int):
            words += f"[item {part + 1}]"
        else:
            words += ("." if words else "") + (part if masked(part) != "***" else "***")
    return words or "the file"


# --- mistakes, in words --------------------------------------------------------------------

_EXPECTED: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a mapping (lines of `key: value`)",
    "array": "a list",
    "null": "nothing",
    "duration": "a duration such as 90s, 5m, 1h30m or 7d",
    "size": "a size such as 512MB, 2GB or 2GiB",
}


def found_words(key: Key, value: object, raw: str | None) -> str:
    """What stands at a key, as far as it may be shown. `raw` is a scalar as it was written."""
    if raw is None or value is None:
        return kind_of(value)
    if is_secret(key) or masked(raw) == "***":
        return f"{kind_of(value)} that is not shown"
    return f"the text {masked(raw)}" if isinstance(value, str) else raw


def expected_words(what: str) -> str | None:
    """msgspec's "Expected `int | null`, got ..." in words; None for another kind of message."""
    match = re.fullmatch(r"Expected `([^`]+)`( [^,]+)?(?:, got `[^`]*`)?", what)
    if not match:
        return None
    names = [name for name in match[1].split(" | ") if name != "null"] or ["null"]
    return " or ".join(_EXPECTED.get(name, name) for name in names) + (match[2] or "")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """`Did you mean ...?`, where something known is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else None


# --- types at a key path -------------------------------------------------------------------


def types_at(root: Hint, key: Key) -> list[Hint]:
    """The types that a key path may have, unions taken apart; empty where it leads nowhere."""
    types = list(_members(root))
    for part in key:
        types = [inner for outer in types for inner in _step(outer, part)]
    return types


def _origin(type_: Hint) -> object:
    return get_origin(type_)


def _members(type_: Hint) -> Iterator[Hint]:
    origin = _origin(type_)
    if origin is Annotated:
        yield from _members(get_args(type_)[0])
    elif origin in (Union, UnionType):
        for member in get_args(type_):
            yield from _members(member)
    else:
        yield type_


def _step(type_: Hint, part: str | int) -> Iterator[Hint]:
    import msgspec

    args, origin = get_args(type_), _origin(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        for field in msgspec.structs.fields(type_):
            if field.encode_name == part:
                yield from _members(field.type)
    elif args and origin is not Literal:
        yield from _members(args[-1] if isinstance(part, str) or len(args) == 1 else args[0])


def keys_of(types: Iterable[Hint]) -> list[str]:
    """The keys that are allowed where one of these types is due."""
    import msgspec

    structs = [t for t in types if isinstance(t, type) and issubclass(t, msgspec.Struct)]
    return list(dict.fromkeys(f.encode_name for t in structs for f in msgspec.structs.fields(t)))


def words_of(types: Iterable[Hint]) -> list[str]:
    """The words that are allowed where an enumeration or a literal is due."""
    words: list[str] = []
    for type_ in types:
        if _origin(type_) is Literal:
            words += [str(word) for word in get_args(type_)]
        elif isinstance(type_, type) and issubclass(type_, Enum):
            words += [str(member.value) for member in type_]
    return words
