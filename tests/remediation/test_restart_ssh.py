"""Restart over ssh: a real sshd on loopback, behind which the sessions find a real systemd."""

from collections.abc import Iterator

import pytest

from oncall.model_acts import GuardState
from oncall.model_service import Service
from oncall.remediation.actions.restart import Restart
from oncall.units import Duration
from tests.clients.systemdstand import Systemd, manager_with
from tests.remediation.restartstand import acted, path_with, plan
from tests.remediation.sshstand import HOST, Sshd, lacking, sshd

UNITS = {"fine.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\n"}


@pytest.fixture(scope="module")
def manager() -> Iterator[Systemd]:
    yield from manager_with(UNITS)


@pytest.fixture(scope="module")
def there(manager: Systemd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A machine whose `systemctl` is our manager's; on this side there is none."""
    why = lacking()
    if why:
        pytest.fail(why)
    path = f"{manager.shim.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    with sshd(tmp_path_factory.mktemp("sshd"), path) as made:
        yield made


SERVICE = Service(unit="fine", ssh=HOST, cooldown=Duration(0.001))


def test_a_restart_over_ssh(manager: Systemd, there: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(there.client))
    manager.ctl("start", "fine")
    before = manager.shown("fine", "InvocationID")
    told = acted(Restart(), SERVICE)
    assert told.found.title.startswith("restarts service bot: fine.service on app-1 (")
    assert told.found.does == (
        "ssh -o BatchMode=yes -- app-1 'systemctl --no-ask-password --no-block restart -- fine.service'",
    )
    (target,) = told.found.targets
    assert (target.identity["host"], target.identity["invocation"]) == (HOST, before)
    assert told.guard("rights").state is GuardState.PASSED
    assert told.guard("rights").text == "root on app-1"
    assert (told.result.state, [c.holds for c in told.checks]) == ("done", [True]), told
    assert manager.shown("fine", "InvocationID") != before
    assert told.offers[0].command == (
        "ssh -o BatchMode=yes -- app-1 'journalctl --no-pager -n 50 -u fine.service'"
    )


def test_a_key_that_is_not_known_there(
    manager: Systemd, there: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_with(there.stranger))
    manager.ctl("start", "fine")
    before = manager.shown("fine", "InvocationID")
    found = plan(Restart(), SERVICE)
    (rights,) = [g for g in found.guards if g.name == "rights"]
    assert rights.state is GuardState.REFUSED
    assert rights.text.startswith("no ssh to app-1: ")
    assert "Permission denied" in rights.text
    assert "no password is asked for" in (rights.hint or "")
    assert found.targets
    assert manager.shown("fine", "InvocationID") == before


def test_a_unit_that_is_not_there(there: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    from oncall.errors import ConfigError

    monkeypatch.setenv("PATH", path_with(there.client))
    with pytest.raises(ConfigError, match=r"there is no unit no-such\.service on app-1"):
        plan(Restart(), Service(unit="no-such", ssh=HOST))
