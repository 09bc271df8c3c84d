"""Reading what the memory store keeps.

Owns: one consistent view, by the ranges of the shelf's sorted lists. Must not know: changes and their undoing (memory.py), what locks mean.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime

from holdfast.core.model import Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.memory_shelf import PropertyKey, Shelf, end_of_range, first_below
from holdfast.store.protocol import StoreError

__all__ = ["MemoryReadTransaction"]


class MemoryReadTransaction:
    """One consistent view."""

    def __init__(self, shelf: Shelf, now: datetime) -> None:
        """Read `shelf`, which nobody else may touch meanwhile."""
        self._kept: Shelf | None = shelf
        self._now = now

    def end(self) -> None:
        """Refuse all further use."""
        self._kept = None

    @property
    def _shelf(self) -> Shelf:
        if self._kept is None:
            msg = "this transaction has ended; begin another one"
            raise StoreError(msg)
        return self._kept

    @property
    def now(self) -> datetime:
        """The instant of this transaction."""
        return self._now

    def locks_on(self, roots: Sequence[str]) -> list[Lock]:
        """The locks on these roots."""
        shelf = self._shelf
        found: list[Lock] = []
        for root in dict.fromkeys(roots):
            index = bisect_left(shelf.roots, (root, ""))
            while index < len(shelf.roots) and shelf.roots[index][0] == root:
                found.append(shelf.locks[shelf.roots[index][1]])
                index += 1
        return found

    def locks_below(self, path: ResourcePath, limit: int = -1) -> list[Lock]:
        """The locks strictly below a path."""
        shelf = self._shelf
        prefix = path.prefix
        start = bisect_left(shelf.roots, (first_below(prefix), ""))
        end = bisect_left(shelf.roots, (end_of_range(prefix), ""))
        if limit >= 0:
            end = min(end, start + limit)
        return [shelf.locks[lock_id] for _, lock_id in shelf.roots[start:end]]

    def locks_on_members(self, path: ResourcePath) -> list[Lock]:
        """The locks on direct members; jumps over what lies below a member."""
        shelf = self._shelf
        prefix = path.prefix
        end = bisect_left(shelf.roots, (end_of_range(prefix), ""))
        index = bisect_left(shelf.roots, (first_below(prefix), ""))
        found: list[Lock] = []
        while index < end:
            root, lock_id = shelf.roots[index]
            deeper = root.find("/", len(prefix))
            if deeper == -1:
                found.append(shelf.locks[lock_id])
                index += 1
            else:
                index = bisect_left(shelf.roots, (end_of_range(root[: deeper + 1]), ""))
        return found

    def locks_at_or_below(self, path: ResourcePath, after: tuple[str, str] | None, limit: int) -> list[Lock]:
        """A page of the locks at or below a path."""
        shelf = self._shelf
        found: list[Lock] = []
        for first, end in ((path.text, path.text + "\x01"), (first_below(path.prefix), end_of_range(path.prefix))):
            start = bisect_left(shelf.roots, (first, ""))
            if after is not None:
                start = max(start, bisect_right(shelf.roots, after))
            stop = min(bisect_left(shelf.roots, (end, "")), start + limit - len(found))
            found.extend(shelf.locks[lock_id] for _, lock_id in shelf.roots[start:stop])
        return found

    def lock_with_id(self, lock_id: str) -> Lock | None:
        """The lock with this id."""
        return self._shelf.locks.get(lock_id)

    def expired_locks(self, limit: int) -> list[Lock]:
        """Looks at every lock: tests and trials keep few."""
        expired = [
            (lock.expires_at, lock.root.text, lock.id, lock)
            for lock in self._shelf.locks.values()
            if lock.expires_at is not None and lock.expires_at <= self._now
        ]
        return [lock for *_, lock in sorted(expired, key=lambda entry: entry[:3])[:limit]]

    def count_locks(self, principal: str | None = None) -> int:
        """How many locks are kept."""
        return len(self._shelf.locks) if principal is None else self._shelf.principals.get(principal, 0)

    def waiters_on(self, roots: Sequence[str], *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """Who waits for these roots."""
        return self._first_waiters(self._shelf.waiters_on(roots, before), limit)

    def waiters_below(self, path: ResourcePath, *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """Who waits for a root strictly below a path."""
        return self._first_waiters(self._shelf.waiters_below(path, before), limit)

    def _first_waiters(self, line: list[tuple[int, str]], limit: int) -> list[Waiter]:
        waiters = self._shelf.waiters
        return [waiters[lock_id] for _, lock_id in (line if limit < 0 else line[:limit])]

    def waiter_with_id(self, lock_id: str) -> Waiter | None:
        """Who waits for the lock with this id."""
        return self._shelf.waiters.get(lock_id)

    def lapsed_waiters(self, limit: int) -> list[Waiter]:
        """Looks at every waiter: tests and trials keep few."""
        lapsed = [waiter for waiter in self._shelf.waiters.values() if waiter.has_lapsed_at(self._now)]
        return sorted(lapsed, key=lambda waiter: (waiter.lease_until, waiter.seq))[:limit]

    def count_waiters(self) -> int:
        """How many wait."""
        return len(self._shelf.waiters)

    def latest_seq(self) -> int:
        """The seq of the newest event."""
        return self._shelf.next_seq - 1

    def events_after(self, seq: int, limit: int) -> list[Event]:
        """The feed."""
        events = self._shelf.events
        start = bisect_left(events, seq + 1, key=lambda event: event.seq)
        return events[start : start + limit]

    def end_of_lock(self, lock_id: str) -> Event | None:
        """How the lock with this id ended."""
        return self._shelf.ends.get(lock_id)

    def break_with_token(self, token: str) -> Break | None:
        """How the lock with this token is broken."""
        return self._shelf.breaks.get(token)

    def properties_on(self, path: ResourcePath) -> list[DeadProperty]:
        """The dead properties of one resource."""
        return [self._shelf.properties[key] for key in self._property_keys(path)]

    def properties_on_members(self, path: ResourcePath) -> list[DeadProperty]:
        """The dead properties of the direct members."""
        size = len(path.prefix)
        return [self._shelf.properties[key] for key in self._property_keys_below(path) if "/" not in key[0][size:]]

    def _property_keys(self, path: ResourcePath) -> list[PropertyKey]:
        keys = self._shelf.property_keys
        start = bisect_left(keys, (path.text, "", ""))
        end = start
        while end < len(keys) and keys[end][0] == path.text:
            end += 1
        return keys[start:end]

    def _property_keys_below(self, path: ResourcePath) -> list[PropertyKey]:
        keys = self._shelf.property_keys
        start = bisect_left(keys, (path.prefix, "", ""))
        # For the root the range begins with the root itself.
        start += len(self._property_keys(path)) if path.is_root else 0
        return keys[start : bisect_left(keys, (end_of_range(path.prefix), "", ""))]
