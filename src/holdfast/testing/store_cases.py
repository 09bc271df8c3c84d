"""What the parts of the store suite share: how a store is opened, time moved by hand, and sample values.

Owns: fixtures and samples. Must not know: the promises (store_suite.py, property_suite.py). Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest

from holdfast.clock import Clock
from holdfast.core.model import DeadProperty, Depth, Event, EventKind, Face, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import Store, WriteTransaction
from holdfast.testing.manual_time import ManualTime

__all__ = ["TRICKY_NAMES", "StoreCases", "event_about", "lock_on", "needs", "property_of", "roots_of", "waiter_on"]

TRICKY_NAMES: Final = (
    "a",
    "a!",
    "a b",
    "a-b",
    "a.b",
    "a/b",
    "a/b/c",
    "a0",
    "aa",
    "A",
    "%",
    "%a",
    "_",
    "_/x",
    "*",
    "\u00e9",
    "e\u0301",
    "日本",
    "😀",
    "😀/ü",
    "\uffff",
)
"""Names that a careless range scan, LIKE, GLOB, collation or normalisation would mix up."""

HALF_HOUR: Final = timedelta(minutes=30)
HALF_MINUTE: Final = timedelta(seconds=30)


def lock_on(
    tx: WriteTransaction,
    root: str,
    *,
    lock_id: str | None = None,
    principal: str = "anna",
    scope: LockScope = LockScope.EXCLUSIVE,
    ttl: timedelta | None = HALF_HOUR,
    fencing_token: int = 0,
) -> Lock:
    """A lock value on `root`, created now; its id is `lock_id`, or made of the root."""
    name = lock_id or f"id-{root}"
    return Lock(
        id=name,
        token=f"urn:uuid:{name}",
        root=ResourcePath(root),
        scope=scope,
        depth=Depth.INFINITY,
        principal=principal,
        owner="Anna's laptop",
        owner_xml='<D:owner xmlns:D="DAV:">Anna</D:owner>',
        reason="editing",
        client="cadaver/0.24",
        face=Face.WEBDAV,
        fencing_token=fencing_token,
        created_at=tx.now,
        refreshed_at=tx.now,
        expires_at=None if ttl is None else tx.now + ttl,
    )


def waiter_on(
    tx: WriteTransaction,
    root: str,
    *,
    lock_id: str | None = None,
    scope: LockScope = LockScope.EXCLUSIVE,
    lease: timedelta = HALF_MINUTE,
) -> Waiter:
    """A waiter value for a lock on `root`, not yet in line; its id is `lock_id`, or made of the root."""
    return Waiter(
        id=lock_id or f"id-{root}",
        seq=0,
        root=ResourcePath(root),
        scope=scope,
        depth=Depth.INFINITY,
        principal="anna",
        owner="Anna's laptop",
        owner_xml='<D:owner xmlns:D="DAV:">Anna</D:owner>',
        reason="editing",
        client="cadaver/0.24",
        face=Face.WEBDAV,
        asked_s=600.5,
        endless=False,
        enqueued_at=tx.now,
        lease_until=tx.now + lease,
    )


def event_about(lock: Lock, at: datetime, kind: EventKind = EventKind.GRANTED) -> Event:
    """An event value about `lock`, not yet appended."""
    return Event(
        0,
        at,
        kind,
        lock.id,
        lock.root,
        lock.scope,
        lock.depth,
        lock.principal,
        "someone else",
        "because",
        lock.fencing_token,
        at + HALF_MINUTE if kind is EventKind.BREAKING else None,
        lock.owner,
    )


def property_of(path: str, name: str, value: str = "v", namespace: str = "urn:x") -> DeadProperty:
    """A dead property of the resource `path`."""
    return DeadProperty(ResourcePath(path), namespace, name, f'<{name} xmlns="{namespace}">{value}</{name}>')


def roots_of(locks: list[Lock]) -> list[str]:
    """The texts of their roots, in the same order."""
    return [lock.root.text for lock in locks]


_CAPABILITY: Final = "_holdfast_capability"

T = TypeVar("T")


def needs(capability: str) -> Callable[[T], T]:
    """Of a test: it is there only for stores that have this capability, a class variable of StoreCases."""

    def mark(test: T) -> T:
        setattr(test, _CAPABILITY, capability)
        return test

    return mark


class StoreCases:
    """How a store under test is opened, and what it can do.

    A suite for a store without a capability does not have the tests that need it: they are not skipped.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Leave out what the store, once it can be opened, does not promise."""
        super().__init_subclass__(**options)
        if cls.open_store is StoreCases.open_store:
            return
        for name in dir(cls):
            capability = getattr(getattr(cls, name), _CAPABILITY, None)
            if capability is not None and not getattr(cls, capability):
                setattr(cls, name, None)

    shared: ClassVar[bool] = False
    """True when two stores opened at one place, in one or in several processes, are one."""

    reads_during_writes: ClassVar[bool] = False
    """True when a read transaction sees the last commit while a write transaction is open."""

    def open_store(self, place: Path, clock: Clock) -> Store:
        """A new store, or, for a second call with the same folder, the same store again where it is `shared`."""
        raise NotImplementedError

    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def store(self, tmp_path: Path, time: ManualTime) -> Iterator[Store]:
        with closing(self.open_store(tmp_path, time.clock())) as store:
            yield store
