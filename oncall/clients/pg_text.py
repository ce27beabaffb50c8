"""SQL as text: psql-style variables filled in safely, and what a step may not run."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from oncall.model import Absence, Unavailable

_SQL = Path(__file__).parent / "sql"
_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)
READS = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW")
"""What a step's statement may start with."""

# Functions that a read-only transaction does not stop: they signal, reset, lock, write elsewhere, or run SQL
# that is hidden in a string.
_ACTS = re.compile(
    r"pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile|pg_promote|pg_switch_wal"
    r"|pg_stat_reset\w*|pg_stat_statements_reset|pg_wal_replay_\w+|pg_(?:try_)?advisory_\w+|pg_notify"
    r"|pg_(?:create|drop|copy|sync|import|log|logical|backup|file)_\w+|pg_(?:start|stop)_backup"
    r"|pg_replication_\w+|set_config|setval|nextval|lo_\w+|dblink\w*|ts_stat|ts_rewrite"
    r"|(?:query|cursor|table|schema|database)_to_xml\w*",
    re.IGNORECASE,
)

# What is opaque to variables; the order matters (an escape string before a word, a cast before a variable).
_TOKEN = re.compile(
    r"""
      (?P<quote> \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z) )
    | (?P<name> "(?:[^"]|"")*(?:"|\Z) )
    | (?P<dollar> (?<![\w$]) \$ (?P<tag> (?:[^\W\d]\w*)? ) \$ .*? (?: \$ (?P=tag) \$ | \Z ) )
    | (?P<comment> --[^\n]* )
    | (?P<open> /\* )
    | (?P<cast> :: | := )
    | :'(?P<literal>[A-Za-z_]\w*)' | :"(?P<identifier>[A-Za-z_]\w*)" | :(?P<number>[A-Za-z_]\w*)
    | (?P<semicolon> ; )
    | (?P<blank> \s+ )
    | (?P<code> \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    name: str | None = None


_NONE = _Token("code", "")
_VARIABLES = ("literal", "identifier", "number")


@lru_cache(maxsize=64)
def _tokens(sql: str) -> tuple[_Token, ...]:
    at = 0
    found = []
    while match := _TOKEN.match(sql, at):
        kind = match.lastgroup or "code"
        begin, at = at, _comment_end(sql, at) if kind == "open" else match.end()
        name = match[kind] if kind in _VARIABLES else None
        found.append(_Token("comment" if kind == "open" else kind, sql[begin:at], name))
    return tuple(found)


def _comment_end(sql: str, at: int) -> int:
    """Where a block comment ends: they nest in Postgres."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)


def load_sql(name: str) -> str:
    """The text of clients/sql/NAME.sql, with other files in place of its lines `-- include: FILE`.

    Raises FileNotFoundError."""
    text = (_SQL / f"{name}.sql").read_text("utf-8")
    return _INCLUDE.sub(lambda line: load_sql(line[1]), text).rstrip("\n")


def variables_of(sql: str) -> set[str]:
    """The names of the variables in a statement."""
    return {token.name for token in _tokens(sql) if token.name is not None}


def fill(sql: str, variables: Mapping[str, str | float]) -> str | Unavailable:
    """The statement with :'name', :"name" and :name replaced, as psql does it, but :name takes numbers only.

    What stands in quotes, comments and dollar quotes stays. Unavailable (BAD_QUERY) names the variable that
    is missing or does not fit."""
    done = []
    for token in _tokens(sql):
        if token.name is None:
            done.append(token.text)
            continue
        if token.name not in variables:
            return _unfit(f"the SQL uses {token.text}, and there is no variable {token.name}")
        text = _quoted(token.kind, variables[token.name])
        if text is None:
            return _unfit(f"the variable {token.name} does not fit {token.text}: {variables[token.name]!r}")
        done.append(text)
    return "".join(done)


def _unfit(reason: str) -> Unavailable:
    return Unavailable(kind=Absence.BAD_QUERY, reason=reason)


def _quoted(kind: str, value: str | float) -> str | None:
    if kind == "number":
        return _number(value)
    text = str(value)
    if "\0" in text:
        return None
    if kind == "literal":
        return literal(text)
    # An empty name there is none, and one that acts could be called.
    return identifier(text) if text and not _ACTS.fullmatch(text) else None


def _number(value: str | float) -> str | None:
    if isinstance(value, str) or not math.isfinite(value):
        return None
    # Parentheses: `x -:n` with a negative n would begin a comment.
    return f"({value!r})" if value < 0 else repr(value)


def literal(text: str) -> str:
    """A string as SQL literal, right whether standard_conforming_strings is on or off."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'" if "\\" not in text else " E'" + doubled.replace("\\", "\\\\") + "'"


def identifier(text: str) -> str:
    """A name as quoted SQL identifier."""
    return '"' + text.replace('"', '""') + '"'


def check_sql(text: str) -> str | None:
    """Why a step may not run this text, or None: it must be one statement that reads.

    A net for mistakes, not a wall: the session is read-only besides."""
    tokens = [token for token in _tokens(text) if token.kind not in ("comment", "blank")]
    while tokens and tokens[-1].kind == "semicolon":
        tokens.pop()
    if not tokens:
        return "there is no statement"
    if any(token.kind == "semicolon" for token in tokens):
        return "it is more than one statement"
    first = next((token.text.upper() for token in tokens if token.text != "("), "")
    if first not in READS:
        return f"it starts with {first[:40]}; a step only reads: {', '.join(READS)}"
    return _acting(tokens)


def _acting(tokens: list[_Token]) -> str | None:
    for before, token, after in zip([_NONE, *tokens], tokens, [*tokens[1:], _NONE], strict=False):
        if token.kind == "name" and before.text == "&":
            return "it uses a name in Unicode escapes"
        name = token.text.strip('"') if token.kind in ("code", "name") else ""
        if after.text == "(" and _ACTS.fullmatch(name):
            return f"it calls {name}, which does more than read"
    return None
