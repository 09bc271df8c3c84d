"""Answers that wait for the disk: one thread, one sync for all that wait at the time.

Owns: the syncer thread and the order sync-then-answer. Must not know: what is synced, or the answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from holdfast.edge.settings import Settle

__all__ = ["Syncer"]

Done = Callable[[BaseException | None], None]


class Syncer:
    """Calls back on the loop's thread after a sync that began after the call; used from the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settle: Settle) -> None:
        """Start nothing yet; the thread begins with the first answer that waits."""
        self._loop = loop
        self._settle = settle
        self._changed = threading.Condition()
        self._waiting: list[Done] = []
        self._closing = False
        self._thread: threading.Thread | None = None

    def is_needed(self) -> bool:
        """True when an answer that promises durability must wait."""
        return self._settle.has_unsynced

    def call_after(self, done: Done) -> None:
        """Call `done` once what is committed now is safe, with the error where the sync failed."""
        with self._changed:
            self._waiting.append(done)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="holdfast-syncer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Serve those who wait, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            error: BaseException | None = None
            try:
                self._settle.sync()
            except Exception as failure:  # noqa: BLE001 - whatever it is, the answers must not be sent
                error = failure
            try:
                self._loop.call_soon_threadsafe(_tell, batch, error)
            except RuntimeError:
                return  # the loop has ended, and with it all connections


def _tell(batch: list[Done], error: BaseException | None) -> None:
    for done in batch:
        done(error)
