"""Rules, links and runbooks: what is dead, and what only looks so."""

import asyncio
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.checks import links, runbooks_audit
from oncall.checks.links import Link, bare, judged, links_of, told
from oncall.checks.loader import check
from oncall.checks.model import DAY_S, LineSpec
from oncall.checks.rules_audit import dead_of, metrics_of
from oncall.checks.runbooks_audit import Care
from oncall.checks.scene import Acted, Scene
from oncall.clients.prom_alerts import Rule
from oncall.lab.process import free_port
from oncall.model import Severity
from oncall.model_checks import CheckLine
from oncall.model_service import Service
from oncall.runbook.loader import Library, library
from tests.clients.webstand import Answer, Asked, Stand, forever, head, reply, silence

SPEC = LineSpec(why="w", probe="links")
NOW = 1_790_000_000.0


# --- rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up == 0", ("up",)),
        ('sum by (job) (rate(a_total{x="y or absent(z)"}[5m])) / b > 0.5', ("a_total", "b")),
        ("absent(up)", ()),
        ("ABSENT_OVER_TIME (up[5m]) or vector(1)", ()),
        ('{__name__="dotted.name",job="x"} > 1', ("dotted.name",)),
        ('{job="x",__name__=~"a|b"} > 1', ()),
        ('ALERTS{alertstate="firing"} and on (job) up', ("up",)),
        ("time() - max(backup_last_success) > 3600 # absent(old)", ("backup_last_success",)),
        ("job:rate:5m > 1 and job:rate:5m < 9", ("job:rate:5m",)),
        ("vector(1)", ()),
    ],
)
def test_the_metrics_that_a_rule_needs(expression: str, names: tuple[str, ...]) -> None:
    assert metrics_of(expression) == names


@given(st.text(max_size=60))
def test_no_expression_is_too_odd(text: str) -> None:
    assert all(metrics_of(text))


def rule(name: str, expression: str) -> tuple[Rule, tuple[str, ...]]:
    return Rule(name=name, group="g", expression=expression), metrics_of(expression)


def test_which_rules_are_dead() -> None:
    asked = [
        rule("both", "a > 0 and gone > 0"),
        rule("either", "a > 0 or gone > 0"),
        rule("unless", "a > 0 unless gone"),
        rule("neither", "gone > 0 or lost > 0"),
        rule("text", 'gone{x=" or "} > a'),
        rule("fine", "a > 0"),
        rule("not looked for", "too_many > 0"),
    ]
    found = dead_of(asked, frozenset({"a"}), frozenset({"a", "gone", "lost"}))
    assert [(d.rule.name, d.gone, d.there) for d in found] == [
        ("both", ("gone",), ("a",)),
        ("neither", ("gone", "lost"), ()),
        ("text", ("gone",), ("a",)),
    ]


# --- links ---------------------------------------------------------------------------------------


def noted(**annotations: str) -> Rule:
    return Rule(name="A", group="g", expression="up", annotations=annotations)


def test_which_annotations_are_links() -> None:
    rules = [
        noted(runbook_url="https://wiki/a"),
        Rule(name="B", group="g", expression="up", annotations={"runbook_url": "https://wiki/a"}),
        noted(runbook="http://wiki/b", summary="http://not/this"),
        noted(runbook_url="https://wiki/{{ $labels.job }}"),
        noted(runbook_url="wiki.internal/runbook/slow-response"),
        noted(runbook_url="file:///etc/passwd"),
        noted(runbook_url="http://[broken"),
        noted(runbook_url="javascript:alert(1)"),
    ]
    assert links_of(rules) == {"https://wiki/a": ("A", "B"), "http://wiki/b": ("A",)}


@given(st.text(max_size=80))
def test_no_annotation_is_too_odd(text: str) -> None:
    for url in links_of([noted(runbook_url=text), noted(runbook_url="http://" + text)]):
        assert "@" not in urlsplit(bare(url)).netloc


def test_what_an_address_holds_of_secrets_is_not_sent() -> None:
    assert bare("https://me:pw@wiki:8443/a?b=c#d") == "https://wiki:8443/a?b=c"


@pytest.mark.parametrize(
    ("status", "body", "kind", "state"),
    [
        (200, b"<h1>How to</h1>", "text/html", "alive"),
        (200, b'<form><INPUT name=x type="password"></form>', "text/html", "unknown"),
        (200, b'write <input type="password">', "text/plain", "alive"),
        (204, b"", "", "alive"),
        (404, b"", "text/html", "dead"),
        (410, b"", "", "dead"),
        (500, b"", "", "dead"),
        (401, b"", "", "unknown"),
        (403, b"", "", "unknown"),
        (429, b"", "", "unknown"),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, kind: str, state: str) -> None:
    assert judged(status, body, kind)[0] == state


def page(asked: Asked) -> Answer:
    """A wiki: pages that are there, moved, gone, behind a login, endless."""
    assert not {"authorization", "cookie"} & set(asked.headers)
    assert asked.method == "GET"
    ends: dict[str, Answer] = {
        "/ok": reply("<p>ok</p>", Content_Type="text/html"),
        "/moved": reply("", status="301 Moved Permanently", Location="/ok"),
        "/login-first": reply("", status="302 Found", Location="/login?next=/x"),
        "/elsewhere": reply("", status="302 Found", Location="https://accounts.example.org/o/oauth2"),
        "/round": reply("", status="302 Found", Location="/round"),
        "/nowhere": reply("", status="302 Found", Location="mailto:ops"),
        "/login": reply("ok"),
    }
    if asked.path == "/silent":
        return silence()
    if asked.path == "/endless":
        return forever(head("200 OK", {"Content-Type": "text/html"}), b"x" * 65536)
    return ends.get(asked.path, reply("", status="404 Not Found"))


def test_a_wiki_and_its_pages() -> None:
    async def ask() -> dict[str, Link]:
        turns = asyncio.Semaphore(20)
        async with Stand(page) as web:
            paths = ("ok", "moved", "login-first", "elsewhere", "round", "nowhere", "endless", "gone")
            urls = [f"{web.url}/{p}" for p in paths]
            urls += [f"http://127.0.0.1:{free_port()}/closed", "http://no-such-host.invalid/x"]
            found = await asyncio.gather(*(links._one(url, ("A",), turns, 20) for url in urls))
            slow = await links._one(f"{web.url}/silent", ("A",), turns, 0.2)
        return {n.url.rpartition("/")[2]: n for n in (*found, slow)}

    found = asyncio.run(ask())
    assert {name for name, n in found.items() if n.state == "alive"} == {"ok", "moved", "endless"}
    unclear = {name for name, n in found.items() if n.state == "unknown"}
    assert unclear == {"login-first", "elsewhere", "nowhere"}
    assert found["elsewhere"].found == "redirects to a login page at accounts.example.org"
    assert found["silent"].state == "dead"
    assert "0.2 s" in found["silent"].found
    assert "refused" in found["closed"].found


def test_a_login_is_neither_alive_nor_dead() -> None:
    hidden = Link(url="https://w/a", alerts=("A",), state="unknown", found="a login page")
    line = told("x", SPEC, (hidden,), 3)
    assert (line.severity, line.counts) == (Severity.UNKNOWN, True)
    assert line.text == "1 of 1 behind a login or unclear"
    dead = Link(url="https://w/b", alerts=("A",), state="dead", found="404 Not Found")
    both = told("x", SPEC, (hidden, dead), 3, left_out=7)
    assert (both.severity, both.text) == (
        Severity.WARNING,
        "1 of 2 dead: https://w/b, 1 of 2 behind a login or unclear",
    )
    assert both.notes == ("7 more links were not asked",)
    assert told("x", SPEC, (), 3).text == "none of 3 alert rules names one"


# --- runbooks ---------------------------------------------------------------------------------------


def care(issue: str, changed: float | None, ran: float | None) -> Care:
    at = [None if d is None else NOW - d * DAY_S for d in (changed, ran)]
    return Care(issue=issue, changed=at[0], by="git", ran=at[1])


def judged_runbooks(found: list[Care], log_days: float | None) -> CheckLine:
    since = None if log_days is None else NOW - log_days * DAY_S
    return runbooks_audit.told("x", SPEC, found, NOW, 90 * DAY_S, since)


def test_each_of_not_changed_and_not_run_is_told() -> None:
    """Where the log reaches back so far, either is a warning."""
    found = [care("old", 200, None), care("used", 200, 3), care("new", 1, None), care("fresh", 1, 3)]
    found += [care("stale", 2, 120), care("older", 300, 120)]
    line = judged_runbooks(found, 400)
    assert (line.severity, line.value, line.notes) == (Severity.WARNING, 5, ())
    assert line.text == (
        "3 of 6 not changed for 90 d: old, older, used; 4 of 6 not run for 90 d: old, older, stale, new"
    )
    assert line.detail is not None
    assert [(row[0], row[4]) for row in line.detail.rows] == [
        ("old", "not changed, never run"),
        ("older", "not changed, not run"),
        ("used", "not changed"),
        ("stale", "not run"),
        ("new", "never run"),
        ("fresh", "fresh"),
    ]
    assert line.detail.notes[0].endswith("by this machine's audit log")
    for alone, said in (
        ("used", "1 of 1 not changed for 90 d: used"),
        ("new", "1 of 1 not run for 90 d: new"),
    ):
        line = judged_runbooks([c for c in found if c.issue == alone], 400)
        assert (line.severity, line.text) == (Severity.WARNING, said)
    line = judged_runbooks(found[3:4], 400)
    assert (line.severity, line.text) == (Severity.OK, "all 1 were changed and run within 90 d")
    assert judged_runbooks([], None).severity is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("log_days", "begins"), [(None, "has no entry"), (12, "reaches back 12 d"), (90, "reaches back 90 d")]
)
def test_a_younger_log_cannot_tell_what_was_not_run(log_days: float | None, begins: str) -> None:
    note = f"not run for 90 d: cannot be told yet, this machine's audit log {begins}"
    line = judged_runbooks([care("new", 1, None), care("used", 1, 3)], log_days)
    assert (line.severity, line.value, line.text) == (Severity.OK, 0, "all 2 were changed within 90 d")
    assert line.notes == (note,)
    assert line.detail is not None
    assert line.detail.rows[0][4] == "never run"
    line = judged_runbooks([care("old", 91, None), care("new", 1, None)], log_days)
    assert (line.severity, line.text) == (Severity.WARNING, "1 of 2 not changed for 90 d: old")
    assert line.notes == (note,)


BOOK = """
issue: ISSUE
title: T
headlines: {ok: A, warning: B, critical: C, unknown: D}
symptoms: [error_ratio]
"""


def looked(books: Library, acted: Acted) -> CheckLine:
    scene = Scene(
        name="bot",
        service=Service(),
        check=check("daily", library()),
        books=books,
        now=NOW,
        deadline_s=20,
        acted=acted,
    )
    (line,) = asyncio.run(runbooks_audit.look(scene, "x", LineSpec(why="w", probe="runbooks")))
    return line


def git(folder: Path, *words: str, at: float = NOW) -> None:
    when = f"{at:.0f} +0000"
    env = {
        **os.environ,
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_DATE": when,
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, env=env, check=True, capture_output=True)


def test_the_date_is_that_of_the_last_commit_and_looking_runs_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for name in ("first", "second", "loose"):
        (tmp_path / f"{name}.yaml").write_text(BOOK.replace("ISSUE", name))
    (tmp_path / "second.yaml").write_text(BOOK.replace("ISSUE", "second") + "alerts: [SecondIsIll]\n")
    git(tmp_path, "add", "first.yaml")
    git(tmp_path, "commit", "-qm", "one", at=NOW - 100 * DAY_S)
    git(tmp_path, "add", "second.yaml")
    git(tmp_path, "commit", "-qm", "two", at=NOW - 120 * DAY_S)
    os.utime(tmp_path / "loose.yaml", (NOW - 2 * DAY_S,) * 2)
    # What a repository's configuration may make git run.
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "gpg.program", "core.pager", "diff.external"):
        git(tmp_path, "config", key, str(trap))
    git(tmp_path, "config", "log.showSignature", "true")
    books = library(tmp_path)
    day, week = (datetime.fromtimestamp(NOW - days * DAY_S, UTC) for days in (1, 7))
    # What was done for an alert is done for the issue that it belongs to.
    acted = Acted(last={"second": week, "SecondIsIll": day, "Unknown": day}, since=week)
    line = looked(books, acted)
    assert not (tmp_path / "sprung").exists()
    assert line.detail is not None
    rows = {row[0]: row[1:] for row in line.detail.rows}
    assert rows["first"][:3] == (NOW - 100 * DAY_S, "git", None)
    assert rows["second"][:3] == (NOW - 120 * DAY_S, "git", NOW - DAY_S)
    assert rows["loose"][:2] == (NOW - 2 * DAY_S, "file")
    assert (line.text or "").startswith("2 of ")
    assert (line.text or "").endswith("not changed for 90 d: first, second")
    assert line.notes == ("not run for 90 d: cannot be told yet, this machine's audit log reaches back 7 d",)
