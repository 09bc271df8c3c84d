"""The memory store: everything in dicts, gone with the process; for tests, trials and the simulator.

Owns: the same promises as every store, at the price of one lock for all transactions. Must not know: what
locks mean. A write transaction notes how to undo each of its steps, and undoes them when it fails.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from msgspec import structs

from holdfast.clock import Clock
from holdfast.core.model import LOCK_ENDS, Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.memory_shelf import PropertyKey, Shelf, end_of_range, first_below
from holdfast.store.protocol import StoreError, refuse_overlap

__all__ = ["MemoryStore"]

_Undo = Callable[[], object]
_T = TypeVar("_T")


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


class MemoryWriteTransaction(MemoryReadTransaction):
    """A serial transaction."""

    def __init__(self, shelf: Shelf, now: datetime) -> None:
        """Change `shelf`, which nobody else may touch meanwhile."""
        super().__init__(shelf, now)
        self._undo: list[_Undo] = []

    @property
    def has_changes(self) -> bool:
        """True once something was changed."""
        return bool(self._undo)

    def undo(self) -> None:
        """Take back every step, the last one first."""
        while self._undo:
            self._undo.pop()()

    def insert(self, lock: Lock) -> None:
        """Keep a new lock."""
        shelf = self._shelf
        if lock.id in shelf.locks:
            msg = "a lock with this id is kept already"
            raise StoreError(msg)
        self._undo.append(lambda: shelf.forget(lock))
        shelf.keep(lock)

    def replace(self, lock: Lock) -> None:
        """Keep new values for a lock."""
        shelf = self._shelf
        before = shelf.locks.get(lock.id)
        if before is None:
            return

        def take_back() -> None:
            shelf.forget(lock)
            shelf.keep(before)

        self._undo.append(take_back)
        shelf.forget(before)
        shelf.keep(lock)

    def remove(self, lock: Lock) -> None:
        """Forget a lock."""
        shelf = self._shelf
        kept = shelf.locks.get(lock.id)
        if kept is not None:
            self._undo.append(lambda: shelf.keep(kept))
            shelf.forget(kept)

    def enqueue(self, waiter: Waiter) -> Waiter:
        """Keep a waiter."""
        shelf = self._shelf
        if waiter.id in shelf.waiters:
            msg = "a waiter with this id is kept already"
            raise StoreError(msg)
        placed = structs.replace(waiter, seq=shelf.next_place)

        def take_back() -> None:
            shelf.next_place = placed.seq
            shelf.forget_waiter(placed)

        self._undo.append(take_back)
        shelf.next_place += 1
        shelf.keep_waiter(placed)
        return placed

    def renew_waiters(self, lock_ids: Sequence[str], lease_until: datetime) -> None:
        """One look-up each."""
        waiters = self._shelf.waiters
        before = [waiters[lock_id] for lock_id in dict.fromkeys(lock_ids) if lock_id in waiters]
        if before:
            self._undo.append(lambda: waiters.update({waiter.id: waiter for waiter in before}))
            waiters.update({waiter.id: structs.replace(waiter, lease_until=lease_until) for waiter in before})

    def dequeue(self, waiter: Waiter) -> None:
        """Forget a waiter."""
        shelf = self._shelf
        kept = shelf.waiters.get(waiter.id)
        if kept is not None and kept.seq == waiter.seq:
            self._undo.append(lambda: shelf.keep_waiter(kept))
            shelf.forget_waiter(kept)

    def put_break(self, token: str, broken: Break) -> None:
        """Keep how a lock is broken."""
        breaks = self._shelf.breaks
        self._undo.append(_putting_back(breaks, token))
        breaks[token] = broken

    def ensure_room(self) -> None:
        """There is always room."""

    def mint_fencing_token(self) -> int:
        """The next number; an undone one stays used, which is allowed."""
        shelf = self._shelf
        token = shelf.next_fencing_token
        shelf.next_fencing_token = token + 1
        return token

    def append(self, event: Event) -> int:
        """Add to the feed."""
        shelf = self._shelf
        seq = shelf.next_seq

        def take_back() -> None:
            shelf.next_seq = seq
            shelf.events.pop()

        self._undo.append(take_back)
        shelf.next_seq = seq + 1
        placed = structs.replace(event, seq=seq)
        shelf.events.append(placed)
        if event.kind in LOCK_ENDS:
            self._undo.append(_putting_back(shelf.ends, event.lock_id))
            shelf.ends[event.lock_id] = placed
        return seq

    def trim_events(self, before: datetime) -> int:
        """Drop the start of the feed."""
        events = self._shelf.events
        end = next((index for index, event in enumerate(events) if event.at >= before), len(events))
        dropped = events[:end]

        def take_back() -> None:
            events[:0] = dropped

        self._undo.append(take_back)
        del events[:end]
        ends = self._shelf.ends
        for event in dropped:
            if ends.get(event.lock_id) is event:
                self._undo.append(_putting_back(ends, event.lock_id))
                del ends[event.lock_id]
        breaks = self._shelf.breaks
        for token in [token for token, broken in breaks.items() if broken.at < before]:
            self._undo.append(_putting_back(breaks, token))
            del breaks[token]
        return end

    def put_property(self, prop: DeadProperty) -> None:
        """Set a dead property."""
        shelf = self._shelf
        key = (prop.path.text, prop.namespace, prop.name)
        self._drop(key)
        self._undo.append(lambda: shelf.forget_property(key))
        shelf.keep_property(key, prop)

    def remove_property(self, path: ResourcePath, namespace: str, name: str) -> None:
        """Remove one dead property."""
        self._drop((path.text, namespace, name))

    def remove_properties(self, path: ResourcePath) -> None:
        """Remove all at and below."""
        for key in (*self._property_keys(path), *self._property_keys_below(path)):
            self._drop(key)

    def copy_properties(self, source: ResourcePath, destination: ResourcePath, *, tree: bool) -> None:
        """Copy one resource's, or a tree's."""
        if tree:
            refuse_overlap(source, destination)
            self.remove_properties(destination)
        elif source == destination:
            return
        else:
            for key in self._property_keys(destination):
                self._drop(key)
        keys = self._property_keys(source) + (self._property_keys_below(source) if tree else [])
        for key in keys:
            prop = self._shelf.properties[key]
            path = prop.path.moved(source, destination) if tree else destination
            self.put_property(DeadProperty(path, prop.namespace, prop.name, prop.xml))

    def move_properties(self, source: ResourcePath, destination: ResourcePath) -> None:
        """Move a tree's."""
        self.copy_properties(source, destination, tree=True)
        self.remove_properties(source)

    def _drop(self, key: PropertyKey) -> None:
        shelf = self._shelf
        before = shelf.properties.get(key)
        if before is not None:
            self._undo.append(lambda: shelf.keep_property(key, before))
            shelf.forget_property(key)


class MemoryStore:
    """A store without a file, for one process. Reads wait for writes; nothing is durable, so nothing is unsynced."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Keep nothing yet; instants are `clock`'s."""
        self.clock = clock or Clock()
        self._shelf = Shelf()
        self._turn = threading.RLock()
        self._is_active = False
        self._commits = 0

    def now(self) -> datetime:
        """The instant on the store's clock."""
        return self.clock.now()

    def peek(self, roots: Sequence[str]) -> list[Lock]:
        """`locks_on` as a transaction of its own."""
        with self.read() as tx:
            return tx.locks_on(roots)

    def peek_waiters(self, roots: Sequence[str]) -> list[Waiter]:
        """`waiters_on` as a transaction of its own."""
        with self.read() as tx:
            return tx.waiters_on(roots)

    def version(self) -> int:
        """How many transactions have changed something."""
        return self._commits

    def read(self) -> _Reading:
        """A consistent view."""
        return _Reading(self)

    def write(self) -> _Writing:
        """A serial transaction."""
        return _Writing(self)

    def hold(self) -> AbstractContextManager[None]:
        """Nothing is held: a commit costs nothing here."""
        return nullcontext()

    @property
    def has_held(self) -> bool:
        """Never."""
        return False

    def commit_held(self) -> None:
        """Nothing to commit."""

    @property
    def has_unsynced(self) -> bool:
        """Never: there is nothing that could be synced."""
        return False

    def sync(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _begin(self) -> Shelf:
        # Reentrant, so that a nested transaction is refused instead of waiting for itself.
        self._turn.acquire()
        if self._is_active:
            self._turn.release()
            msg = "a transaction is open in this thread already; they do not nest"
            raise StoreError(msg)
        self._is_active = True
        return self._shelf

    def _end(self) -> None:
        self._is_active = False
        self._turn.release()


class _Reading:
    """`with store.read() as tx`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __enter__(self) -> MemoryReadTransaction:
        shelf = self._store._begin()
        self._tx = MemoryReadTransaction(shelf, self._store.clock.now())
        return self._tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tx.end()
        self._store._end()


class _Writing:
    """`with store.write() as tx`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __enter__(self) -> MemoryWriteTransaction:
        shelf = self._store._begin()
        self._tx = MemoryWriteTransaction(shelf, self._store.clock.now())
        return self._tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._tx.undo()
            elif self._tx.has_changes:
                self._store._commits += 1
        finally:
            self._tx.end()
            self._store._end()


def _putting_back(kept: dict[str, _T], key: str) -> _Undo:
    before = kept.get(key)
    return (lambda: kept.pop(key, None)) if before is None else (lambda: kept.update({key: before}))
