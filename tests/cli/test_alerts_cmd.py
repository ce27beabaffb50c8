"""`oncall alerts`, its silences and `oncall handover` as people and scripts meet them, on real servers."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oncall.errors import Exit
from oncall.lab.servers import free_port
from tests.cli.program import Program, Said, screen
from tests.clients.webstand import Asked, reply
from tests.clients.webstand import Stand as Web
from tests.monitoring.alertstand import Alerting, alerting, rule
from tests.remediation.auditstand import intent, outcome, write

CANARY = "canary-4711"
RULES = [
    rule(
        "PoolExhausted", "vector(18) > 16", "critical", annotations={"summary": "The pool\x1b[31m is used up"}
    ),
    rule("SlowBurn", "vector(1)", "warning", lasts="1h"),
    rule("Warned", "vector(1)", "warning", labels={"job": "mild"}),
    rule("Bare", "vector(1)", "critical", labels={}),
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    with alerting(tmp_path_factory.mktemp("alerting"), RULES) as made:
        yield made


@pytest.fixture
def bot(program: Program, stand: Alerting) -> Iterator[Program]:
    program.services(default="bot", **services(stand))
    yield program
    stand.expire_all()


def services(stand: Alerting) -> dict[str, Any]:
    def of(job: str) -> dict[str, Any]:
        return stand.service(prometheus={"url": stand.prometheus.url, "selector": {"job": job}})

    return {"bot": of("bot"), "mild": of("mild"), "calm": of("calm"), "dark": {"alertmanager": dead()}}


def dead() -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{free_port()}"}


# --- what fires ------------------------------------------------------------------------------------


def test_the_answer_is_in_the_first_lines(bot: Program) -> None:
    said = bot.under(COLUMNS="80").run("alerts")
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("1 critical firing, 1 pending   bot · production")
    assert said.first[0].endswith("critical")
    assert said.first[1] == "Next    oncall diagnose --alert PoolExhausted   says what is behind it"
    assert "value 18 (> 16)" in said.out
    assert "paged: Primary on-call engineer" in said.out
    assert "Bare (critical)" in " ".join(said.out.split())
    assert "\x1b" not in said.out
    assert "\\x1b[31m" in said.out
    assert max(map(len, said.first)) <= 80


@pytest.mark.parametrize(
    ("service", "code"), [("bot", 2), ("mild", 1), ("calm", 3), ("dark", 3)], ids=lambda v: str(v)
)
def test_the_exit_code_is_the_worst_that_fires(bot: Program, service: str, code: int) -> None:
    found, exit_code = bot.json("alerts", "-s", service)
    assert exit_code == code
    assert found["schema"] == "oncall/alerts/1"
    assert found["service"] == service
    assert found["severity"] == {2: "critical", 1: "warning", 0: "ok", 3: "unknown"}[code]


def test_a_silenced_one_still_counts(bot: Program, stand: Alerting) -> None:
    stand.silence("PoolExhausted")
    said = bot.run("alerts")
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("1 critical firing (1 silenced), 1 pending")
    assert "by ana@jump-1: the upgrade" in " ".join(said.out.split())


def test_every_service_worst_first(bot: Program) -> None:
    found, code = bot.json("alerts", "--all")
    assert (code, found["schema"], found["severity"]) == (Exit.CRITICAL, "oncall/alerts-all/1", "critical")
    assert [s["service"] for s in found["services"]] == ["bot", "mild", "dark", "calm"]
    assert [o["name"] for o in found["unclaimed"]] == ["Bare"]
    pool = found["services"][0]["alerts"][0]
    assert pool["runbook"]["command"] == "oncall diagnose --alert PoolExhausted -s bot"
    said = bot.under(COLUMNS="40").run("alerts", "--all")
    assert said.code == Exit.CRITICAL
    assert max(map(len, said.first)) <= 40


def test_markdown_and_ascii(bot: Program) -> None:
    said = bot.run("alerts", "--output", "markdown")
    assert said.first[0] == "**1 critical firing, 1 pending** (critical)"
    assert "**PoolExhausted**" in said.out
    assert bot.under(LC_ALL="C", PYTHONIOENCODING="ascii").run("alerts").out.isascii()
    handed = bot.run("handover", "--output", "markdown")
    assert handed.first[0] == "# Handover: bot"


def test_options_stand_before_the_sub_command_too(bot: Program) -> None:
    found = bot.run("--output", "json", "alerts", "-s", "mild", "silences")
    assert (found.code, found.json["service"]) == (Exit.OK, "mild")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("alerts", "--all", "-s", "bot"), "Give one of them"),
        (("alerts", "--all", "silences"), "--all is of `oncall alerts` alone"),
        (("alerts", "silence", "--for", "1h", "--comment", "x"), "MATCHERS"),
        (("alerts", "silence", "a=b", "--for", "1h"), "--comment"),
        (("alerts", "silence", "a=b", "--for", "2d", "--comment", "x"), "Add --long"),
        (("alerts", "silence", "a b", "c", "--for", "1h", "--comment", "x"), "is not a matcher"),
        (("handover", "--since", "1000d"), "14 days"),
    ],
)
def test_wrong_usage_is_told(bot: Program, words: tuple[str, ...], says: str) -> None:
    said = bot.run(*words)
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert says in said.err


# --- silences ----------------------------------------------------------------------------------------


def test_a_silence_is_previewed_made_listed_and_ended_by_the_commands_that_are_handed_over(
    bot: Program,
) -> None:
    plan, code = bot.json("alerts", "silence", "PoolExhausted", "--for", "2h", "--comment", "the 'upgrade'")
    assert (code, plan["schema"], plan["state"]) == (Exit.OK, "oncall/silence/1", "preview")
    assert [hit["name"] for hit in plan["hits"]] == ["PoolExhausted"]

    made = bot.paste(plan["command"] + " --output json")
    assert (made.code, made.json["state"]) == (Exit.OK, "made")
    number = made.json["silence"]["id"]
    listed, _ = bot.json("alerts", "silences", "-s", "bot")
    assert [(s["id"], s["comment"], s["hits"]) for s in listed["silences"]] == [
        (number, "the 'upgrade'", ["PoolExhausted"])
    ]
    assert "@" in listed["silences"][0]["by"]
    seen = bot.run("alerts", "expire", number[:8])
    assert seen.code == Exit.OK
    assert seen.first[0].startswith("it would make 1 alert heard again")
    assert bot.paste(made.json["command"]).code == Exit.OK
    assert bot.run("alerts", "silences").first[0].startswith("nothing is silenced   bot")


def test_a_comment_is_one_line_that_no_terminal_obeys_and_the_command_runs(bot: Program) -> None:
    words = (
        "alerts",
        "silence",
        "PoolExhausted",
        "--for",
        "2h",
        "--comment",
        "two\nlines\x1b[31m\u202e it's",
    )
    said = bot.under(COLUMNS="200").run(*words)
    assert not set(said.out) & set("\x1b\u202e")
    line = next(line for line in said.first if line.startswith("  oncall alerts silence"))
    assert bot.paste(line).code == Exit.OK
    listed, _ = bot.json("alerts", "silences")
    assert [s["comment"] for s in listed["silences"]] == [r"two lines\x1b[31m\u202e it's"]


def test_the_id_stands_on_the_page(bot: Program, stand: Alerting) -> None:
    said = bot.run("alerts", "silence", "PoolExhausted", "--for", "1h", "--comment", "x", "--confirm")
    [made] = [s for s in stand.get("/api/v2/silences") if s["status"]["state"] == "active"]
    assert said.code == Exit.OK
    assert made["id"] in said.first[0]


def test_a_silence_of_everything_is_refused(bot: Program) -> None:
    words = ("alerts", "silence", "alertname=~.+", "--for", "1h", "--comment", "x", "--confirm")
    said = bot.run(*words)
    assert said.code == Exit.REFUSED
    assert said.first[0].startswith("refused, nothing was changed")
    assert bot.run(*words, "--everything").code == Exit.OK


def test_where_alertmanager_is_away_nothing_is_done(bot: Program) -> None:
    for words in (
        ("silence", "X", "--for", "1h", "--comment", "x", "--confirm"),
        ("expire", "abcd", "--confirm"),
        ("silences",),
    ):
        said = bot.run("alerts", *words, "-s", "dark")
        assert said.code == Exit.UNKNOWN
        assert "refused" in said.out


# --- handover ----------------------------------------------------------------------------------------


def test_a_handover_tells_all_parts(bot: Program, stand: Alerting) -> None:
    stand.silence("PoolExhausted")
    found, code = bot.json("handover", "--since", "2h")
    # Its Prometheus has rules and no signal: what is trending is not known.
    assert (code, found["schema"]) == (Exit.UNKNOWN, "oncall/handover/1")
    assert found["now"]["severity"] == "critical"
    assert [(f["name"], f["now"]) for f in found["fired"]] == [("PoolExhausted", True)]
    assert found["fired_others"] == 2
    assert [s["comment"] for s in found["silences"] if s["state"] == "active"] == ["the upgrade"]
    assert found["done"]["entries"] == []
    assert found["trending"] is None
    assert [u["reason"] for u in found["unseen"]] == ["no signal of this service has a history"]
    said = bot.under(COLUMNS="40").run("handover")
    assert said.code == Exit.UNKNOWN
    assert max(map(len, said.first)) <= 40
    for title in ("Fired in the shift", "Silenced", "Done", "On its way to a limit"):
        assert title in said.out


def test_a_handover_in_the_dark_is_unknown(bot: Program) -> None:
    said = bot.run("handover", "-s", "dark", "--output", "json")
    assert said.code == Exit.UNKNOWN
    assert (said.json["fired"], said.json["silences"], said.json["trending"]) == (None, None, None)


def test_a_handover_tells_what_was_done(bot: Program) -> None:
    """By the audit log of this machine: what is done, what has no known end; not what another service's was."""
    now = datetime.now(UTC)
    mine: dict[str, Any] = {"service": "bot", "at": now}
    before = {**mine, "at": now - timedelta(hours=13)}
    log = bot.folder / "state" / "oncall"
    write(log, intent(**mine), outcome(1, **mine), intent(service="mild", at=now))
    write(log, intent(action="kill-queries", **before), outcome(4, action="kill-queries", **before))
    write(log, intent(action="flush-cache", **mine))
    found, _ = bot.json("handover")
    assert [(e["kind"], e["action"]) for e in found["done"]["entries"][:3]] == [
        ("intent", "flush-cache"),
        ("outcome", "restart"),
        ("intent", "restart"),
    ]
    assert {e["service"] for e in found["done"]["entries"]} == {"bot"}
    # An act that has no known end is told whosever it is: it may have touched what they share.
    assert found["done"]["open"] == [3, 6]
    assert "2 actions taken" in found["summary"]
    for output in ("table", "markdown"):
        said = bot.under(COLUMNS="120").run("handover", "--output", output)
        text = " ".join(said.out.split())
        assert "ana@jump-1: restart, done, fixed: restarted deia-bot-controller.service (entry 1)" in text
        assert "oncall audit show 6" in text
        assert "kill-queries" not in text
        assert "Nothing was done" not in text


# --- servers that are none -----------------------------------------------------------------------------


def test_a_secret_that_a_server_quotes_stays_out(program: Program) -> None:
    def answer(asked: Asked) -> bytes:
        said = f"no tenant for {asked.headers['authorization']}"
        if asked.path == "/api/v1/rules":
            return reply(json.dumps({"status": "success", "data": {"groups": []}}))
        told = {"status": "error", "errorType": "bad_data", "error": said, "message": said}
        return reply(json.dumps(told), "400 Bad Request")

    async def ask(*words: str) -> Said:
        async with Web(answer) as web:
            at = {"url": web.url, "bearer": CANARY}
            program.services(bot={"prometheus": at, "alertmanager": at})
            return await asyncio.to_thread(program.run, *words)

    for words, code in (
        (("alerts",), Exit.UNKNOWN),
        (("handover", "--output", "json"), Exit.UNKNOWN),
        (("alerts", "silences"), Exit.UNKNOWN),
        (("alerts", "silence", "a=b", "--for", "1h", "--comment", "x"), Exit.USAGE),
        (("alerts", "expire", "abcd", "--confirm"), Exit.UNKNOWN),
    ):
        said = asyncio.run(ask(*words))
        assert said.code == code, said.all
        assert "no tenant for Bearer ***" in " ".join(said.all.split())
        assert CANARY not in said.all
        if words[0] == "handover":
            assert {u["what"] for u in said.json["unseen"]} >= {"what fired", "alertmanager"}


def test_any_answer_is_told(program: Program) -> None:
    """Labels of a foreign server are shown, never obeyed."""
    evil = "\x1b]0;x\x07\u202e<b>[red]"
    alert = {"labels": {"alertname": evil, evil: evil, "severity": evil}, "startsAt": "2026-01-01T00:00:00Z"}

    def answer(asked: Asked) -> bytes:
        return reply(json.dumps([alert] if asked.path.endswith("alerts") else []))

    async def ask() -> list[str]:
        async with Web(answer) as web:
            program.services(bot={"alertmanager": {"url": web.url}})
            outs = []
            for output in ("table", "json", "markdown"):
                said = await asyncio.to_thread(program.run, "alerts", "--output", output)
                assert said.code == Exit.WARNING
                outs.append(said.out)
            return outs

    for out in asyncio.run(ask()):
        assert not set(out) & set("\x1b\x07\u202e")


def test_at_a_terminal_the_page_is_as_wide_as_it(bot: Program) -> None:
    text, code = bot.at_terminal("alerts", columns=60)
    assert code == Exit.CRITICAL
    assert any("PoolExhausted" in line for line in screen(text, 60))
