"""`oncall diagnose` without an issue, as a person sees it: worst first, one command, each thing once."""

import re
from collections.abc import Iterator

import pytest

from oncall.errors import Exit
from tests.cli.page import served
from tests.cli.program import Program, screen

BOOK = """\
issue: {issue}
title: T
headlines: {{ok: {head} FINE, warning: {head} HIGH, critical: {head} VERY HIGH, unknown: {head} UNKNOWN}}
symptoms: [{issue}_load]
signals:
  {issue}_load: {{title: Load of {issue}, gauge: db_connection_pool_active, warning: {warning}, critical: 100}}
steps:
  redis: {{title: Redis of {issue}, why: w, health: /health, optional: true}}
causes:
  {cause}:
    title: the {cause}
    why: w
    evidence:
      - {{id: high, text: "{{{issue}_load}} of it", when: {issue}_load > {warning}, weight: 3, decisive: true}}
    next: [{{command: "echo mend {cause}", why: it helps}}]
"""


@pytest.fixture
def service(program: Program) -> Iterator[Program]:
    """Two issues of one cause, one of another, one that is well; the packaged ones are made small."""
    folder = program.folder / "team"
    folder.mkdir(parents=True)
    for issue, warning, cause in (("errors", 5, "burst"), ("latency", 6, "queue"), ("memory", 50, "leak"),
                                  ("pool", 4, "burst")):  # fmt: skip
        text = BOOK.format(issue=issue, head=issue.upper(), warning=warning, cause=cause)
        (folder / f"{issue}.yaml").write_text(text)
    with served(active=9) as page:
        program.services(bot={"url": page.url})
        yield program


WORDS = ("diagnose", "--runbooks", "../team", "--interval", "50ms")


def test_a_line_an_issue_worst_first_and_one_command(service: Program) -> None:
    said = service.run(*WORDS)
    assert said.code == Exit.WARNING
    top = said.out.split("\n\n")[0].split("\n")
    assert top[0].startswith("3 WARNING, 1 OK   bot · production")
    assert [line.split()[0] for line in top[1:5]] == ["warning", "warning", "warning", "ok"]
    named = [line[9:].split("  ")[0] for line in top[1:5]]
    assert sorted(named) == ["ERRORS HIGH", "LATENCY HIGH", "MEMORY FINE", "POOL HIGH"]
    same = [n for n, line in enumerate(top) if "same cause: the burst (confirmed)" in line]
    assert len(same) == 1
    assert "the burst (confirmed): 9 of it" in top[same[0] - 1], "the line before it"
    assert sum(line.startswith("Next") for line in top) == 1
    assert said.out.count("MEMORY FINE") == 1, "what is well has no page"
    assert said.out.count("Next    the same as above") == 1
    # The health of the service was asked once, and its table is shown once.
    assert len(re.findall(r"^Redis of \w+  \(http", said.out, re.MULTILINE)) <= 1


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_is_readable_at_any_width(service: Program, columns: int) -> None:
    text, code = service.at_terminal(*WORDS, columns=columns)
    assert code == Exit.WARNING
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.rpartition("\x1b[?25h")[2]).replace("\r", "")
    assert max(map(len, bare.splitlines())) <= columns
    assert screen(text, columns)[0].startswith("3 WARNING, 1 OK")


def test_the_answer_stands_last_on_a_small_screen(service: Program) -> None:
    child = service.start(*WORDS, columns=80, rows=15)
    out = child.read().decode()
    child.close()
    lines = [line for line in screen(out, 80) if line]
    assert sum(line.startswith("3 WARNING, 1 OK") for line in lines) == 2
    assert any(line.startswith("Next") for line in lines[-4:])


def test_as_markdown_and_json(service: Program) -> None:
    said = service.run("--output", "markdown", *WORDS)
    assert said.first[0] == "**3 WARNING, 1 OK** (warning)"
    assert "- ok: **MEMORY FINE**, nothing to explain" in said.out
    report, code = service.json(*WORDS)
    assert (report["schema"], code) == ("oncall/diagnoses/1", Exit.WARNING)
    assert [d["severity"] for d in report["diagnoses"]] == ["warning"] * 3 + ["ok"]
    assert all(set(d) >= {"signals", "steps", "causes"} for d in report["diagnoses"])


def test_what_is_not_configured_reads_calmly(program: Program) -> None:
    program.services(bot={})
    said = program.run("diagnose")
    assert said.code == Exit.UNKNOWN
    top = said.out.split("\n\n")[0].split("\n")
    issues = [line for line in top if line.startswith("unknown ")]
    assert len(issues) >= 1
    assert all("not configured" in line for line in issues)
    assert said.out.count("set `postgres` of the service") <= 3
