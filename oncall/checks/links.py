"""Links to runbooks in the annotations of alert rules: are they still there?

Wikis are internal, so addresses of this network are asked like any other; what an address holds of credentials is
never sent. A page that wants a login was not seen: it is neither alive nor dead."""

import asyncio
import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene, no_prometheus, present_only, unknown
from oncall.clients.http import HttpServer
from oncall.clients.http_faults import status_text
from oncall.clients.prom_alerts import Rule, alert_rules
from oncall.model import Absence, Column, Frozen, Severity, Table, Unavailable
from oncall.model_checks import CheckLine

ANNOTATIONS = ("runbook_url", "runbook", "runbook_link")
PATIENCE_S = 3.0
AT_ONCE = 20
MOST = 100
"""Links that are asked; of more, the rest is said to be left out."""
_CAP_BYTES = 2**18
_HOPS = 4
_LOGIN = re.compile(
    r"log[-_]?[io]n|sign[-_]?in|/auth|/sso|/saml|oauth|openid|/cas/|accounts?\.", re.IGNORECASE
)
_FORM = re.compile(rb"<input[^>]{0,300}type\s*=\s*[\"']?password", re.IGNORECASE)
_GONE = frozenset({Absence.DOWN, Absence.UNRESOLVED, Absence.TIMEOUT, Absence.BAD_ANSWER})
_COLUMNS = (Column(name="link"), Column(name="state"), Column(name="found"), Column(name="alerts"))
_ORDER = ("dead", "unknown", "alive")

State = Literal["alive", "dead", "unknown"]


class Link(Frozen, frozen=True):
    """An address (without credentials), the alerts that have it, and what was found there."""

    url: str
    alerts: tuple[str, ...]
    state: State
    found: str


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line: how many of the links that the alert rules name are dead."""
    at = scene.service.prometheus
    if at is None:
        return (no_prometheus(name, spec),)
    if scene.at is not None:
        return (present_only(name, spec, "http"),)
    rules = await alert_rules(at, scene.deadline_s / 2)
    if isinstance(rules, Unavailable):
        return (unknown(name, spec, "prometheus", rules.reason, rules.hint),)
    urls = links_of(rules)
    turns = asyncio.Semaphore(AT_ONCE)
    patience = min(PATIENCE_S, scene.deadline_s / 3)
    asked = list(urls.items())[:MOST]
    found = await asyncio.gather(*(_one(url, alerts, turns, patience) for url, alerts in asked))
    return (told(name, spec, tuple(found), len(rules), left_out=len(urls) - len(asked)),)


def links_of(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """The http addresses that rules name as their runbook, each with its alerts. Those with a template in them are
    made when the alert fires: they cannot be asked before. Pure."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        for name in ANNOTATIONS:
            text = rule.annotations.get(name, "").strip()
            if _is_link(text) and rule.name not in found.setdefault(text, []):
                found[text].append(rule.name)
    return {url: tuple(alerts) for url, alerts in found.items()}


def _is_link(text: str) -> bool:
    if "{{" in text or any(c.isspace() for c in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def bare(url: str) -> str:
    """The address without the credentials and the fragment that it may hold."""
    parts = urlsplit(url)
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, "").geturl()


# --- asking ----------------------------------------------------------------------------------------


async def _one(url: str, alerts: tuple[str, ...], turns: asyncio.Semaphore, patience_s: float) -> Link:
    async with turns:
        try:
            async with asyncio.timeout(patience_s):
                state, found = await _follow(bare(url), patience_s)
        except TimeoutError:
            state, found = "dead", f"no answer within {patience_s:g} s"
    return Link(url=_shown(url), alerts=alerts, state=state, found=found)


def _shown(url: str) -> str:
    """Without credentials and without a query, which may hold a token."""
    parts = urlsplit(url)
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()


async def _follow(url: str, patience_s: float) -> tuple[State, str]:
    """What is at the end of a few redirects."""
    for _ in range(_HOPS):
        async with HttpServer(url) as server:
            got = await server.fetch("", deadline_s=patience_s, cap_bytes=_CAP_BYTES)
        if isinstance(got, Unavailable):
            return _absent(got)
        if not 300 <= got.status < 400 or got.status == 304:
            return judged(got.status, got.body, got.content_type)
        target = urljoin(url, got.headers.get("location", ""))
        if not _is_link(target):
            return "dead", f"{status_text(got.status)} to nowhere"
        if _LOGIN.search(urlsplit(target).netloc + urlsplit(target).path):
            return "unknown", f"redirects to a login page at {urlsplit(target).hostname}"
        url = bare(target)
    return "dead", f"more than {_HOPS} redirects"


def _absent(why: Unavailable) -> tuple[State, str]:
    if "is larger than" in why.reason:
        # So much comes only from a page that is there.
        return "alive", "a large page"
    return ("dead" if why.kind in _GONE else "unknown"), why.reason


def judged(status: int, body: bytes, content_type: str) -> tuple[State, str]:
    """Whether an answer is a page that was there to be read. Pure."""
    if status in (401, 403, 407):
        return "unknown", f"{status_text(status)}: it wants a login"
    if status == 429:
        return "unknown", status_text(status)
    if not 200 <= status < 300:
        return "dead", status_text(status)
    if "html" in content_type and _FORM.search(body):
        return "unknown", "a login page"
    return "alive", status_text(status)


# --- the line ----------------------------------------------------------------------------------------


def told(name: str, spec: LineSpec, found: tuple[Link, ...], rules: int, *, left_out: int = 0) -> CheckLine:
    """The line of the links, the dead first."""
    by = {state: [n for n in found if n.state == state] for state in _ORDER}
    dead, hidden = by["dead"], by["unknown"]
    severity = Severity.WARNING if dead else Severity.UNKNOWN if hidden else Severity.OK
    ordered = [n for state in _ORDER for n in by[state]]
    rest = (f"{left_out} more links were not asked",) if left_out else ()
    return CheckLine(
        id=name,
        title=spec.title or "Runbook links",
        severity=severity,
        why=spec.why,
        source="http",
        value=float(len(dead)),
        unit="links",
        text=_text(found, dead, hidden, rules),
        target=spec.target or "0 dead",
        age_s=0.0,
        hint="look at them with a browser where you are logged in" if hidden and not dead else None,
        counts=not (severity is Severity.UNKNOWN and spec.optional),
        detail=Table(columns=_COLUMNS, rows=tuple(map(_row, ordered))) if dead or hidden else None,
        notes=rest,
    )


def _text(found: tuple[Link, ...], dead: list[Link], hidden: list[Link], rules: int) -> str:
    if not found:
        return f"none of {rules} alert rules names one" if rules else "no alert rule"
    said = f"{len(dead)} of {len(found)} dead: {dead[0].url}" if dead else ""
    said += " …" if len(dead) > 1 else ""
    if hidden:
        said += f"{', ' if said else ''}{len(hidden)} of {len(found)} behind a login or unclear"
    return said or f"all {len(found)} are there"


def _row(n: Link) -> tuple[str, ...]:
    return n.url, n.state, n.found, ", ".join(n.alerts)
