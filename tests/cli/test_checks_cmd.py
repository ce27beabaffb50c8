"""`oncall daily-check` as it is typed each morning: verdicts, exit codes, one document, a message to the channel."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from oncall.errors import Exit
from tests.checks.stories import Stories
from tests.cli.program import Program


def served(week: Stories, job: str, **more: object) -> dict[str, object]:
    """An entry of a service file without anything that is not looked at here."""
    return {
        "prometheus": {"url": week.url, "selector": {"job": job}},
        "limits": {"memory": "2GB", "pool": 20},
        **more,
    }


def lines(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in document["lines"]}


def test_a_bad_day_is_critical_and_hands_over_what_to_run(program: Program, week: Stories) -> None:
    program.services(bot=served(week, "bad"))
    said = program.run("daily-check", timeout=120)
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("DAILY CHECK: ")
    assert "critical  Error rate, 24 h" in said.out
    assert "\n  oncall diagnose errors\n" in said.out
    document, code = program.json("daily-check")
    assert code == Exit.CRITICAL
    assert (document["schema"], document["check"]) == ("oncall/check/1", "daily")
    assert lines(document)["error_ratio"]["next"]["command"] == "oncall diagnose errors"
    markdown = program.run("daily-check", "--output", "markdown")
    assert markdown.out.startswith("**DAILY CHECK: ")


def test_a_good_day_without_what_nobody_configured(program: Program, week: Stories) -> None:
    program.services(bot=served(week, "good"))
    document, code = program.json("daily-check")
    found = lines(document)
    assert {name: found[name]["severity"] for name in ("uptime", "error_ratio", "latency", "alerts")} == {
        "uptime": "ok",
        "error_ratio": "ok",
        "latency": "ok",
        "alerts": "ok",
    }
    assert (found["health"]["severity"], found["health"]["counts"]) == ("unknown", False)
    assert code == Exit.OK, document["summary"]


def test_all_services_worst_first(program: Program, week: Stories) -> None:
    program.services(good=served(week, "good"), bad=served(week, "bad"), nobody=served(week, "nobody"))
    said = program.run("daily-check", "--all", timeout=120)
    assert said.code == Exit.CRITICAL
    assert [line.split()[1] for line in said.first[:3]] == ["bad", "nobody", "good"]
    document, _ = program.json("daily-check", "--all")
    assert document["schema"] == "oncall/checks/1"
    assert [one["service"] for one in document["services"]] == ["bad", "nobody", "good"]
    command = document["services"][0]["lines"][0]["next"]
    assert command is None or "-s bad" in command["command"]


def test_one_that_is_written_wrong_takes_no_other_with_it(
    program: Program, week: Stories, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "signals.yaml").write_text("signals:\n  x: {gauge: 1\n")
    share = {"latency_p95": {"warning": 1, "share_of": "limits.pool +"}}
    program.services(
        good=served(week, "good"),
        torn=served(week, "good", runbooks=str(tmp_path / "own")),
        odd=served(week, "good", thresholds=share),
    )
    document, code = program.json("daily-check", "--all")
    assert code == Exit.UNKNOWN
    found = {one["service"]: one for one in document["services"]}
    assert found["good"]["severity"] == "ok"
    assert "signals.yaml:3: not valid YAML" in found["torn"]["summary"]
    assert "invalid syntax" in found["odd"]["summary"]
    # Asked for by name it is wrong configuration.
    for name in ("torn", "odd"):
        alone = program.run("daily-check", "-s", name)
        assert (alone.code, alone.out) == (Exit.CONFIG, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--post", "mail"), "--post: 'mail' is not known"),
        (("--post", "slack"), "no announce.slack in the service file for bot"),
        (("--at", "yesterday"), "--at: 'yesterday' is not a time"),
        (("--at", "2999-01-01T00:00:00Z"), "--at: 2999-01-01T00:00:00Z is still to come"),
        (("--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("--all", "-s", "bot"), "--all is every service"),
    ],
)
def test_wrong_usage(program: Program, words: tuple[str, ...], said: str) -> None:
    program.services(bot={"url": "http://127.0.0.1:9"})
    found = program.run("daily-check", *words)
    assert found.code == Exit.USAGE
    assert said in found.err


class Channel(BaseHTTPRequestHandler):
    """A chat that takes what it is sent, and keeps it."""

    got: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.got.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        return


def test_the_channel_gets_it_too(program: Program, week: Stories) -> None:
    Channel.got.clear()
    server = HTTPServer(("127.0.0.1", 0), Channel)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        hook = f"http://127.0.0.1:{server.server_port}/services/canary"
        program.services(bot=served(week, "bad", announce={"slack": hook}))
        said = program.run("daily-check", "--post", "slack", timeout=120)
    finally:
        server.shutdown()
        server.server_close()
    assert said.code == Exit.CRITICAL
    assert "posted to Slack: daily check of bot" in said.err
    assert "canary" not in said.all
    (message,) = Channel.got
    assert message["text"].startswith("🔴 DAILY CHECK: ")
    assert "🔴 Error rate, 24 h: 3%" in message["text"]
    # Its webhook is gone: that is said, and takes nothing back.
    gone = program.run("daily-check", "--post", "slack", timeout=120)
    assert gone.code == Exit.CRITICAL
    assert "not announced" in gone.err
    assert gone.first[0].startswith("DAILY CHECK: ")
