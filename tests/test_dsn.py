"""Connection strings taken apart as libpq does it; libpq itself is the judge."""

from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from oncall import dsn

STRANGE = "postgresql:/@?&=#%[]'\\ \t,+.0Aü"


def ours(text: str) -> dict[str, str]:
    """Our reading. Lists of hosts are left out: how they are paired is for the driver to say."""
    found = {part.option: part.value for part in dsn.parts(text) if part.value}
    return {name: value for name, value in found.items() if name not in ("host", "port")}


def libpq(text: str) -> dict[str, str]:
    found = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    return {name: value for name, value in found.items() if name not in ("host", "port")}


def urls() -> st.SearchStrategy[str]:
    part = st.text(alphabet="ab0:@/?#%=&,[]'2F", max_size=6)
    return st.tuples(part, part, part, part).map(lambda p: f"postgresql://{p[0]}:{p[1]}@{p[2]}/{p[3]}")


@given(urls() | st.text(alphabet=STRANGE).map("postgresql://".__add__))
def test_what_we_read_of_a_url_libpq_reads_too(text: str) -> None:
    try:
        read = ours(text)
    except ValueError:
        return
    try:
        theirs = libpq(text)
    except psycopg.ProgrammingError:
        return  # libpq knows the names of its options; that is its to say.
    assert read == theirs


@given(
    st.dictionaries(st.sampled_from(["host", "user", "password", "dbname"]), st.text(max_size=9), min_size=1)
)
def test_what_libpq_writes_is_read_back(options: dict[str, str]) -> None:
    options = {name: value.replace("\0", "") or "x" for name, value in options.items()}
    assert {part.option: part.value for part in dsn.parts(make_conninfo("", **options))} == options


@given(st.text(min_size=1, max_size=20).filter(lambda s: "\0" not in s))
def test_an_encoded_password_is_read_and_masked(password: str) -> None:
    text = f"postgresql://u:{quote(password, safe='')}@h/d"
    assert ours(text)["password"] == password
    assert password in dsn.secrets(text)
    assert dsn.mask(text) == "postgresql://u:***@h/d"


@given(st.text(alphabet=STRANGE, max_size=30).map("postgresql://u:".__add__) | st.text(max_size=30))
def test_any_text_is_read_or_refused_without_being_shown(text: str) -> None:
    try:
        dsn.parts(text)
    except ValueError as error:
        assert len(text) < 12 or text not in str(error)  # noqa: PT017 - both outcomes are right
        assert dsn.mask(text) == "***"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p@ss/w#rd%zz@h/db",
        "postgresql://u:p@ss@h/db",
        "postgresql://u:p/w@h/db",
        "postgresql://u:p%zz@h/db",
        "postgresql://u:pw@h:port/db",
        "postgresql://u:pw@h:99999/db",
        "postgresql://u:pw@[::1/db",
        "postgresql://u:p w@h/db",
        "postgresql://h/db?sslmode",
        "mysql://u:pw@h/db",
        "postgresql+psycopg://u:pw@h/db?a=b",
        "host=h password=a b",
        "host=h password='ab",
        "host",
        "",
    ],
)
def test_what_is_ambiguous_or_broken_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*(w#rd|pw|p w))"):
        dsn.parts(text)


def test_several_hosts_and_options() -> None:
    text = "postgresql://u@a:1,[::1]:2/d?application_name=x&sslmode=require"
    assert ours(text) == libpq(text)
    assert [p.value for p in dsn.parts(text) if p.option in ("host", "port")] == ["a", "1", "::1", "2"]


def test_key_value_form_is_masked_in_place() -> None:
    assert dsn.mask(r"host=h password = 'a \' b' dbname=d") == "host=h password = *** dbname=d"
    assert dsn.secrets(r"password='a \' b'") == (r"a \' b", "a ' b")
    assert (
        dsn.mask("postgresql://h/d?password=x&sslmode=require")
        == "postgresql://h/d?password=***&sslmode=require"
    )
