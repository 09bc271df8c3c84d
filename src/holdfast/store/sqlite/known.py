"""What one connection has read of the locks and the line, and is still true: the commonest questions cost no statement.

Owns: remembering the answers, and when to forget them. Must not know: when transactions begin or end.

Theory of operation. `PRAGMA data_version` gives a number that changes when anyone but this connection has committed
(any thread, any process), and asking it begins the snapshot that the answers then belong to. So what was read while the
number stands is what would be read again, but for this connection's own changes, which are told here as they are
made. Whoever undoes such a change, or cannot say whether it was undone, calls `forget`. A write transaction keeps
all others out, so the number is asked once at its beginning, however many transactions join it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from holdfast.core.model import Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.rows import end_of_range, first_below, lock_from, waiter_from

__all__ = ["LAST_PLACE", "KnownLocks"]

LAST_PLACE: Final = 2**63 - 1
"""No seq is as great."""

_MOST_ROOTS: Final = 1024
"""Roots whose locks are remembered, some KiB each at most; with more all are forgotten."""

_MOST_AT_ONCE: Final = 64
"""Roots that one question may have remembered."""


class KnownLocks:
    """The locks on roots that were asked for, the roots that have none below, and whether anybody waits for a lock."""

    __slots__ = ("_bare", "_cursor", "_on", "_version", "nobody_waits")

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        """Know nothing yet; `cursor` asks."""
        self._cursor = cursor
        self._on: dict[str, list[Lock]] = {}
        self._bare: set[str] = set()
        self.nobody_waits = False
        """True once it is known that nobody waits for any lock."""
        self._version = -1

    def forget(self) -> None:
        """Know nothing more."""
        self._on.clear()
        self._bare.clear()
        self.nobody_waits = False

    def refresh(self) -> None:
        """Forget everything if anyone else has committed; begins the snapshot of a transaction that has none."""
        version: int = self._cursor.execute(queries.READ_DATA_VERSION).fetchone()[0]
        if version != self._version:
            self.forget()
            self._version = version

    def locks_at_once(self, roots: Sequence[str]) -> list[Lock]:
        """As `locks_on`, outside of a transaction: all known, or all read by one statement, so of one moment."""
        if not all(root in self._on for root in roots):
            for root in roots:
                self._on.pop(root, None)
        return self.locks_on(roots)

    def locks_on(self, roots: Iterable[str]) -> list[Lock]:
        """The locks on these roots; a new list."""
        found: list[Lock] = []
        missing: list[str] = []
        known = self._on
        for root in dict.fromkeys(roots):
            locks = known.get(root)
            if locks is None:
                missing.append(root)
            elif locks:
                found += locks
        if missing:
            rows = self._cursor.execute(queries.locks_on(len(missing)), missing).fetchall()
            read = [lock_from(row) for row in rows]
            found += read
            if len(missing) <= _MOST_AT_ONCE:
                self._remember(missing, read)
        return found

    def _remember(self, roots: list[str], read: list[Lock]) -> None:
        if len(self._on) >= _MOST_ROOTS:
            self._on.clear()
        for root in roots:
            self._on[root] = []
        for lock in read:
            self._on[lock.root.text].append(lock)

    def locks_below(self, path: ResourcePath, limit: int) -> list[Lock]:
        """The locks strictly below a path, in path order; at most `limit` (-1: all)."""
        if path.text in self._bare:
            return []
        prefix = path.prefix
        rows = self._cursor.execute(
            queries.LOCKS_BETWEEN, (first_below(prefix), end_of_range(prefix), limit)
        ).fetchall()
        if not rows and limit:
            if len(self._bare) >= _MOST_ROOTS:
                self._bare.clear()
            self._bare.add(path.text)
        return [lock_from(row) for row in rows]

    def someone_waits(self) -> bool:
        """True where there is any waiter, for whatever lock."""
        if not self.nobody_waits:
            self.nobody_waits = not self._cursor.execute(queries.SOMEONE_WAITS).fetchone()[0]
        return not self.nobody_waits

    def waiters_on(self, roots: Iterable[str], before: int = LAST_PLACE) -> list[Waiter]:
        """All who wait for these roots and come before a place, in the order of the line; read by one statement, so of one moment."""
        if not self.someone_waits():
            return []
        wanted = list(dict.fromkeys(roots))
        if not wanted:
            return []
        rows = self._cursor.execute(queries.waiters_on(len(wanted)), (*wanted, before)).fetchall()
        return [waiter_from(row) for row in sorted(rows)]

    def note_waiters(self, count: int) -> None:
        """This connection has changed the line; so many wait now."""
        self.nobody_waits = count == 0

    def note_insert(self, lock: Lock) -> None:
        """This connection has inserted a lock."""
        *above, root = lock.root.lineage
        known = self._on.get(root)
        if known is not None:
            known.append(lock)
        if self._bare:
            self._bare.difference_update(above)

    def note_change(self, lock: Lock) -> None:
        """This connection has replaced a lock."""
        self._on.pop(lock.root.text, None)

    def note_removal(self, lock: Lock) -> None:
        """This connection has removed a lock."""
        known = self._on.get(lock.root.text)
        if known is not None:
            self._on[lock.root.text] = [other for other in known if other.id != lock.id]
