"""One line on stderr while the backends are asked."""

from collections.abc import Mapping

from rich.text import Text

from oncall.render.grid import plain_ascii
from oncall.render.text import cells, cut, safe

_SIGNS = {
    "answered": ("✓", "ok", "green"),
    "asked": ("…", "...", ""),
    "late": ("✗ late", "late", "yellow"),
    "failed": ("✗", "failed", "bold red"),
}


def waiting(
    parts: Mapping[str, str], elapsed_s: float = 0.0, *, width: int = 80, ascii_only: bool = False
) -> Text:
    """`asking  prometheus ✓  postgres …  http ✗ late  0.8 s`, cut to one line.

    A part is `asked`, `answered`, `late` or `failed`; any other word is shown as it is.
    """
    shown = Text("asking")
    for name, state in parts.items():
        sign, word, style = _SIGNS.get(state, (safe(state), safe(state, ascii_only=True), ""))
        shown.append(f"  {safe(name, ascii_only=ascii_only)} ")
        shown.append(word if ascii_only else sign, style)
    shown.append(f"  {elapsed_s:.1f} s" if elapsed_s > 0 else "")
    if cells(shown.plain) > width:
        shown = Text(cut(shown.plain, width))
    return plain_ascii(shown) if ascii_only else shown
