"""What was read, without what only its owner may know: literals, quoted text, numbers, addresses, keys. Pure."""

import re
from collections.abc import Callable

from msgspec.structs import replace

from oncall.diagnosis.readings import Gathered
from oncall.model import Scalar, SignalReading, StepReading, Table, Unavailable, Unseen

MASK = "?"
Retell = Callable[[str], str]

# Text of the server's own vocabulary or of the installation: conditions compare with it, and nobody is named by it.
_KEPT = frozenset(
    {
        "app",
        "application",
        "application_name",
        "backend",
        "database",
        "datname",
        "event",
        "kind",
        "last_command",
        "level",
        "load",
        "mode",
        "model",
        "parameters",
        "persistence_error",
        "policy",
        "quantization",
        "relation",
        "restart_policy",
        "result",
        "role",
        "schema",
        "state",
        "status",
        "sub",
        "top_other",
        "type",
        "unit",
        "usename",
        "user",
        "version",
        "wait",
        "wait_event",
        "wait_event_type",
        "wants",
    }
)
_STATEMENTS = frozenset({"query", "statement", "blocked_query", "blocking_query"})
_ADDRESSES = frozenset({"client", "client_addr", "client_hostname", "address", "addr", "host"})
_KEYS = frozenset({"key"})
_COMMANDS = frozenset({"command"})
# Of these the hosts are the installation's, and nobody's client.
_OWN_HOSTS = "network:"

_SQL = re.compile(
    r"""
    (?P<line>--[^\n]*)
    | (?P<block>/\*.*?(?:\*/|\Z))
    | (?P<dollar>(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=tag)|\Z))
    | (?P<escaped>(?<!\w)[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z))
    # Where a backslash stands before the quote, only the server's settings say which of the two ends it.
    | (?P<unsure>'(?:[^'\\]|''|\\(?!'))*\\'.*\Z)
    | (?P<text>'(?:[^']|'')*(?:'|\Z))
    | (?P<name>"(?:[^"]|"")*(?:"|\Z))
    | (?P<number>(?<![\w$])\.?\d[\w.]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_SAID_SO = {"line": f"--{MASK}", "block": f"/*{MASK}*/", "escaped": f"E'{MASK}'", "number": MASK}
_MAIL = re.compile(r"[^\s'\"<>(),;=]+@[^\s'\"<>(),;=]+")
_QUOTED = re.compile(
    r"""(?<!\w)(?:[EeNnBbXx]|[Uu]&)?'(?:[^'\\]|''|\\.)*(?:'|\\?\Z)|"(?:[^"\\]|\\.)*(?:"|\\?\Z)""", re.DOTALL
)
_UUID = re.compile(r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8,}\b")
_FIGURED = re.compile(r"\w*\d\w*")
_TOGETHER = re.compile(r"\?(?:[.:,\-]+\?)+")


def mask(text: str, *, sql: bool = False) -> str:
    """The text with `?` for every literal in it; masked twice it is the same.

    Of SQL that is quoted text, numbers and comments, also where the text is cut off; names stay. Of any other text
    it is what stands in quotes, e-mail addresses, ids, and each word with a figure in it."""
    if sql:
        return _SQL.sub(_literal, text)
    return _TOGETHER.sub(MASK, _FIGURED.sub(MASK, _UUID.sub(MASK, _unquoted(text))))


def _literal(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    # The tag of a dollar quote is the inner group, and the last one to close is the outer.
    return found[0] if kind == "name" else _SAID_SO.get(kind, f"'{MASK}'")


def _unquoted(text: str) -> str:
    """Messages keep their numbers (5 s, port 5432): only what they quote, and who is named, goes."""
    quoted = _QUOTED.sub(lambda found: f'"{MASK}"' if found[0][0] == '"' else f"'{MASK}'", text)
    return _MAIL.sub(MASK, quoted)


def _key(text: str) -> str:
    """The kind of a key without which one: `user:42:cart` is `user:?:?`."""
    head, *rest = re.split(r"([:/|])", text)
    parts = [part if part in (":", "/", "|", "") else MASK for part in rest]
    return "".join([mask(head), *parts])


def _command(text: str) -> str:
    """A Redis command: its name and the kind of its key."""
    name, *words = text.split(maxsplit=2)
    return (
        " ".join([name, *(_key(words[0]) if at == 0 else MASK for at in range(len(words)))]) if name else text
    )


def cell(key: str, column: str, value: Scalar) -> Scalar:
    """A cell of the answer to a question: text by what its column holds; numbers stay, conditions need them."""
    if not isinstance(value, str) or not value or column in _KEPT:
        return value
    if column in _STATEMENTS:
        return mask(value, sql=True)
    if column in _ADDRESSES:
        return value if key.startswith(_OWN_HOSTS) else MASK
    if column in _KEYS:
        return _key(value)
    return _command(value) if column in _COMMANDS else mask(value)


def redacted(found: Gathered) -> Gathered:
    """Everything that was read, masked. The questions themselves stay: they are the runbooks' text."""
    return retold(found, said=_unquoted, cell=cell, asked=lambda text: text)


def retold(
    found: Gathered, *, said: Retell, cell: Callable[[str, str, Scalar], Scalar], asked: Retell
) -> Gathered:
    """The same with every free text passed through: messages, cells of tables by question and column, questions."""

    def why(gone: Unavailable) -> Unavailable:
        return replace(gone, reason=said(gone.reason), hint=gone.hint and said(gone.hint))

    def gaps(unseen: tuple[Unseen, ...]) -> tuple[Unseen, ...]:
        return tuple(replace(u, reason=said(u.reason), hint=u.hint and said(u.hint)) for u in unseen)

    def table(key: str, read: Table) -> Table:
        names = [c.name for c in read.columns]
        rows = tuple(tuple(cell(key, n, v) for n, v in zip(names, r, strict=True)) for r in read.rows)
        return replace(read, rows=rows, notes=tuple(map(said, read.notes)))

    def step(key: str, read: StepReading) -> StepReading:
        answer = why(read.answer) if isinstance(read.answer, Unavailable) else table(key, read.answer)
        return replace(read, query=read.query and asked(read.query), answer=answer)

    def signal(read: SignalReading) -> SignalReading:
        now = why(read.now) if isinstance(read.now, Unavailable) else read.now
        return replace(read, query=read.query and asked(read.query), now=now)

    return replace(
        found,
        signals={k: signal(s) for k, s in found.signals.items()},
        answers={_asked(k, asked): step(k, s) for k, s in found.answers.items()},
        refusals={k: why(u) for k, u in found.refusals.items()},
        failed=gaps(found.failed),
        unseen=gaps(found.unseen),
        notes={k: tuple(map(said, n)) for k, n in found.notes.items()},
    )


def _asked(key: str, asked: Retell) -> str:
    """The key of a question; those of the tool's own words hold nothing foreign."""
    return asked(key) if key.startswith(("sql:", "promql:")) else key
