"""What the channel is told, to the letter; and a chat that is away, slow or hostile holds nothing back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from oncall.lab.process import free_port
from oncall.model import Severity
from oncall.model_acts import ActionPlan, Check, Outcome, Remediation, Verification
from oncall.model_service import Announce, Service
from oncall.remediation.announce import announce, payload
from tests.clients.webstand import Answer, Asked, Stand, forever, reply, silence
from tests.remediation.auditstand import ANA, DONE, PLAN, PROOF, SYMPTOM
from tests.render.reports import TEXT

PATH = "/services/T0CANARY/B0CANARY/XcanaryXcanaryX"


def text(told: ActionPlan | Remediation) -> str:
    return str(payload(told, ANA)["text"]) + "\n"


def proof(result: Any) -> Verification:  # noqa: ANN401 - one of the words
    now = {"worse": 20.0, "not_fixed": 18.0}.get(result, 4.0)
    severity = Severity.CRITICAL if now > 16 else Severity.OK
    return replace(PROOF, result=result, symptoms=(replace(SYMPTOM, now=now, severity=severity),))


TOLD: dict[str, ActionPlan | Remediation] = {
    "plan": PLAN,
    "plan_without_symptoms": replace(PLAN, severity=None, issues=(), losses=(), guards=(), place=()),
    "fixed": DONE,
    "worse": replace(DONE, verification=proof("worse")),
    "interrupted": replace(
        DONE, outcome="interrupted", verification=None, text="interrupted; 1 of 3 done", next=()
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_message(name: str, golden: SnapshotAssertion) -> None:
    assert text(TOLD[name]) == golden


@pytest.mark.parametrize(
    ("outcome", "result", "title"),
    [
        ("done", "fixed", "🟢 FIXED"),
        ("done", "nothing_measured", "🟢 DONE"),
        ("done", "not_fixed", "🔴 NOT FIXED"),
        ("done", "worse", "🔴 WORSE"),
        ("done", "unknown", "⚪ NOT VERIFIED"),
        ("done", None, "⚪ DONE, NOT VERIFIED"),
        ("partly", "fixed", "🟡 PARTLY DONE"),
        ("failed", "fixed", "🔴 FAILED"),
        ("unknown", None, "⚪ UNKNOWN WHETHER DONE"),
        ("refused", None, "⚪ REFUSED, NOTHING CHANGED"),
        ("unchanged", None, "🟡 NOTHING CHANGED"),
        ("interrupted", None, "🟡 INTERRUPTED"),
    ],
)
def test_the_title_promises_no_more_than_is_known(outcome: Outcome, result: str | None, title: str) -> None:
    done = replace(DONE, outcome=outcome, verification=proof(result) if result else None)
    assert text(done).splitlines()[0] == f"{title}: restart on bot-controller"


@pytest.mark.parametrize(("holds", "title"), [(False, "🔴 NOT FIXED"), (None, "⚪ NOT VERIFIED")])
def test_fixed_needs_every_check(holds: bool | None, title: str) -> None:
    failed = replace(PROOF, checks=(*PROOF.checks, Check(text="two healthy answers in a row", holds=holds)))
    assert text(replace(DONE, verification=failed)).startswith(f"{title}: ")


@given(TEXT)
def test_nothing_foreign_is_a_mention_a_link_or_another_line(foreign: str) -> None:
    told = replace(PLAN, title=foreign, service=foreign, losses=(foreign,))
    said = payload(told, ANA)
    shown = str(said["text"])
    assert not set(shown) & set("<>\x1b\x9b\x07\u202e\r\t")
    assert len(shown.splitlines()) == len(
        text(replace(PLAN, title="x", service="x", losses=("x",))).splitlines()
    ) - (0 if foreign else 2)
    assert (said["mrkdwn"], said["parse"], said["link_names"]) == (False, "none", False)
    json.dumps(said).encode()


def test_no_secret_is_told() -> None:
    told = replace(PLAN, title="connects to s3cret-canary", place=(("url", "http://u:s3cret-canary@h"),))
    assert "canary" not in str(payload(told, ANA, ("s3cret-canary",)))


# --- sending -------------------------------------------------------------------------------------


def told_to(url: str, deadline_s: float = 3.0) -> str | None:
    service = Service(announce=Announce(slack=url))
    return asyncio.run(announce(service, PLAN, ANA, deadline_s=deadline_s))


def with_stand(answer: Callable[[Asked], Answer], deadline_s: float = 30.0) -> tuple[str | None, list[Asked]]:
    """What is said of an announcement to a server that answers so, and what it was asked."""

    async def run() -> tuple[str | None, list[Asked]]:
        async with Stand(answer) as stand:
            service = Service(announce=Announce(slack=stand.url + PATH))
            return await announce(service, PLAN, ANA, deadline_s=deadline_s), stand.asked

    return asyncio.run(run())


def like_slack(asked: Asked) -> Answer:
    """Takes what Slack would take, and refuses the rest as Slack does."""
    if asked.method != "POST" or asked.path != PATH:
        return reply("no_service", "404 Not Found", Content_Type="text/html")
    if not asked.headers.get("content-type", "").startswith("application/json"):
        return reply("invalid_payload", "400 Bad Request")
    try:
        document = json.loads(asked.body)
    except ValueError:
        return reply("invalid_payload", "400 Bad Request")
    return reply("ok") if document.get("text") else reply("no_text", "400 Bad Request")


def test_it_is_sent_as_slack_wants_it() -> None:
    said, asked = with_stand(like_slack)
    assert said is None
    (one,) = asked
    assert json.loads(one.body) == payload(PLAN, ANA)
    assert json.loads(one.body)["text"].startswith(
        "🔴 CRITICAL: restart begins on bot-controller\nSeverity: CRITICAL"
    )


def test_who_has_no_webhook_tells_nobody() -> None:
    assert asyncio.run(announce(Service(), PLAN)) is None
    assert asyncio.run(announce(Service(announce=Announce()), PLAN)) is None


async def drip() -> AsyncIterator[bytes]:
    async for piece in forever(b"HTTP/1.1 200 OK\r\n\r\n", b"o", 0.02):
        yield piece


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply("x", "500 Internal Server Error"), "answers 500 Internal Server Error: x"),
        (reply("", "503 Service Unavailable"), "answers 503 Service Unavailable"),
        (reply("invalid_token", "403 Forbidden"), "answers 403 Forbidden: invalid_token"),
        (
            reply("", "302 Found", Location=f"https://evil.example{PATH}"),
            "redirects (302), which is not followed",
        ),
        (reply("<html>log in", Content_Type="text/html"), "answers with an HTML page: is its address right?"),
        (b"garbage\r\n\r\n", "does not speak HTTP"),
        (
            reply(f"no such hook: {PATH}\x1b[2J", "404 Not Found"),
            "answers 404 Not Found: no such hook: *** [2J",
        ),
    ],
    ids=["500", "503", "403", "redirect", "html", "garbage", "echo"],
)
def test_a_chat_that_does_not_take_it_is_said(answer: bytes, says: str) -> None:
    said, asked = with_stand(lambda _: answer)
    assert said is not None
    assert said.startswith("not announced: the Slack webhook ")
    assert says in said
    assert "canary" not in said.lower()
    assert "\x1b" not in said
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [silence, drip], ids=["silent", "drips"])
def test_a_slow_chat_is_not_waited_for(answer: Callable[[], AsyncIterator[bytes]]) -> None:
    begun = time.monotonic()
    said, _ = with_stand(lambda _: answer(), deadline_s=0.3)
    assert said == "not announced: the Slack webhook gave no answer within 300 ms"
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("name", ["127.0.0.1", "no-such-host.invalid"])
def test_a_chat_that_is_away_is_said(name: str) -> None:
    said = told_to(f"http://{name}:{free_port()}{PATH}", 30)
    assert said is not None
    assert said.startswith("not announced: ")
    assert "canary" not in said.lower()


def test_an_address_that_is_none_is_said() -> None:
    for url in ("http://[canary", "http://h:99999999/canary", "https://\x00canary"):
        said = told_to(url)
        assert said is not None
        assert "canary" not in said.lower()
