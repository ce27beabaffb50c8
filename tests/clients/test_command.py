"""Programs that are run end with their question, also where it is cancelled twice."""

import asyncio

import psutil
import pytest

from oncall.clients.command import killed
from oncall.clients.systemd import run


def test_a_killed_program_is_gone_also_after_a_second_cancel() -> None:
    async def work() -> int:
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        task = asyncio.create_task(killed(process))
        await asyncio.sleep(0)
        # It waits for the program's end now; nothing has run in between.
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=30)
        assert done
        assert task.cancelled()
        assert process.returncode == -9
        return process.pid

    assert not psutil.pid_exists(asyncio.run(work()))


@pytest.mark.parametrize("rounds", range(6))
def test_a_program_that_is_being_started_is_gone_after_two_cancels(
    rounds: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """One is that of the work that failed beside it, the other that of a loop which is about to be closed."""

    async def twice() -> None:
        task = asyncio.create_task(run(["sleep", "1000"], None, 60))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    before = {child.pid for child in psutil.Process().children()}
    asyncio.run(twice())
    assert {child.pid for child in psutil.Process().children()} <= before
    assert "is closed" not in capfd.readouterr().err
