"""How the tests print: a console that is no terminal, as in a pipe."""

import io

from rich.console import Console, RenderableType


def printed(page: RenderableType, width: int, *, terminal: bool = False) -> str:
    """What `oncall` would write to stdout."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(page)
    return file.getvalue()
