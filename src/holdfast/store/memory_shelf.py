"""What the memory store keeps: locks, waiters, events, breaks and properties, each in the order it is asked for.

Owns: the dicts and sorted lists, kept in agreement. Must not know: transactions, and how a change is undone (memory.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from typing import Final

from holdfast.core.model import Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath

__all__ = ["PropertyKey", "Shelf", "end_of_range", "first_below"]

PropertyKey = tuple[str, str, str]
"""Path, namespace, name."""


class Shelf:
    """What is kept. `roots`, `places` and `property_keys` are sorted, so that what lies below a path is one range."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.locks: Final[dict[str, Lock]] = {}
        self.roots: Final[list[tuple[str, str]]] = []
        """Root and id of each lock, in path order."""
        self.principals: Final[Counter[str]] = Counter()
        self.waiters: Final[dict[str, Waiter]] = {}
        """By the id of the lock that they wait for."""
        self.places: Final[list[tuple[str, int, str]]] = []
        """Root, seq and id of each waiter: in path order, and on one root in the order of the line."""
        self.events: Final[list[Event]] = []
        self.ends: Final[dict[str, Event]] = {}
        """Of the events those that ended a lock, by its id."""
        self.breaks: Final[dict[str, Break]] = {}
        """By token."""
        self.properties: Final[dict[PropertyKey, DeadProperty]] = {}
        self.property_keys: Final[list[PropertyKey]] = []
        self.next_fencing_token = 1
        self.next_seq = 1
        self.next_place = 1

    def keep(self, lock: Lock) -> None:
        """Add a lock."""
        self.locks[lock.id] = lock
        insort(self.roots, (lock.root.text, lock.id))
        self.principals[lock.principal] += 1

    def forget(self, lock: Lock) -> None:
        """Remove a lock that is kept."""
        del self.locks[lock.id]
        del self.roots[bisect_left(self.roots, (lock.root.text, lock.id))]
        self.principals[lock.principal] -= 1
        if not self.principals[lock.principal]:
            del self.principals[lock.principal]

    def keep_waiter(self, waiter: Waiter) -> None:
        """Add a waiter that has its seq."""
        self.waiters[waiter.id] = waiter
        insort(self.places, (waiter.root.text, waiter.seq, waiter.id))

    def forget_waiter(self, waiter: Waiter) -> None:
        """Remove a waiter that is kept."""
        del self.waiters[waiter.id]
        del self.places[bisect_left(self.places, (waiter.root.text, waiter.seq, waiter.id))]

    def waiters_on(self, roots: Sequence[str], before: int | None) -> list[tuple[int, str]]:
        """Seq and id of the waiters on these roots that come before a seq, in the order of the line."""
        found: list[tuple[int, str]] = []
        for root in dict.fromkeys(roots):
            start = bisect_left(self.places, (root, 0, ""))
            end = bisect_left(self.places, (root + "\x01" if before is None else root, before or 0, ""))
            found += [(seq, lock_id) for _, seq, lock_id in self.places[start:end]]
        return sorted(found)

    def waiters_below(self, path: ResourcePath, before: int | None) -> list[tuple[int, str]]:
        """The same for roots strictly below a path."""
        start = bisect_left(self.places, (first_below(path.prefix), 0, ""))
        end = bisect_left(self.places, (end_of_range(path.prefix), 0, ""))
        return sorted((seq, lock_id) for _, seq, lock_id in self.places[start:end] if before is None or seq < before)

    def keep_property(self, key: PropertyKey, prop: DeadProperty) -> None:
        """Add a dead property."""
        self.properties[key] = prop
        insort(self.property_keys, key)

    def forget_property(self, key: PropertyKey) -> None:
        """Remove a dead property that is kept."""
        del self.properties[key]
        del self.property_keys[bisect_left(self.property_keys, key)]


def first_below(prefix: str) -> str:
    """No greater than any path below `prefix`, but greater than `/`, which starts with its own prefix."""
    return prefix + "\x01"


def end_of_range(prefix: str) -> str:
    """The least text that is greater than everything that starts with `prefix`, which ends in a slash ('0' follows '/')."""
    return prefix[:-1] + "0"
