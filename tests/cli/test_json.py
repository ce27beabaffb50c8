"""The JSON of the contract, section 5; and where the service file is looked for, section 1."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oncall.cli.main import run
from oncall.errors import Exit
from tests.cli.page import served
from tests.cli.program import Program, Said
from tests.conftest import Varied
from tests.lab.conftest import Lab

Json = Mapping[str, Any]
NUMBER = (int, float, type(None))
TEXT = (str, type(None))

# The contract's keys and their types; more keys may stand beside them.
DIAGNOSIS: Json = {
    "schema": str,
    "service": str,
    "issue": str,
    "at": str,
    "duration_ms": int,
    "severity": str,
    "verdict": str,
    "signals": list,
    "steps": list,
    "causes": list,
}
SIGNAL: Json = {
    "id": str,
    "title": str,
    "value": NUMBER,
    "unit": TEXT,
    "baseline": NUMBER,
    "warning": NUMBER,
    "critical": NUMBER,
    "severity": str,
    "source": str,
    "query": TEXT,
    "age_s": NUMBER,
    "reason": TEXT,
}
STEP: Json = {
    "id": str,
    "title": str,
    "probe": str,
    "status": str,
    "reason": TEXT,
    "query": TEXT,
    "columns": list,
    "rows": list,
    "ms": NUMBER,
}
CAUSE: Json = {"id": str, "title": str, "confidence": str, "evidence": list, "missing": list, "next": list}
EVIDENCE: Json = {
    "id": str,
    "text": str,
    "value": NUMBER,
    "baseline": NUMBER,
    "holds": (bool, type(None)),
    "supports": bool,
    "source": str,
    "query": TEXT,
}
SEVERITIES = {"ok", "warning", "critical", "unknown"}
CONFIDENCES = {"confirmed", "likely", "possible", "ruled_out", "unknown"}
BACKENDS = {
    "prometheus",
    "scrape",
    "postgres",
    "redis",
    "http",
    "ollama",
    "systemd",
    "journal",
    "logs",
    "host",
    "network",
    "alertmanager",
}
CAUSES = {
    "errors": "database_unavailable ollama_down invalid_input rate_limited cache_unavailable",
    "latency": "slow_queries resource_exhaustion too_many_requests ollama_slow lock_contention",
    "pool": "slow_queries connection_leak too_many_requests too_small lock_contention server_slots_exhausted",
    "memory": "cache_growth queue_backlog connection_leak unexplained_growth",
}


def has(found: Json, wanted: Json) -> None:
    for key, kind in wanted.items():
        assert key in found, key
        assert isinstance(found[key], kind), (key, found[key])
        assert (
            kind is bool
            or not isinstance(found[key], bool)
            or bool in (kind if isinstance(kind, tuple) else ())
        )


def keeps_the_contract(report: Json) -> None:
    has(report, DIAGNOSIS)
    assert list(report)[: len(DIAGNOSIS)] == list(DIAGNOSIS)
    assert report["schema"] == "oncall/diagnosis/1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["at"])
    assert report["severity"] in SEVERITIES
    assert report["verdict"] in {"healthy", "causes", "inconclusive"}
    for signal in report["signals"]:
        has(signal, SIGNAL)
        assert signal["severity"] in SEVERITIES
        assert signal["source"] in BACKENDS
        assert (signal["value"] is None) == (signal["reason"] is not None), signal
    for step in report["steps"]:
        has(step, STEP)
        assert step["status"] in {"ok", "skipped", "failed"}
        assert step["probe"] in BACKENDS
        assert all(set(c) >= {"name", "unit"} for c in step["columns"])
        assert all(len(row) == len(step["columns"]) for row in step["rows"])
        assert (step["status"] == "ok") == (step["reason"] is None)
    for cause in report["causes"]:
        has(cause, CAUSE)
        assert cause["confidence"] in CONFIDENCES
        assert all(isinstance(text, str) for text in cause["missing"])
        assert all(set(n) >= {"command", "why"} for n in cause["next"])
        for evidence in cause["evidence"]:
            has(evidence, EVIDENCE)
    issue = report["issue"]
    assert {c["id"] for c in report["causes"]} == {f"{issue}.{name}" for name in CAUSES[issue].split()}


def test_a_diagnosis_of_a_whole_service(healthy_lab: Lab, varied: Varied) -> None:
    report, code = varied().json("diagnose", "pool")
    assert code == Exit.OK
    keeps_the_contract(report)
    assert (report["service"], report["issue"]) == ("bot", "pool")
    assert (report["severity"], report["verdict"]) == ("ok", "healthy")
    assert all(s["source"] in ("prometheus", "postgres") for s in report["signals"])


@pytest.mark.parametrize("missing", ["prometheus", "postgres", "url"])
def test_a_diagnosis_of_a_part(varied: Varied, missing: str) -> None:
    report, _ = varied(**{missing: None}).json("diagnose", "pool", "--interval", "200ms")
    keeps_the_contract(report)


def test_a_diagnosis_of_the_past_asks_only_what_remembers(varied: Varied) -> None:
    program = varied()
    report, code = program.json("diagnose", "pool", "--at", "2h")
    keeps_the_contract(report)
    assert code == Exit.UNKNOWN
    assert {s["status"] for s in report["steps"]} == {"skipped"}


def test_all_issues(varied: Varied) -> None:
    report, code = varied().json("diagnose")
    assert set(report) == {"schema", "service", "at", "duration_ms", "severity", "diagnoses"}
    assert report["schema"] == "oncall/diagnoses/1"
    for one in report["diagnoses"]:
        keeps_the_contract(one)
    order = ["critical", "warning", "unknown", "ok"]
    found = [order.index(d["severity"]) for d in report["diagnoses"]]
    assert found == sorted(found)
    assert report["severity"] == report["diagnoses"][0]["severity"]
    assert code == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[report["severity"]]


@pytest.mark.parametrize("alert", ["PoolExhausted", "DatabaseConnectionPoolExhausted"])
def test_the_alert_picks_the_runbook(program: Program, alert: str) -> None:
    program.services(bot={})
    report, code = program.json("diagnose", "--alert", alert)
    assert (report["schema"], report["issue"], code) == ("oncall/diagnosis/1", "pool", Exit.UNKNOWN)


@pytest.mark.parametrize(("active", "code"), [(4, Exit.OK), (12, Exit.WARNING), (18, Exit.CRITICAL)])
def test_the_exit_code_is_the_severity(program: Program, active: float, code: Exit) -> None:
    """The document's thresholds: above 10 and above 16 of 20."""
    with served(active=active) as page:
        program.services(bot={"url": page.url})
        report, found = program.json("diagnose", "pool", "--interval", "100ms")
    pool = next(s for s in report["signals"] if s["id"] == "pool_active")
    assert (pool["value"], pool["warning"], pool["critical"]) == (active, 10, 16)
    assert pool["severity"] == code.name.lower()
    assert found == code


# --- every failure is a document -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("services: {bot: {}}", ("frob",), Exit.USAGE),
        ("services: {bot: {}}", ("diagnose", "--frob"), Exit.USAGE),
        ("services: {bot: {}, cat: {}}", ("diagnose", "pool"), Exit.USAGE),
        ("services: {bot: {}}", ("diagnose", "pool", "-s", "cat"), Exit.USAGE),
        ("services: {bot: {urll: x}}", ("diagnose", "pool"), Exit.CONFIG),
        ("services: {bot: {url: '${NOT_SET}'}}", ("diagnose", "pool"), Exit.CONFIG),
        ("services: {bot: {}, bot: {}}", ("diagnose", "pool"), Exit.CONFIG),
        ("services: [", ("config", "show"), Exit.CONFIG),
        ("", ("diagnose", "pool"), Exit.CONFIG),
        ("services: {bot: {}}", ("diagnose", "pool", "--runbooks", "/nowhere"), Exit.CONFIG),
        ("services: {bot: {}}", ("diagnose", "../pool"), Exit.CONFIG),
        ("services: {bot: {runbooks: /nowhere}}", ("runbook", "check"), Exit.CONFIG),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_every_failure_is_one_document(
    program: Program, text: str, words: tuple[str, ...], code: Exit, before: bool
) -> None:
    program.write(text)
    said = program.run("--output=json", *words) if before else program.run(*words, "--output", "json")
    assert said.code == code
    assert list(said.json) == ["schema", "error", "hint"]
    assert said.json["schema"] == "oncall/error/1"
    assert isinstance(said.json["error"], str)
    assert isinstance(said.json["hint"], TEXT)
    assert said.json["error"].splitlines()[0][:40] in said.err


# --- the three options, before and after ---------------------------------------------------------


def test_the_options_work_before_and_after_the_command(program: Program) -> None:
    path = program.folder / "elsewhere.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("services: {one: {}, two: {environment: spare}}\n")
    options = ("-s", "two", "--config", str(path), "--output", "json")
    for words in (
        (*options, "diagnose", "pool"),
        ("diagnose", "pool", *options),
        ("diagnose", *options, "pool"),
        (*options[:4], "diagnose", "pool", *options[4:]),
        ("--service", "one", *options[2:], "diagnose", "pool", "-s", "two"),
    ):
        said = program.run(*words)
        assert (said.json["service"], said.json["environment"]) == ("two", "spare")
        assert said.code == Exit.UNKNOWN


@pytest.mark.parametrize(
    "words",
    [
        ("runbook", "list"),
        ("runbook", "show", "pool"),
        ("runbook", "check"),
        ("runbook", "schema"),
        ("config", "show"),
        ("config", "check"),
        ("lab", "status"),
        ("status",),
        ("health",),
        ("alerts",),
        ("alerts", "silences"),
        ("handover",),
        ("dashboard",),
        ("daily-check",),
        ("watch-deploy", "--since", "5m"),
    ],
    ids=" ".join,
)
def test_every_command_takes_them_in_both_places(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
) -> None:
    """In this process: two starts of Python for each command would take longer than what is looked at."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = tmp_path / "service.yaml"
    file.write_text("services: {one: {}, two: {}}\n")
    file.chmod(0o600)
    options = ("-s", "two", "--config", str(file), "--output", "json")
    told = []
    for line in ((*options, *words), (*words, *options)):
        code = run(list(line))
        told.append(Said(code, *capsys.readouterr()))
    before, after = told
    assert before.code == after.code
    assert set(before.json) == set(after.json)
    if words[0] not in ("runbook", "config", "lab"):
        # The options were heard: without them there are two services, and none of them is the default.
        assert (before.json["service"], after.json["service"]) == ("two", "two")


# --- the service file: where it is looked for ----------------------------------------------------


def test_the_order_of_places(program: Program) -> None:
    """--config, $ONCALL_CONFIG, $XDG_CONFIG_HOME/oncall/config.yaml, /etc/oncall/config.yaml."""
    program.services(users={})
    named, given = program.folder / "named.yaml", program.folder / "given.yaml"
    named.write_text("services: {named: {}}\n")
    given.write_text("services: {given: {}}\n")
    assert program.json("diagnose", "pool")[0]["service"] == "users"
    other = program.under(ONCALL_CONFIG=str(named))
    assert other.json("diagnose", "pool")[0]["service"] == "named"
    assert other.json("diagnose", "pool", "--config", str(given))[0]["service"] == "given"
    program.file.unlink()
    said = program.run("diagnose", "pool")
    assert said.code == Exit.CONFIG
    assert f"{program.file}, /etc/oncall/config.yaml" in said.err


def test_one_that_is_named_and_missing_is_an_error(program: Program) -> None:
    program.services(users={})
    missing = str(program.folder / "missing.yaml")
    for said in (
        program.run("diagnose", "pool", "--config", missing),
        program.under(ONCALL_CONFIG=missing).run("diagnose", "pool"),
    ):
        assert said.code == Exit.CONFIG
        assert missing in said.err


def test_never_from_the_current_folder(program: Program) -> None:
    """A cloned repository must not point the tool anywhere, nor make it run a command."""
    work = program.work()
    evil = "services: {evil: {url: 'http://127.0.0.1:1', restart: {command: [touch, owned]}}}\n"
    names = ("config.yaml", "oncall.yaml", ".oncall.yaml", "service.yaml", "oncall/config.yaml")
    folders = (".", "oncall", ".config", "runbooks", "oncall/lab")
    for folder in folders:
        for name in names:
            (work / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (work / folder / name).write_text(evil)
    (work / "runbooks" / "pool.yaml").write_text("issue: pool\ntitle: EVIL\n")
    (work / "oncall.py").write_text("print('owned')")
    (work / "sitecustomize.py").write_text("print('owned')")
    installed = Program(program.folder, {}, (str(_entry()),))
    for each in (
        installed,
        installed.under(XDG_CONFIG_HOME="", XDG_DATA_HOME="oncall", HOME=str(program.folder)),
    ):
        said = each.run("diagnose", "pool")
        assert said.code == Exit.CONFIG
        assert "there is no service file" in said.err
        assert "evil" not in said.all
        assert "owned" not in said.all
    program.services(bot={})
    assert "EVIL" not in installed.run("runbook", "show", "pool").all
    assert "EVIL" not in installed.run("diagnose", "pool").all


def _entry() -> object:
    import sys
    from pathlib import Path

    return Path(sys.executable).with_name("oncall")


def test_several_services_need_a_name_or_a_default(program: Program) -> None:
    program.services(one={}, two={})
    said = program.run("diagnose", "pool")
    assert said.code == Exit.USAGE
    assert "there are several services, and the file names no default: one, two" in said.err
    program.services("two", one={}, two={})
    assert program.json("diagnose", "pool")[0]["service"] == "two"
    assert program.json("-s", "one", "diagnose", "pool")[0]["service"] == "one"
