"""Every command that a report hands over is one: it parses as it stands, and names the service that was looked at."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from msgspec.structs import replace

from oncall.cli.main import whole
from oncall.diagnosis.plan import plan
from oncall.diagnosis.run import judged
from oncall.diagnosis.saved import load
from oncall.model import Diagnosis
from oncall.model_service import PoolAt, RestartBy
from oncall.runbook.loader import library
from tests.diagnosis.incidents_all import diagnosed
from tests.diagnosis.service_faults import CAUSES, incident

LOOKS = sorted((Path(__file__).parents[1] / "diagnosis" / "looks").glob("*.json.gz"))
ADDRESS = ("-s", "it's", "--config", "/etc/a b.yaml")
REMEDIATE = "remediate"


def parsed(line: str) -> Any:  # noqa: ANN401  # typer hides its contexts
    """The context of the command that a line means. Raises typer's usage errors for a line that is none."""
    first, *words = shlex.split(line)
    assert first == "oncall"
    command: Any = typer.main.get_command(whole())
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(command.name, [words[0]], parent=context)
        command = command.commands[words.pop(0)]
    return command.make_context(command.name, words, parent=context)


def handed_over(reports: dict[str, Diagnosis]) -> list[tuple[str, str]]:
    """Each command of ours, with the issue of its report."""
    steps = [
        (issue, step)
        for issue, report in reports.items()
        for step in (report.summary.next, *(step for cause in report.causes for step in cause.next))
    ]
    return [(i, step.command) for i, step in steps if step and not step.command.startswith("psql ")]


@pytest.mark.parametrize("path", LOOKS, ids=lambda p: p.name.removesuffix(".json.gz"))
def test_of_real_incidents(path: Path) -> None:
    saved = load(path.read_bytes(), str(path))
    asking = plan((library().runbook(issue) for issue in saved.issues), saved.service)
    service = replace(saved.service, restart=RestartBy(command=("x",)), pool=PoolAt(file="/x", key="pool"))
    found = judged(saved.name, service, asking, saved.answers_to(asking), 1, ADDRESS)
    for issue, line in handed_over({d.issue: d for d in found}):
        context = parsed(line)
        assert (context.params["service"], str(context.params["config"])) == ("it's", "/etc/a b.yaml")
        if REMEDIATE in line:
            assert context.params["issue"] == issue
            assert context.params["confirm"]


@pytest.mark.parametrize("cause", CAUSES)
def test_of_simulated_ones(cause: str) -> None:
    for seed in range(3):
        for issue, line in handed_over(diagnosed(incident(cause, seed))):
            context = parsed(line)
            assert REMEDIATE not in line or context.params["issue"] == issue


def test_those_of_the_lab_are_among_them() -> None:
    """What these tests read is not nothing."""
    lines = []
    for path in LOOKS:
        saved = load(path.read_bytes(), str(path))
        asking = plan((library().runbook(issue) for issue in saved.issues), saved.service)
        found = judged(saved.name, saved.service, asking, saved.answers_to(asking), 1)
        lines += [line for _, line in handed_over({d.issue: d for d in found})]
    said = msgspec.json.encode(lines).decode()
    assert "oncall remediate restart" in said
    assert "oncall remediate kill-queries" in said
