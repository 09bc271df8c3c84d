"""Questions about locks, asked on a thread: for every framework whose requests share an event loop.

Owns: that no backend ever waits on the loop, and that a lock for a request is released whatever ends it, its cancellation included.
Must not know: frameworks.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AbstractContextManager, asynccontextmanager

from anyio import CancelScope, to_thread

from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.backends import Locks
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms, held, require
from holdfast.integrations.routes import MAX_BODY_BYTES

__all__ = ["held_on_thread", "read_body", "require_on_thread"]


async def require_on_thread(
    locks: Locks, head: Head, resource: ResourcePath, principal: str, *, held_only: bool = False
) -> None:
    """As `holding.require`."""
    await to_thread.run_sync(lambda: require(locks, head, resource, principal, held_only=held_only))


@asynccontextmanager
async def held_on_thread(
    locks: Locks, head: Head, resource: ResourcePath, principal: str, terms: Terms
) -> AsyncGenerator[ShownLock]:
    """As `holding.held`; a thread is used for as long as the request stands in line."""
    entry = _Entry(held(locks, head, resource, principal, terms))
    try:
        taken = await to_thread.run_sync(entry.enter)
    except BaseException:
        if entry.abandon():
            with CancelScope(shield=True):
                await to_thread.run_sync(entry.leave)
        raise
    try:
        yield taken
    finally:
        # Whatever ended the block, a client that went away included: the lock is released, and an error goes on by itself.
        with CancelScope(shield=True):
            await to_thread.run_sync(entry.leave)


class _Entry:
    """A context that a thread enters, while the task that waits for it may be cancelled (asyncio does so without a scope's leave).

    Whichever of the two comes last leaves what was entered: the task, or the thread that finds the task gone.
    """

    def __init__(self, context: AbstractContextManager[ShownLock]) -> None:
        self._context = context
        self._mutex = threading.Lock()
        self._is_entered = False
        self._is_abandoned = False

    def enter(self) -> ShownLock:
        taken = self._context.__enter__()
        with self._mutex:
            self._is_entered = True
            abandoned = self._is_abandoned
        if abandoned:
            self.leave()
        return taken

    def abandon(self) -> bool:
        """The task is gone; True where it has still to leave, because the thread was first."""
        with self._mutex:
            self._is_abandoned = True
            return self._is_entered

    def leave(self) -> None:
        self._context.__exit__(None, None, None)


async def read_body(chunks: AsyncIterable[bytes]) -> bytes:
    """The body of a request for the locks' own routes, and no more of it than a byte over what is taken."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk[: MAX_BODY_BYTES + 1 - len(body)]
        if len(body) > MAX_BODY_BYTES:
            break
    return bytes(body)
