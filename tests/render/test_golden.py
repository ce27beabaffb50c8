"""What a person sees, to the letter. After a wanted change: pytest tests/render --snapshot-update, and look."""

import json
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion

from oncall.render.diagnosis import diagnosis
from oncall.render.json_out import diagnosis_json
from oncall.render.markdown import diagnosis_markdown
from tests.render.pages import printed
from tests.render.samples import SAMPLES


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", SAMPLES)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert printed(diagnosis(SAMPLES[name](), width=width), width) == golden


def test_page_in_ascii(golden: SnapshotAssertion) -> None:
    assert printed(diagnosis(SAMPLES["leak"](), width=80, ascii_only=True), 80) == golden


def test_page_in_colour(golden: SnapshotAssertion) -> None:
    shown = printed(diagnosis(SAMPLES["two_causes"](), width=80), 80, terminal=True)
    assert shown.replace("\x1b", "ESC") == golden


@pytest.mark.parametrize("name", SAMPLES)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert diagnosis_markdown(SAMPLES[name]()) == golden


@pytest.mark.parametrize("name", ["leak", "blind"])
def test_json(name: str, golden: SnapshotAssertion) -> None:
    encoded = diagnosis_json(SAMPLES[name]())
    document: dict[str, Any] = json.loads(encoded)
    assert document["issue"] == "pool"
    assert msgspec.json.format(encoded, indent=2).decode() + "\n" == golden
