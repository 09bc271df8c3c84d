"""What all connections of one server share: threads, the timer, the syncer, the holder, upload slots, common fields.

Owns: their making and their end. Must not know: HTTP messages. Used from the loop's thread, except `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from holdfast.edge.holding import Holder
from holdfast.edge.settings import EdgeConfig
from holdfast.edge.settling import Syncer
from holdfast.edge.sweep import Sweep

__all__ = ["Runtime"]

T = TypeVar("T")


class Runtime:
    """One per server and loop."""

    def __init__(self, config: EdgeConfig) -> None:
        """Prepare; threads start with the first work."""
        self.config = config
        self.uploads = 0
        self.scripts = 0
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="holdfast")
        self._sweep: Sweep | None = None
        self._syncer: Syncer | None = None
        self._holder: Holder | None = None
        self._defaults_seen: list[tuple[bytes, bytes]] | None = None
        self._defaults = ""

    def sweep(self, loop: asyncio.AbstractEventLoop) -> Sweep:
        """The timer of this server."""
        if self._sweep is None:
            self._sweep = Sweep(loop, self.config.limits.tick_s)
        return self._sweep

    def syncer(self, loop: asyncio.AbstractEventLoop) -> Syncer:
        """The syncer of this server."""
        if self._syncer is None:
            self._syncer = Syncer(loop, self.config.settle)
        return self._syncer

    def holder(self, loop: asyncio.AbstractEventLoop) -> Holder:
        """The holder of this server."""
        if self._holder is None:
            self._holder = Holder(loop, self.config.settle, self.syncer(loop), self.config.pulse)
        return self._holder

    def defaults(self, fields: list[tuple[bytes, bytes]]) -> str:
        """`fields` as header lines; remembered, since uvicorn makes a new list only once per second."""
        if fields is not self._defaults_seen:
            self._defaults = "".join(
                f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n" for name, value in fields
            )
            self._defaults_seen = fields
        return self._defaults

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on a thread."""
        return self._executor.submit(work)

    async def run(self, work: Callable[[], T], undo: Callable[[Future[T]], None] | None = None) -> T:
        """Run `work` on a thread and wait.

        Where the wait is cancelled, `undo` is called with the finished (or never started) work, on
        whatever thread ends it, so that nothing it made is left behind.
        """
        future = self.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None:
                future.add_done_callback(undo)
            raise

    def close(self) -> None:
        """Wait for the work in progress, clean-up of cancelled requests included, then end all threads."""
        if self._holder is not None:
            self._holder.flush()  # before the threads are waited for, which may wait for their turn to write
        self._executor.shutdown(wait=True)
        if self._syncer is not None:
            self._syncer.close()
