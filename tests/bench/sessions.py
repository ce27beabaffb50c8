"""Many real sessions on Postgres: `python -m tests.bench.sessions COUNT < dsn`.

Of each twenty, 17 are idle, 2 idle in a transaction and 1 at work (pg_sleep). Prints `ready`, then keeps them
open until its standard input ends."""

import asyncio
import contextlib
import os
import resource
import sys

import psycopg

_AT_ONCE = 8
_IN_TRANSACTION = (17, 18)


async def _open(
    dsn: str, number: int, turns: asyncio.Semaphore
) -> psycopg.AsyncConnection[tuple[object, ...]]:
    async with turns:
        connection = await psycopg.AsyncConnection.connect(
            dsn, application_name="bot-controller", autocommit=number % 20 not in _IN_TRANSACTION
        )
        await connection.execute("SELECT count(*) FROM pg_class")
    return connection


async def _work(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    with contextlib.suppress(psycopg.Error):
        await connection.execute("SELECT pg_sleep(3600)")


async def main(dsn: str, count: int) -> None:
    """Opens the sessions and holds them."""
    turns = asyncio.Semaphore(_AT_ONCE)
    opened = await asyncio.gather(*(_open(dsn, number, turns) for number in range(count)))
    busy = asyncio.gather(*(_work(one) for one in opened[19::20]))
    # Their statements are on their way before anybody is told.
    await asyncio.wait([busy], timeout=0.2)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    # The server sees them end with the process: none is closed one by one.
    os._exit(0)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 8192, hard))
    address = sys.stdin.readline().strip()
    asyncio.run(main(address, int(sys.argv[1])))
