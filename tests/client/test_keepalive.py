"""What keeps locks alive: together, in time, to the end, and never silently dead. The clock is the test's."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Sequence

import pytest

from holdfast.client.errors import LockLostError, LostReason
from holdfast.client.held import AsyncHeld, Grant, Held, HeldLock
from holdfast.client.holding import Failed, HoldState, Loss, Outcome, Refreshed
from holdfast.client.keepalive import AsyncKeepAlive, KeepAlive
from tests.client.waiting import come, until


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers refreshes as it is told, and remembers them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[list[str]] = []
        self.within: list[float] = []
        self.answer: Callable[[HeldLock], Outcome] = lambda held: Refreshed(clock.now, held.asked)
        self.called = threading.Condition()

    def refresh_many(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        with self.called:
            self.asked.append(sorted(held.id for held in locks))
            self.within.append(within)
            self.called.notify_all()
        return [self.answer(held) for held in locks]

    async def refresh_many_async(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        return self.refresh_many(locks, within)

    def refresh_one(self, held: HeldLock) -> Outcome:
        return self.answer(held)

    def release_one(self, held: HeldLock) -> Loss | None:
        return None

    def forget(self, held: HeldLock) -> None:
        pass

    def until_asked(self, times: int) -> None:
        with self.called:
            assert self.called.wait_for(lambda: len(self.asked) >= times, 20)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Server:
    return Server(clock)


@pytest.fixture
def keeper(clock: Clock, server: Server):
    keeper = KeepAlive(server.refresh_many, clock)
    yield keeper
    keeper.close()


def held(server: Server, name: str = "a", ttl: float = 30.0, on_lost: Callable[[LockLostError], object] | None = None):
    grant = Grant(resource=f"/{name}", id=name, token="t", asked_at=server.clock.now, ttl=ttl, asked=ttl)
    return Held(grant, server.clock, server, keep_alive=True, on_lost=on_lost)


def test_a_lock_is_refreshed_when_a_third_of_its_time_has_passed(keeper: KeepAlive, server: Server) -> None:
    lock = held(server)
    keeper.add(lock)
    for number in range(1, 6):
        server.clock.now += 10
        keeper.poke()
        server.until_asked(number)
        until(lambda: lock.state is HoldState.HELD and lock.expires_in == 30.0)
    assert server.within == [10.0] * 5


def test_locks_that_are_due_soon_go_in_one_request(keeper: KeepAlive, server: Server) -> None:
    early = held(server, "early")
    server.clock.now += 4
    late = held(server, "late")
    for lock in (early, late):
        keeper.add(lock)
    server.clock.now += 6
    fresh = held(server, "fresh")
    keeper.add(fresh)
    server.until_asked(1)
    assert server.asked == [["early", "late"]]


def test_no_request_has_more_locks_than_a_server_takes(keeper: KeepAlive, server: Server) -> None:
    locks = [held(server, f"{number}") for number in range(300)]
    for lock in locks:
        keeper.add(lock)
    server.clock.now += 10
    keeper.poke()
    server.until_asked(2)
    assert [len(batch) for batch in server.asked] == [256, 44]


def test_a_failure_is_a_risk_that_is_told_and_tried_again(keeper: KeepAlive, server: Server) -> None:
    lock = held(server)
    server.answer = lambda _: Failed(ConnectionError("cut"))
    keeper.add(lock)
    server.clock.now += 10
    keeper.poke()
    until(lambda: lock.state is HoldState.AT_RISK)
    assert isinstance(lock.error, ConnectionError)
    lock.ensure()
    server.answer = lambda held: Refreshed(server.clock.now, held.asked)
    server.clock.now += 5
    keeper.poke()
    until(lambda: lock.state is HoldState.HELD)
    assert lock.error is None


def test_an_exception_of_any_kind_is_a_risk_and_does_not_end_the_thread(keeper: KeepAlive, server: Server) -> None:
    lock = held(server)

    def fail(_: HeldLock) -> Outcome:
        raise ZeroDivisionError

    server.answer = fail
    keeper.add(lock)
    server.clock.now += 10
    keeper.poke()
    until(lambda: lock.state is HoldState.AT_RISK)
    assert isinstance(lock.error, ZeroDivisionError)
    server.answer = lambda held: Refreshed(server.clock.now, held.asked)
    server.clock.now += 2
    keeper.poke()
    until(lambda: lock.state is HoldState.HELD)


def test_a_thread_that_must_end_says_so_to_every_lock(clock: Clock, server: Server) -> None:
    told: list[LockLostError] = []

    def die(locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        raise SystemExit

    keeper = KeepAlive(die, clock)
    locks = [held(server, name, on_lost=told.append) for name in ("a", "b")]
    for lock in locks:
        keeper.add(lock)
    clock.now += 10
    keeper.poke()
    until(lambda: len(told) == 2)
    assert {error.reason for error in told} == {LostReason.KEEPALIVE_DIED}
    assert all(isinstance(error.__cause__, SystemExit) for error in told)
    assert all(lock.lost.is_set() for lock in locks)
    keeper.close()


def test_a_loss_is_told_once_with_its_reason(keeper: KeepAlive, server: Server) -> None:
    told: list[LockLostError] = []
    lock = held(server, on_lost=told.append)
    server.answer = lambda _: Loss(reason=LostReason.BROKEN, detail="Root broke it.", by="root", why="old")
    keeper.add(lock)
    server.clock.now += 10
    keeper.poke()
    assert lock.lost.wait(20)
    for _ in range(3):
        with pytest.raises(LockLostError, match="Root broke it"):
            lock.ensure()
    until(lambda: bool(told))
    assert [error.reason for error in told] == [LostReason.BROKEN]
    assert lock.loss is not None
    assert (lock.loss.by, lock.loss.why) == ("root", "old")


def test_an_on_lost_that_fails_harms_no_other_lock(
    keeper: KeepAlive, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: LockLostError) -> None:
        raise ZeroDivisionError

    bad, good = held(server, "bad", on_lost=fail), held(server, "good")
    server.answer = lambda held: (
        Loss(reason=LostReason.GONE) if held.id == "bad" else Refreshed(server.clock.now, held.asked)
    )
    keeper.add(bad)
    keeper.add(good)
    server.clock.now += 10
    keeper.poke()
    assert bad.lost.wait(20)
    until(lambda: good.expires_in == 30.0)
    server.clock.now += 10
    keeper.poke()
    server.until_asked(2)
    assert server.asked[1] == ["good"]
    assert "on_lost failed" in caplog.text


def test_a_clock_that_jumped_over_the_end_is_a_suspension(keeper: KeepAlive, server: Server) -> None:
    told: list[LockLostError] = []
    lock = held(server, on_lost=told.append)
    keeper.add(lock)
    server.clock.now += 3600
    with pytest.raises(LockLostError) as caught:
        lock.ensure()
    assert caught.value.reason is LostReason.SUSPENDED
    assert [error.reason for error in told] == [LostReason.SUSPENDED]
    assert lock.state is HoldState.LOST
    assert server.asked == []


def test_the_thread_notices_by_itself_too(keeper: KeepAlive, server: Server) -> None:
    told = threading.Event()
    lock = held(server, on_lost=lambda _: told.set())
    keeper.add(lock)
    server.clock.now += 30
    keeper.poke()
    assert told.wait(20)
    assert server.asked == []


def test_the_thread_ends_with_the_last_lock_and_comes_back_with_the_next(keeper: KeepAlive, server: Server) -> None:
    for _ in range(3):
        lock = held(server)
        keeper.add(lock)
        thread = keeper._thread
        assert thread is not None
        keeper.remove(lock)
        thread.join(20)
        assert not thread.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "holdfast-keepalive"]


def test_a_lock_that_is_waited_for_to_be_lost_ends_the_wait_at_its_deadline_without_any_thread(server: Server) -> None:
    lock = held(server)
    waiter = threading.Thread(target=lock.lost.wait)
    waiter.start()
    server.clock.now += 31
    lock.lost._event.set()  # the test's clock moves no real time; the wait looks again
    waiter.join(20)
    assert not waiter.is_alive()
    assert lock.lost.wait(0)
    assert not held(server).lost.wait(0)


def test_a_lock_that_is_released_ends_the_wait_for_its_loss(server: Server) -> None:
    lock = held(server)
    outcomes: list[bool] = []
    waiter = threading.Thread(target=lambda: outcomes.append(lock.lost.wait()))
    waiter.start()
    lock.release()
    waiter.join(20)
    assert outcomes == [False]


def test_lost_is_final_whatever_comes_later(server: Server) -> None:
    lock = held(server)
    server.clock.now += 30
    assert "lost" in repr(lock)
    assert lock.state is HoldState.LOST
    lock.apply(Refreshed(server.clock.now, 30.0))
    assert lock.state is HoldState.LOST
    assert lock.expires_in == 0


class TestOnALoop:
    """The same with a task."""

    def run(self, server: Server, scene: Callable[[AsyncKeepAlive, Callable[..., AsyncHeld]], object]) -> None:
        async def play() -> None:
            keeper = AsyncKeepAlive(server.refresh_many_async, server.clock)

            def held(name: str = "a", on_lost: Callable[[LockLostError], object] | None = None) -> AsyncHeld:
                grant = Grant(resource=f"/{name}", id=name, token="t", asked_at=server.clock.now, ttl=30.0, asked=30.0)
                return AsyncHeld(grant, server.clock, server, keep_alive=True, on_lost=on_lost)  # type: ignore[arg-type]

            try:
                await scene(keeper, held)  # type: ignore[misc]
            finally:
                await keeper.close()

        asyncio.run(asyncio.wait_for(play(), 20))
        gc.collect()

    def test_locks_are_refreshed_together(self, server: Server) -> None:
        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            one, two = held("one"), held("two")
            keeper.add(one)
            keeper.add(two)
            server.clock.now += 10
            keeper.poke()
            await come(lambda: one.expires_in == two.expires_in == 30)
            assert server.asked == [["one", "two"]]

        self.run(server, scene)

    def test_a_loss_is_told_once_and_awaited(self, server: Server) -> None:
        told: list[LostReason] = []

        async def on_lost(error: LockLostError) -> None:
            await asyncio.sleep(0)
            told.append(error.reason)

        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            lock = held(on_lost=on_lost)
            server.answer = lambda _: Loss(reason=LostReason.GONE)
            keeper.add(lock)
            server.clock.now += 10
            keeper.poke()
            await lock.lost.wait()
            await come(lambda: bool(told))
            with pytest.raises(LockLostError):
                lock.ensure()

        self.run(server, scene)
        assert told == [LostReason.GONE]

    def test_a_lock_that_is_released_ends_the_wait_for_its_loss(self, server: Server) -> None:
        class Releasing(Server):
            async def release_one(self, held: HeldLock) -> None:
                pass

        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            lock = held()
            lock._warden = Releasing(server.clock)  # type: ignore[assignment]
            waiter = asyncio.create_task(lock.lost.wait())
            await asyncio.sleep(0)
            await lock.release()
            assert await waiter is False

        self.run(server, scene)

    def test_a_task_that_is_cancelled_by_somebody_tells_its_locks(self, server: Server) -> None:
        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            lock = held()
            keeper.add(lock)
            await asyncio.sleep(0)
            assert keeper._task is not None
            keeper._task.cancel()
            await lock.lost.wait()
            assert lock.loss is not None
            assert lock.loss.reason is LostReason.KEEPALIVE_DIED

        self.run(server, scene)

    def test_a_refresh_that_hangs_is_given_up_in_time_for_another(self, server: Server) -> None:
        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            hanging = AsyncKeepAlive(hang, server.clock)
            grant = Grant(resource="/a", id="a", token="t", asked_at=server.clock.now, ttl=0.3, asked=0.3)
            lock = AsyncHeld(grant, server.clock, server, keep_alive=True)  # type: ignore[arg-type]
            hanging.add(lock)
            server.clock.now += 0.1
            hanging.poke()
            await come(lambda: lock.state is HoldState.AT_RISK and lock.error is not None)
            assert isinstance(lock.error, TimeoutError)
            await hanging.close()

        async def hang(locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
            await asyncio.Event().wait()
            return []

        self.run(server, scene)

    def test_the_task_ends_with_the_last_lock(self, server: Server) -> None:
        async def scene(keeper: AsyncKeepAlive, held: Callable[..., AsyncHeld]) -> None:
            lock = held()
            keeper.add(lock)
            keeper.remove(lock)
            assert keeper._task is not None
            await keeper._task

        self.run(server, scene)
