"""Real incidents of the lab, kept by --save: judged by the runbooks of today, whole and with each backend taken away.

A file is named after its case: CAUSE.VARIANT.json.gz, or healthy.SCENE.json.gz. The accuracy bench keeps more."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from oncall.diagnosis import run
from oncall.diagnosis.plan import plan
from oncall.diagnosis.saved import load
from oncall.runbook.loader import library
from tests.bench.accuracy import ablation, score
from tests.bench.accuracy.drawn import Break, Case

LOOKS = sorted((Path(__file__).parent / "looks").glob("*.json.gz"))


def case_of(path: Path) -> Case:
    issue, name, *variant = path.name.removesuffix(".json.gz").split(".")
    if issue == "healthy":
        return Case(0, scene=name)
    return Case(0, (Break(f"{issue}.{name}", variant[0], 1.0),))


def judged(path: Path, backend: str | None = None) -> dict[str, dict[str, Any]]:
    return {i: msgspec.to_builtins(d) for i, d in ablation.judged_again(path, backend).items()}


def test_there_are_some() -> None:
    assert {p.name.partition(".")[0] for p in LOOKS} >= {"errors", "latency", "pool", "memory", "healthy"}


@pytest.mark.parametrize("path", LOOKS, ids=lambda p: p.name.removesuffix(".json.gz"))
def test_the_cause_comes_first(path: Path) -> None:
    case, found = case_of(path), judged(path)
    assert not score.wrong(case, found)
    for broken in case.breaks:
        assert score.sure(found[broken.issue])[0] == broken.cause
    if not case.breaks:
        assert not any(score.sure(d) for d in found.values())


@pytest.mark.parametrize("backend", ablation.BACKENDS)
@pytest.mark.parametrize("path", LOOKS, ids=lambda p: p.name.removesuffix(".json.gz"))
def test_a_gap_is_named_and_confirms_nothing_wrong(path: Path, backend: str) -> None:
    found = judged(path, backend)
    assert not score.wrong(case_of(path), found)
    for issue, diagnosis in found.items():
        # That a step did not answer is not enough: who reads the causes must see what they lack.
        said = [*(gap["reason"] for gap in diagnosis["unseen"])]
        said += [missing for cause in diagnosis["causes"] for missing in cause["missing"]]
        if ablation.needs(issue, backend) and backend != "history":
            assert any("taken away" in text for text in said), issue


@pytest.mark.parametrize("path", LOOKS, ids=lambda p: p.name.removesuffix(".json.gz"))
def test_the_symptoms_are_the_same_with_no_more_than_they_rest_on(path: Path) -> None:
    """What verifies a remediation asks less than the diagnosis, and measures the same."""
    saved = load(path.read_bytes(), str(path))
    books = library(signals=saved.service.signals)
    whole = plan((books.runbook(issue) for issue in saved.issues), saved.service)
    part, found = whole.of_symptoms(), saved.answers_to(whole)
    assert 0 < len(part.questions) < 0.5 * len(whole.questions)
    less = msgspec.structs.replace(
        found, answers={k: a for k, a in found.answers.items() if k in part.questions}
    )
    every, few = (
        {
            (d.issue, s.id): (s.value, s.severity, s.warning, s.critical)
            for d in run.judged(saved.name, saved.service, asking, given, 1)
            for s in d.signals
            if s.symptom
        }
        for asking, given in ((whole, found), (part, less))
    )
    assert every == few
