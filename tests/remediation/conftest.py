"""Servers that several test files of this room share."""

from collections.abc import Iterator

import pytest

from tests.clients.pgstand import Stand
from tests.remediation import killstand


@pytest.fixture
def pg(postgres: Stand) -> Iterator[Stand]:
    """A server of each version with the roles of killstand; without sessions but the administrator's."""
    postgres.clear()
    killstand.furnish(postgres)
    yield postgres
    postgres.clear()
