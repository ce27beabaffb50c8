"""Programs that are run end with their question, also where it is cancelled twice."""

import asyncio

import psutil

from oncall.clients.command import killed


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
