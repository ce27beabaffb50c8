"""What tests of the command share."""

from collections.abc import Iterator

import pytest

from tests.cli.bright import Bright, bright


@pytest.fixture(scope="session")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bright]:
    """A service that is well however busy this machine is; tests put back what they change."""
    with bright(tmp_path_factory.mktemp("bright")) as made:
        yield made
