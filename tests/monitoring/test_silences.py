"""Silences at a real Alertmanager: seen before they are made, made once, listed, ended; and what is refused."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oncall.errors import UsageFault
from oncall.lab.servers import Server, free_port, start_alertmanager, stop
from oncall.model_alerts import SilenceList, SilencePlan
from oncall.model_service import Service
from oncall.monitoring.alerts import Look
from oncall.monitoring.escalation import policy
from oncall.monitoring.matchers import parse
from oncall.monitoring.silence_end import expire
from oncall.monitoring.silences import Wanted, listed, silence
from oncall.runbook.loader import packaged_folder
from tests.clients.webstand import Asked, reply
from tests.clients.webstand import Stand as Web
from tests.monitoring.alertstand import MANAGER, Alerting

POLICY = policy([packaged_folder()])
HITS = [
    {"alertname": "PoolExhausted", "severity": "critical", "job": "bot", "instance": "app-1", "env": "prod"},
    {
        "alertname": "PoolExhausted",
        "severity": "critical",
        "job": "other",
        "instance": "app-2",
        "env": "prod",
    },
    {"alertname": "SlowQueries", "severity": "warning", "job": "bot", "instance": "app-1", "env": "prod"},
]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_alertmanager(tmp_path_factory.mktemp("am"), config=MANAGER)
    yield server
    stop(server)


@pytest.fixture
def stand(manager: Server) -> Iterator[Alerting]:
    made = Alerting(manager, manager)
    made.fire(*HITS)
    yield made
    made.expire_all()


def of(url: str | None) -> Look:
    at = {"alertmanager": {"url": url}} if url else {}
    known = {"prometheus": {"url": "http://127.0.0.1:9", "selector": {"job": "bot"}}, **at}
    service = msgspec.convert(known, Service)
    return Look(name="bot", service=service, policy=POLICY, issue_of=lambda name: None, address=("-s", "bot"))


def planned(stand: Alerting, *texts: str, **changed: Any) -> SilencePlan:  # noqa: ANN401  # any field
    wanted = Wanted(terms=parse(texts), for_s=7200.0, comment="the upgrade", by="ana@jump-1")
    return asyncio.run(silence(of(stand.manager.url), msgspec.structs.replace(wanted, **changed), 30))


def ended(stand: Alerting, named: str, *, do: bool = False) -> SilencePlan:
    return asyncio.run(expire(of(stand.manager.url), named, 30, do=do))


def every(stand: Alerting, *, old: bool = False) -> SilenceList:
    return asyncio.run(listed(of(stand.manager.url), 30, lambda name, state: None, ended=old))


# --- before it is made -------------------------------------------------------------------------------


def test_a_preview_says_what_it_hits_and_changes_nothing(stand: Alerting) -> None:
    plan = planned(stand, "alertname=PoolExhausted")
    assert (plan.state, plan.text) == ("preview", "it would silence 2 of 3 alerts for 2 h")
    assert [(hit.name, hit.own) for hit in plan.hits] == [("PoolExhausted", True), ("PoolExhausted", False)]
    assert plan.warnings == (
        "2 of them are critical: meanwhile nobody is paged for that",
        "1 of them is not of bot: add job=bot to spare others",
    )
    said = "oncall alerts silence -s bot 'alertname=\"PoolExhausted\"' --for 2h --comment 'the upgrade' --confirm"
    assert plan.command == said
    assert every(stand).silences == ()


def test_what_would_hit_other_services_later_is_said_now(stand: Alerting) -> None:
    said = "it would silence those of other services too, once they fire: add job=bot to spare them"
    assert said in planned(stand, "alertname=SlowQueries").warnings
    for narrow in ("job=bot", "instance=app-1"):
        assert planned(stand, "alertname=SlowQueries", narrow).warnings == ()


def test_one_that_comes_back_with_other_matchers_is_not_called_made() -> None:
    other = {"name": "alertname", "value": "Y", "isRegex": False, "isEqual": True}
    begun = {"startsAt": "2026-01-01T00:00:00Z", "endsAt": "2036-01-01T00:00:00Z"}
    kept = {"id": "i-1", "status": {"state": "active"}, "matchers": [other], **begun}

    def answer(asked: Asked) -> bytes:
        if asked.method == "POST":
            return reply('{"silenceID":"i-1"}')
        return reply(msgspec.json.encode([kept] if asked.path.endswith("silences") else []))

    async def ask() -> SilencePlan:
        async with Web(answer) as web:
            wanted = Wanted(terms=parse(["alertname=X"]), for_s=60.0, comment="x", by="ana", do=True)
            return await silence(of(web.url), wanted, 30)

    plan = asyncio.run(ask())
    assert (plan.state, plan.text) == ("unverified", 'made as i-1, but with other matchers: alertname="Y"')
    assert plan.hint == "oncall alerts expire i-1 -s bot --confirm"


def test_alertmanagers_own_regex_decides(stand: Alerting) -> None:
    """A class that Python's re does not know."""
    plan = planned(stand, r"alertname=~\pL+", "job=bot")
    assert sorted(hit.name for hit in plan.hits) == ["PoolExhausted", "SlowQueries"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["alertname=poolexhausted"], 'it hits nothing now: no alert has alertname="poolexhausted"; '
                                      "did you mean PoolExhausted?"),
        (["job=bot", "severity=sev9"], 'no alert has severity="sev9"; there is critical, warning'),
        (["job=bot", "team=db"], 'no alert has team="db"; no alert has the label team'),
        (["job=other", "severity=warning"], "each matcher is met by some alert, all together by none"),
    ],
)  # fmt: skip
def test_one_that_hits_nothing_says_why(stand: Alerting, texts: list[str], says: str) -> None:
    plan = planned(stand, *texts)
    assert (plan.state, plan.hits) == ("preview", ())
    assert says in plan.warnings[0]


def test_one_that_hits_everything_is_warned_about_where_it_names_what_it_is_for(stand: Alerting) -> None:
    plan = planned(stand, "env=prod")
    assert plan.state == "preview"
    assert plan.warnings[0] == "it hits everything: all 3 alerts of now"


@pytest.mark.parametrize("texts", [["alertname=~.+"], ["severity=~.*", "alertname=~.+"], ["job=~bot|other"]])
def test_one_that_would_hit_every_alert_is_refused(stand: Alerting, texts: list[str]) -> None:
    for made in (planned(stand, *texts), planned(stand, *texts, do=True)):
        assert (made.state, made.text) == (
            "refused",
            "refused, nothing was changed: it would silence every alert",
        )
        assert any("it hits everything" in warning for warning in made.warnings)
    assert every(stand).silences == ()
    assert planned(stand, *texts, everything=True).state == "preview"


def test_one_that_any_alert_without_labels_meets_is_refused_always(stand: Alerting) -> None:
    plan = planned(stand, "alertname!=Watchdog", everything=True, do=True)
    assert plan.state == "refused"
    assert "Alertmanager takes no such silence" in plan.text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"comment": "  "}, "--comment: why is it silenced?"),
        ({"for_s": 90_000.0}, "--for: 1d1h is longer than 1d"),
        ({"for_s": 3e6, "long": True}, "is longer than 31d"),
        ({"for_s": 1.0}, "a minute at least"),
    ],
)
def test_what_cannot_be_meant_is_refused(stand: Alerting, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageFault, match=says):
        planned(stand, "alertname=X", **changed)


def test_a_long_one_may_be_meant(stand: Alerting) -> None:
    assert planned(stand, "alertname=SlowQueries", for_s=90_000.0, long=True).state == "preview"


def test_a_regex_that_alertmanager_cannot_read_is_wrong_usage(stand: Alerting) -> None:
    with pytest.raises(UsageFault, match="the matchers are refused: Alertmanager at 127"):
        planned(stand, "alertname=~(")


# --- made, listed, ended -------------------------------------------------------------------------------


def test_one_is_made_read_back_listed_and_ended(stand: Alerting) -> None:
    made = planned(stand, "alertname=PoolExhausted", "job=bot", do=True)
    assert made.state == "made"
    assert made.silence.id in made.text
    assert made.command == f"oncall alerts expire {made.silence.id} -s bot --confirm"
    [told] = stand.get("/api/v2/silences")
    assert (told["id"], told["createdBy"], told["comment"]) == (made.silence.id, "ana@jump-1", "the upgrade")

    [one] = every(stand).silences
    assert (one.state, one.matchers) == ("active", ('alertname="PoolExhausted"', 'job="bot"'))
    assert one.hits == ("PoolExhausted",)
    assert 7100 < (one.left_s or 0) <= 7200
    again = planned(stand, "job=bot", "alertname=PoolExhausted")
    assert again.hits[0].quiet
    assert any(w.startswith("the same is silenced already, until") for w in again.warnings)

    seen = ended(stand, made.silence.id[:8])
    assert (seen.state, seen.text) == ("preview", "it would make 1 alert heard again")
    assert seen.warnings == ("1 of them is critical: somebody is paged",)
    assert every(stand).silences[0].state == "active"
    done = ended(stand, made.silence.id[:8], do=True)
    assert (done.state, done.text) == ("ended", f"ended {made.silence.id}: 1 alert heard again")
    assert every(stand).silences == ()
    assert made.silence.id in [s.id for s in every(stand, old=True).silences]
    assert ended(stand, made.silence.id, do=True).state == "unchanged"


def test_what_cannot_touch_the_service_is_counted(stand: Alerting) -> None:
    planned(stand, "alertname=PoolExhausted", "job=other", do=True)
    planned(stand, "alertname=SlowQueries", do=True)
    found = every(stand)
    assert [s.matchers for s in found.silences] == [('alertname="SlowQueries"',)]
    assert found.others == 1


def test_what_another_silence_keeps_quiet_is_not_heard_again(stand: Alerting) -> None:
    one = planned(stand, "alertname=SlowQueries", do=True)
    planned(stand, "severity=warning", do=True)
    seen = ended(stand, one.silence.id)
    assert [hit.quiet for hit in seen.hits] == [True]
    assert seen.text == "it would make 0 alerts heard again"


@pytest.mark.parametrize("named", ["zzz", "", "00000000-0000-0000-0000-000000000000"])
def test_an_id_that_is_none_is_told_with_those_that_there_are(stand: Alerting, named: str) -> None:
    made = stand.silence("SlowQueries")
    with pytest.raises(UsageFault, match="there is no silence") as error:
        ended(stand, named, do=True)
    assert made in str(error.value.hint)


def test_nothing_is_done_blindly(stand: Alerting) -> None:
    away = of(f"http://127.0.0.1:{free_port()}")
    wanted = Wanted(terms=parse(["alertname=X"]), for_s=60.0, comment="x", by="ana", do=True)
    for each in (away, of(None)):
        made = asyncio.run(silence(each, wanted, 5))
        assert made.state == "failed"
        assert made.text.startswith("nothing was changed: ")
        assert asyncio.run(expire(each, "abcd", 5, do=True)).state == "failed"
        assert asyncio.run(listed(each, 5, lambda name, state: None)).source is None


def test_one_that_is_taken_and_not_answered_is_not_called_failed() -> None:
    """The proxy in front took the request and then gave up: the silence may stand."""

    def answer(asked: Asked) -> bytes:
        return reply("away", "504 Gateway Time-out") if asked.method == "POST" else reply("[]")

    async def ask() -> SilencePlan:
        async with Web(answer) as web:
            wanted = Wanted(terms=parse(["alertname=X"]), for_s=60.0, comment="x", by="ana", do=True)
            return await silence(of(web.url), wanted, 30)

    plan = asyncio.run(ask())
    assert (plan.state, plan.hint) == ("unverified", "oncall alerts silences -s bot")


def test_what_is_sent_is_json(tmp_path: Path) -> None:
    """Quotes, newlines and the like arrive as they were meant."""
    sent: list[Asked] = []

    def answer(asked: Asked) -> bytes:
        sent.append(asked)
        return reply('{"silenceID":"i-1"}' if asked.method == "POST" else "[]")

    async def ask() -> SilencePlan:
        async with Web(answer) as web:
            wanted = Wanted(terms=parse(['path=~"a\\"|\\n"']), for_s=60.0, comment='a "b"', by="ana", do=True)
            return await silence(of(web.url), wanted, 30)

    plan = asyncio.run(ask())
    posted = next(asked for asked in sent if asked.method == "POST")
    document = msgspec.json.decode(posted.body)
    assert posted.headers["content-type"] == "application/json"
    assert document["matchers"] == [{"name": "path", "value": 'a"|\n', "isRegex": True, "isEqual": True}]
    assert document["comment"] == 'a "b"'
    assert plan.state == "unverified", "it is not among the silences that are told"
