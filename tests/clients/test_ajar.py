"""A package of which one part is loaded is whole again as soon as anybody asks for it."""

import subprocess
import sys

import pytest

_PART = "from oncall.clients.ajar import ajar; import sys; ajar('psycopg', 'pq'); import psycopg.pq; "


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_part_alone() -> None:
    loaded = "print(psycopg.pq.__impl__, 'psycopg.cursor' in sys.modules, 'psycopg.errors' in sys.modules)"
    assert said(_PART + loaded) == f"{said('import psycopg.pq; print(psycopg.pq.__impl__)')} False True"


@pytest.mark.parametrize(
    "code",
    [
        "import psycopg; print(psycopg.connect.__name__)",
        "from psycopg import connect; print(connect.__name__)",
        "from psycopg import sql; sql.SQL('x'); import psycopg; print(psycopg.connect.__name__)",
        "import psycopg_pool, psycopg; print(psycopg.connect.__name__)",
        "from psycopg.rows import dict_row; from psycopg import *; print(connect.__name__)",
    ],
)
def test_whole_when_asked(code: str) -> None:
    assert said(_PART + code) == "connect"


def test_errors_are_the_same() -> None:
    code = "from psycopg.errors import Error; import psycopg; print(Error is psycopg.Error, psycopg.__name__)"
    assert said(_PART + code) == "True psycopg"


def test_whole_before_stays_whole() -> None:
    code = "import psycopg; before = psycopg; from oncall.clients.ajar import ajar; ajar('psycopg', 'pq'); "
    assert said(code + "import psycopg; print(psycopg is before)") == "True"


def test_a_diagnosis_loads_the_part_alone() -> None:
    code = (
        "import sys; from oncall.clients.pg_dsn import parse_dsn; parse_dsn('postgresql://u@127.0.0.1:1/x'); "
        "print('psycopg.pq' in sys.modules, 'psycopg.cursor' in sys.modules)"
    )
    assert said(code) == "True False"
