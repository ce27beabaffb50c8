"""YAML that people write: every mistake has its file:line, and nothing becomes something else in silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from oncall.errors import ConfigError, OncallError, RunbookError
from oncall.model import Written
from oncall.units import Duration, Size
from oncall.yamltext import MAX_BYTES, Document, decode, parse, read

PATH = Path("file.yaml")


class Leaf(Written, frozen=True):
    number: float | None = None
    whole: int | None = None
    text: str | None = None
    flag: bool | None = None
    wait: Duration | None = None
    room: Size | None = None
    way: Literal["up", "down"] | None = None
    words: tuple[str, ...] = ()
    needed: str = ""
    password: str | None = None


class Pair(Written, frozen=True):
    left: str
    right: str


class Root(Written, frozen=True):
    leaf: Leaf = Leaf()
    leaves: dict[str, Leaf] = msgspec.field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    deep: dict[str, dict[str, Leaf]] = msgspec.field(default_factory=dict)
    either: Pair | None = None


def data(text: str) -> Any:  # noqa: ANN401 - any YAML value
    return parse(text, PATH, ConfigError).data


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        decode(parse(text, PATH, ConfigError), Root, ConfigError)
    return f"{caught.value} | {caught.value.hint}"


# --- scalars -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("012", "012"),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.2.3", "1.2.3"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("True", "True"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ('!!int "12"', 12),
        ("|\n  12\n", "12\n"),
        ("9" * 41, "9" * 41),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(written: str, meant: object) -> None:
    value = data(f"key: {written}")["key"]
    assert value == meant
    assert type(value) is type(meant)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _reads_alike(value: object) -> bool:
    """`1e5` is text to YAML 1.1, which wrote it bare, and a number to YAML 1.2; `<<` is its merge key."""
    if isinstance(value, dict):
        return all(_reads_alike(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(_reads_alike, value))
    return not isinstance(value, str) or (value.strip().lower()[:1] not in "+-.0123456789" and value != "<<")


@given(st.dictionaries(st.text(), plain, max_size=4).filter(_reads_alike))
def test_what_yaml_writes_is_read_back(value: dict[str, object]) -> None:
    assert data(yaml.safe_dump(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(value: float) -> None:
    assert data(yaml.safe_dump({"a": value}))["a"] == value


@contextmanager
def _refusals_begin_with(place: str) -> Iterator[None]:
    """Lets our own errors pass, and no other, where they begin with the place."""
    try:
        yield
    except OncallError as error:
        if not str(error).startswith(place):
            raise


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \t\n<0123456789.~"))
def test_any_text_parses_or_is_refused_with_its_line(text: str) -> None:
    with _refusals_begin_with("file.yaml:"):
        parse(text, PATH, RunbookError)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(content)
        with _refusals_begin_with(f"{path}:"):
            decode(read(path, ConfigError), Root, ConfigError)


@given(st.dictionaries(st.sampled_from(["leaf", "leaves", "pairs", "deep", "either"]), plain, max_size=3))
def test_any_data_decodes_or_is_refused_with_its_line(value: dict[str, object]) -> None:
    with _refusals_begin_with("file.yaml:"):
        decode(parse(yaml.safe_dump(value), PATH, ConfigError), Root, ConfigError)


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "file.yaml:1: found an empty file, expected a mapping"),
        ("# nothing\n", "found an empty file"),
        ("- a\n- b\n", "file.yaml:1: found a list, expected a mapping"),
        ("just text", "found text, expected a mapping"),
        ("a: 1\nb: 2\na: 3\n", "file.yaml:3: the key 'a' is written twice: first in file.yaml:1"),
        ("x: {a: 1, a: 2}", "the key 'a' is written twice"),
        ("a: &x [1, *x]", "file.yaml:1: an alias (*name) within the value that it names"),
        ("a: 1\nb: *gone", "file.yaml:2: an alias (*name) that no anchor"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "file.yaml:3: merge keys (<<)"),
        ("a: !thing b", "file.yaml:1: a tag (!name) that does not belong here"),
        ("a: !!python/object/apply:os.system [x]", "a tag (!name) that does not belong here"),
        ("a: !!binary aGVsbG8=", "a tag (!name)"),
        ("a: !!int x", "a tag (!name)"),
        ("5: x", "file.yaml:1: a key is a whole number, expected text"),
        ("true: x", "a key is true or false, expected text"),
        ("~: x", "a key is nothing, expected text"),
        ("? [a, b]\n: c", "a key is a list, expected text"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: a second document (---) begins"),
        ("{}\n---\n{}\n", "file.yaml:2: a second document (---) begins"),
        ("a: {b: 1,\n  c: [\nd: 2", "that begins in line 2, did not find"),
        ("a:\n\tb: 1\n", "file.yaml:2: not valid YAML"),
        ("a: 1\n b: 2\n", "file.yaml:2: not valid YAML"),
        ("a: [1, 2\nb: 3\n", "not valid YAML"),
        ("a: 'x\n", "not valid YAML"),
        ("a: 1\nb: \x00\n", "file.yaml:2: found the character U+0000"),
        ("a: \x1b[31m", "found the character U+001B"),
        ("a: \ud800", "found the character U+D800"),
        ("%YAML 3.0\n---\na: 1", "not valid YAML"),
        ("a: " + "[" * 41 + "]" * 41, "nested deeper than 40 levels"),
        ("a: " + "[" * 100_000, "nested deeper than 40 levels"),
        ("- " * 100_000, "nested deeper than 40 levels"),
        ("a: " + "x" * MAX_BYTES, "file.yaml:1: the text is larger than 1 MB"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, said: str) -> None:
    assert said in error_of(text)


def test_tabs_and_braces_get_a_hint() -> None:
    assert "Indent with spaces" in error_of("a:\n\tb: 1\n")
    assert '"${NAME}"' in error_of("a: {b: ${NAME}}")


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
    assert "the aliases repeat more than 10000 values" in error_of(bomb)


def test_aliases_cannot_be_stacked_beyond_the_depth() -> None:
    deep = "[" * 30 + "1" + "]" * 30
    stacked = "a: &a " + deep + "\nb: " + deep.replace("1", "*a")
    assert "nested deeper than 40 levels" in error_of(stacked)


def test_a_modest_alias_is_read() -> None:
    assert data("a: &x {b: [1]}\nc: *x") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert data("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: \xff\n", ":2: found the byte 0xff, expected UTF-8 text"),
        (b"a: " + b"x" * MAX_BYTES, ":1: the file is larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / "x.yaml", ConfigError)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file or directory"):
        read(tmp_path / "gone.yaml", ConfigError)
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        read(tmp_path, ConfigError)


# --- types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("leaf: {whole: 010}", "leaf.whole: found the text '010', expected a whole number"),
        ("leaf: {whole: 1.5}", "found 1.5, expected a whole number"),
        ("leaf: {number: 12:30}", "found the text '12:30', expected a number"),
        ("leaf: {number: '5'}", "found the text '5', expected a number"),
        ("leaf: {flag: yes}", "found the text 'yes', expected true or false"),
        ("leaf: {text: 5}", "found 5, expected text | Write it in quotes."),
        ("leaf: {text: true}", "found true, expected text | Write it in quotes."),
        ("leaf: {text: [a]}", "found a list, expected text | None"),
        ("leaf: {wait: 300}", "found 300, expected a duration such as 90s, 5m, 1h30m or 7d"),
        ("leaf: {wait: 5 minutes}", "found the text '5 minutes', expected a duration"),
        ("leaf: {room: 2}", "found 2, expected a size such as 512MB, 2GB or 2GiB"),
        ("leaf: {way: upp}", "found the text 'upp', allowed: up, down | Did you mean up?"),
        ("leaf: {words: [a, 2]}", "leaf.words[item 2]: found 2, expected text"),
        ("leaf: {words: a}", "leaf.words: found the text 'a', expected a list"),
        ("leaf:", "leaf: found nothing, expected a mapping"),
        ("leaf: {txet: a}", "leaf.txet: unknown key 'txet'; allowed: number, whole, text"),
        ("leaf: {txet: a}", "Did you mean text?"),
        ("root: 1", "file.yaml:1: root: unknown key 'root'; allowed: leaf, leaves, pairs, deep, either"),
        ("either: {left: a, rigth: b}", "unknown key 'rigth'; allowed: left, right"),
        ("either:\n  left: a\n", "file.yaml:1: either: the key right is missing"),
        (
            "pairs:\n- {left: a, right: b}\n- left: a\n",
            "file.yaml:3: pairs[item 2]: the key right is missing",
        ),
        ("leaves:\n  a: {whole: 1}\n  b:\n    whole: x\n", "file.yaml:4: leaves.b.whole: found the text 'x'"),
        ("leaves: {a: 1}", "leaves.a: found 1, expected a mapping"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(text: str, said: str) -> None:
    assert said in error_of(text)


def test_of_several_alike_the_first_is_told() -> None:
    text = "deep:\n  a:\n    good: {whole: 1}\n    bad: {whole: x}\n  b:\n    good: {whole: x}\n"
    assert error_of(text).startswith("file.yaml:4: deep.a.bad.whole")


@pytest.mark.parametrize(
    "text",
    [
        "leaf: {password: [canary-4711]}",
        "leaf: {password: 4711}",
        "leaf: postgresql://u:canary-4711@h/d",
        "leaf: {whole: 'postgresql://u:canary-4711@h/d'}",
        "leaf: {whole: 'host=a password=canary-4711'}",
        "leaf: {postgresql://u:canary-4711@h/d}",
        "leaf:\n  'u:canary-4711@h': 1\n  'u:canary-4711@h': 2",
        "leaf: {password: *canary-4711}",
        "leaf: {password: !canary-4711 x}",
        "leaf: {password: @canary-4711}",
        "leaf: {password: %canary-4711: x}",
        "leaf: {password: 'canary-4711}",
    ],
)
def test_a_secret_is_never_shown(text: str) -> None:
    assert "4711" not in error_of(text)


def test_text_put_in_later_becomes_a_number_where_one_is_due() -> None:
    doc = parse("leaf: {whole: A, text: A, flag: B, wait: C}", PATH, ConfigError)
    new = doc.map_text(lambda key, text: {"A": "20", "B": "true", "C": "5m"}[text])
    assert decode(new, Root, ConfigError).leaf == Leaf(whole=20, text="20", flag=True, wait=Duration(300))
    assert doc.data["leaf"]["whole"] == "A"


def test_text_put_in_later_is_not_shown() -> None:
    doc = parse("leaf: {whole: A}", PATH, ConfigError).map_text(lambda key, text: "canary")
    with pytest.raises(ConfigError, match="found the text 'A', expected a whole number"):
        decode(doc, Root, ConfigError)


# --- lines ---------------------------------------------------------------------------------


@pytest.fixture
def doc() -> Document:
    return parse(
        "leaf:\n  words:\n  - a\n  - b\nleaves:\n  x:\n    text: >-\n      long\n", PATH, ConfigError
    )


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ((), 1),
        (("leaf",), 1),
        (("leaf", "words"), 2),
        (("leaf", "words", 1), 4),
        (("leaves", "x", "text"), 7),
        (("leaves", "x", "gone", "further"), 6),
        (("nowhere",), 1),
    ],
)
def test_where(doc: Document, key: tuple[str | int, ...], line: int) -> None:
    assert doc.where(key) == f"file.yaml:{line}"


def test_decode_of_a_part_says_the_whole_key() -> None:
    doc = parse("leaves:\n  x:\n    whole: y\n", PATH, ConfigError)
    with pytest.raises(RunbookError, match=r"file.yaml:3: leaves\.x\.whole: found the text 'y'"):
        decode(doc, Leaf, RunbookError, ("leaves", "x"))
