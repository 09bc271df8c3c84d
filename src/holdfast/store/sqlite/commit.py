"""What one commit brings, beside the rows of locks, waiters and properties: numbers and events, written once at its end.

Owns: the counters, the numbers of locks and waiters, and the appended events of one write transaction, or of several of a
thread that share their commit. Must not know: when it begins, or ends, or reaches the disk (store.py).

Each of these would cost every transaction a statement or two, and a shared commit the same page again and again.
So they are kept here, read at their first use and written by `write`. Whoever reads them meanwhile asks here.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.rows import Row

__all__ = ["Commit", "Counters", "Mark"]

_FENCING_RESERVE: Final = 4096
"""How many fencing tokens are reserved by one wait for the disk."""

Counters = tuple[int, int, int, int, int, int]
"""The next fencing token, the fencing ceiling, the next seq, how many locks are kept, the next place in the line, how
many wait in it."""

Mark = tuple[Counters | None, int, int, int, dict[str, int]]
"""A state to go back to."""


class Commit:
    """`failure` says why all of it was undone; then nothing is open any more. `latest_us` is its last transaction's instant."""

    __slots__ = (
        "_connection",
        "_counters",
        "_cursor",
        "_events",
        "_events_written",
        "_kept",
        "_moved",
        "_read",
        "_started_with",
        "failure",
        "latest_us",
        "reserved_ceiling",
    )

    def __init__(self, cursor: sqlite3.Cursor, now_us: int) -> None:
        """Nothing yet; the write transaction that `cursor` runs in has just begun."""
        self._cursor = cursor
        self._connection = cursor.connection
        self._started_with = self._connection.total_changes
        self._read: Counters | None = None
        self._counters: Counters | None = None
        self._kept: dict[str, int] = {}
        """How many locks a principal had when this began, as far as that was asked."""
        self._moved: dict[str, int] = {}
        """By how many locks a principal has more since."""
        self._events: list[Row] = []
        self._events_written = 0
        self.latest_us = now_us
        self.reserved_ceiling = 0
        """The ceiling that must be on disk before the fencing tokens are given out; 0 for none."""
        self.failure: StoreError | None = None

    def mark(self) -> Mark:
        """Where one of several transactions begins."""
        return self._counters, len(self._events), self._events_written, self.reserved_ceiling, self._moved.copy()

    def go_back(self, mark: Mark) -> None:
        """Undo one of several transactions; what it wrote itself is undone by its savepoint."""
        counters, events, self._events_written, self.reserved_ceiling, self._moved = mark
        # What was read stays read.
        self._counters = counters or self._read
        del self._events[events:]

    def _load(self) -> Counters:
        read: Counters = self._cursor.execute(queries.READ_COUNTERS).fetchone()
        self._read = self._counters = read
        return read

    def mint(self, durable_ceiling: int) -> int:
        """The next fencing token; one beyond the reserve raises the ceiling, and the commit waits for the disk (store.py)."""
        token, ceiling, seq, locks, place, waiters = self._counters or self._load()
        if token >= ceiling:
            ceiling = token + _FENCING_RESERVE
        if token >= durable_ceiling:
            self.reserved_ceiling = ceiling
        self._counters = token + 1, ceiling, seq, locks, place, waiters
        return token

    def append(self, event: Row) -> int:
        """Add an event's columns after its seq, which is returned."""
        token, ceiling, seq, locks, place, waiters = self._counters or self._load()
        self._counters = token, ceiling, seq + 1, locks, place, waiters
        self._events.append((seq, *event))
        return seq

    def count(self, principal: str | None) -> int:
        """How many locks there are now, of one principal or in all."""
        if principal is None:
            return (self._counters or self._load())[3]
        return self._kept_by(principal) + self._moved.get(principal, 0)

    def add_locks(self, principal: str, more: int) -> None:
        """Count an inserted lock (1) or a removed one (-1)."""
        token, ceiling, seq, locks, place, waiters = self._counters or self._load()
        self._counters = token, ceiling, seq, locks + more, place, waiters
        self._moved[principal] = self._moved.get(principal, 0) + more

    @property
    def latest_seq(self) -> int:
        """The seq of the newest event."""
        return (self._counters or self._load())[2] - 1

    @property
    def waiters(self) -> int:
        """How many waiters there are now."""
        return (self._counters or self._load())[5]

    @property
    def next_place(self) -> int:
        """The place in the line that the next waiter gets."""
        return (self._counters or self._load())[4]

    def add_waiter(self) -> int:
        """Count a waiter that was given the next place; returns how many there are now."""
        token, ceiling, seq, locks, place, waiters = self._counters or self._load()
        self._counters = token, ceiling, seq, locks, place + 1, waiters + 1
        return waiters + 1

    def remove_waiter(self) -> int:
        """Count one that was removed; returns how many there are now."""
        token, ceiling, seq, locks, place, waiters = self._counters or self._load()
        self._counters = token, ceiling, seq, locks, place, waiters - 1
        return waiters - 1

    def _kept_by(self, principal: str) -> int:
        kept = self._kept.get(principal)
        if kept is None:
            row = self._cursor.execute(queries.COUNT_LOCKS_OF, (principal,)).fetchone()
            self._kept[principal] = kept = row[0] if row else 0
        return kept

    @property
    def changed(self) -> int:
        """How many rows were changed so far."""
        return self._connection.total_changes - self._started_with

    @property
    def has_work(self) -> bool:
        """True when there is something to commit."""
        return self._counters is not self._read or self.changed > 0

    @property
    def has_unwritten_events(self) -> bool:
        """True when the table lacks events that were appended."""
        return self._events_written < len(self._events)

    def write_events(self) -> None:
        """Bring the table of events up to date."""
        if self.has_unwritten_events:
            self._cursor.executemany(queries.APPEND_EVENT, self._events[self._events_written :])
            self._events_written = len(self._events)

    def write(self) -> None:
        """All that is not yet in the tables; the COMMIT comes next."""
        self.write_events()
        for principal, more in self._moved.items():
            if more:
                count = self._kept_by(principal) + more
                if count:
                    self._cursor.execute(queries.WRITE_COUNT_OF, (principal, count))
                else:
                    self._cursor.execute(queries.REMOVE_COUNT_OF, (principal,))
        if self._counters is None or self._counters is self._read:
            self._cursor.execute(queries.WRITE_LATEST_INSTANT, (self.latest_us,))
        else:
            self._cursor.execute(queries.WRITE_COUNTERS, (*self._counters, self.latest_us))
