"""The rules of a deployment watch as data: those that come with the tool, a team's, and mistakes with file:line."""

from pathlib import Path

import pytest

from oncall.checks.deploy_rules import Rule, rules
from oncall.errors import RunbookError
from oncall.model_deploy import Phase
from oncall.runbook.loader import library


def by_id(phase: Phase, *folders: Path) -> dict[str, Rule]:
    return {rule.id: rule for rule in rules(phase, library(*folders)).rules}


def test_the_documents_targets() -> None:
    hour = by_id(Phase.HOUR)
    assert hour["uptime"].at_least == 1
    assert hour["error_rate"].below == 0.005
    assert hour["response_time"].below == 0.2
    assert (hour["connections"].below, hour["connections"].share_of) == (
        5 / 20,
        "first(pool_size, limits.pool)",
    )
    assert {"memory", "error_patterns", "traffic", "traffic_peak", "backups"} <= by_id(Phase.DAY).keys()
    assert {"response_time", "error_trend", "pool", "memory", "cpu"} <= by_id(Phase.WEEK).keys()


def test_what_a_person_has_to_look_at_is_a_note_of_the_phase(tmp_path: Path) -> None:
    (note,) = rules(Phase.WEEK, library()).notes
    assert "user complaints" in note
    folder = team(tmp_path, GOOD + "notes: [ask the shop]\n")
    assert rules(Phase.HOUR, library(folder)).notes == ("ask the shop",)


def test_a_target_stands_in_one_place() -> None:
    assert by_id(Phase.DAY)["error_rate"] == by_id(Phase.HOUR)["error_rate"]
    week, hour = by_id(Phase.WEEK)["uptime"], by_id(Phase.HOUR)["uptime"]
    assert (week.signal, week.weight, hour.weight) == (hour.signal, "watches", "rolls back")
    assert (week.at_least, hour.at_least) == (0.999, 1)


def team(folder: Path, text: str, name: str = "hour") -> Path:
    (folder / "deployments").mkdir()
    (folder / "deployments" / f"{name}.yaml").write_text(text)
    return folder


GOOD = """
phase: hour
title: Ours
rules:
  error_rate: {signal: error_ratio, below: 0.02, why: ours, weight: watches}
"""


def test_a_teams_file_wins_by_its_name(tmp_path: Path) -> None:
    folder = team(tmp_path, GOOD)
    assert {name: rule.below for name, rule in by_id(Phase.HOUR, folder).items()} == {"error_rate": 0.02}
    assert by_id(Phase.WEEK, folder)["error_rate"].below == 0.02


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{signal: nothing, below: 1, why: x, weight: watches}", "is no signal"),
        ("{signal: cpu, below: 1, must_not: rise, why: x, weight: watches}", "exactly one of below"),
        ("{signal: cpu, probe: logs, below: 1, why: x, weight: watches}", "exactly one of signal, probe"),
        ("{signal: cpu, below: 1, weight: watches}", "needs `why` and `weight`"),
        ("{signal: cpu, below: 1, why: x, weight: maybe}", "rolls back, watches"),
        ("{signal: cpu, below: 1, why: x, weigth: watches}", "weight"),
        ("{probe: logs, must_not: rise, why: x, weight: watches}", "it needs `below`"),
        ("{signal: cpu, below: 1, share_of: wat, why: x, weight: watches}", "neither a signal nor a limit"),
        ("{signal: cpu, below: 1, share_of: '1 +', why: x, weight: watches}", "hour.yaml:4"),
        ("{like: week}", "no 'mine' of its own"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, rule: str, says: str) -> None:
    folder = team(tmp_path, f"phase: hour\ntitle: Ours\nrules:\n  mine: {rule}\n")
    with pytest.raises(RunbookError) as caught:
        by_id(Phase.HOUR, folder)
    assert says in f"{caught.value} {caught.value.hint}"
    assert "hour.yaml:4" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("hour", "week"), "the file's name says 'hour'"),
        ("phase: hour\ntitle: Ours\n", "no rule"),
    ],
)
def test_a_file_of_another_phase_or_of_nothing(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RunbookError, match=says):
        by_id(Phase.HOUR, team(tmp_path, text))
