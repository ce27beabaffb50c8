"""A page as a picture, for documents."""

import io
from html import escape

from rich.console import Console, RenderableType

# rich's own frame without its @font-face rules: those load fonts from another site when the picture is shown.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xml:space="preserve" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{
        font-size: 18px;
        font-weight: bold;
        font-family: Helvetica, Arial, sans-serif;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""
_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>TITLE</title>
</head>
<body style="color: {foreground}; background-color: {background}">
<pre style="font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; line-height: 1.2">\
<code style="font-family: inherit">{code}</code></pre>
</body>
</html>
"""


def svg(renderable: RenderableType, title: str, width: int) -> str:
    """The page as a terminal of `width` columns shows it. The picture asks nothing of any other site."""
    return _recorded(renderable, width).export_svg(title=title, code_format=_SVG, unique_id="oncall")


def html(renderable: RenderableType, title: str, width: int) -> str:
    """The same as a page for a browser, which asks nothing of any other site either."""
    head = _HTML.replace("TITLE", escape(title).replace("{", "{{").replace("}", "}}"))
    return _recorded(renderable, width).export_html(code_format=head, inline_styles=True)


def _recorded(renderable: RenderableType, width: int) -> Console:
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(renderable)
    return console
