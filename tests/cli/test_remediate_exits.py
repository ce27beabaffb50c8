"""The exit codes of `oncall remediate`: wrong words, refusals, and what was done but could not be proven."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from redis import Redis

from oncall.cli.remediate import exit_of
from oncall.errors import Exit
from oncall.lab.servers import Server
from oncall.model_acts import ActionPlan, Check, Helped, Outcome, Remediation, Verification
from tests.cli.program import Program, Said
from tests.cli.test_remediate import guard, restarted_by
from tests.clients.redisstand import redis
from tests.remediation.flushstand import calls, fill, swallowing

# --- the code of every outcome and every proof ---------------------------------------------------

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PROOFS: tuple[Helped | None, ...] = (None, *get_args(Helped))
CHECKS: tuple[tuple[bool | None, ...], ...] = (
    (),
    (True,),
    (True, True),
    (True, None),
    (None,),
    (True, False),
)
WHOLE = {("fixed", ()), *product(("fixed", "nothing_measured"), ((True,), (True, True)))}
"""The only proofs that count: well again and no check against it; or nothing to measure and checks that hold."""


def came_to(outcome: Outcome, result: Helped | None, checks: tuple[bool | None, ...]) -> Remediation:
    plan = ActionPlan(
        id="0123456789",
        action="restart",
        service="bot",
        environment="production",
        at=datetime.now(UTC),
        title="",
        place=(),
        targets=(),
        guards=(),
        command="",
    )
    told = tuple(Check(text="a check", holds=one) for one in checks)
    proof = Verification(result=result, text="", waited_s=1.0, checks=told) if result else None
    return Remediation(plan=plan, outcome=outcome, text="", duration_ms=1, verification=proof)


@pytest.mark.parametrize("result", PROOFS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_exit_code_says_what_the_page_says(outcome: Outcome, result: Helped | None) -> None:
    """0 only for what was done and proven, 4 only where nothing was changed, else 5: whatever the checks say."""
    for checks in CHECKS:
        expected = Exit.UNVERIFIED
        if outcome == "refused":
            expected = Exit.REFUSED
        elif outcome == "done" and (result, checks) in WHOLE:
            expected = Exit.OK
        assert exit_of(came_to(outcome, result, checks)) is expected, checks


# --- as the program ------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[tuple[Server, Redis]]:
    """A Redis with a hundred keys of cache."""
    with redis(tmp_path / "redis") as server, Redis.from_url(server.url) as admin:
        fill(admin, "cache:", 100)
        yield server, admin


@pytest.mark.parametrize("hang_up", [True, False])
def test_row_22_a_lost_answer_is_unknown_and_5(
    program: Program, cache: tuple[Server, Redis], *, hang_up: bool
) -> None:
    """Sent once; whether it was done is not known, although the keys are gone."""
    server, admin = cache

    async def work() -> tuple[Said, int]:
        async with swallowing(server.port, b"redis.call('UNLINK", hang_up=hang_up) as proxy:
            program.services(bot={"redis": {"url": f"redis://127.0.0.1:{proxy.port}/0"}})
            words = ("--prefix", "cache:", "--confirm", "--wait", "0s", "--timeout", "2s", "--output", "json")
            return await asyncio.to_thread(program.run, "remediate", "flush-cache", *words), proxy.arrived

    said, arrived = asyncio.run(work())
    assert said.code == Exit.UNVERIFIED, said.all
    report = said.json
    assert (report["outcome"], report["results"][0]["state"]) == ("unknown", "unknown")
    assert "sent once; the answer did not come: look again" in report["text"]
    assert arrived == 1
    assert (admin.dbsize(), calls(admin, "unlink")) == (0, 1)
    entries = program.json("audit", "list")[0]["entries"]
    assert [(e["kind"], e["outcome"]) for e in entries] == [("outcome", "unknown"), ("intent", None)]


def test_row_41_on_a_full_disk_nothing_is_done_and_4(program: Program) -> None:
    """No file may grow beyond a few kilobytes: what a full disk does."""
    work = restarted_by(program, "touch ran")
    limit = 'ulimit -f 16; trap "" XFSZ; exec "$0" "$@"'
    limited = Program(program.folder, command=("/bin/sh", "-c", limit, *program.command))
    said = limited.run("remediate", "restart", "--confirm", "--wait", "0s", "--output", "json")
    assert said.code == Exit.REFUSED, said.all
    assert said.json["outcome"] == "refused"
    (barred,) = [g for g in said.json["plan"]["guards"] if g["state"] in ("refused", "unknown")]
    assert barred["name"] == "audit-writable"
    assert "ulimit -f" in barred["text"]
    assert not (work / "ran").exists()
    assert limited.run("remediate", "restart", "--confirm", "--override", "audit-writable").code == Exit.USAGE


def test_a_command_that_fails_is_5(program: Program) -> None:
    work = restarted_by(program, "touch ran; exit 7")
    said = program.run("remediate", "restart", "--confirm", "--wait", "0s", "--output", "json")
    assert (said.code, said.json["outcome"]) == (Exit.UNVERIFIED, "failed")
    assert "ended with code 7" in said.json["text"]
    assert (work / "ran").exists()


# --- words ---------------------------------------------------------------------------------------


def of_all_kinds(program: Program, **more: Any) -> Program:  # noqa: ANN401  # whatever YAML can say
    """A service with a command, a database and a cache, of which none answers."""
    there = {
        "restart": {"command": ["false"]},
        "postgres": {"dsn": "postgresql://oncall@127.0.0.1:1/x"},
        "redis": {"url": "redis://127.0.0.1:1/0"},
    }
    program.services(bot={**there, **more})
    return program


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("restart", "--override", "identity", "--reason", "x"), "never overridden"),
        (("restart", "--override", "cooldown"), "needs --reason"),
        (("kill-queries", "--older-than", "soon"), "--older-than"),
        (("kill-queries", "--pid", "abc"), "--pid"),
        (("kill-queries", "--max", "0"), "--max"),
        (("resize-pool",), "either --to N or --undo"),
        (("restart", "--issue", "pool", "--alert", "X"), "--issue and --alert"),
        (("restart", "--issue", "gremlins"), "no runbook"),
        (("flush-cache", "--prefix", "cache:", "--all"), "--all and --prefix"),
    ],
)
def test_wrong_words_are_64_and_nothing_happens(program: Program, words: tuple[str, ...], says: str) -> None:
    found = of_all_kinds(program).run("remediate", *words, "--confirm", "--output", "json")
    assert found.code == Exit.USAGE, found.all
    assert says in json.dumps(found.json)
    assert not (program.folder / "state" / "oncall" / "audit.jsonl").exists()


@pytest.mark.parametrize("prefix", ["*", "", "?*"])
def test_row_23_a_prefix_that_is_every_key_is_refused(program: Program, prefix: str) -> None:
    words = ("remediate", "flush-cache", "--prefix", prefix, "--confirm", "--output", "json")
    found = of_all_kinds(program).run(*words)
    assert found.code == Exit.REFUSED, found.all
    barred = guard(found.json["plan"], "empty-selection")
    assert (barred["state"], barred["text"]) == ("refused", f"--prefix {prefix!r} would be every key")


def test_row_23_a_redis_without_a_database_number_is_78(program: Program) -> None:
    there = of_all_kinds(program, redis={"url": "redis://127.0.0.1:1/abc"})
    words = ("remediate", "flush-cache", "--prefix", "cache:", "--confirm", "--output", "json")
    found = there.run(*words)
    assert found.code == Exit.CONFIG, found.all
    assert "redis.url: expected a number as the database" in found.json["error"]
