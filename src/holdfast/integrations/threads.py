"""Questions about locks, asked on threads: for every framework whose requests share an event loop.

Owns: that no backend ever waits on the loop or on the framework's own threads, that whoever holds a lock always gets a thread to give it
back on, and that a lock for a request is released whatever ends it, its cancellation included. Must not know: frameworks.

Theory of operation: whoever waits for a lock has no thread while nothing happens. It comes back for one short attempt after another, at
once where a request of this process gives the same lock back, and otherwise after the pause that the backend names. Attempts,
returns and questions have threads of their own, so none of them stands behind another kind. A backend that can only wait by blocking
(a server that holds the request) has threads for that. As many may wait as _MOST_WAITING says; others are refused at once.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Generic, ParamSpec, TypeVar

import msgspec
from anyio import CancelScope, CapacityLimiter, Event, Lock, move_on_after, to_thread
from anyio.lowlevel import RunVar

from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.backends import Locks
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms, give_back, require, taking
from holdfast.integrations.routes import MAX_BODY_BYTES, LockRoutes, may_stand_in_line
from holdfast.integrations.steps import Steps
from holdfast.wire.exchange import Response

__all__ = ["answer_on_thread", "ask_on_thread", "held_on_thread", "read_body", "require_on_thread"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST_WAITING: Final = 100
_MOST_WAITING_AT_ROUTES: Final = 50  # anybody may ask there, so the application's own requests have a line of their own
_THREADS: Final = 16
_CROWD: Final = 25  # from so many on, each looks less often, so that all of them together do not look more often


async def ask_on_thread(ask: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What `ask` says, which waits for no lock."""
    return await to_thread.run_sync(lambda: ask(*args, **named), limiter=_this_loop().questions)


async def require_on_thread(
    locks: Locks, head: Head, resource: ResourcePath, principal: str, *, held_only: bool = False, writes: bool = False
) -> None:
    """As `holding.require`."""
    await ask_on_thread(require, locks, head, resource, principal, held_only=held_only, writes=writes)


async def answer_on_thread(
    routes: LockRoutes, head: Head, tail: str, query: str, body: bytes, principal: str
) -> Response:
    """As `LockRoutes.answer`."""
    if not may_stand_in_line(head, tail):
        return await ask_on_thread(routes.answer, head, tail, query, body, principal)
    loop = _this_loop()
    with loop.at_routes.place() as may_wait:
        steps = routes.answering(head, tail, query, body, principal, may_wait=may_wait)
        blocks = may_wait and not routes.locks.waits_in_steps
        return await loop.take(_Taking(steps, lambda _answer: None), None, blocks=blocks)


@asynccontextmanager
async def held_on_thread(
    locks: Locks, head: Head, resource: ResourcePath, principal: str, terms: Terms
) -> AsyncGenerator[ShownLock]:
    """As `holding.held`; refused at once where too many wait already."""
    loop = _this_loop()
    line = (id(locks.backend), resource)

    def release(lock: ShownLock) -> None:
        give_back(locks, lock, principal)

    with loop.in_requests.place(is_needed=terms.wait > 0) as may_wait:
        settled = terms if may_wait else msgspec.structs.replace(terms, wait=0.0)
        blocks = settled.wait > 0 and not locks.waits_in_steps
        steps = taking(locks, head, resource, principal, settled)
        taken = await loop.take(_Taking(steps, release), line if settled.wait > 0 else None, blocks=blocks)
    try:
        yield taken
    finally:
        # Whatever ended the block, a client that went away included: the lock is released, and an error goes on by itself.
        with CancelScope(shield=True):
            await to_thread.run_sync(release, taken, limiter=loop.returns)
        loop.call_next(line)


class _Room:
    """For so many to wait in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def place(self, *, is_needed: bool = True) -> Generator[bool]:
        """True where there is a place, which is taken while the block runs."""
        if not is_needed or self.taken >= self._most:
            yield False
            return
        self.taken += 1
        try:
            yield True
        finally:
            self.taken -= 1


_Line = tuple[int, ResourcePath]


class _Taking(Generic[T]):
    """Steps that threads take, while the task that waits for them may be cancelled (asyncio does so without a scope's leave).

    Whichever of the two comes last gives up what there is: the task, or the thread that finds the task gone.
    """

    def __init__(self, steps: Steps[T], undo: Callable[[T], object]) -> None:
        self._steps = steps
        self._undo = undo
        self._mutex = threading.Lock()
        self._is_running = False
        self._is_abandoned = False
        self.came_to: list[T] = []
        self.called = Event()

    def step(self) -> float:
        """Take one; the pause after it, where it has come to nothing yet."""
        with self._mutex:
            if self._is_abandoned:
                return 0.0  # the task was gone before there was a thread
            self._is_running = True
        pause = 0.0
        try:
            pause = next(self._steps)
        except StopIteration as end:
            self.came_to.append(end.value)
        finally:
            with self._mutex:
                self._is_running = False
                abandoned = self._is_abandoned
            if abandoned:
                self.give_up()
        return pause

    def abandon(self) -> bool:
        """The task is gone; True where it has still to give up, because no thread will."""
        with self._mutex:
            self._is_abandoned = True
            return not self._is_running

    def give_up(self) -> None:
        """The place in line, or what was got."""
        self._steps.close()
        while self.came_to:
            self._undo(self.came_to.pop())


class _First:
    """Who waits for one lock in this process, in the order of their coming."""

    def __init__(self) -> None:
        self.door = Lock()
        self.come: dict[_Taking[Any], None] = {}


class _Loop:
    """What the requests of one event loop share."""

    def __init__(self) -> None:
        self.questions = CapacityLimiter(2 * _THREADS)
        self.attempts = CapacityLimiter(_THREADS)
        self.returns = CapacityLimiter(_THREADS)
        self.blocking = CapacityLimiter(_MOST_WAITING + _MOST_WAITING_AT_ROUTES)
        self.in_requests = _Room(_MOST_WAITING)
        self.at_routes = _Room(_MOST_WAITING_AT_ROUTES)
        self._lines: dict[_Line, _First] = {}
        self._waiting = 0

    async def take(self, waiter: _Taking[T], line: _Line | None, *, blocks: bool) -> T:
        """What the steps come to. `blocks` where one of them may take as long as the whole wait."""
        with self._in(line, waiter) as first:
            try:
                pause = await self._stand_in_line(waiter, first, blocks=blocks)
                while not waiter.came_to:
                    with move_on_after(pause * max(1.0, self._waiting / _CROWD)):
                        await waiter.called.wait()
                    waiter.called = Event()
                    pause = await to_thread.run_sync(waiter.step, limiter=self.attempts)
                return waiter.came_to[0]
            except Exception:
                raise  # the steps have ended by it
            except BaseException:
                if waiter.abandon():
                    with CancelScope(shield=True):
                        await to_thread.run_sync(waiter.give_up, limiter=self.returns)
                raise

    async def _stand_in_line(self, waiter: _Taking[Any], first: _First, *, blocks: bool) -> float:
        """The first step. Where it is short, those of one line come one after the other, so that they stand there as they came."""
        if blocks:
            return await to_thread.run_sync(waiter.step, limiter=self.blocking)
        async with first.door:
            return await to_thread.run_sync(waiter.step, limiter=self.attempts)

    def call_next(self, line: _Line) -> None:
        """The lock has been given back: whoever has waited for it longest here looks at once."""
        if line in self._lines:
            next(iter(self._lines[line].come)).called.set()

    @contextmanager
    def _in(self, line: _Line | None, waiter: _Taking[Any]) -> Generator[_First]:
        first = _First() if line is None else self._lines.setdefault(line, _First())
        first.come[waiter] = None
        self._waiting += 1
        try:
            yield first
        finally:
            self._waiting -= 1
            del first.come[waiter]
            if line is not None and not first.come:
                del self._lines[line]


_LOOP: Final[RunVar[_Loop]] = RunVar("holdfast.integrations.threads")


def _this_loop() -> _Loop:
    try:
        return _LOOP.get()
    except LookupError:
        loop = _Loop()
        _LOOP.set(loop)
        return loop


async def read_body(chunks: AsyncIterable[bytes]) -> bytes:
    """The body of a request for the locks' own routes, and no more of it than a byte over what is taken."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk[: MAX_BODY_BYTES + 1 - len(body)]
        if len(body) > MAX_BODY_BYTES:
            break
    return bytes(body)
