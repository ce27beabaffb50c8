"""A team adds an issue of its own by writing YAML, and no Python."""

import re
from pathlib import Path
from typing import Any

import pytest

from oncall.errors import Exit
from tests.cli.page import served
from tests.cli.program import Program, cause, rows, signal
from tests.clients.pgstand import APP, Stand

EXPORTS = """\
issue: exports
title: Exports
headlines: {ok: EXPORTS HEALTHY, warning: EXPORTS SLOW, critical: EXPORTS STUCK, unknown: EXPORTS UNKNOWN}
alerts: [ExportsStuck]
symptoms: [stuck]

signals:
  stuck:
    title: Stuck exports
    unit: jobs
    step: jobs.stuck
    warning: 0
    critical: 2
  in_pool:
    title: Connections in use
    gauge: db_connection_pool_active

steps:
  jobs:
    title: Exports by state
    why: A job that runs for over an hour has lost its worker.
    sql: >-
      SELECT count(*) FILTER (WHERE state = 'running' AND begun < now() - interval '1 hour') AS stuck,
             count(*) FILTER (WHERE state = 'waiting') AS waiting,
             max(worker) AS worker
      FROM jobs
  workers:
    title: Workers that are connected
    why: A worker that is gone cannot finish.
    sql: SELECT count(*) AS connected FROM pg_catalog.pg_stat_activity WHERE application_name = :'application_name'

values:
  lost: jobs.stuck - workers.connected

causes:
  worker_gone:
    title: workers are gone
    why: The worker that held the job has ended, and nobody took the job over.
    evidence:
      - id: nobody_there
        text: "{jobs.stuck} jobs run, {workers.connected} workers are connected"
        when: lost > 0
        weight: 3
        decisive: true
      - id: all_there
        text: every worker is there
        when: workers.connected >= jobs.stuck
        against: true
        decisive: true
    next:
      - {command: "exportctl requeue --worker {jobs.worker}", why: "gives its jobs to another worker"}
    advice: [Let a job's lease end by itself.]
  too_many:
    title: more exports than workers
    why: More come in than are done.
    evidence:
      - {id: queue, text: "{jobs.waiting} wait", when: jobs.waiting > 10, weight: 2}
"""


def team(program: Program, text: str = EXPORTS, name: str = "exports.yaml") -> Path:
    folder = program.folder / "team"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture
def jobs(postgres: Stand) -> Stand:
    postgres.admin.execute("DROP TABLE IF EXISTS jobs")
    postgres.admin.execute("CREATE TABLE jobs (state text, begun timestamptz, worker text)")
    postgres.admin.execute("GRANT SELECT ON jobs TO oncall")
    postgres.clear()
    return postgres


def service(pg: Stand, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever YAML can say
    return {
        "postgres": {"dsn": pg.dsn(user="oncall", password="secret-canary"), "application_name": APP},
        **more,
    }


def test_its_own_issue_on_a_real_database(program: Program, jobs: Stand) -> None:
    folder = str(team(program))
    program.services(bot=service(jobs))
    words = ("diagnose", "exports", "--runbooks", folder)
    healthy, code = program.json(*words)
    assert (healthy["issue"], healthy["severity"], code) == ("exports", "ok", Exit.OK)
    jobs.admin.execute(
        "INSERT INTO jobs SELECT 'running', now() - interval '2 hours', 'w[7]' FROM generate_series(1, 4)"
    )
    report, code = program.json(*words)
    assert (report["severity"], report["verdict"], code) == ("critical", "causes", Exit.CRITICAL)
    assert signal(report, "stuck")["value"] == 4
    assert rows(report, "jobs")[0] == {"stuck": 4, "waiting": 0, "worker": "w[7]"}
    top = report["causes"][0]
    assert (top["id"], top["confidence"]) == ("exports.worker_gone", "confirmed")
    assert top["evidence"][0]["text"] == "4 jobs run, 0 workers are connected"
    assert cause(report, "exports.too_many")["confidence"] == "ruled_out"
    page = program.run(*words)
    assert page.first[0].startswith("EXPORTS STUCK   bot")
    assert page.first[1] == "Cause   workers are gone (confirmed): 4 jobs run, 0 workers are connected"
    assert page.first[2].startswith("Next    exportctl requeue --worker")
    # Four workers come back: the cause is ruled out.
    for _ in range(4):
        jobs.session(APP)
    report, _ = program.json(*words)
    assert cause(report, "exports.worker_gone")["confidence"] == "ruled_out"


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_it_is_found_through_the_service_file_and_by_its_alert(program: Program, jobs: Stand) -> None:
    team(program)
    path = program.services(bot=service(jobs, runbooks="../../team"), other={})
    for words in (("exports",), ("--alert", "ExportsStuck")):
        report, code = program.json("-s", "bot", "diagnose", *words)
        assert (report["issue"], code) == ("exports", Exit.OK)
    both, _ = program.json("-s", "bot", "diagnose")
    assert {d["issue"] for d in both["diagnoses"]} == {"errors", "latency", "memory", "pool", "exports"}
    assert program.run("-s", "other", "diagnose", "exports").code == Exit.USAGE
    assert path.parent.parent.parent / "team" == program.folder / "team"


def test_it_may_use_the_services_own_signals(program: Program) -> None:
    """A signal that only the service file defines, and one that a runbook redefines."""
    folder = team(
        program,
        "issue: mine\ntitle: Mine\nheadlines: {ok: A, warning: B, critical: C, unknown: D}\n"
        "symptoms: [my_gauge]\n"
        "causes:\n  one:\n    title: one\n    why: w\n"
        "    evidence: [{id: high, text: '{my_gauge} now', when: my_gauge > 5, weight: 3, decisive: true}]\n",
    )
    with served(active=9) as page:
        own = {"gauge": "db_connection_pool_active", "title": "Mine", "warning": 3, "critical": 6}
        program.services(bot={"url": page.url, "runbooks": str(folder), "signals": {"my_gauge": own}})
        report, code = program.json("diagnose", "mine", "--interval", "100ms")
    assert (report["summary"]["headline"], code) == ("C", Exit.CRITICAL)
    assert signal(report, "my_gauge")["value"] == 9


def test_one_of_the_same_issue_replaces_the_packaged_one(program: Program) -> None:
    folder = team(program, EXPORTS.replace("issue: exports", "issue: pool"), "pool.yaml")
    program.services(bot={})
    report, _ = program.json("diagnose", "pool", "--runbooks", str(folder))
    assert report["summary"]["headline"] == "EXPORTS UNKNOWN"
    listed = program.json("runbook", "list", "--runbooks", str(folder))[0]["runbooks"]
    assert ("pool", "Exports") in [(r["issue"], r["title"]) for r in listed]
    assert [r["issue"] for r in listed].count("pool") == 1


# --- list, show, check ---------------------------------------------------------------------------


def test_list_show_and_check_know_it(program: Program) -> None:
    folder = team(program)
    more = ("--runbooks", str(folder))
    listed = program.run("runbook", "list", *more)
    assert re.search(r"^exports +Exports +2 +2 +", listed.out, re.MULTILINE)
    shown = program.run("runbook", "show", "exports", *more)
    assert "count(*) FILTER (WHERE state = 'running'" in shown.out
    assert f"from {folder}/exports.yaml" in shown.out
    checked = program.run("runbook", "check", *more)
    assert checked.code == Exit.OK
    assert f"ok  {folder}/exports.yaml" in checked.out
    as_json = program.json("runbook", "show", "exports", *more)[0]
    assert as_json["schema"] == "oncall/runbook/1"
    assert [s["id"] for s in as_json["steps"]] == ["jobs", "workers"]


def test_what_show_prints_can_be_pasted(program: Program, postgres: Stand) -> None:
    """Every SQL of `show pool`, as it stands, on a real server; with the service's names filled in."""
    program.services(bot=service(postgres))
    shown, _ = program.json("runbook", "show", "pool")
    asked = [s["query"] for s in shown["steps"] if s["probe"] == "postgres"]
    assert len(asked) >= 7
    postgres.admin.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")
    with postgres.session("psql") as link:
        for query in asked:
            if "pg_stat_statements" not in query:
                link.pgconn.exec_(query.encode())
                assert link.pgconn.error_message == b"", query


@pytest.mark.parametrize(
    "issue", ["../pool", "/etc/passwd", "pool.yaml", "Pool", "a b", "pool\n", "%2e%2e/pool"]
)
def test_row_40_a_name_is_never_a_path(program: Program, issue: str) -> None:
    for words in (("runbook", "show", issue), ("diagnose", issue)):
        program.services(bot={})
        said = program.run(*words)
        assert said.code == Exit.CONFIG
        assert "is no name of a runbook" in said.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            EXPORTS.replace("title: Exports by state", "titel: x"),
            "exports.yaml:20: steps.jobs.titel: unknown key",
        ),
        (EXPORTS.replace("  too_many:", "  worker_gone:"), "exports.yaml:53: the key 'worker_gone'"),
        (
            EXPORTS.replace("when: lost > 0", "when: lots > 0"),
            "'lots' is neither a signal, a value, nor a column",
        ),
        (EXPORTS + "  bomb: &a [*a]\n", "exports.yaml:"),
        (EXPORTS.replace("FROM jobs", "FROM jobs; DROP TABLE jobs"), "steps.jobs.sql"),
    ],
    ids=["unknown key", "duplicate key", "unknown name", "alias", "two statements"],
)
@pytest.mark.parametrize("command", ["check", "show", "diagnose"])
def test_row_40_a_mistake_is_told_with_its_line(program: Program, text: str, says: str, command: str) -> None:
    folder = team(program, text)
    program.services(bot={})
    words = {
        "check": ("runbook", "check"),
        "show": ("runbook", "show", "exports"),
        "diagnose": ("diagnose", "exports"),
    }
    said = program.run("--output", "json", *words[command], "--runbooks", str(folder))
    assert said.code == Exit.CONFIG
    assert re.search(rf"^oncall: {re.escape(str(folder))}/exports\.yaml:\d+: ", said.err), said.err
    assert says in said.err
    assert said.json["schema"] == "oncall/error/1"


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        (
            "checks/daily.yaml",
            "check: daily\ntitle: D\nlines: {a: {why: x, signal: nothing}}\n",
            "is no signal",
        ),
        ("dashboards/ours.yaml", "dashboard: ours\ntitle: O\npanels: {a: {kind: pie}}\n", "kind"),
        ("deployments/hour.yaml", "phase: hour\ntitle: H\nrules: {}\n", "nothing could ever be kept"),
        ("alerting/escalation.yaml", "policy: 7\n", "policy"),
    ],
)
def test_what_lies_beside_the_runbooks_is_checked_too(
    program: Program, place: str, text: str, said: str
) -> None:
    folder = program.folder / "books"
    path = folder / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    found = program.run("runbook", "check", "--runbooks", str(folder))
    assert found.code == Exit.CONFIG
    assert f"{place}:" in found.err
    assert said in found.err
