"""The list of guards, on paper."""

import json

import msgspec
import pytest
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model_acts import GuardInfo, Guards
from oncall.remediation.guards import GUARDS
from oncall.render.guards import guards_page
from oncall.render.json_out import guards_json
from oncall.render.markdown_acts import guards_markdown
from tests.render.pages import printed
from tests.render.samples import HOSTILE
from tests.render.samples_acts import explained


@pytest.mark.parametrize("width", [40, 80, 120])
def test_page(width: int, golden: SnapshotAssertion) -> None:
    assert printed(guards_page(explained(), width=width), width) == golden


def test_markdown(golden: SnapshotAssertion) -> None:
    assert guards_markdown(explained()) == golden


@pytest.mark.parametrize("width", [20, 40, 80, 109, 110, 120, 140])
def test_every_guard_of_the_program_is_told_whole(width: int) -> None:
    shown = printed(guards_page(Guards(guards=GUARDS), width=width), width)
    assert max(map(cell_len, shown.split("\n"))) <= width
    assert "…" not in shown
    words = set(shown.split())
    for guard in GUARDS:
        assert width < 24 or guard.name in words
        # A word that is longer than its column is folded
        assert {word for word in f"{guard.protects} {guard.how}".split() if len(word) < 14} <= words | {
            word.rstrip(",;") for word in words
        }


def test_who_can_be_overridden_is_said() -> None:
    yields = sum(guard.overridable for guard in GUARDS)
    everything = Guards(guards=GUARDS)
    for page in (printed(guards_page(everything, width=80), 80), guards_markdown(everything)):
        shown = " ".join(page.split())
        assert f"{len(GUARDS)} guards; {yields} can be overridden" in shown
        assert shown.count("; can be overridden") == yields
        assert shown.count("never overridden") == len(GUARDS) - yields


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_what_is_meant_badly_is_inert(width: int) -> None:
    bad = GuardInfo(name=HOSTILE, protects=HOSTILE, how=HOSTILE, actions=(HOSTILE,), overridable=True)
    shown = printed(guards_page(Guards(guards=(bad,) * 2), width=width), width)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert max(map(cell_len, shown.split("\n"))) <= width
    assert "<!" not in guards_markdown(Guards(guards=(bad,)))
    ascii_page = printed(guards_page(Guards(guards=(bad,)), width=width, ascii_only=True), width)
    assert ascii_page.isascii()


def test_no_guards_is_no_error() -> None:
    assert printed(guards_page(Guards(guards=()), width=120), 120).startswith("0 guards")


def test_json_is_the_guards_again() -> None:
    encoded = guards_json(explained())
    assert json.loads(encoded)["schema"] == "oncall/guards/1"
    assert msgspec.json.decode(encoded, type=Guards) == explained()
