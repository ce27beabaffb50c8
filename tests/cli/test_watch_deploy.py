"""`oncall watch-deploy` as people and pipelines meet it, on a real Prometheus whose history lasts into the future."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oncall.cli.common import Options
from oncall.cli.watch_deploy import _asked, _Watching
from oncall.errors import Exit
from oncall.lab.servers import Server, start_prometheus, stop
from oncall.model_deploy import DeployReport
from oncall.model_service import PrometheusAt, Service
from oncall.runbook.loader import runbooks_of
from tests.checks.deploys import HOUR_S, LONG_AGO, MINUTE_S, Deploy, all_lines, since
from tests.cli.program import Program, screen
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Stand as Web
from tests.clients.webstand import reply

AHEAD_S = 20 * MINUTE_S
ONE = "app-1:8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, end = tmp_path_factory.mktemp("watched"), int(time.time()) + AHEAD_S
    mark = AHEAD_S + 40 * MINUTE_S
    span = ((AHEAD_S + 3 * HOUR_S, 0),)
    made = (
        Deploy(end, "good", starts={ONE: (LONG_AGO, mark)}, spans=span),
        Deploy(end, "bad", starts={ONE: (LONG_AGO, mark)}, spans=span, error_share=since(mark, 0.08, 0.001)),
        Deploy(end, "day", starts={ONE: (LONG_AGO, AHEAD_S + 5400)}, spans=span),
    )
    backfill(folder, all_lines(made))
    running = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield running
    finally:
        stop(running)


@pytest.fixture
def bot(program: Program, server: Server) -> Program:
    program.services(
        default="good",
        **{
            job: {"prometheus": {"url": server.url, "selector": {"job": job}}}
            for job in ("good", "bad", "day")
        },
    )
    return program


# --- exit codes and outputs -------------------------------------------------------------------------


def test_keep_is_0_roll_back_is_2(bot: Program) -> None:
    kept, bad = bot.run("watch-deploy"), bot.run("watch-deploy", "-s", "bad")
    assert (kept.code, bad.code) == (Exit.OK, Exit.CRITICAL)
    assert kept.out.startswith("KEEP SO FAR   good · production")
    assert bad.out.startswith("ROLL BACK   bad · production")
    assert "oncall diagnose errors -s bad" in bad.out
    assert (kept.err, bad.err) == ("", "")


def test_json_is_one_document(bot: Program) -> None:
    found, code = bot.json("watch-deploy", "-s", "bad")
    assert (found["schema"], found["verdict"], code) == ("oncall/deploy/1", "roll_back", Exit.CRITICAL)
    assert found["lines"][0]["id"] == "error_rate"


def test_markdown(bot: Program) -> None:
    said = bot.run("watch-deploy", "-s", "bad", "--output", "markdown")
    assert said.out.startswith("**ROLL BACK** (first hour)\n")


def test_unknown_is_3(program: Program) -> None:
    program.services(bot={"environment": "staging"})
    said = program.run("watch-deploy")
    assert said.code == Exit.UNKNOWN
    assert "prometheus: not configured" in said.out


def test_the_moment_and_the_phase_can_be_told(bot: Program) -> None:
    found, code = bot.json("watch-deploy", "--since", "30m", "--phase", "day")
    assert (found["mark"]["given"], found["phase"], code) == (True, "day", Exit.OK)
    assert found["since_s"] == pytest.approx(1800, abs=60)


def test_what_no_number_tells_is_said_in_the_first_week(bot: Program) -> None:
    words = ("watch-deploy", "--phase", "week")
    assert any("user complaints" in note for note in bot.json(*words)[0]["notes"])
    for said in (bot.run(*words), bot.run(*words, "--output", "markdown")):
        assert "user complaints" in said.out


def test_the_backups_of_the_service_file_are_looked_at_on_the_first_day(
    bot: Program, server: Server, tmp_path: Path
) -> None:
    prometheus = {"url": server.url, "selector": {"job": "day"}}
    for name in ("a.dump", "b.dump"):
        (tmp_path / name).write_bytes(b"x" * 1000)
        os.utime(tmp_path / name, (time.time() - HOUR_S,) * 2)
    bot.services(day={"prometheus": prometheus, "backups": {"nightly": {"file": f"{tmp_path}/*.dump"}}})
    good, code = bot.json("watch-deploy")
    assert (good["phase"], line(good, "backups")["decision"], code) == ("day", "keep", Exit.OK)
    bot.services(day={"prometheus": prometheus, "backups": {"nightly": {"file": f"{tmp_path}/*.gone"}}})
    bad, code = bot.json("watch-deploy")
    assert (line(bad, "backups")["decision"], code) == ("watch", Exit.WARNING)
    assert "no file fits" in line(bad, "backups")["text"]


def line(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["lines"] if each["id"] == name)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--phase", "month"), "hour, day, week"),
        (("--since", "tomorrow"), "--since"),
        (("--since", "2099-01-01T00:00:00Z"), "still to come"),
        (("--at", "1h", "--for", "1h"), "--for watches the present"),
        (("--at", "2h", "--since", "1h"), "not before --at"),
        (("--for", "long"), "--for"),
        (("--timeout", "0s"), "--timeout"),
        (("--post", "mail"), "There is: slack"),
        (("--post", "slack"), "announce.slack"),
    ],
)
def test_wrong_usage(bot: Program, words: tuple[str, ...], says: str) -> None:
    said = bot.run("watch-deploy", *words)
    assert said.code == Exit.USAGE
    assert says in said.err
    assert said.out == ""


def test_a_teams_mistake_has_its_line(bot: Program, tmp_path: Path) -> None:
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "week.yaml").write_text("phase: week\ntitle: Ours\nrules:\n  x: {below: 1}\n")
    said = bot.run("watch-deploy", "--runbooks", str(tmp_path))
    assert said.code == Exit.CONFIG
    assert "week.yaml:4" in said.err


def test_the_verdict_is_posted(bot: Program, server: Server) -> None:
    async def work() -> tuple[str, str]:
        async with Web(lambda _: reply("ok")) as web:
            prometheus = {"url": server.url, "selector": {"job": "bad"}}
            bot.services(bad={"prometheus": prometheus, "announce": {"slack": web.url}})
            said = await asyncio.to_thread(bot.run, "watch-deploy", "--post", "slack")
            assert said.code == Exit.CRITICAL
            return web.asked[0].body.decode(), said.err

    body, err = asyncio.run(work())
    assert "ROLL BACK: Error rate: 8% misses the target" in body
    assert "posted to Slack" in err


# --- watching -------------------------------------------------------------------------------------------


def test_in_a_pipe_each_look_is_a_line_and_the_end_is_the_report(bot: Program) -> None:
    said = bot.run("watch-deploy", "--for", "1s", "--output", "json")
    assert (said.code, said.json["verdict"]) == (Exit.OK, "keep")
    lines = said.err.splitlines()
    assert len(lines) >= 2
    assert all("keep: all 6 hold" in text for text in lines)


def test_at_a_terminal_the_page_is_live_and_the_last_one_stays(bot: Program) -> None:
    text, code = bot.at_terminal("watch-deploy", "--for", "1s", columns=100)
    assert code == Exit.OK
    assert "Ctrl-C ends it" in text
    shown = screen(text, 100)
    assert shown[0].startswith("KEEP SO FAR")
    assert "Ctrl-C" not in "".join(shown)
    assert sum(text.startswith("KEEP SO FAR") for text in shown) == 1


def test_ctrl_c_ends_it_and_the_last_page_stays(bot: Program) -> None:
    child = bot.start("watch-deploy", "--for", "1h", columns=100)
    child.expect_exact("Ctrl-C ends it")
    seen = b"".join(part for part in (child.before, child.after) if isinstance(part, bytes))
    child.sendintr()
    rest = child.read()
    child.close()
    assert child.exitstatus == Exit.INTERRUPTED
    assert b"Traceback" not in rest
    assert b"\x1b[?25h" in rest, "the cursor is shown again"
    shown = screen((seen + rest).decode(), 100)
    assert shown[0].startswith("KEEP SO FAR")
    assert sum(text.startswith("KEEP SO FAR") for text in shown) == 1


def test_two_looks_that_say_roll_back_are_enough(server: Server) -> None:
    service = Service(prometheus=PrometheusAt(url=server.url, selector={"job": "bad"}))
    asked, _ = _asked(None, None, None, "60s", None)
    watching = _Watching("bad", service, runbooks_of(service, None), asked, Options(), ())
    seen: list[DeployReport] = []
    last = asyncio.run(watching.again(3600, 0.01, lambda report, _left: seen.append(report)))
    assert (len(seen), last.verdict.value) == (2, "roll_back")
