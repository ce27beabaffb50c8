"""Markdown that reads the same in Slack and on GitHub, and that foreign text cannot break out of."""

import re

import pytest
from hypothesis import given, settings

from oncall.model import Diagnosis
from oncall.render.markdown import code_block, diagnosis_markdown, inline
from tests.render.reports import reports
from tests.render.samples import leak

CODE = re.compile(r"^```\n.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LIVE = re.compile(r"[`@<>\[\]|#~\\]|//|www\.")


@pytest.mark.parametrize(
    "text",
    [
        "14 idle in transaction over 60 s (usual 0)",
        "hold time 0.04 s → 212 s; rate ×0.95, 3.2%",
        "pg_stat_statements is not installed",
        "CREATE EXTENSION pg_stat_statements;",
    ],
)
def test_ordinary_words_stay_words(text: str) -> None:
    assert inline(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "@channel",
        "<!here>",
        "[x](https://evil.example)",
        "see https://evil.example",
        "www.evil.example",
        "a *b* c",
        "_b_",
        "~~b~~",
        "a | b",
        "# b",
        "#123",
        ":smile:",
        "&lt;",
        "![x](y)",
        "<b>",
        "a@b.example",
        "\\*",
    ],
)
def test_what_could_be_markup_becomes_code(text: str) -> None:
    shown = inline(text)
    assert shown.startswith("`")
    assert shown.endswith("`")
    assert shown.count("`") == 2


def test_backticks_cannot_leave_their_code() -> None:
    assert inline("a`b``c```d") == "`a'b''c'''d`"
    assert code_block(["a ``` b", "<!here>"]) == "```\na ''' b\n‹!here>\n```"


@settings(max_examples=150, deadline=None)
@given(reports())
def test_nothing_foreign_is_live(d: Diagnosis) -> None:
    shown = diagnosis_markdown(d)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert not re.search(r"<[!@#]", shown)
    assert not LIVE.search(CODE.sub("", shown))
    assert shown.count("\n```") % 2 == 0


def test_the_answer_stands_first() -> None:
    lines = diagnosis_markdown(leak()).split("\n")
    assert lines[0] == "**POOL EXHAUSTED** (critical)"
    assert lines[3].startswith("**Cause:** connection leak (confirmed)")
    assert lines[5].startswith("**Next:** ")
    assert lines[6:9] == ["```", "oncall remediate restart --confirm", "```"]
