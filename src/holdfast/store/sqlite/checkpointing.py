"""Checkpoints, on a thread of their own: the log is moved into the database while nobody waits for that.

Owns: the thread, and the connection that holds the write lock meanwhile. Must not know: when there is enough to
move; what is in the log.

A checkpoint waits for the disk twice. Whoever commits must not: on the thread that answers requests a grant, and the
hand-over of a lock, would take that much longer. The wait for the log, by far the longer one, needs no lock at all; the
rest is done with the write lock held, in place of a writer (store.py says why).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from holdfast.store.protocol import StoreError

__all__ = ["Checkpointer"]

_LOOK_S: Final = 0.05
"""How often a checkpoint that waits for its turn looks whether the store is being closed."""


class Checkpointer:
    """Of one store. The thread begins with the first checkpoint that is asked for."""

    def __init__(
        self,
        keeper: sqlite3.Connection,
        turn: threading.Lock,
        wait_for_log: Callable[[], None],
        connect: Callable[[], sqlite3.Connection],
        begin: Callable[[sqlite3.Cursor], None],
    ) -> None:
        """Checkpoint with `keeper` while a connection of its own, from `connect`, has begun to write, in its `turn`."""
        self._keeper = keeper
        self._turn = turn
        self._wait_for_log = wait_for_log
        self._connect = connect
        self._begin = begin
        self._changed = threading.Condition()
        self._is_asked = self._is_closing = False
        self._thread: threading.Thread | None = None
        self._writer: sqlite3.Connection | None = None

    def ask(self) -> None:
        """Have one run soon; one that has been asked for, and has not begun, counts for both."""
        with self._changed:
            self._is_asked = True
            self._changed.notify()
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._work, name="holdfast-checkpoints", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, after the checkpoint in progress; harmless when repeated."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            while self._next():
                # What was committed stands, so a checkpoint that fails is no error of it: the log grows until the next one.
                with contextlib.suppress(sqlite3.Error, StoreError):
                    self._wait_for_log()
                    self._checkpoint()
        finally:
            if self._writer is not None:
                self._writer.close()

    def _next(self) -> bool:
        with self._changed:
            while not (self._is_asked or self._is_closing):
                self._changed.wait()
            self._is_asked = False
            return not self._is_closing

    def _checkpoint(self) -> None:
        if self._writer is None:
            self._writer = self._connect()
        writer = self._writer
        while not self._turn.acquire(timeout=_LOOK_S):
            if self._is_closing:
                return
        try:
            self._begin(writer.cursor())
            try:
                self._keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                writer.execute("ROLLBACK")
        finally:
            self._turn.release()
