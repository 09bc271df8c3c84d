"""Keeping locks alive: one thread, or one task, that refreshes all locks of a client.

Owns: KeepAlive and AsyncKeepAlive, and which locks go into the next request. When each is due, and how often it is tried
again, is `holding`'s. Must not know: HTTP.

Theory of operation: it sleeps until the first lock is due, refreshes that one and all that are due soon in one request, and
tells each what became of it. It begins with the first lock and ends with the last, so that nothing is left behind. It cannot
end silently: whatever it raises becomes a loss of every lock that it kept, with the error in it. Where it does not run at
all (the process is stopped), no word of it is needed: `ensure()` looks at the clock itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from holdfast.client.errors import LostReason
from holdfast.client.held import HeldLock
from holdfast.client.holding import Failed, Loss, Outcome

if TYPE_CHECKING:
    import asyncio

__all__ = ["MAX_BATCH", "AsyncKeepAlive", "AsyncRefreshMany", "KeepAlive", "RefreshMany"]

MAX_BATCH: Final = 256
"""Most locks that one request refreshes; what a Holdfast server takes."""

_LONGEST_NAP: Final = 5.0  # seconds; threads and loops sleep on a clock that stands still while the machine does

RefreshMany = Callable[[Sequence[HeldLock], float], Sequence[Outcome]]
"""Refreshes these locks and returns an outcome for each, in order; each request may take so many seconds."""

AsyncRefreshMany = Callable[[Sequence[HeldLock], float], Awaitable[Sequence[Outcome]]]
"""The same with await."""


class _Kept:
    """The locks that are kept, and what is to be done with them now."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._locks: dict[HeldLock, None] = {}

    def add(self, held: HeldLock) -> None:
        self._locks[held] = None

    def remove(self, held: HeldLock) -> None:
        self._locks.pop(held, None)

    def __len__(self) -> int:
        return len(self._locks)

    def take_all(self) -> list[HeldLock]:
        taken = list(self._locks)
        self._locks.clear()
        return taken

    def nap(self) -> float:
        """Seconds until the first lock is due."""
        now = self._now()
        due = min((held.holding.refresh_at for held in self._locks), default=now + _LONGEST_NAP)
        return min(max(due - now, 0.0), _LONGEST_NAP)

    def all(self) -> list[HeldLock]:
        return list(self._locks)

    def batch(self) -> list[HeldLock]:
        """Those that are due, and where there are any, those that are due soon."""
        now = self._now()
        if not any(held.holding.refresh_at <= now for held in self._locks):
            return []
        soon = [held for held in self._locks if _is_soon(held, now)]
        return sorted(soon, key=lambda held: held.holding.deadline)[:MAX_BATCH]


def _is_over(held: HeldLock) -> bool:
    """Whether it needs no more refreshing. Its holder hears here that its time has run out, so call it out of a mutex."""
    return held.loss is not None or held.holding.is_released


def _is_soon(held: HeldLock, now: float) -> bool:
    holding = held.holding
    if holding.refresh_at <= now:
        return True
    # Half of the way to its refresh is behind it. One that has failed keeps its pause.
    return holding.again_at is None and now - holding.asked_at >= (holding.refresh_at - holding.asked_at) / 2


def _begin(batch: Sequence[HeldLock], now: float) -> float:
    """Mark them as being refreshed; how many seconds that may take, so that the most pressing one has a second try."""
    for held in batch:
        held.begin_refresh()
    return min(held.holding.try_for(now) for held in batch)


def _settle(batch: Sequence[HeldLock], outcomes: Sequence[Outcome]) -> None:
    for held, outcome in zip(batch, outcomes, strict=True):
        held.apply(outcome)


def _died(error: BaseException) -> Loss:
    detail = f"What refreshes it ended: {type(error).__name__}: {error}"
    return Loss(reason=LostReason.KEEPALIVE_DIED, detail=detail, error=error)


class KeepAlive:
    """A thread that refreshes locks with `refresh_many`, from the first that is added until the last is gone."""

    def __init__(self, refresh_many: RefreshMany, now: Callable[[], float]) -> None:
        """Start nothing yet."""
        self._refresh_many = refresh_many
        self._now = now
        self._kept = _Kept(now)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, held: HeldLock) -> None:
        """Keep this lock from now on."""
        with self._changed:
            self._kept.add(held)
            if self._thread is None or not self._thread.is_alive():
                # A process that was forked has no thread, whatever its copy of this object says.
                self._thread = threading.Thread(target=self._run, name="holdfast-keepalive", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, held: HeldLock) -> None:
        """Keep it no longer; returns at once."""
        with self._changed:
            self._kept.remove(held)
            self._changed.notify_all()

    def poke(self) -> None:
        """Look at the clock now."""
        with self._changed:
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> None:
        """Keep no lock any longer, and wait until the thread has ended."""
        with self._changed:
            self._kept.take_all()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - a thread that ends silently is what must not be
            with self._changed:
                orphans = self._kept.take_all()
                self._thread = None
            for held in orphans:
                held.apply(_died(error))

    def _turn(self) -> bool:
        """Sleep until something is due and do it; False where nothing is kept any more."""
        with self._changed:
            if not len(self._kept):
                self._thread = None
                return False
            self._changed.wait(self._kept.nap())
            batch, kept = self._kept.batch(), self._kept.all()
        for held in filter(_is_over, kept):
            self.remove(held)
        batch = [held for held in batch if not held.holding.is_final]
        if batch:
            _settle(batch, self._attempt(batch))
        return True

    def _attempt(self, batch: list[HeldLock]) -> Sequence[Outcome]:
        within = _begin(batch, self._now())
        try:
            return self._refresh_many(batch, within)
        except Exception as error:  # noqa: BLE001 - one bad refresh must not end the others
            return [Failed(error)] * len(batch)


class AsyncKeepAlive:
    """A task that refreshes locks, from the first that is added until the last is gone."""

    def __init__(self, refresh_many: AsyncRefreshMany, now: Callable[[], float]) -> None:
        """Start nothing yet."""
        import asyncio

        self._refresh_many = refresh_many
        self._now = now
        self._kept = _Kept(now)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, held: HeldLock) -> None:
        """Keep this lock from now on; called on the loop."""
        import asyncio

        self._kept.add(held)
        if self._task is None or self._task.done():
            self._changed = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="holdfast-keepalive")
        self._changed.set()

    def remove(self, held: HeldLock) -> None:
        """Keep it no longer."""
        self._kept.remove(held)
        self._changed.set()

    def poke(self) -> None:
        """Look at the clock now."""
        self._changed.set()

    async def close(self) -> None:
        """Keep no lock any longer, and wait until the task has ended."""
        import asyncio

        self._kept.take_all()
        self._changed.set()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            while len(self._kept):
                await self._turn()
        except BaseException as error:
            for held in self._kept.take_all():
                held.apply(_died(error))
            if not isinstance(error, Exception):
                raise

    async def _turn(self) -> None:
        # Not asyncio.wait_for, which loses a cancellation that comes together with the event (until Python 3.12).
        import asyncio

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._kept.nap()):
                await self._changed.wait()
        self._changed.clear()
        batch = self._kept.batch()
        for held in filter(_is_over, self._kept.all()):
            self._kept.remove(held)
        batch = [held for held in batch if not held.holding.is_final]
        if batch:
            _settle(batch, await self._attempt(batch))

    async def _attempt(self, batch: list[HeldLock]) -> Sequence[Outcome]:
        import asyncio

        within = _begin(batch, self._now())
        try:
            async with asyncio.timeout(within):
                return await self._refresh_many(batch, within)
        except TimeoutError:
            return [Failed(TimeoutError(f"no answer within {within:.1f} s"))] * len(batch)
        except Exception as error:  # noqa: BLE001 - one bad refresh must not end the others
            return [Failed(error)] * len(batch)
