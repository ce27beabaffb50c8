"""Foreign text made inert, and text measured, cut and wrapped by the cells it takes in a terminal.

`rich` is imported only to measure text that is not ASCII: JSON and markdown need none of it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

ELLIPSIS = "…"

# Printable by Unicode's categories, yet invisible: they could hide text inside text.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE0E)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
# They only choose between two pictures of one character; terminals disagree about their width.
_PRESENTATION = "\ufe0e\ufe0f"
# More accents than any language puts on a letter climb over the lines above.
_MOST_ACCENTS = 3
_TO_ASCII = str.maketrans({
    "–": "-", "—": "-", "−": "-", "·": "-", "×": "x", "…": "...", "→": "->", "≥": ">=", "≤": "<=",
    "±": "+-", "µ": "u", "‘": "'", "’": "'", "“": '"', "”": '"', "✓": "ok", "✗": "failed",
})  # fmt: skip
# A number and its unit are one word. Safe text holds no such blank of its own.
_TIED = "\u00a0"
_AMOUNT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|[kMGTP]?B|[kMG])\b)")
_BREAK_AFTER = frozenset("/_.,-=&?:;|")


def safe(text: str, *, ascii_only: bool = False) -> str:
    """The text on one line, with everything that a terminal would obey or hide made visible as an escape.

    That is C0, C1 and DEL, bidirectional controls, zero-width and other invisible characters, line and
    paragraph separators, private and unassigned characters, surrogates. Newlines and tabs become one space.
    With `ascii_only` the rest of what is not ASCII is escaped too.
    """
    if not (text.isascii() and text.isprintable()):
        text = _join_lines(text)
        text = text if text.isascii() and text.isprintable() else "".join(_visible(text))
    if ascii_only and not text.isascii():
        text = text.translate(_TO_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return text


def safe_lines(text: str, *, ascii_only: bool = False) -> list[str]:
    """The same for text that keeps its lines and its indentation, such as SQL to paste."""
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    return [safe(line, ascii_only=ascii_only) for line in lines]


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(width for _, width in _clusters(text))


def cut(text: str, width: int) -> str:
    """The text, shortened to `width` cells with an ellipsis where it is longer."""
    if width <= 0:
        return ""
    if 2 * len(text) <= width or cells(text) <= width:  # no character takes more than two
        return text
    return _take(text, width - 1)[0].rstrip() + ELLIPSIS


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text filled with blanks to `width` cells."""
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken between words; longer words after punctuation, else anywhere.

    A number stays with its unit.
    """
    if cells(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in _AMOUNT.sub(_TIED, text).split(" "):
        if not word:
            continue
        if line and cells(line) + 1 + cells(word) <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *full, line = _fold(word, max(2, width))
        lines.extend(full)
    lines = [*lines, line] if line or not lines else lines
    return [line.replace(_TIED, " ") for line in lines]


def pack(parts: list[str], width: int, *, between: str = " · ") -> list[str]:
    """Lines that hold as many whole parts as fit; a part that is wider than a line is wrapped."""
    lines: list[str] = []
    for part in filter(None, parts):
        joined = f"{lines[-1]}{between}{part}" if lines else part
        if lines and cells(joined) <= width:
            lines[-1] = joined
        else:
            lines.extend(wrap(part, width))
    return lines


def _join_lines(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\t", "\n")
    if "\n" not in text:
        return text
    return " ".join(filter(None, (line.strip(" ") for line in text.split("\n"))))


def _visible(text: str) -> Iterator[str]:
    accents = 0
    for char in text:
        if char.isascii() and char.isprintable():
            accents = 0
            yield char
            continue
        accents = accents + 1 if unicodedata.combining(char) else 0
        if char in _PRESENTATION:
            continue
        if char.isprintable() and char not in _INVISIBLE and accents <= _MOST_ACCENTS:
            yield char
        elif unicodedata.category(char) == "Zs":
            yield " "
        else:
            yield _escape(ord(char))


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def _cell(char: str) -> int:
    from rich.cells import cell_len

    return cell_len(char)


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Characters with the accents that belong to them, and their cells."""
    cluster, width = "", 0
    for char in text:
        taken = 1 if char.isascii() else _cell(char)
        if cluster and taken == 0:
            cluster += char
            continue
        if cluster:
            yield cluster, width
        cluster, width = char, taken
    if cluster:
        yield cluster, width


def _take(text: str, width: int) -> tuple[str, str]:
    taken, used = 0, 0
    for cluster, wide in _clusters(text):
        if used + wide > width:
            break
        taken, used = taken + len(cluster), used + wide
    return text[:taken], text[taken:]


def _fold(word: str, width: int) -> list[str]:
    lines: list[str] = []
    while cells(word) > width:
        head, _ = _take(word, width)
        stop = next(
            (i + 1 for i in range(len(head) - 1, len(head) // 2, -1) if head[i] in _BREAK_AFTER), None
        )
        head = head[: stop or max(1, len(head))]
        lines.append(head)
        word = word[len(head) :]
    return [*lines, word] if word or not lines else lines
