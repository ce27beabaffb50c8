"""`oncall remediate` as an engineer meets it: the plan, the refusal, the act, the proof, the trace."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oncall.errors import Exit
from oncall.lab.process import wait_until
from tests.cli.program import Program, Said
from tests.clients.pgstand import APP, Link, begin
from tests.clients.pgstand import Stand as Postgres
from tests.clients.webstand import Stand, reply
from tests.conftest import Varied


def guard(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(g for g in plan["guards"] if g["name"] == name)


def bare(program: Program, postgres: Postgres, **more: Any) -> Program:  # noqa: ANN401  # whatever YAML can say
    """A service that is nothing but its database: no symptom can be measured."""
    program.services(bot={"postgres": {"dsn": postgres.server.url, "application_name": APP}, **more})
    return program


@pytest.fixture
def plain(postgres: Postgres) -> Iterator[None]:
    """A role like that of a deployment: no superuser, whom no action touches."""
    postgres.admin.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    postgres.admin.execute("GRANT ALL ON SCHEMA public TO plain")
    postgres.admin.execute("GRANT pg_read_all_data, pg_write_all_data TO plain")
    try:
        yield
    finally:
        postgres.clear()
        postgres.admin.execute("DROP OWNED BY plain")
        postgres.admin.execute("DROP ROLE plain")


def alive(postgres: Postgres, link: Link) -> bool:
    return bool(postgres.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", link.info.backend_pid))


@pytest.mark.usefixtures("plain")
def test_a_plan_touches_nothing_and_its_command_does_exactly_that(
    postgres: Postgres, program: Program
) -> None:
    bare(program, postgres)
    with postgres.session() as owner:
        owner.execute("CREATE TABLE stock (id int)")
    postgres.admin.execute("GRANT ALL ON stock TO plain")
    holder, waiter = postgres.session("deploy", user="plain", password="plain"), postgres.session()
    try:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE stock")
        begin(waiter, "SELECT * FROM stock")
        postgres.waiting(waiter)
        plan, code = program.json("remediate", "kill-queries", "--blockers", "--terminate")
        assert code == Exit.OK, plan["guards"]
        assert plan["schema"] == "oncall/plan/1"
        assert [t["id"] for t in plan["targets"]] == [f"pid {holder.info.backend_pid}"]
        assert plan["id"] in plan["command"]
        assert plan["command"].endswith("--confirm")
        assert alive(postgres, holder)
        done = program.paste(f"{plan['command']} --output json")
        assert done.code == Exit.OK, done.all
        report = done.json
        assert (report["schema"], report["outcome"]) == ("oncall/remediation/1", "done")
        assert report["verification"]["result"] == "nothing_measured"
        assert all(check["holds"] for check in report["verification"]["checks"])
        wait_until(lambda: not alive(postgres, holder), "the blocker ended")
        assert alive(postgres, waiter)
        _it_left_a_trace(program, report)
    finally:
        postgres.clear()
        postgres.admin.execute("DROP TABLE stock")


def _it_left_a_trace(program: Program, report: dict[str, Any]) -> None:
    listed, code = program.json("audit", "list")
    assert code == Exit.OK
    kinds = [(e["kind"], e["action"]) for e in listed["entries"]]
    assert kinds == [("outcome", "kill-queries"), ("intent", "kill-queries")]
    assert listed["open"] == []
    assert program.json("audit", "verify")[1] == Exit.OK
    evidence = Path(report["evidence"])
    assert evidence.stat().st_mode & 0o777 == 0o600
    again = program.run("diagnose", "--replay", str(evidence), "--output", "json")
    assert again.json["service"] == "bot"


@pytest.mark.usefixtures("plain")
def test_a_plan_that_is_no_longer_so_is_refused(postgres: Postgres, program: Program) -> None:
    bare(program, postgres)
    first = postgres.session(user="plain", password="plain")
    try:
        begin(first, "SELECT pg_sleep(60)")
        postgres.running(first)
        plan, _ = program.json("remediate", "kill-queries", "--older-than", "1ms")
        second = postgres.session(user="plain", password="plain")
        begin(second, "SELECT pg_sleep(60)")
        postgres.running(second)
        words = ("remediate", "kill-queries", "--older-than", "1ms", "--plan", plan["id"], "--confirm")
        report, code = program.json(*words)
        assert (code, report["outcome"]) == (Exit.REFUSED, "refused")
        assert guard(report["plan"], "identity")["state"] == "refused"
        assert postgres.value(
            "SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'"
            " AND usename = 'plain'"
        )
    finally:
        postgres.clear()


def test_without_a_filter_nothing_is_selected(postgres: Postgres, program: Program) -> None:
    plan, code = bare(program, postgres).json("remediate", "kill-queries", "--confirm")
    assert code == Exit.REFUSED
    assert guard(plan["plan"], "empty-selection")["state"] == "refused"


# --- the service as a command that restarts it -------------------------------------------------------------------


def restarted_by(program: Program, script: str, **more: Any) -> Path:  # noqa: ANN401  # whatever YAML can say
    """A service that a script restarts; the folder that the script works in."""
    work = program.work()
    (work / "restart.sh").write_text(f"#!/bin/sh\ncd {work}\n{script}\n")
    (work / "restart.sh").chmod(0o755)
    program.services(bot={"restart": {"command": [str(work / "restart.sh")]}, **more})
    return work


def test_the_frozen_hours(program: Program) -> None:
    now = datetime.now(UTC)
    freeze = {
        "from": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    work = restarted_by(program, "touch ran", freeze=[{**freeze, "reason": "the big sale"}])
    said = program.run("remediate", "restart", "--confirm")
    assert said.code == Exit.REFUSED
    assert "the big sale" in said.out
    assert not (work / "ran").exists()
    words = ("--override", "freeze", "--reason", "the site is down", "--wait", "0s")
    said = program.run("remediate", "restart", "--confirm", *words)
    assert (work / "ran").exists(), said.all
    shown = program.run("audit", "list", "--output", "json").json["entries"]
    assert shown[0]["reason"] == "the site is down"
    assert shown[0]["overrides"] == ["freeze"]


def test_without_an_audit_log_nothing_is_done(program: Program) -> None:
    work = restarted_by(program, "touch ran")
    (program.folder / "state" / "oncall" / "audit.jsonl").mkdir(parents=True)
    said = program.run("remediate", "restart", "--confirm")
    assert said.code == Exit.REFUSED, said.all
    assert "audit-writable" in said.all
    assert not (work / "ran").exists()


def test_an_outcome_that_cannot_be_written_is_no_refusal(program: Program) -> None:
    """It has been done: exit 4 would say that nothing was changed."""
    log = program.folder / "state" / "oncall" / "audit.jsonl"
    work = restarted_by(program, f"touch ran; mv {log} {log}.aside; mkdir {log}")
    said = program.run("remediate", "restart", "--confirm", "--wait", "0s", "--output", "json")
    assert (work / "ran").exists()
    assert said.code == Exit.UNVERIFIED, said.all
    assert said.json["outcome"] == "done"
    assert any("what was done stands" in note for note in said.json["notes"])


def test_a_plan_by_other_runbooks_is_handed_over_with_them(program: Program) -> None:
    restarted_by(program, "touch ran")
    folder = program.work() / "own books"
    folder.mkdir()
    words = ("--runbooks", str(folder), "--timeout", "3s")
    plan, _ = program.json("remediate", "restart", *words)
    assert f"--runbooks '{folder}'" in plan["command"]
    assert "--timeout 3s" in plan["command"]
    report = program.paste(f"{plan['command']} --wait 0s --output json")
    assert report.json["plan"]["id"] == plan["id"]


def test_twice_within_the_cooldown(program: Program) -> None:
    work = restarted_by(program, "echo >> ran")
    program.run("remediate", "restart", "--confirm", "--wait", "0s")
    again = program.run("remediate", "restart", "--confirm", "--wait", "0s")
    assert again.code == Exit.REFUSED
    assert "cooldown" in again.out
    assert (work / "ran").read_text().count("\n") == 1


def test_two_operators(program: Program) -> None:
    work = restarted_by(program, "touch begun; read line < fifo")
    os.mkfifo(work / "fifo")
    first = started(program, "remediate", "restart", "--confirm", "--wait", "0s")
    try:
        wait_until((work / "begun").exists, "the first operator acts")
        second = program.run("remediate", "restart", "--confirm")
        assert second.code == Exit.REFUSED
        assert "concurrent-operator" in second.out
        (work / "fifo").write_text("go on\n")
    finally:
        first.kill()
        first.communicate()


def started(program: Program, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*program.command, *words],
        env=program.env,
        cwd=program.work(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_row_42_killed_in_the_middle(program: Program) -> None:
    """kill -9 between intent and outcome: the next run says so."""
    work = restarted_by(program, "touch begun; read line < fifo")
    os.mkfifo(work / "fifo")
    victim = started(program, "remediate", "restart", "--confirm")
    wait_until((work / "begun").exists, "it acts")
    victim.kill()
    victim.communicate()
    (work / "fifo").write_text("go on\n")
    looked = program.run("diagnose", "pool", "--output", "json")
    assert "has no known end" in looked.err
    assert looked.json["schema"] == "oncall/diagnosis/1"
    said = program.run("remediate", "restart", "--confirm")
    assert "has no known end" in said.err
    assert "oncall audit show 1" in said.err
    assert said.code == Exit.REFUSED
    assert program.run("audit", "list", "--output", "json").json["open"] == [1]


def test_row_42_interrupted_in_the_middle(program: Program) -> None:
    work = restarted_by(program, "touch begun; read line < fifo")
    os.mkfifo(work / "fifo")
    child = started(program, "remediate", "restart", "--confirm", "--output", "json")
    wait_until((work / "begun").exists, "it acts")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    said = Said(child.returncode, out.decode(), err.decode())
    assert said.code == Exit.UNVERIFIED, said.all
    assert said.json["outcome"] == "interrupted"
    entries = program.run("audit", "list", "--output", "json").json["entries"]
    assert [e["kind"] for e in entries] == ["outcome", "intent"]
    assert entries[0]["outcome"] == "interrupted"


def test_the_team_is_told_before_and_after(program: Program) -> None:
    """Slack hears of the plan and of the result; a webhook that is dead is said, and holds nothing back."""

    async def work() -> tuple[Said, list[str]]:
        async with Stand(lambda _: reply("ok")) as slack:
            restarted_by(program, "touch ran", announce={"slack": f"{slack.url}/services/T0/canary"})
            words = ("remediate", "restart", "--confirm", "--wait", "0s", "--output", "json")
            said = await asyncio.to_thread(program.run, *words)
            return said, [json.loads(asked.body)["text"] for asked in slack.asked]

    said, told = asyncio.run(work())
    assert said.json["outcome"] == "done"
    assert len(told) == 2
    assert "restart begins on bot" in told[0]
    assert "canary" not in said.all + "".join(told)
    dead = ("--override", "cooldown", "--reason", "the webhook is dead now", "--output", "json")
    said = program.run("remediate", "restart", "--confirm", "--wait", "0s", *dead)
    assert said.json["outcome"] == "done"
    assert any("not announced" in note for note in said.json["notes"])
    assert "canary" not in said.all


# --- a service that is well ------------------------------------------------------------------------------


def test_nothing_is_wrong_why_act(varied: Varied) -> None:
    program = varied()
    plan, code = program.json("remediate", "restart")
    assert (code, plan["severity"]) == (Exit.OK, "ok")
    assert guard(plan, "already-healthy")["state"] == "refused"
    assert "look first: oncall diagnose; or" in guard(plan, "already-healthy")["hint"]
    report, code = program.json("remediate", "restart", "--confirm")
    assert (code, report["outcome"]) == (Exit.REFUSED, "refused")


def test_the_guards_are_explained(program: Program) -> None:
    listed, code = program.json("remediate", "guards")
    assert code == Exit.OK
    assert len(listed["guards"]) == 22
    page = program.run("remediate", "guards").out
    assert all(g["name"] in page for g in listed["guards"])
