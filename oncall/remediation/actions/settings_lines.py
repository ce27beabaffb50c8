"""INI and .env as leaves: each key with its value as written, quotes and remarks included. Pure."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oncall.remediation.actions.settings_tree import Leaf, Path, Span

if TYPE_CHECKING:
    import configparser

# --- INI -----------------------------------------------------------------------------------------

_TOP = "\x01"
"""The section of keys that stand before any; a text file has no such character."""
_INI_LINE = re.compile(r"""^[ \t]*([^\s=:\[#;][^=:\r\n]*?)[ \t]*[=:][ \t]*["']?([0-9]+)""", re.MULTILINE)


def ini_leaves(text: str) -> list[Leaf]:
    """Sections and keys, dots between; case counts. Raises ValueError: also where a key is written twice."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None, default_section=_TOP * 2, allow_no_value=True)
    # As its documentation says, to keep the case of keys.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(f"[{_TOP}]\n{text}")
    except configparser.Error as error:
        raise ValueError(_ini_mistake(error)) from None
    return list(_sections(parser))


def ini_spans(text: str, path: Path) -> Iterator[Span]:
    """Whole numbers after a key of that name, in any section."""
    (whole,) = path
    for found in _INI_LINE.finditer(text):
        if whole == found[1] or str(whole).endswith(f".{found[1]}"):
            yield found.span(2)


def _sections(parser: "configparser.ConfigParser") -> Iterator[Leaf]:
    for section in parser.sections():
        lead = "" if section == _TOP else f"{section}."
        if lead:
            yield Leaf((section,), "section", "")
        for key, value in parser.items(section):
            yield Leaf((lead + key,), "text" if value is not None else "nothing", value or "")


def _ini_mistake(error: "configparser.Error") -> str:
    """Its own messages hold the lines themselves, which may be secret."""
    import configparser

    line = getattr(error, "lineno", None)
    if isinstance(error, configparser.ParsingError) and error.errors:
        line = error.errors[0][0]
    where = f"line {line - 1}: " if line else ""
    if isinstance(error, configparser.DuplicateOptionError):
        return f"{where}the key {error.option} is written twice in its section"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"{where}the section {error.section} is written twice"
    return f"{where}neither [section], key = value nor a remark"


# --- .env ----------------------------------------------------------------------------------------

_ENV_LINE = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*
        (?:(?P<quoted>"(?:[^"\\]|\\.)*"|'[^']*') (?=[ \t]*(?:\#[^\r\n]*)?(?:\r?\n|\Z))
          |(?P<bare>[^\r\n]*?) (?=[ \t]*(?:\r?\n|\Z)|[ \t]+\#))""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_REST = re.compile(r"[^\n]*(?:\n|\Z)")


def env_leaves(text: str) -> list[Leaf]:
    """Assignments in their order; a quoted value may run over lines. Other lines are taken as they are."""
    return [leaf for leaf, _ in _env(text)]


def env_spans(text: str, path: Path) -> Iterator[Span]:
    """Where the values of a key stand, without their quotes."""
    for leaf, (start, end) in _env(text):
        if leaf.path == path:
            quoted = text[start : start + 1] in ("'", '"')
            yield (start + 1, end - 1) if quoted else (start, end)


def _env(text: str) -> Iterator[tuple[Leaf, Span]]:
    at = number = 0
    while at < len(text):
        number += 1
        if found := _ENV_LINE.match(text, at):
            kind = "quoted" if found["quoted"] is not None else "bare"
            yield Leaf((found["key"],), kind, found[kind]), found.span(kind)
            after = _REST.match(text, found.end())
        else:
            after = _REST.match(text, at)
            yield Leaf((number,), "other", after[0] if after else ""), (at, at)
        at = after.end() if after else len(text)
