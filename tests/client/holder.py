"""A program that holds a lock, to be stopped and woken: `python holder.py KIND URL TTL`.

It says `held` once it holds the lock, waits for a line, and then says what `ensure` says; then how `lost` and `on_lost` tell it.
"""

from __future__ import annotations

import asyncio
import sys

from holdfast.client.api import Client
from holdfast.client.api_async import AsyncClient
from holdfast.client.dav import DavLock
from holdfast.client.errors import LockLostError
from holdfast.client.held import HeldLock

AUTH = ("alice", "alice-secret")
told: list[str] = []


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def on_lost(error: LockLostError) -> None:
    told.append(error.reason.value)


def look(held: HeldLock) -> None:
    try:
        held.ensure()
    except LockLostError as error:
        say(error.reason.value)
    else:
        say("still held")


def api(url: str, ttl: float) -> None:
    with Client(url, auth=AUTH) as client:
        held = client.acquire("/job", ttl=ttl, on_lost=on_lost)
        say("held")
        sys.stdin.readline()
        look(held)
        say(f"{held.lost.is_set()} {','.join(told)}")
        held.release()


def dav(url: str, ttl: float) -> None:
    lock = DavLock(f"{url}/dav/job", auth=AUTH, ttl=ttl, on_lost=on_lost)
    held = lock.acquire()
    say("held")
    sys.stdin.readline()
    look(held)
    say(f"{held.lost.is_set()} {','.join(told)}")
    lock.close()


def loop(url: str, ttl: float) -> None:
    async def play() -> None:
        async with AsyncClient(url, auth=AUTH) as client:
            held = await client.acquire("/job", ttl=ttl, on_lost=on_lost)
            say("held")
            await asyncio.to_thread(sys.stdin.readline)
            look(held)
            say(f"{held.lost.is_set()} {','.join(told)}")
            await held.release()

    asyncio.run(play())


if __name__ == "__main__":
    {"api": api, "dav": dav, "loop": loop}[sys.argv[1]](sys.argv[2], float(sys.argv[3]))
