"""What frameworks with an event loop share: the loop goes on while a request stands in line, and a task that is cancelled leaves no lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.integrations import LockBackend, Locks, Wanted
from holdfast.integrations.backends import resource_of
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms
from holdfast.integrations.threads import held_on_thread, read_body
from holdfast.wire.exchange import Headers

ORDER = resource_of("/orders/1")
HEAD = Head("POST", "/orders/1", Headers([(b"host", b"shop.example")]))


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db") as locks:
        yield locks


def test_the_loop_goes_on_while_a_request_stands_in_line(locks: Locks) -> None:
    first = locks.acquire(Wanted(resource=ORDER, principal="ada"))
    order: list[str] = []

    async def wait() -> None:
        async with held_on_thread(locks, HEAD, ORDER, "bob", Terms(wait=20)) as taken:
            order.append(taken.holder.name)

    async def main() -> None:
        waiting = asyncio.create_task(wait())
        for _ in range(100):
            await asyncio.sleep(0)
        order.append("meanwhile")
        await asyncio.to_thread(locks.release, first.id, first.token, "ada")
        await waiting

    asyncio.run(main())
    assert order == ["meanwhile", "bob"]
    assert locks.find(ORDER) == []


class Held:
    """A backend of which a test says when the next lock is granted, and hears when one is released."""

    def __init__(self, kept: LockBackend) -> None:
        self._kept = kept
        self.check, self.find, self.close = kept.check, kept.find, kept.close
        self.asked, self.may_grant, self.released = threading.Event(), threading.Event(), threading.Event()

    def acquire(self, wanted: Wanted) -> Any:
        self.asked.set()
        assert self.may_grant.wait(30)
        return self._kept.acquire(wanted)

    def release(self, lock_id: str, token: str, principal: str) -> None:
        self._kept.release(lock_id, token, principal)
        self.released.set()


def test_a_task_that_is_cancelled_before_its_lock_is_granted_leaves_none_behind(locks: Locks) -> None:
    held = Held(locks.backend)
    waited_for = Locks(backend=held)  # type: ignore[arg-type]

    async def wait() -> None:
        async with held_on_thread(waited_for, HEAD, ORDER, "bob", Terms(wait=20)):
            raise AssertionError

    async def main() -> None:
        waiting = asyncio.create_task(wait())
        assert await asyncio.to_thread(held.asked.wait, 30)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held.may_grant.set()
        assert await asyncio.to_thread(held.released.wait, 30)
        assert locks.find(ORDER) == []

    asyncio.run(main())


def test_a_task_that_is_cancelled_under_its_lock_releases_it(locks: Locks) -> None:
    async def main() -> None:
        held = asyncio.Event()

        async def hold() -> None:
            async with held_on_thread(locks, HEAD, ORDER, "bob", Terms()):
                held.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        await held.wait()
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert locks.find(ORDER) == []

    asyncio.run(main())


def test_no_more_of_a_body_is_read_than_a_byte_over_what_is_taken() -> None:
    taken = 0

    async def chunks() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 40_000

    assert len(asyncio.run(read_body(chunks()))) == 64 * 1024 + 1
    assert taken == 2
