"""What resize-pool says: the diff of one line, what is lost, what comes next. Pure."""

import re
import shlex

from oncall.model import Unavailable
from oncall.remediation.action import Scene
from oncall.remediation.actions.pool_budget import Slots
from oncall.remediation.actions.settings_file import Place
from oncall.scrub import scrub, secrets_of

# Of the line only the key and the value are shown, and what cannot hold a secret: a file of one line has them all.
_PLAIN_HEAD = re.compile(r"""\s*(?:-\s+|\{\s*)?(?:export\s+)?[\w."'-]*\s*[:=]?\s*["']?""")
_HEAD = re.compile(r"""[\w."'-]*\s*[:=]?\s*(?:[&!]\S+\s+)*["']?\Z""")
_PLAIN_TAIL = re.compile(r"""["']?\s*[,}\]]*\s*(?:[#;].{0,200})?""")
# The comment that configuration management puts on top of what it writes.
_TOOL = r"(ansible|puppet|chef|salt(?:stack)?|cfengine|terraform)\b"
_MANAGED = re.compile(
    rf"(?im)^\s*[#;!].*?\b(?:(?:managed|maintained|generated|controlled)\s+(?:by|with)\s+{_TOOL}|{_TOOL}\s+managed\b)"
)
_HEADER = 1000
_DANGEROUS = re.compile(r"(?i)@|://|pass|secret|token|key|auth|credential")


def hunk(scene: Scene, file: str, text: str, place: Place, to: int) -> str:
    """A diff of the one line, without its neighbours, which may be secrets."""
    begin = text.rfind("\n", 0, place.start) + 1
    end = text.find("\n", place.end)
    head = text[begin : place.start].removeprefix("\ufeff")
    tail = text[place.end : len(text) if end < 0 else end].rstrip("\r")
    if not _PLAIN_HEAD.fullmatch(head):
        cut = _HEAD.search(head)
        head = "… " + (cut[0].lstrip() if cut else "")
    if not _PLAIN_TAIL.fullmatch(tail) or _DANGEROUS.search(tail):
        quote = tail[:1] if tail[:1] in ("'", '"') else ""
        tail = f"{quote} …"
    lines = [
        f"--- {file}",
        f"+++ {file}",
        f"@@ -{place.line} +{place.line} @@",
        f"-{head}{place.number}{tail}",
        f"+{head}{to}{tail}",
    ]
    return scrub("\n".join(lines), secrets_of(scene.service))


def losses(slots: Slots | Unavailable | str, total: int) -> tuple[str, ...]:
    """What the restart that follows takes away; the edit itself takes nothing."""
    if not isinstance(slots, Slots) or slots.guessed:
        return ("nothing until the restart, which drops the connections of the pool",)
    held = f"{slots.app} connection{'' if slots.app == 1 else 's'}"
    said = f"nothing until the restart, which drops the {held} that the service holds now"
    if slots.app <= total:
        return (said,)
    return said, f"the service holds {held} now, more than the {total} that it will have after the restart"


def notes(scene: Scene, to: int, text: str) -> tuple[str, ...]:
    """When it takes effect, what else says the size, and who will write the file again."""
    line = restart(scene)
    found = ["it takes effect with the next restart of the service" + (f": {line}" if line else "")]
    limit = scene.service.limits.pool
    if limit is not None and limit != to:
        found.append(
            f"limits.pool of the service file is {limit}: the thresholds are shares of it; write {to} there too"
        )
    if tool := managed_by(text):
        found.append(
            f"{tool} manages this file, by its own words: the next run puts the old size back; change it there too"
        )
    return tuple(found)


def managed_by(text: str) -> str | None:
    """The configuration management that writes the file again, where its first lines say so."""
    found = _MANAGED.search(text[:_HEADER])
    return (found[1] or found[2]).capitalize() if found else None


def restart(scene: Scene) -> str | None:
    """The command that makes it count; None where the service file does not say how to restart."""
    if scene.service.restart is None and scene.service.unit is None:
        return None
    return command(scene, "restart", "--issue", "pool", "--confirm")


def command(scene: Scene, action: str, *words: str) -> str:
    """A complete command line about the same service."""
    return shlex.join(["oncall", "remediate", action, *scene.address, *words])
