"""The memory store: everything in dicts, gone with the process; for tests, trials and the simulator.

Owns: the same promises as every store, at the price of one lock for all transactions. Must not know: what
locks mean. A write transaction notes how to undo each of its steps, and undoes them when it fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from msgspec import structs

from holdfast.clock import Clock
from holdfast.core.model import LOCK_ENDS, Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.memory_reading import MemoryReadTransaction
from holdfast.store.memory_shelf import PropertyKey, Shelf
from holdfast.store.protocol import StoreError, refuse_overlap

__all__ = ["MemoryStore"]

_Undo = Callable[[], object]
_T = TypeVar("_T")


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
