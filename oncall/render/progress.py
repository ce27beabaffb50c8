"""One line on stderr while the backends are asked."""

from collections.abc import Mapping

from rich.text import Text

from oncall.render.grid import line, plain_ascii
from oncall.render.text import cells, cut, safe

_SIGNS = {"ok": ("✓", "green"), "waiting": ("…", ""), "failed": ("✗", "bold red"), "skipped": ("–", "")}


def waiting(parts: Mapping[str, str], *, width: int = 80, ascii_only: bool = False) -> Text:
    """`asking  prometheus ✓  postgres …  http ✓ 0.8 s`: each part with its state, on one line.

    A state is `ok`, `waiting`, `failed` or `skipped`, which become signs, and any words after it (`ok 0.8 s`).
    """
    shown = Text("asking")
    for name, state in parts.items():
        word, _, rest = state.partition(" ")
        sign, style = _SIGNS.get(word, (word, ""))
        said = f"{word if ascii_only else sign} {rest}".strip()
        shown.append_text(line("  ", safe(name, ascii_only=ascii_only), " "))
        shown.append(safe(said, ascii_only=ascii_only), style)
    return shown if cells(shown.plain) <= width else _cut(shown.plain, width, ascii_only)


def _cut(text: str, width: int, ascii_only: bool) -> Text:
    shown = Text(cut(text, width))
    return plain_ascii(shown) if ascii_only else shown
