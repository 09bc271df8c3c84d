"""Group fsync of the write-ahead log: many commits, one trip to the disk.

Owns: knowing which commits have reached the disk, and getting them there. Must not know: transactions.

Theory of operation. The database is in WAL mode with `synchronous = NORMAL`, in which SQLite writes a commit
to the `-wal` file without an fsync. From its documentation (wal.html, pragma.html#pragma_synchronous):

1. A commit is complete once its frames stand in the `-wal` file, so a killed process loses nothing: the pages
   are the operating system's.
2. After power loss SQLite recovers the frames up to the first that is torn or missing (each carries a running
   checksum and the log's salt). What survives is a prefix of the commits; the database is never corrupt.
3. A checkpoint first syncs the log, then copies pages to the database file, and syncs that. The log is
   begun anew (reset) only after a checkpoint that moved all of it, and its new header is synced.

So at any time a commit lies whole in the current log, or in a database file that was synced before the log
was reset. An fdatasync of the `-wal` file that starts after the commit returned makes it durable: in the first
case by itself, in the second it already was. By 2 and 3 everything committed before it is durable too, by
whichever process. The log file stays the same file as long as one connection is open, which the store sees
to, so one descriptor serves for good. (Opening and closing it takes no lock away: SQLite's POSIX locks
are on the database and the `-shm` file.) Its directory entry is synced once, when the store is opened.

An fsync that fails may have dropped the pages it could not write, and the next one would report success; so
after one failure this store refuses to say that anything is durable, until it is opened anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Literal

from holdfast.store.protocol import StoreError

__all__ = ["LogSync", "Observe"]

Observe = Callable[[Literal["commit", "sync"], float], None]
"""Told how long a commit or an fsync took, in seconds, on the thread that ran it; each kind comes from one thread at a time."""


class LogSync:
    """Counts commits and makes them durable on demand; callers in parallel share one fsync."""

    def __init__(self, log: Path, observe: Observe | None = None) -> None:
        """Open the log of a database that has an open connection in WAL mode, and sync its directory entry."""
        self._observe = observe
        self._turn = threading.Condition(threading.Lock())
        self._committed = 0
        self._durable = 0
        self._is_syncing = False
        self._has_failed = False
        folder = os.open(log.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)

    def note_commit(self) -> None:
        """Count one commit; called after it returned, by one thread at a time."""
        self._committed += 1

    @property
    def is_behind(self) -> bool:
        """True while a counted commit may be lost with the power."""
        return self._durable < self._committed

    def wait(self) -> None:
        """Return once every commit that was counted before the call is on disk.

        The first caller leads: it runs the fsync for all that is committed at its start. Those who come
        meanwhile follow; one of them leads the next round, for all who wait.
        Raises StoreError when the disk refuses.
        """
        target = self._committed
        with self._turn:
            while self._durable < target:
                if self._has_failed:
                    msg = "the disk failed to keep what was written earlier; check the disk and restart Holdfast"
                    raise StoreError(msg)
                if self._is_syncing:
                    self._turn.wait()
                else:
                    self._lead()

    def _lead(self) -> None:
        reached = self._committed
        self._is_syncing = True
        self._turn.release()
        failure: OSError | None = None
        started = perf_counter()
        try:
            # Where the system has no fdatasync (macOS), fsync does more than is needed.
            getattr(os, "fdatasync", os.fsync)(self._file)
        except OSError as error:
            failure = error
        finally:
            self._turn.acquire()
            self._is_syncing = False
            self._turn.notify_all()
        if failure is not None:
            self._has_failed = True
            msg = f"the disk failed to keep what was written: {failure.strerror}; check the disk and restart Holdfast"
            raise StoreError(msg) from failure
        self._durable = max(self._durable, reached)
        if self._observe is not None:
            self._observe("sync", perf_counter() - started)

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
