"""Many wait for one lock in a process with an event loop: its holder, and everybody else, is served as if nobody did."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from anyio import to_thread
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine

from holdfast.faces.api.bodies import GrantedLock, ShownLock
from holdfast.integrations import LockedError, Locks, Wanted
from holdfast.integrations.backends import resource_of
from holdfast.integrations.fastapi import install, lock
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms
from holdfast.integrations.routes import LockRoutes
from holdfast.integrations.steps import Steps
from holdfast.integrations.threads import answer_on_thread, held_on_thread
from holdfast.wire.exchange import Headers
from tests.integrations.conftest import Kept

ORDER = resource_of("/orders/1")
HEAD = Head("POST", "/orders/1", Headers([(b"host", b"shop.example")]))
ASKING = Head("POST", "/locks", Headers([(b"content-type", b"application/json")]))
MOST_WAITING, MOST_AT_ROUTES = 100, 50


@pytest.fixture(name="stepping", params=["embedded", "own database"])
def make_stepping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Locks]:
    """Locks that are waited for without a thread."""
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    with Locks(tmp_path / "locks.db" if request.param == "embedded" else engine, address="/locks") as locks:
        yield locks
    engine.dispose()


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        yield locks


async def bill(locks: Locks, wait: float = 60.0) -> str:
    async with held_on_thread(locks, HEAD, ORDER, "bob", Terms(wait=wait)) as taken:
        return taken.holder.name


def length(locks: Locks, held: GrantedLock) -> int:
    found = locks.describe(held.id)
    assert isinstance(found, ShownLock)
    return found.queue_length


async def until(is_so: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(is_so):  # noqa: ASYNC110 - another thread makes it so
        await asyncio.sleep(0.02)


async def settled(task: Awaitable[object]) -> object:
    try:
        return await task
    except LockedError as error:
        return error


def test_whoever_waits_has_none_of_the_frameworks_threads(kept: Kept) -> None:
    async def main() -> list[object]:
        held = kept.locks.acquire(Wanted(resource=ORDER, principal="ada"))
        people = [asyncio.create_task(bill(kept.locks)) for _ in range(8)]
        await until(lambda: length(kept.locks, held) == len(people))
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
        kept.locks.release(held.id, held.token, "ada")
        return await asyncio.gather(*people)

    assert asyncio.run(main()) == ["bob"] * 8


def test_sixty_at_once_are_all_served_one_after_the_other(tmp_path: Path) -> None:
    app = FastAPI()

    @app.post("/orders/{order}/bill", dependencies=[Depends(lock("/orders/{order}", wait=30), scope="function")])
    def billed(order: str) -> str:
        return order

    async def main() -> Counter[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as client:
            answers = await asyncio.gather(*[client.post("/orders/1/bill", timeout=60) for _ in range(60)])
        return Counter(answer.status_code for answer in answers)

    with Locks(tmp_path / "locks.db") as locks:
        install(app, locks)
        assert asyncio.run(main()) == {200: 60}


def test_a_task_that_is_cancelled_in_line_leaves_it(stepping: Locks) -> None:
    async def main() -> None:
        held = stepping.acquire(Wanted(resource=ORDER, principal="ada"))
        waiting = asyncio.create_task(bill(stepping))
        await until(lambda: length(stepping, held) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: length(stepping, held) == 0)

    asyncio.run(main())


def test_steps_that_are_closed_leave_the_line(stepping: Locks) -> None:
    held = stepping.acquire(Wanted(resource=ORDER, principal="ada"))
    steps = stepping.acquiring(Wanted(resource=ORDER, principal="bob", wait=60))
    assert next(steps) > 0
    assert length(stepping, held) == 1
    steps.close()
    assert length(stepping, held) == 0


def test_above_so_many_waiters_the_next_one_is_refused_without_a_wait(locks: Locks) -> None:
    async def main() -> None:
        held = locks.acquire(Wanted(resource=ORDER, principal="ada"))
        people = [asyncio.create_task(bill(locks)) for _ in range(MOST_WAITING)]
        await until(lambda: length(locks, held) == MOST_WAITING)
        refused = await settled(bill(locks))
        assert isinstance(refused, LockedError)
        assert [one.holder.name for one in refused.answer.locks] == ["ada"]
        for person in people:
            person.cancel()
        await asyncio.gather(*people, return_exceptions=True)
        await until(lambda: length(locks, held) == 0)

    asyncio.run(main())


def test_whoever_waits_at_the_locks_routes_takes_no_place_of_the_applications_own_requests(locks: Locks) -> None:
    body = msgspec.json.encode({"resource": ORDER.href(), "wait": 20})
    routes = LockRoutes(locks)

    async def main() -> None:
        held = locks.acquire(Wanted(resource=ORDER, principal="ada"))
        asking = [
            asyncio.create_task(answer_on_thread(routes, ASKING, "", "", body, "anonymous"))
            for _ in range(MOST_AT_ROUTES)
        ]
        await until(lambda: length(locks, held) == MOST_AT_ROUTES)
        refused = await answer_on_thread(routes, ASKING, "", "", body, "anonymous")
        assert refused.status == 423
        own = asyncio.create_task(bill(locks))
        await until(lambda: length(locks, held) == MOST_AT_ROUTES + 1)
        for task in (*asking, own):
            task.cancel()
        await asyncio.gather(*asking, own, return_exceptions=True)
        await until(lambda: length(locks, held) == 0)

    asyncio.run(main())


def test_who_does_not_wait_stands_behind_nobody_that_is_slow_to_be_answered(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    class Slow(Locks):
        def acquiring(self, wanted: Wanted) -> Steps[GrantedLock]:
            both.wait()  # passes once both have asked
            return super().acquiring(wanted)

    async def main(locks: Locks) -> None:
        people = await asyncio.gather(*[settled(bill(locks, wait=0)) for _ in range(2)])
        assert "bob" in people

    with Slow(tmp_path / "locks.db") as locks:
        asyncio.run(main(locks))
