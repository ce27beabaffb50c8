"""The guards as a page: what each protects, how, for which actions, and whether it yields."""

from rich.console import Group
from rich.text import Text

from oncall.model_acts import GuardInfo, Guards
from oncall.render.act_words import applies_to, every_action, guards_headline
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, GAP, HEADING, Cell, columns, indented, side_by_side
from oncall.render.header import NARROW
from oncall.render.inert import inert
from oncall.render.table import Field, table
from oncall.render.text import cells, cut

_TABLE = 110
"""From this width on they are a table; below, a paragraph each."""
_NAME = 24


def guards_page(found: Guards, *, width: int, ascii_only: bool = False) -> Group:
    """All guards, at most `width` cells wide. Nothing is cut but a name that is none."""
    width = page_width(width)
    guards = inert(found, ascii_only=ascii_only).guards
    every = every_action(guards)
    head = indented(guards_headline(guards), width, style=HEADING)
    head += indented("--override NAME --reason TEXT", width, indent=2)
    if width >= _TABLE and guards:
        blocks = [head, table(_fields(guards, every), width, whole=True)]
    else:
        column = min(_NAME, max((cells(guard.name) for guard in guards), default=0))
        blocks = [head, *(_block(guard, every, column, width) for guard in guards)]
    return page(blocks, [], ascii_only=ascii_only, height=None)


def _fields(guards: tuple[GuardInfo, ...], every: tuple[str, ...]) -> list[Field]:
    return [
        Field("Guard", tuple(cut(guard.name, _NAME) for guard in guards)),
        Field("protects", tuple(guard.protects for guard in guards)),
        Field("how", tuple(guard.how for guard in guards)),
        Field("actions", tuple(applies_to(guard, every) for guard in guards)),
        Field("override", tuple("yes" if guard.overridable else "never" for guard in guards)),
    ]


def _block(guard: GuardInfo, every: tuple[str, ...], column: int, width: int) -> list[Text]:
    indent = 2 if width < NARROW else column + GAP
    yields = "can be overridden" if guard.overridable else "never overridden"
    body = indented(f"protects {guard.protects}", width - indent)
    body += indented(guard.how, width - indent, style=FAINT)
    body += indented(f"{applies_to(guard, every)}; {yields}", width - indent)
    name = columns([Cell(cut(guard.name, _NAME), HEADING)], [min(width, _NAME)])
    if width < NARROW:
        return [*name, *(side_by_side([Text()], [part], indent)[0] for part in body)]
    return side_by_side(name, body, indent)
