"""Servers that several test files share: started once, on first use."""

from collections.abc import Iterator

import pytest

from tests.clients.pgstand import Stand, stand


@pytest.fixture(scope="session", params=["distribution", "wheel"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The distribution's Postgres (15 on Debian 12), and the wheel's 18."""
    version = 18 if request.param == "wheel" else None
    with stand(tmp_path_factory.mktemp("postgres"), version) as made:
        yield made


@pytest.fixture
def pg(server: Stand) -> Iterator[Stand]:
    """A server without sessions but the administrator's, before and after."""
    yield server
    server.clear()
