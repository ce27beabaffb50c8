"""What tests of several rooms share: the program as a process, and one healthy lab to look at."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.checks.stories import Stories, told
from tests.cli.program import Program
from tests.clients.pgstand import Stand, stand
from tests.lab.conftest import Lab

# The same examples each time where a run decides whether a change lands; new ones at a developer's desk.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
if os.environ.get("CI"):
    settings.load_profile("steady")

# A shell that runs the suite in the background (`tests/run &`) has it ignore Ctrl-C, and so would every program that
# the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        from tests import workers

        workers.arrange(config, items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    # Outside of pytest-timeout: waiting for one's turn is not the test's time.
    from tests import workers

    with workers.cores(item):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and hasattr(item.config, "workerinput"):
        from tests import workers

        workers.close_after(item, nextitem)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401  # xdist hides both
    from tests import workers

    return workers.Together(config, log)


class TextFiles(SingleFileSnapshotExtension):
    """One readable file a page."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture
def golden(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """What a person sees, to the letter."""
    return snapshot.use_extension(TextFiles)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """`oncall` in a home of its own, with no service file yet."""
    return Program(tmp_path / "home")


@pytest.fixture(scope="session")
def healthy_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that tests only look at. Its metrics are already in Prometheus."""
    lab = Lab(tmp_path_factory.mktemp("healthy"))
    if hasattr(request.config, "workerinput"):
        from tests import workers

        def close() -> None:
            lab.run("down")

        workers.at_end(request.config, "lab-healthy", close)
    lab.do("up", "--seed", "7")
    try:
        lab.do("up")
        lab_settles(lab)
        yield lab
    finally:
        lab.do("down")
        assert lab.leaves_nothing()


def lab_settles(lab: Lab) -> None:
    """Waits until Prometheus holds enough samples that every signal has a value."""
    from oncall.lab import place, watch

    watch.await_usual(lab.record, place.quiet_since(lab.record), 8, lambda _: None)


@pytest.fixture(scope="session")
def lab_service(healthy_lab: Lab) -> Mapping[str, Any]:
    """The lab's entry of a service file, to be varied: one backend is changed, the others are there."""
    written = yaml.safe_load((healthy_lab.folder / "service.yaml").read_text())
    service: Mapping[str, Any] = written["services"]["lab"]
    return service


Varied = Callable[..., Program]


@pytest.fixture
def varied(program: Program, lab_service: Mapping[str, Any]) -> Varied:
    """The program with a service `bot` that is the lab but for the keys given; None takes one away.

    A key with `__` changes only a part: `postgres__dsn="..."`."""

    def make(**changes: Any) -> Program:  # noqa: ANN401  # whatever YAML can say
        service = {k: dict(v) if isinstance(v, dict) else v for k, v in lab_service.items()}
        for name, value in changes.items():
            outer, _, inner = name.partition("__")
            if inner:
                service[outer][inner] = value
            elif value is None:
                service.pop(outer)
            else:
                service[outer] = value
        program.services(bot=service)
        return program

    return make


@pytest.fixture(scope="session", params=[15, 18])
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A Postgres of each major version."""
    with stand(tmp_path_factory.mktemp("postgres"), request.param) as made:
        made.admin.execute("CREATE ROLE oncall LOGIN PASSWORD 'secret-canary'")
        made.admin.execute("GRANT pg_monitor TO oncall")
        yield made


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """A Prometheus with eight days of history of several services, each with a story of its own."""
    with told(tmp_path_factory.mktemp("week")) as made:
        yield made
