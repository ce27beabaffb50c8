"""Plans and results of actions, told to the team's channel: a Slack incoming webhook.

The form is that of the alerts of the monitoring document: a sign and a title, then a line for each fact."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from oncall.clients.http_faults import Refused, fault, split, status_text
from oncall.clients.http_options import proxy_for, tls_context
from oncall.model import Severity, worst
from oncall.model_acts import (
    ActionPlan,
    GuardState,
    Helped,
    Remediation,
    SymptomChange,
    Verification,
    Who,
)
from oncall.model_service import Service, Tls
from oncall.numbers import duration, humane
from oncall.remediation.audit_who import who
from oncall.scrub import scrub, secrets_of

if TYPE_CHECKING:
    import httpx

DEADLINE_S = 3.0
"""For all of it. Nobody waits longer for a chat than this."""
PLACE = "the Slack webhook"
_SIGN = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟡", Severity.OK: "🟢", Severity.UNKNOWN: "⚪"}
_RESULT: Mapping[str, tuple[str, str]] = {
    "fixed": ("🟢", "FIXED"),
    "nothing_measured": ("🟢", "DONE"),
    "not_fixed": ("🔴", "NOT FIXED"),
    "worse": ("🔴", "WORSE"),
    "unknown": ("⚪", "NOT VERIFIED"),
}
_OUTCOME: Mapping[str, tuple[str, str]] = {
    "done": ("⚪", "DONE, NOT VERIFIED"),
    "partly": ("🟡", "PARTLY DONE"),
    "unchanged": ("🟡", "NOTHING CHANGED"),
    "failed": ("🔴", "FAILED"),
    "unknown": ("⚪", "UNKNOWN WHETHER DONE"),
    "refused": ("⚪", "REFUSED, NOTHING CHANGED"),
    "interrupted": ("🟡", "INTERRUPTED"),
}
_LONGEST, _MOST = 300, 5
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
Lines = Sequence[tuple[str, str]]


# --- sending -------------------------------------------------------------------------------------


async def announce(
    service: Service,
    told: ActionPlan | Remediation,
    by: Who | None = None,
    *,
    deadline_s: float = DEADLINE_S,
) -> str | None:
    """Posts a plan before it is carried out, or its result. None where it was sent, or nobody is to be told; else why
    it was not sent. Never raises, and never takes longer than `deadline_s` seconds."""
    url = service.announce.slack if service.announce else None
    if not url:
        return None
    secrets = secrets_of(service)
    said = await _post(url, payload(told, by or who(), secrets), deadline_s)
    return said and scrub(said, secrets)


async def post_text(service: Service, text: str, *, deadline_s: float = DEADLINE_S) -> str | None:
    """Posts lines of text; None where it was sent, else why not. Never raises, never takes longer than told."""
    url = service.announce.slack if service.announce else None
    if not url:
        return f"not posted: no announce.slack in the service file, {PLACE} is not known"
    secrets = secrets_of(service)
    said = await _post(url, _message(text.split("\n"), secrets), deadline_s)
    return said and scrub(said, secrets)


async def _post(url: str, body: Mapping[str, object], deadline_s: float) -> str | None:
    import httpx

    try:
        async with asyncio.timeout(deadline_s):
            return await _ask(url, body)
    except TimeoutError:
        return f"not announced: {PLACE} gave no answer within {duration(deadline_s)}"
    except (Refused, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return f"not announced: {fault(error, PLACE).reason}"


async def _ask(url: str, body: Mapping[str, object]) -> str | None:
    import httpx

    parts = split(url)
    async with (
        httpx.AsyncClient(
            verify=tls_context(Tls(), parts.scheme == "https"),
            proxy=proxy_for(parts),
            trust_env=False,
            timeout=None,  # noqa: S113 - the caller limits the whole
            follow_redirects=False,
            headers={"User-Agent": "oncall"},
        ) as client,
        client.stream("POST", url, json=body) as answer,
    ):
        return await _fault(answer)


async def _fault(answer: "httpx.Response") -> str | None:
    """Why the answer is not that of a chat that took the message. Slack says `ok`, or what it did not like."""
    said = " ".join((await _head(answer)).decode("utf-8", "replace").split())
    if 300 <= answer.status_code < 400:
        return f"not announced: {PLACE} redirects ({answer.status_code}), which is not followed"
    if not 200 <= answer.status_code < 300:
        return (
            f"not announced: {PLACE} answers {status_text(answer.status_code)}: {_plain(said)[:80]}".rstrip(
                ": "
            )
        )
    if said.startswith("<"):
        return f"not announced: {PLACE} answers with an HTML page: is its address right?"
    return None


async def _head(answer: "httpx.Response") -> bytes:
    found = b""
    async for piece in answer.aiter_raw():
        found += piece
        if len(found) > 1000:
            break
    return found


# --- what is said --------------------------------------------------------------------------------


def payload(told: ActionPlan | Remediation, by: Who, secrets: Sequence[str] = ()) -> dict[str, object]:
    """The message as Slack takes it: plain text, so that nothing in it is a link, a mention or markup."""
    lines = _plan(told, by) if isinstance(told, ActionPlan) else _result(told, by)
    return _message(lines, secrets)


def _message(lines: Iterable[str], secrets: Sequence[str]) -> dict[str, object]:
    text = "\n".join(_escaped(_plain(scrub(line, secrets))) for line in lines)
    return {"text": text, "mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False}


def _plan(plan: ActionPlan, by: Who) -> Iterator[str]:
    severity = plan.severity or Severity.UNKNOWN
    yield f"{_SIGN[severity]} {severity.value.upper()}: {plan.action} begins on {plan.service}"
    yield from _facts([("Severity", severity.value.upper()), *_of_plan(plan), ("Plan", plan.title)])
    yield from _facts([*_places(plan), ("Lost", "; ".join(plan.losses)), ("Overridden", _overridden(plan))])
    yield from _facts([("By", _name(by)), *_service(plan)])
    yield ""
    yield f"Action Required: none. Do not act on {_short(plan.service)} at the same time."


def _result(done: Remediation, by: Who) -> Iterator[str]:
    plan, proof = done.plan, done.verification
    sign, word = _OUTCOME[done.outcome]
    if done.outcome == "done" and proof is not None:
        sign, word = _RESULT[_helped(proof)]
    yield f"{sign} {word}: {plan.action} on {plan.service}"
    yield from _facts([("Severity", _severity_after(done).value.upper()), *_of_plan(plan)])
    yield from _facts(
        [("Result", done.text), *_proof(proof), ("Duration", duration(done.duration_ms / 1000))]
    )
    yield from _facts([("By", _name(by)), *_service(plan), ("Audit", _audit(done, by))])
    if done.next:
        yield ""
        yield f"Recommended: {_short(done.next[0].command)}"


def _helped(proof: Verification) -> Helped:
    """What is proven: a check that fails is no fix, one that could not be told is no proof."""
    holds = [check.holds for check in proof.checks]
    if proof.result not in ("fixed", "nothing_measured") or all(holds):
        return proof.result
    return "not_fixed" if False in holds else "unknown"


def _of_plan(plan: ActionPlan) -> Lines:
    return [("Action", f"{plan.action} (plan {plan.id})")]


def _places(plan: ActionPlan) -> Lines:
    return [(label[:1].upper() + label[1:], text) for label, text in plan.place[:_MOST]]


def _service(plan: ActionPlan) -> Lines:
    runbook = f"oncall runbook show {plan.issues[0]}" if len(plan.issues) == 1 else ""
    return [("Service", f"{plan.service} ({plan.environment})"), ("Runbook", runbook)]


def _overridden(plan: ActionPlan) -> str:
    return ", ".join(guard.name for guard in plan.guards if guard.state is GuardState.OVERRIDDEN)


def _name(by: Who) -> str:
    return f"{by.login or by.user} on {by.host}"


def _audit(done: Remediation, by: Who) -> str:
    return "" if done.audit is None else f"oncall audit show {done.audit} (on {by.host})"


def _severity_after(done: Remediation) -> Severity:
    """The worst of the symptoms now; unknown where none was measured."""
    return worst(s.severity for s in (done.verification.symptoms if done.verification else ()))


def _proof(proof: Verification | None) -> Iterator[tuple[str, str]]:
    if proof is None:
        return
    yield "Verified", proof.text
    for symptom in proof.symptoms[:_MOST]:
        yield "Value", _value(symptom)


def _value(s: SymptomChange) -> str:
    """`Pool in use = 4 (before: 19, threshold: 16)`, as the alerts write it."""
    bound = s.warning if s.warning is not None else s.critical
    limit = "" if bound is None or s.unit == "yes_no" else f", threshold: {humane(bound, s.unit)}"
    before = "unknown" if s.before is None else humane(s.before, s.unit)
    now = "unknown" if s.now is None else humane(s.now, s.unit)
    return f"{s.title} = {now} (before: {before}{limit})"


def _facts(facts: Lines) -> Iterator[str]:
    return (f"{label}: {_short(text)}" for label, text in facts if text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _plain(text: str) -> str:
    """On one line, and nothing that turns text around or hides it."""
    return "".join(char if char.isprintable() else " " for char in text)


def _escaped(text: str) -> str:
    for char, escape in _ESCAPES:
        text = text.replace(char, escape)
    return text
