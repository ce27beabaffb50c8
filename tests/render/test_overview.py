"""All issues on one page: worst first, one cause once, one command, nothing said twice."""

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model import Confidence, Diagnosis, Severity, Summary, Unseen, Verdict
from oncall.render.diagnosis import WIDEST, diagnosis
from oncall.render.markdown import diagnoses_markdown, diagnosis_markdown
from oncall.render.overview import overview
from oncall.render.several import counts, lines, pages
from oncall.render.words import replay_of
from tests.render.pages import printed
from tests.render.reports import reports
from tests.render.samples import (
    SAMPLES,
    SESSIONS,
    TITLES,
    blind,
    cause,
    evidence,
    healthy,
    leak,
    locks,
    report,
    ruled_out,
    signal,
)

TITLES.update({"latency.lock_contention": "lock contention", "latency.ollama_slow": "Ollama slow"})


def as_issue(d: Diagnosis, issue: str, headline: str) -> Diagnosis:
    summary = msgspec.structs.replace(d.summary, headline=headline)
    return msgspec.structs.replace(d, issue=issue, summary=summary)


def latency() -> Diagnosis:
    """Slow by the same lock as the pool; the sessions are those that the pool's page shows."""
    return report(
        Severity.WARNING,
        Verdict.CAUSES,
        Summary(
            headline="LATENCY HIGH",
            cause="lock contention (confirmed): 6 sessions wait",
            next=locks().summary.next,
        ),
        signals=(
            signal(
                "latency_p95", "P95 latency", "seconds", 2.1, 0.18, (1, 4), Severity.WARNING, symptom=True
            ),
        ),
        steps=(SESSIONS, *locks().steps),
        causes=(
            cause(
                "latency.lock_contention", Confidence.CONFIRMED, evidence("6 sessions wait", decisive=True)
            ),
            ruled_out("latency.ollama_slow", "Ollama answers in 24 ms"),
        ),
        unseen=(Unseen(what="worst statements", reason="pg_stat_statements is not installed"),),
    )


def unconfigured() -> Diagnosis:
    """Nothing of it is in the service file."""
    gaps = tuple(
        Unseen(what=what, reason="not configured", hint=f"set `{what}` of the service in the service file")
        for what in ("redis", "prometheus")
    )
    summary = Summary(headline="MEMORY UNKNOWN", cause="none stands out; redis: not configured", next=None,
                      look="set `redis` of the service in the service file")  # fmt: skip
    unread = signal("memory", "Memory", "bytes", None, None, (None, None), Severity.UNKNOWN,
                    reason="not configured", symptom=True)  # fmt: skip
    return report(
        Severity.UNKNOWN, Verdict.INCONCLUSIVE, summary, signals=(unread,), unseen=gaps, target=None
    )


def night() -> list[Diagnosis]:
    """A pool that waits for a lock, the latency that comes of it, a memory that nobody watches, no errors."""
    pool = msgspec.structs.replace(locks(), steps=(SESSIONS, *locks().steps))
    return [pool, as_issue(latency(), "latency", "LATENCY HIGH"), unconfigured(),
            as_issue(healthy(), "errors", "FEW ERRORS")]  # fmt: skip


FOUND: dict[str, Callable[[], list[Diagnosis]]] = {
    "night": night,
    "well": lambda: [as_issue(healthy(), n, f"{n.upper()} HEALTHY") for n in ("errors", "pool")],
    "dark": lambda: [as_issue(unconfigured(), n, f"{n.upper()} UNKNOWN") for n in ("errors", "memory")],
}


def page(found: list[Diagnosis], width: int, **more: object) -> str:
    return printed(overview(found, width=width, **more), width)  # type: ignore[arg-type]  # options of the page


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", FOUND)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert page(FOUND[name](), width) == golden


def test_page_in_colour(golden: SnapshotAssertion) -> None:
    shown = printed(overview(night(), width=80), 80, terminal=True)
    assert shown.replace("\x1b", "ESC") == golden


@pytest.mark.parametrize("name", FOUND)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert diagnoses_markdown(FOUND[name]()) == golden


ORIGIN = replay_of(leak().at, "0.1.0", redacted=True)


def test_a_replay_says_so_first(golden: SnapshotAssertion) -> None:
    assert page(night(), 80, origin=ORIGIN) == golden
    for shown in (page([leak()], 80, origin=ORIGIN), diagnoses_markdown([leak()], origin=ORIGIN)):
        assert "replay of 2026-01-01 03:12 UTC, saved by oncall 0.1.0" in shown.split("\n")[0].replace(
            "*", ""
        )
    assert page([leak()], 40, origin=ORIGIN).startswith("replay of 2026-01-01 03:12 UTC,")


def test_the_lines_are_worst_first_and_one_cause_stands_together() -> None:
    other = as_issue(blind(), "errors", "ERRORS")
    found = [locks(), other, latency()]
    assert [line.d.summary.headline for line in lines(found)] == ["POOL EXHAUSTED", "LATENCY HIGH", "ERRORS"]
    assert [line.same for line in lines(found)] == [False, True, False]
    assert lines(found)[1].text == "same cause: lock contention (confirmed)"
    assert counts(found) == "1 CRITICAL, 1 WARNING, 1 UNKNOWN"


@pytest.mark.parametrize("confidence", [Confidence.POSSIBLE, Confidence.UNKNOWN, Confidence.RULED_OUT])
def test_what_is_not_sure_is_not_the_same_cause(confidence: Confidence) -> None:
    weak = msgspec.structs.replace(latency().causes[0], confidence=confidence)
    slow = msgspec.structs.replace(latency(), causes=(weak,))
    assert not any(line.same for line in lines([locks(), slow]))


def test_nothing_is_said_twice() -> None:
    shown = page(night(), 120)
    assert shown.count("Connections by application and state  (") == 1
    assert "Shown above: Connections by application and state, Lock tree" in shown
    assert shown.count("pid 4711 --confirm") == 2, "in the first lines, and on the pool's own page"
    assert len(re.findall(r"^Next .*the same as above", shown, re.MULTILINE)) == 1
    assert "MEMORY UNKNOWN" in shown
    assert "not configured: redis, prometheus" in shown


def test_an_issue_that_is_well_has_no_page() -> None:
    assert [p.d.issue for p in pages(lines([healthy(), healthy()]))] == []
    assert page(FOUND["well"](), 120).count("HEALTHY") == 2


def test_of_an_issue_of_which_nothing_is_known_only_what_is_new_is_told() -> None:
    shown = page(FOUND["dark"](), 80)
    assert shown.count("set `prometheus` of the service") == 1
    assert shown.count("MEMORY UNKNOWN") == 1, "its line, as all of it was said of the one before"


@pytest.mark.parametrize("name", SAMPLES)
def test_one_issue_alone_is_its_own_page(name: str) -> None:
    d = SAMPLES[name]()
    assert page([d], 80) == printed(diagnosis(d, width=80), 80)
    assert diagnoses_markdown([d]) == diagnosis_markdown(d)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_answer_stands_first(width: int) -> None:
    top = page(night(), width).split("\n\n")[0].split("\n")
    assert top[0].startswith("1 CRITICAL, 1 WARNING, 1 UNKNOWN, 1 OK")
    words = [line.split()[0] for line in top if line.split()[0] in list(Severity)]
    assert words == ["critical", "warning", "unknown", "ok"]
    assert [line for line in top if line.startswith("Next")]


def test_the_answer_stands_last_too_where_the_page_is_longer_than_the_screen() -> None:
    whole = page(night(), 80).rstrip().split("\n")
    short = page(night(), 80, height=20).rstrip().split("\n")
    assert page(night(), 80, height=500).rstrip().split("\n") == whole
    answer = short[len(whole) + 1 :]
    assert answer == whole[: len(answer)]
    assert any(line.startswith("Next") for line in answer)


@settings(max_examples=60, deadline=None)
@given(st.lists(reports(), min_size=2, max_size=4), st.sampled_from([20, 40, 59, 80, 200]), st.booleans())
def test_no_text_reaches_the_terminal_as_a_command(
    found: list[Diagnosis], width: int, ascii_only: bool
) -> None:
    shown = page(found, width, ascii_only=ascii_only, origin="x\x1b[2J")
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert shown.isascii() or not ascii_only
    assert max(map(cell_len, shown.split("\n"))) <= min(width, WIDEST)


@settings(max_examples=60, deadline=None)
@given(st.lists(reports(), min_size=2, max_size=3))
def test_nothing_foreign_is_live_in_markdown(found: list[Diagnosis]) -> None:
    shown = diagnoses_markdown(found, origin="x\x1b[2J <!here> @channel")
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert not re.search(r"<[!@#]", shown)
    assert shown.count("\n```") % 2 == 0
