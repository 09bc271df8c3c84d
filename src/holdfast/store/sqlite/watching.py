"""Has anybody committed since? One number, for any thread, at any rate.

Owns: a connection that never writes, so that its `data_version` changes with every commit there is: of any thread,
in any process. It is opened at the first question; most programs never ask. Must not know: what was committed.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.opening import connect, explain, patiently

__all__ = ["CommitWatch"]


class CommitWatch:
    """The watch of one store."""

    def __init__(self, path: Path, busy_limit_s: float) -> None:
        """Watch the database at `path`; each question waits at most `busy_limit_s` for other processes."""
        self._path = path
        self._busy_limit_s = busy_limit_s
        self._turn = threading.Lock()
        self._cursor: sqlite3.Cursor | None = None
        self._is_closed = False

    def version(self) -> int:
        """A number that differs from the one before once anybody has committed; StoreError when it cannot be read."""
        with self._turn:
            cursor = self._cursor or self._open()
            try:
                return patiently(lambda: cursor.execute(queries.READ_DATA_VERSION).fetchall(), self._busy_limit_s)[0][0]
            except sqlite3.Error as error:
                raise explain(error, self._path) from error

    def _open(self) -> sqlite3.Cursor:
        if self._is_closed:
            msg = "this store was closed; open another one"
            raise StoreError(msg)
        self._cursor = connect(self._path, busy_limit_s=self._busy_limit_s, cache_kib=64).cursor()
        return self._cursor

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        with self._turn:
            self._is_closed = True
            if self._cursor is not None:
                self._cursor.connection.close()
                self._cursor = None
