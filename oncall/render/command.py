"""Command lines that can be copied from the screen and pasted."""

from rich.text import Text

from oncall.render.grid import COMMAND, line
from oncall.render.text import cells, safe


def command_lines(command: str, width: int, *, indent: int = 0) -> list[Text]:
    """A command, never cut, and on one line where it fits in any way.

    Too long for the indented line it stands at the left edge; too long for the page it is continued with a
    backslash, which a shell reads as one line. What a terminal would obey is made visible, as everywhere.
    """
    command = safe(command)
    if cells(command) <= width:
        indent = indent if indent + cells(command) <= width else 0
        return [line(" " * indent, (command, COMMAND))]
    return [line(" " * indent, (part, COMMAND)) for part in continued(command, width - indent)]


def continued(command: str, width: int) -> list[str]:
    """The command over several lines that a shell reads back as the same words.

    Broken before an option or at another blank outside of quotes; where there is none, anywhere: quotes that
    are open there are closed and opened again.
    """
    lines, rest = [], command
    while cells(rest) > width:
        stop = _fitting(rest, width - 2)
        quote, blanks = _scan(rest[:stop])
        if blanks:
            blank = _best(blanks, rest)
            lines.append(f"{rest[:blank]} \\")
            rest = "  " + rest[blank + 1 :]
        else:
            stop -= _dangling(rest[:stop], quote)
            lines.append(f"{rest[:stop]}{quote}\\")
            rest = quote + rest[stop:]
    return [*lines, rest]


def _best(blanks: list[int], text: str) -> int:
    """The last blank, or the last one before an option where that does not leave the line half empty."""
    options = [blank for blank in blanks if text[blank + 1] == "-" and blank * 2 > blanks[-1]]
    return options[-1] if options else blanks[-1]


def _fitting(text: str, width: int) -> int:
    length = min(len(text), width)
    while cells(text[:length]) > width:
        length -= 1
    return length


def _dangling(text: str, quote: str) -> int:
    """How many backslashes at the end would escape what comes after them."""
    return (len(text) - len(text.rstrip("\\"))) % 2 if quote != "'" else 0


def _scan(text: str) -> tuple[str, list[int]]:
    """The quote that is open at the end, and the blanks outside of quotes that have a word before them."""
    quote, escaped = "", False
    blanks = []
    for index, char in enumerate(text):
        if escaped or (char == "\\" and quote != "'"):
            escaped = not escaped
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == " " and text[:index].strip():
            blanks.append(index)
    return quote, blanks
