"""SequenceStates: how far each sequence has come, for all worker processes together.

Owns: one small table, its bound, and that two requests never take the same turn. Must not know: what a turn leads to. What
it keeps is worth nothing after a restart: a server begins with an empty one, in memory where it has one worker, else in
a file that all workers open.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

from holdfast.store.protocol import StoreError

__all__ = ["SequenceState", "SequenceStates", "SequencesUnusableError"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sequences (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    pattern TEXT NOT NULL,
    turns INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sequences_by_used ON sequences (used);
"""
_BUSY_S: Final = 5.0


class SequencesUnusableError(StoreError):
    """The states cannot be read or written: a full disk, a file that is gone."""


class SequenceState(msgspec.Struct, frozen=True):
    """One state: its key, the pattern it follows, and how many requests have taken their turn."""

    key: str
    pattern: str
    turns: int


class SequenceStates:
    """Safe for threads and, with a file, for processes. Each owner, a principal's name, has keys of its own."""

    def __init__(self, place: Path | None, *, most: int) -> None:
        """Keep up to `most` states, in the file `place` or in memory; beyond, the one used longest ago is forgotten."""
        self._most = most
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                ":memory:" if place is None else place,
                timeout=_BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            # Nothing in it needs to survive anything, so nothing waits for the disk.
            for pragma in ("journal_mode = WAL", "synchronous = OFF"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise SequencesUnusableError(str(error)) from error

    @staticmethod
    def begin(place: Path) -> None:
        """Forget what an earlier server left, usable or not; called once, before any worker opens it.

        Raises SequencesUnusableError.
        """
        try:
            for suffix in ("", "-wal", "-shm"):
                place.with_name(place.name + suffix).unlink(missing_ok=True)
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            msg = f"{place} cannot be made: {error.strerror}"
            raise SequencesUnusableError(msg) from error

    def take_turn(self, owner: str, key: str, pattern: str) -> int:
        """The number of this request, from 0, and one more the next time. A pattern that differs begins anew.

        Raises SequencesUnusableError.
        """
        with self._writing() as database:
            [used] = database.execute("SELECT coalesce(max(used), 0) + 1 FROM sequences").fetchone()
            [turns] = database.execute(
                "INSERT INTO sequences VALUES (?1, ?2, ?3, 1, ?4) ON CONFLICT (owner, key) DO UPDATE SET "
                "turns = iif(pattern = ?3, turns + 1, 1), pattern = ?3, used = ?4 RETURNING turns",
                (owner, key, pattern, used),
            ).fetchone()
            if turns == 1:
                database.execute(
                    "DELETE FROM sequences WHERE (owner, key) IN (SELECT owner, key FROM sequences ORDER BY used "
                    "LIMIT max(0, (SELECT count(*) FROM sequences) - ?))",
                    (self._most,),
                )
        return int(turns) - 1

    def find(self, owner: str, key: str | None = None) -> list[SequenceState]:
        """The state of `key`, or all of the owner's, the last used first. Raises SequencesUnusableError."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT key, pattern, turns FROM sequences WHERE owner = ?1 AND (?2 IS NULL OR key = ?2) "
                "ORDER BY used DESC",
                (owner, key),
            ).fetchall()
        return [SequenceState(*row) for row in rows]

    def forget(self, owner: str, key: str | None = None) -> int:
        """Begin `key`, or all of the owner's, anew; how many there were. Raises SequencesUnusableError."""
        with self._writing() as database:
            return database.execute(
                "DELETE FROM sequences WHERE owner = ?1 AND (?2 IS NULL OR key = ?2)", (owner, key)
            ).rowcount

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                raise SequencesUnusableError(str(error)) from error

    @contextlib.contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
