"""`oncall daily-check` as it is typed each morning, and the weekly and the monthly one: verdicts, exit codes, one
document, a message to the channel."""

import asyncio
import json
import os
import re
import ssl
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from oncall.checks.scene import Acted
from oncall.cli.asked import EXITS
from oncall.cli.checks import _acted
from oncall.errors import Exit
from oncall.model_service import Service
from oncall.remediation import audit
from tests.checks.authority import Authority
from tests.checks.stories import Stories
from tests.cli.program import Program
from tests.clients.webstand import Answer, Asked, Stand, reply
from tests.monitoring.fleetstand import healthy


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
    following = [line["next"] for line in document["services"][0]["lines"] if line["next"]]
    assert following
    assert {"-s bad" in found["command"] for found in following} == {True}


# --- the daily check, whole -------------------------------------------------------------------------


class Shape:
    """What stands around a service: its endpoints, backups, disk and certificate, each well or ill."""

    def __init__(self, folder: Path, authority: Authority, *, ill: bool) -> None:
        self.folder, self.authority, self.ill = folder, authority, ill
        self.chain = authority.issue("gone" if ill else "good", -1 if ill else 90)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.chain, authority.folder / f"{self.chain.stem}.key")
        for name, hours in (("mon", 50), ("tue", 26), ("wed", 2)):
            self._backup(name, hours + (72 if ill else 0))

    def _backup(self, name: str, hours: float) -> None:
        path = self.folder / f"{name}.dump"
        path.write_bytes(b"x" * 100_000)
        at = time.time() - hours * 3600
        os.utime(path, (at, at))

    def answer(self, asked: Asked) -> Answer:
        if self.ill and asked.path == "/health/db":
            return reply('{"status": "disconnected"}', status="503 Service Unavailable")
        return healthy(asked)

    def service(self, week: Stories, url: str, port: int) -> dict[str, object]:
        job = "bad" if self.ill else "good"
        # The size of this machine's own disk is nobody's test: a hundredth of the process has 4 MB, a hundred 40 GB.
        free = f'max(process_resident_memory_bytes{{job="{job}"}}) {"/" if self.ill else "*"} 100'
        return served(
            week,
            job,
            url=url,
            backups={"nightly": {"file": str(self.folder / "*.dump")}},
            certificates=[f"127.0.0.1:{port}"],
            tls={"ca": str(self.authority.ca)},
            signals={"disk_free": {"promql": free, "unit": "bytes", "below": True}},
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def whole_day(program: Program, week: Stories, shape: Shape) -> tuple[dict[str, Any], int]:
    async def work() -> tuple[dict[str, Any], int]:
        async with Stand(shape.answer) as web, Stand(lambda _: reply("{}"), shape.tls) as secure:
            program.services(bot=shape.service(week, web.url, secure.port))
            return await asyncio.to_thread(program.json, "daily-check")

    return asyncio.run(work())


WHOLE = {
    "uptime",
    "instances",
    "error_ratio",
    "latency",
    "alerts",
    "health",
    "disk",
    "backups",
    "certificates",
}


def test_a_day_on_which_everything_is_well(
    program: Program, week: Stories, authority: Authority, tmp_path: Path
) -> None:
    document, code = whole_day(program, week, Shape(tmp_path, authority, ill=False))
    found = lines(document)
    assert {name.partition(".")[0] for name in found} == WHOLE
    assert {name: (line["severity"], line["counts"]) for name, line in found.items()} == dict.fromkeys(
        found, ("ok", True)
    )
    assert (code, document["severity"]) == (Exit.OK, "ok")
    assert document["summary"] == "all 9 are well"
    assert found["health"]["text"] == "3 of 3 healthy"
    assert found["disk"]["text"] == "40 GB free"


def test_a_day_on_which_everything_is_ill(
    program: Program, week: Stories, authority: Authority, tmp_path: Path
) -> None:
    document, code = whole_day(program, week, Shape(tmp_path, authority, ill=True))
    found = {name.partition(".")[0]: line for name, line in lines(document).items()}
    assert code == Exit.CRITICAL
    assert {name: line["severity"] for name, line in found.items()} == {
        **dict.fromkeys(WHOLE, "critical"),
        "latency": "warning",
        "instances": "warning",
    }
    # What each says, and that each says what to do or why it matters.
    assert found["health"]["text"] == "2 of 3 healthy: /health/db down: disconnected: 503 Service Unavailable"
    assert found["disk"]["text"] == "4 MB free"
    assert "older than " in found["backups"]["text"]
    assert found["certificates"]["text"].startswith("expired ")
    assert found["alerts"]["text"] == "2 fired, 1 still firing: HighErrorRate, HighMemory"
    assert all(line["why"] and line["source"] for line in found.values())


# --- the weekly and the monthly check ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad", "good"), [("weekly", "critical", "ok"), ("monthly", "warning", "unknown")]
)
def test_a_week_and_a_month_as_programs(
    program: Program, week: Stories, name: str, bad: str, good: str
) -> None:
    """Of eight days: a week is known, a month is not, and that is said. An alert of the week fires still."""
    program.services(good=served(week, "good"), bad=served(week, "bad"))
    command = f"{name}-check"
    document, code = program.json(command, "--all")
    assert (document["schema"], code) == ("oncall/checks/1", EXITS[bad])
    services = document["services"]
    assert [(s["service"], s["check"], s["severity"]) for s in services] == [
        ("bad", name, bad), ("good", name, good),
    ]  # fmt: skip
    if name == "weekly":
        assert (
            lines(services[0])["alerts"]["next"]["command"] == "oncall diagnose --alert HighErrorRate -s bad"
        )
    else:
        assert lines(services[1])["uptime"]["reason"].startswith("history begins 8 d ")
    alone, code = program.json(command, "-s", "good")
    assert (alone["schema"], alone["severity"], code) == ("oncall/check/1", good, EXITS[good])
    assert {n: line["severity"] for n, line in lines(alone).items()} == {
        n: line["severity"] for n, line in lines(services[1]).items()
    }
    markdown = program.run(command, "-s", "bad", "--output", "markdown")
    assert (markdown.code, markdown.out.startswith(f"**{name.upper()} CHECK: 1 {bad.upper()}")) == (
        EXITS[bad],
        True,
    )
    assert "Uptime, " in markdown.out


@pytest.mark.parametrize("name", ["weekly", "monthly"])
def test_their_pages_and_what_is_behind_every_line(program: Program, week: Stories, name: str) -> None:
    program.services(bad=served(week, "bad"))
    plain, full = (program.run(f"{name}-check", *more) for more in ((), ("--details",)))
    assert plain.code == full.code == (Exit.CRITICAL if name == "weekly" else Exit.WARNING)
    assert plain.first[0].startswith(f"{name.upper()} CHECK: 1 ")
    assert plain.first[0] == full.first[0].replace(clock(full.first[0]), clock(plain.first[0]))
    # One line of all that nobody configured; with --details a line each, and every query.
    assert "Not looked at" in plain.out
    assert "Not looked at" not in full.out
    assert re.search(r"^Uptime, \d+ d: prometheus.*\n?.*max\(up\{job=", full.out, re.MULTILINE)
    assert "max(up{job=" not in plain.out


def clock(line: str) -> str:
    found = re.search(r"\d\d:\d\d:\d\d", line)
    assert found is not None
    return found[0]


# --- what the audit log says of runbooks --------------------------------------------------------------


def acted(folder: Path, days: float, issue: str | None, kind: str = "intent", service: str = "bot") -> None:
    """An entry of a real audit log, so old."""
    fields = {"service": service, "environment": "production", "action": "restart", "issue": issue}
    at = datetime.now(UTC) - timedelta(days=days)
    audit.append(audit.entry(kind, Service(), at=at, **fields), folder, journal=None)


def test_what_the_audit_log_says_of_runbooks(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = program.folder / "state" / "oncall"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent))
    assert _acted(["bot"]) == {"bot": Acted()}
    acted(folder, 200, "pool")
    acted(folder, 150, "memory", service="other")
    acted(folder, 120, "errors", "refused")
    acted(folder, 5, "pool", "outcome")
    acted(folder, 3, None)
    found = _acted(["bot", "nobody"])
    assert set(found) == {"bot", "nobody"}
    assert found["nobody"].last == {}
    ages = {issue: (datetime.now(UTC) - at).days for issue, at in found["bot"].last.items()}
    assert ages == {"pool": 5, "errors": 120}
    assert found["nobody"].since == found["bot"].since
    assert (datetime.now(UTC) - (found["bot"].since or datetime.now(UTC))).days == 200


def test_runbooks_that_were_not_run_are_told_by_the_monthly_check(program: Program) -> None:
    folder = program.folder / "state" / "oncall"
    program.services(bot={"url": "http://127.0.0.1:9"})
    young = lines(program.json("monthly-check")[0])["runbooks"]
    assert young["notes"] == ["not run for 90 d: cannot be told yet, this machine's audit log has no entry"]
    assert "not run for" not in young["text"]
    for days, issue in ((200, "pool"), (120, "errors"), (5, "HighErrorRate"), (4, "latency")):
        acted(folder, days, issue)
    old = lines(program.json("monthly-check")[0])["runbooks"]
    assert (old["severity"], old["notes"]) == ("warning", [])
    # The one that was changed longer ago comes first: which that is, git knows
    said, _, names = old["text"].rpartition(": ")
    assert said.endswith("2 of 4 not run for 90 d")
    assert sorted(names.split(", ")) == ["memory", "pool"]
    rows = {row[0]: row for row in old["detail"]["rows"]}
    assert rows["memory"][4].endswith("never run")
    assert rows["pool"][4].endswith("not run")
    # Of the two, the later: what was done for its alert.
    assert rows["errors"][3] == pytest.approx(time.time() - 5 * 86400, abs=300)


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
