"""What a store promises: it keeps locks, waiters, events, dead properties and the fencing counter; it decides nothing.

The one promise everything rests on: overlapping write transactions are serial, across threads and,
for a store that several processes share, across processes. A write transaction that raises leaves
no trace. `holdfast.testing.store_suite` checks every promise on this page, and `holdfast.testing.held_suite` those
about transactions that share a commit (`hold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from holdfast.core.model import Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath

__all__ = ["ReadTransaction", "Store", "StoreError", "StoreFullError", "WriteTransaction", "refuse_overlap"]


class StoreError(Exception):
    """The store cannot do its work (unreadable, of a newer version, busy for too long); the text says what to do.

    It is for whoever runs the server: it may name a path of the machine, so no client is shown it.
    """


class StoreFullError(StoreError):
    """The store has no room for a change; nothing was changed, and reading goes on."""


class ReadTransaction(Protocol):
    """One consistent view. Expired locks are returned too: whoever asks compares them with `now`."""

    @property
    def now(self) -> datetime:
        """The instant of this transaction; never earlier than that of a transaction that ended before it began."""
        ...

    def locks_on(self, roots: Sequence[str]) -> list[Lock]:
        """The locks whose root is one of these path texts, in no promised order. One seek per root, whatever else is kept."""
        ...

    def locks_below(self, path: ResourcePath, limit: int = -1) -> list[Lock]:
        """The locks whose root is strictly below `path`, in path order; at most `limit` (-1: all). A range scan."""
        ...

    def locks_on_members(self, path: ResourcePath) -> list[Lock]:
        """The locks whose root is a direct member of the collection `path`, in path order."""
        ...

    def locks_at_or_below(self, path: ResourcePath, after: tuple[str, str] | None, limit: int) -> list[Lock]:
        """A page of the locks whose root is at or below `path`, in the order of (root, id); at most `limit`.

        `after` is the root and id of the last lock of the page before, which need not be kept any more. A range scan.
        """
        ...

    def lock_with_id(self, lock_id: str) -> Lock | None:
        """The lock with this public id."""
        ...

    def break_with_token(self, token: str) -> Break | None:
        """How the lock with this token was, or is to be, broken; None for one that was not. One seek."""
        ...

    def expired_locks(self, limit: int) -> list[Lock]:
        """Locks that are expired at `now`, earliest first; for the sweeper."""
        ...

    def count_locks(self, principal: str | None = None) -> int:
        """How many locks are kept, of one principal or in all, expired ones included. Constant cost."""
        ...

    def waiters_on(self, roots: Sequence[str], *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """Who waits for a lock whose root is one of these path texts, by seq; at most `limit` (-1: all), the earliest.

        With `before`, those of a lower seq than that. Lapsed ones are returned too. One seek per root and row.
        """
        ...

    def waiters_below(self, path: ResourcePath, *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """The same for locks whose root is strictly below `path`. A range scan."""
        ...

    def waiter_with_id(self, lock_id: str) -> Waiter | None:
        """Who waits for the lock that will have this id."""
        ...

    def lapsed_waiters(self, limit: int) -> list[Waiter]:
        """Waiters whose lease has run out at `now`, earliest first; for the sweeper."""
        ...

    def count_waiters(self) -> int:
        """How many waiters are kept, lapsed ones included. Constant cost; next to nothing while there are none."""
        ...

    def latest_seq(self) -> int:
        """The seq of the newest event of the feed, trimmed or not; 0 before the first."""
        ...

    def events_after(self, seq: int, limit: int) -> list[Event]:
        """The feed from just after `seq`, in order."""
        ...

    def end_of_lock(self, lock_id: str) -> Event | None:
        """The last event of the feed that tells of the end of a lock with this id. One seek."""
        ...

    def properties_on(self, path: ResourcePath) -> list[DeadProperty]:
        """The dead properties of one resource, by namespace and name."""
        ...

    def properties_on_members(self, path: ResourcePath) -> list[DeadProperty]:
        """The dead properties of the direct members of a collection, in path order; one query."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """A serial transaction. Leaving its context commits; an exception undoes all of it."""

    def insert(self, lock: Lock) -> None:
        """Keep a new lock; its id is new (StoreError), and so is its token, which is for the caller to see to."""
        ...

    def replace(self, lock: Lock) -> None:
        """Keep new values for a lock; its root, id and principal are what they were. Harmless when it is gone."""
        ...

    def remove(self, lock: Lock) -> None:
        """Forget a lock, given as this transaction found it; harmless when it is gone."""
        ...

    def enqueue(self, waiter: Waiter) -> Waiter:
        """Keep a waiter at the end of the line, and return it with its seq; its id is new (StoreError)."""
        ...

    def renew_waiters(self, lock_ids: Sequence[str], lease_until: datetime) -> None:
        """Let the waiters with these ids live until then; harmless for those that are gone. Cheap for thousands."""
        ...

    def dequeue(self, waiter: Waiter) -> None:
        """Forget a waiter, granted or not; harmless when it is gone."""
        ...

    def put_break(self, token: str, broken: Break) -> None:
        """Keep how a lock is broken under its token, in place of what was kept there."""
        ...

    def ensure_room(self) -> None:
        """Raise StoreFullError where the commit of a small change might find no room.

        To be asked before something is changed that the transaction's end would not undo, such as a document.
        """
        ...

    def mint_fencing_token(self) -> int:
        """The next number: rising, never given twice, also after a crash or power loss, gaps allowed.

        It is given once the transaction has committed; what an undone one minted may be minted again.
        """
        ...

    def append(self, event: Event) -> int:
        """Add to the feed; returns the seq it was given."""
        ...

    def trim_events(self, before: datetime) -> int:
        """Drop feed rows older than `before`; returns how many. Seqs are never reused. Breaks older than that go too.

        Events are appended in the order of their instants: it stops at the first that is young enough.
        """
        ...

    def put_property(self, prop: DeadProperty) -> None:
        """Set a dead property, replacing one of the same path, namespace and name."""
        ...

    def remove_property(self, path: ResourcePath, namespace: str, name: str) -> None:
        """Remove one dead property; harmless when there is none."""
        ...

    def remove_properties(self, path: ResourcePath) -> None:
        """Remove all dead properties at and below `path`."""
        ...

    def copy_properties(self, source: ResourcePath, destination: ResourcePath, *, tree: bool) -> None:
        """Copy dead properties from `source` (with `tree`, and all below) to where they fall under `destination`.

        What was kept at (and, with `tree`, below) `destination` before is gone after. Raises ValueError
        for a tree that would be copied into itself or over one that it lies in.
        """
        ...

    def move_properties(self, source: ResourcePath, destination: ResourcePath) -> None:
        """Move all dead properties at and below `source`; what `destination` had before is gone after.

        Raises ValueError when one of the two lies in the other.
        """
        ...


class ReadContext(Protocol):
    """`with store.read() as tx`."""

    def __enter__(self) -> ReadTransaction:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...


class WriteContext(Protocol):
    """`with store.write() as tx`."""

    def __enter__(self) -> WriteTransaction:
        """Begin; waits for other writers, in this process and others, up to the store's busy limit (StoreError)."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or undo when an exception passes."""
        ...


class Store(Protocol):
    """A store may be used from any thread; transactions belong to the thread that began them and do not nest."""

    def now(self) -> datetime:
        """The instant on the store's clock, which all who share the store agree on."""
        ...

    def peek(self, roots: Sequence[str]) -> list[Lock]:
        """`locks_on` as a transaction of its own: cheaper than `read()` where one question is enough (the hot check)."""
        ...

    def peek_waiters(self, roots: Sequence[str]) -> list[Waiter]:
        """`waiters_on` as a transaction of its own; next to nothing while nobody waits anywhere."""
        ...

    def version(self) -> int:
        """A number that differs from the one before once anybody, here or in another process, has committed a change.

        Two calls between which nothing was committed may differ too. May be called from any thread, at any rate.
        """
        ...

    def read(self) -> ReadContext:
        """A consistent view; on a store kept on disk it never blocks writers nor waits for them."""
        ...

    def write(self) -> WriteContext:
        """A serial transaction."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """`with store.hold():` lets the write transactions that this thread makes inside share one commit.

        Each is a transaction as ever: serial, undone alone when it raises, with a `now` of its own; but where it
        changed something it may stay uncommitted, and keep all other writers waiting, until this thread calls
        `commit_held`. So whoever holds does that soon, waits for no other thread before, and tells nobody of a
        change until it has returned. This thread's `read` and `peek` see what it holds. A write transaction that it begins
        outside of `hold` first commits what is held, so that who knows nothing of holding need not. Does not nest.
        """
        ...

    @property
    def has_held(self) -> bool:
        """True when `commit_held` of this thread has something to commit, or a failure to tell."""
        ...

    def commit_held(self) -> None:
        """Commit what this thread holds; harmless when that is nothing.

        Raises StoreError when all that was held since the last call is undone, as if it had never been; once a
        hold has failed, transactions inside `hold` are refused (StoreError) until this has told so.
        """
        ...

    @property
    def has_unsynced(self) -> bool:
        """True when something committed may be lost with the power, and the store is set to prevent that."""
        ...

    def sync(self) -> None:
        """Return once all that was committed through this object before the call would survive power loss.

        Calls in parallel share one fsync. Raises StoreError when the disk refuses, and from then on.
        """
        ...

    def close(self) -> None:
        """Release all files; harmless when repeated."""
        ...

    def __enter__(self) -> Self:
        """For `with`."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


def refuse_overlap(source: ResourcePath, destination: ResourcePath) -> None:
    """For stores: raise ValueError when one of two trees lies in the other; callers answer that before they ask."""
    if source.is_at_or_below(destination) or destination.is_at_or_below(source):
        msg = f"{source} and {destination} lie in one another"
        raise ValueError(msg)
