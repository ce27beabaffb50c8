"""One number of a settings text: exactly it is replaced, or nothing is."""

import configparser
import json
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from oncall.remediation.actions.settings_file import (
    Unfit,
    Unreadable,
    format_of,
    key_parts,
    locate,
    replaced,
)
from oncall.remediation.actions.settings_lines import env_leaves

Tree = dict[str, Any]  # whatever such a text can say


def edit(form: str, text: str, key: str, to: int = 40) -> str:
    return replaced(form, text, key, locate(form, text, key), to)


# --- each format, with what people put around a number --------------------------------------------

KEPT = [
    ("yaml", "a: 1\ndb:\n  pool: [20]  # of ten\n  q: 'é 20'\n# end", "db.pool"),
    ("yaml", "db: {size: 20, pool: [20], other: 20}", "db.pool"),
    ("yaml", "\ufeffé: ü\r\ndb:\r\n  pool: [20] # 20\r\n", "db.pool"),
    ("yaml", "pool: &size [20]\n", "pool"),
    ("yaml", "pool: !!int [20]\n", "pool"),
    ("yaml", 'pool: "[20]"\n', "pool"),
    ("yaml", "pool: '[20]'\nsecret: !vault |\n  20\n", "pool"),
    ("yaml", "pool:\n  # how many\n  [20]\n", "pool"),
    ("yaml", '"a.b":\n  pool: [20]\na: {b: {pool: 20}}\n', '"a.b".pool'),
    ("yaml", "%YAML 1.2\n---\npool: [20]\n...\n", "pool"),
    ("yaml", "? {a: 1}\n: {pool: 20}\n? [x]\n: pool: 20\n5432: {pool: [20]}\n", "5432.pool"),
    ("yaml", "x: &a {pool: 20}\ny:\n  <<: *a\n  pool: [20]\n", "y.pool"),
    ("yaml", "😀: 20\nпул: [20]\n", "пул"),
    ("json", '{\n\t"db": {"pool" :\t[20], "note": "\\"pool\\": 20"},\n\t"pool": 20}\n', "db.pool"),
    ("json", '{"pool": "[20]"}', "pool"),
    ("json", '{"p\\u006fol": [20]}', "pool"),
    ("json", '{"ids": [{"pool": 20}, {"pool": 20}], "pool": [20]}', "pool"),
    ("json", '\ufeff{"pool": [20]}\r\n', "pool"),
    ("toml", 'note = """\npool = 20\n"""\n[db]\npool = [20] # 20\n[[l]]\npool=20\n', "db.pool"),
    ("toml", "a = {b = {pool=[20]}, pool=20}", "a.b.pool"),
    ("toml", "a.pool = 20\ndb.pool = [20]\r\n", "db.pool"),
    ("toml", "'db'.\"pool\" = '[20]'\n[db2]\npool = 20", "db.pool"),
    ("toml", '[a."b.c"]\n"p\\u006fol" = [20]', 'a."b.c".pool'),
    ("ini", "; top\npool = [20] ; of ten {x}\n[db]\npool = 20\n", "pool"),
    ("ini", "[DEFAULT]\npool=20\n[db.main]\r\nPool : [20]\r\npool=20\r\n", "db.main.Pool"),
    ("ini", '[db]\nurl = %(x)s%%\n  pool = 20\nflag\npool = "[20]"', "db.pool"),
    ("ini", "pool=[20]", "pool"),
    ("env", "# 20\nexport POOL=[20] # 20\nPOOL_MAX=20\n", "POOL"),
    ("env", 'NOTE="a\nPOOL=20\n"\nPOOL="[20]"\r\n', "POOL"),
    ("env", "if true; then\nPOOL='[20]'", "POOL"),
    ("env", "\ufeffPOOL = [20]\r\nA=${POOL}\r\n", "POOL"),
]


@pytest.mark.parametrize(("form", "text", "key"), KEPT)
def test_only_the_number_changes(form: str, text: str, key: str) -> None:
    before = text.replace("[20]", "20")
    assert edit(form, before, key) == text.replace("[20]", "40")
    assert edit(form, before, key, 7) == text.replace("[20]", "7")
    place = locate(form, before, key)
    assert (place.number, place.line) == (20, text[: text.index("[20]")].count("\n") + 1)


UNFIT = [
    ("yaml", "pool: ${POOL_SIZE:-20}\n", "taken from the variable POOL_SIZE"),
    ("yaml", "pool: {{ pool_size }}\n", "a mapping"),
    ("yaml", "pool: '{{ pool_size }}'\n", "filled in by a template"),
    ("yaml", "pool: 020\n", "pool is 020"),
    ("yaml", "pool: 20.5\n", "pool is 20.5"),
    ("yaml", "pool: -1\n", "pool is -1"),
    ("yaml", "pool: 0x14\n", "pool is 0x14"),
    ("yaml", "pool: [20]\n", "a list"),
    ("yaml", "pool:\n", "empty"),
    ("yaml", "pool: >-\n  20\n", "cannot be told for sure"),
    ("yaml", "pool: 20\npool: 30\n", "is written 2 times"),
    ("yaml", "pool: &p 20\nother: *p\n", "by the alias *p"),
    ("yaml", "a: &p 20\npool: *p\n", "an alias"),
    ("json", '{"pool": 20, "pool": 20}', "is written 2 times"),
    ("json", '{"pool": true}', "another kind of value"),
    ("json", '{"pool": null}', "another kind of value"),
    ("toml", "pool = 0x14", "cannot be told for sure"),
    ("toml", "pool = 2_0", "cannot be told for sure"),
    ("toml", "pool = '${POOL}'", "taken from the variable POOL"),
    ("ini", "pool = %(size)s\nsize = 20", "another kind of value"),
    ("ini", "pool = 20\n  30", "another kind of value"),
    ("ini", "[a.b]\npool=1\n", "cannot be"),
    ("env", "POOL=20\nPOOL=30\n", "is written 2 times"),
    ("env", "POOL=$SIZE\n", "taken from the variable SIZE"),
    ("env", "POOL=hunter2\n", "another kind of value"),
]


@pytest.mark.parametrize(("form", "text", "said"), [u for u in UNFIT if u[2] != "cannot be"])
def test_what_is_no_plain_number_stays(form: str, text: str, said: str) -> None:
    with pytest.raises(Unfit) as caught:
        locate(form, text, "pool" if form != "env" else "POOL")
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_ambiguous_dotted_key() -> None:
    with pytest.raises(Unfit, match="written 2 times"):
        locate("ini", "[a.b]\nc = 20\n[a]\nb.c = 20\n", "a.b.c")


def test_an_anchor_further_up_that_others_take_over() -> None:
    with pytest.raises(Unfit, match=r"by the alias \*base"):
        locate("yaml", "base: &base\n  pool: 20\nprod:\n  <<: *base\n", "base.pool")
    with pytest.raises(Unreadable) as caught:
        locate("yaml", "base: &base\n  pool: 20\nprod:\n  <<: *base\n", "prod.pool")
    assert caught.value.hint == "Keys that look alike: base.pool."


WRONG = [
    ("yaml", "pool: 20\n---\npool: 30\n", "line 2: a second document begins"),
    ("yaml", "pool: [20\n", "line 2: "),
    ("yaml", "pool: 20\x00\n", "zero byte"),
    ("yaml", "", "it has no key"),
    ("json", '{"pool": 20,}', "line 1: "),
    ("json", "// x\n{}", "line 1: expecting value"),
    ("json", "[" * 100_000, "nested too deeply"),
    ("toml", "pool = 20\npool = 30", "overwrite a value"),
    ("toml", "pool 20", "expected"),
    ("ini", "[a]\npool=20\npool=30", "line 3: the key pool is written twice"),
    ("ini", "[a]\n[a]\n", "line 2: the section a is written twice"),
    ("ini", "[a]\n= hunter2\n", "line 2: neither"),
    ("env", "NOTE='\nPOOL=20\n'", "it has no key"),
]


@pytest.mark.parametrize(("form", "text", "said"), WRONG)
def test_what_cannot_be_read_is_said(form: str, text: str, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        locate(form, text, "pool" if form != "env" else "POOL")
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_deep_yaml_is_no_trouble() -> None:
    text = "x: " + "[" * 900 + "]" * 900 + "\npool: 20\n"
    assert edit("yaml", text, "pool").endswith("pool: 40\n")
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 9))
    assert edit("yaml", bomb + "pool: 20", "pool") == bomb + "pool: 40"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("database.pool_sise", "database.pool_size"),
        ("pool_size", "database.pool_size"),
        ("db.pool_size", "database.pool_size"),
        ("x", None),
    ],
)
def test_a_key_that_is_not_there(key: str, hint: str | None) -> None:
    with pytest.raises(Unreadable, match="it has no key") as caught:
        locate("yaml", "database:\n  pool_size: 20\nother: 1\n", key)
    assert hint is None or hint in str(caught.value.hint)


def test_keys_and_formats() -> None:
    assert key_parts("""a.'b.c'."d e".f-g h""") == ("a", "b.c", "d e", "f-g h")
    for bad in ("", ".", "a.", ".a", "a..b", '"a', 'a"b', " "):
        with pytest.raises(ValueError, match="expected words"):
            key_parts(bad)
    names = ["a.yml", "A.YAML", "x.toml", "x.cfg", ".env", ".env.production", "app.env", "a.json", "app.conf"]
    found = [format_of(f"/etc/{name}") for name in [*names, "default"]]
    assert found == ["yaml", "yaml", "toml", "ini", "env", "env", "env", "json", None, None]


# --- any document --------------------------------------------------------------------------------

WORDS = st.text("abZ_- .:#é20=[]{}'\"\\\n\t", max_size=12)
NAMES = st.text("abcXY_-. é:#2", min_size=1, max_size=6).filter(lambda t: t.strip() == t)
PLAIN = st.text("abcXY_2", min_size=1, max_size=6).filter(lambda t: not t[0].isdigit())
SCALARS = st.one_of(st.just(20), st.integers(0, 99), st.booleans(), WORDS, st.just("20"), st.just("pool: 20"))


def tree(names: st.SearchStrategy[str]) -> st.SearchStrategy[Tree]:
    below = st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.dictionaries(names, inner, max_size=3), st.lists(inner, min_size=1, max_size=3)
        ),
        max_leaves=8,
    )
    return st.dictionaries(names, below, max_size=4)


@st.composite
def document(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[Tree, tuple[str, ...]]:
    """A document, and the path of the number 20 in it."""
    made = draw(tree(names))
    path = tuple(draw(st.lists(names, min_size=1, max_size=3)))
    at = made
    for name in path[:-1]:
        if not isinstance(at.get(name), dict):
            at[name] = {}
        at = at[name]
    at[path[-1]] = draw(st.sampled_from([20, "20"]))
    return made, path


def changed(made: Tree, path: tuple[str, ...]) -> Tree:
    first, rest = path[0], path[1:]
    value = changed(made[first], rest) if rest else made[first] + 57 if isinstance(made[first], int) else "77"
    return {**made, first: value}


def check(
    form: str, text: str, read: Callable[[str], Any], made: Tree, path: tuple[str, ...], bom: bool
) -> None:
    text = "\ufeff" * bom + text
    key = ".".join(f'"{part}"' for part in path)
    place = locate(form, text, key)
    after = replaced(form, text, key, place, 77)
    assert (text[place.start : place.end], place.number) == ("20", 20)
    assert (after[: place.start], after[place.start + 2 :]) == (text[: place.start], text[place.end :])
    assert read(after.removeprefix("\ufeff")) == changed(made, path)
    assert replaced(form, after, key, locate(form, after, key), 20) == text


@given(document(NAMES), st.sampled_from([None, 1, "\t"]), st.booleans(), st.booleans())
def test_any_json(
    doc: tuple[Tree, tuple[str, ...]], indent: int | str | None, plain: bool, bom: bool
) -> None:
    check("json", json.dumps(doc[0], indent=indent, ensure_ascii=plain), json.loads, *doc, bom)


@given(
    document(NAMES),
    st.sampled_from([True, False, None]),
    st.sampled_from([None, "'", '"']),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_yaml(
    doc: tuple[Tree, tuple[str, ...]], flow: bool | None, style: str | None, end: str, bom: bool
) -> None:
    text: str = yaml.safe_dump(
        doc[0], default_flow_style=flow, default_style=style, allow_unicode=True, line_break=end
    )
    # A style of quotes writes numbers as `!!int "20"`.
    check("yaml", text + "# the end" + end, yaml.safe_load, *doc, bom)


def toml_of(made: Mapping[str, Any], inline: bool, above: str = "") -> str:
    """TOML as a person may write it: tables, or values in one line."""
    lines, tables = [], []
    for name, value in made.items():
        key = json.dumps(name, ensure_ascii=False)
        if isinstance(value, dict) and not inline:
            tables.append(f"[{above}{key}] # 20\n{toml_of(value, inline, f'{above}{key}.')}")
        else:
            lines.append(f"{key} = {inline_of(value)} # pool = 20\n")
    return "".join(lines + tables)


def inline_of(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {inline_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline_of(v) for v in value) + "]"
    return json.dumps(value)


@given(document(NAMES), st.booleans(), st.booleans())
def test_any_toml(doc: tuple[Tree, tuple[str, ...]], inline: bool, bom: bool) -> None:
    check("toml", toml_of(doc[0], inline), tomllib.loads, *doc, bom)


LINES = st.text("abZ_- .:é20=[]{}", max_size=12).map(str.strip)
SECTIONS = st.dictionaries(
    PLAIN, st.dictionaries(PLAIN, st.one_of(LINES, st.just("20")), max_size=4), max_size=3
)


def ini_read(text: str) -> Tree:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


@given(
    SECTIONS,
    PLAIN,
    PLAIN,
    st.sampled_from([" = ", "=", " : "]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_ini(
    made: dict[str, dict[str, str]], section: str, name: str, between: str, end: str, bom: bool
) -> None:
    made = {**made, section: {**made.get(section, {}), name: "20"}}
    text = "".join(
        f"[{title}]{end}; {name} = 20{end}" + "".join(f"{k}{between}{v}{end}" for k, v in keys.items())
        for title, keys in made.items()
    )
    check("ini", text, ini_read, made, (section, name), bom)


@given(
    st.lists(st.tuples(PLAIN, LINES, st.sampled_from(["", "'", '"'])), max_size=6),
    PLAIN,
    st.sampled_from(["", "'", '"']),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_env(lines: list[tuple[str, str, str]], name: str, quote: str, end: str, exported: bool) -> None:
    lines = [line for line in lines if line[0] != name]
    before = "".join(f"{k}={q}{v}{q} # x{end}" for k, v, q in lines)
    text = f"{before}{'export ' * exported}{name}={quote}20{quote}{end}# {name}=20{end}{before}"
    place = locate("env", text, name)
    after = replaced("env", text, name, place, 77)
    assert after == f"{before}{'export ' * exported}{name}={quote}77{quote}{end}# {name}=20{end}{before}"
    assert len(env_leaves(after)) == 2 * len(lines) + 2


def test_a_shell_reads_the_edited_env_alike() -> None:
    text = "export POOL='20' # 20\nNOTE=\"POOL=20\nPOOL=20\"\nOTHER=20\n"
    shown = 'set -a; eval "$0"; printf \'%s|\' "$POOL" "$NOTE" "$OTHER"'
    said = [
        subprocess.run(["/bin/sh", "-c", shown, t], capture_output=True, text=True, check=True).stdout
        for t in (text, edit("env", text, "POOL"))
    ]
    assert said == ["20|POOL=20\nPOOL=20|20|", "40|POOL=20\nPOOL=20|20|"]
