"""The one sanitiser, and cutting and wrapping by cells."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from oncall.render.text import cells, cut, pack, pad, safe, safe_lines, wrap

ANY_TEXT = st.text(st.characters(), max_size=200)  # surrogates and control characters included


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("over\rwritten", r"over\x0dwritten"),
        ("a\x00b\x7f", r"a\x00b\x7f"),
        ("evil\u202etxt\u2066", r"evil\u202etxt\u2066"),
        ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
        ("a\u200bb\u200d\ufeff\u2060", r"a\u200bb\u200d\ufeff\u2060"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\u3164\u2800\ufe01", r"\u3164\u2800\ufe01"),
        ("\ue000", r"\ue000"),
        ("a\u2028b", r"a\u2028b"),
        ("SELECT 1\r\n\t FROM t\n", "SELECT 1 FROM t"),
        ("a\tb", "a b"),
        ("no\u00a0break", "no break"),
        ("[/red] j->'[i]' :smile:", "[/red] j->'[i]' :smile:"),
        ("日本 é \u2764\ufe0f", "日本 é \u2764"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + r"\u0301\u0301"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(foreign: str, shown: str) -> None:
    assert safe(foreign) == shown


def test_ascii_only_spells_what_has_a_spelling_and_escapes_the_rest() -> None:
    assert safe("0.04 s → 212 s × 3 … é", ascii_only=True) == r"0.04 s -> 212 s x 3 ... \xe9"


@given(ANY_TEXT, st.booleans())
def test_safe_text_is_one_line_without_controls_and_stays_as_it_is(text: str, ascii_only: bool) -> None:
    shown = safe(text, ascii_only=ascii_only)
    assert all(unicodedata.category(char)[0] != "C" for char in shown)
    assert shown.isprintable()
    assert safe(shown, ascii_only=ascii_only) == shown
    assert shown.isascii() or not ascii_only


def test_lines_to_paste_keep_their_indentation() -> None:
    assert safe_lines("SELECT 1\r\n\tFROM t\x1b") == ["SELECT 1", r"    FROM t\x1b"]


@given(ANY_TEXT.map(safe), st.integers(0, 60))
def test_cut_fits_and_marks_what_it_took(text: str, width: int) -> None:
    shown = cut(text, width)
    assert cell_len(shown) <= width
    assert shown == text or shown.endswith("…") or not width


def test_cut_never_splits_a_letter_from_its_accent_nor_a_wide_one() -> None:
    assert cut("e\u0301e\u0301e\u0301", 2) == "e\u0301…"
    assert cut("日本語", 4) == "日…"
    assert cut("日本語", 6) == "日本語"


@given(ANY_TEXT.map(safe), st.integers(2, 60))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1), st.integers(8, 40))
def test_words_that_fit_stay_whole(words: list[str], width: int) -> None:
    assert " ".join(wrap(" ".join(words), width)).split() == words


def test_a_number_stays_with_its_unit() -> None:
    assert wrap("the longest took 16 s", 20) == ["the longest took", "16 s"]
    assert wrap("since 3 min 32 s ago", 14) == ["since 3 min", "32 s ago"]


def test_long_words_break_after_punctuation() -> None:
    assert wrap("pg_catalog.pg_stat_activity", 16) == ["pg_catalog.pg_", "stat_activity"]


def test_packed_parts_stay_whole() -> None:
    assert pack(["one", "", "two", "three"], 9) == ["one · two", "three"]


def test_padding_counts_cells() -> None:
    assert pad("日", 4) == "日  "
    assert pad("7", 3, right=True) == "  7"
    assert cells("日e\u0301") == 3
