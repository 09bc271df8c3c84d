"""The SQLite store: when a transaction begins, commits and reaches the disk; shared by threads and processes.

Owns: connections (one for each thread), the order of writers, checkpoints, fencing tokens' safety. Must not know:
what locks mean.

Theory of operation.

Writers: a lock of this process stands in front of `BEGIN IMMEDIATE`, so that threads queue instead of polling;
between processes SQLite's own write lock decides, asked for every 0.1 to 2 ms. `now` is read after the write lock
was obtained, so instants never run backwards in the order of commits. Readers see a snapshot and never wait.

Holding: inside `with store.hold()` the first transaction that changes something stays open, and with it the turn to
write, until `commit_held`. Those that follow in that thread join it, each in a savepoint of its own that is begun
with its first change but where one statement could take it back; numbers and events are written once, at the end (commit.py).
One COMMIT, and so one write of each page, is shared by all.
An error that makes SQLite roll back undoes all of them: `commit_held` then says so instead of committing.

Durability: with CRASH, and with POWER, a commit survives a killed process. With POWER `sync` makes all earlier
commits of this process survive power loss too; whoever answers a client calls it first. The argument is in
durability.py.

Fencing tokens never repeat. `fencing_ceiling` is raised 4096 at a time, and a token is given out without
waiting only below a ceiling that this very process has seen reach the disk (`_durable_ceiling`); the commit of
any other token waits for the disk, in either durability, unless POWER makes the answer wait anyway. So after
power loss every token that was given out lies below the ceiling on disk (CRASH), or below the next token on disk
(POWER). The first to open the store after a restart of the machine goes on from the greater of the two,
whichever durability was or is set. Without a restart of the machine nothing committed is lost, and the counter
goes on as it is. Where the system cannot tell a restart, every opening counts as one.

Checkpoints are not left to SQLite: versions 3.7.0 to 3.51.2 can lose a commit when a checkpoint starts while
another connection begins the log anew (sqlite.org/wal.html, "the WAL-reset bug"). So this store checkpoints on a connection of
its own while another one of its connections holds the write lock, every few hundred transactions (checkpointing.py).

Forking: open the store after a fork, in each worker. A store that was open before a fork refuses
to work in the child, and the parent's goes on unharmed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Final, Self, TypeVar

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.model import Lock, Waiter
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite.checkpointing import Checkpointer
from holdfast.store.sqlite.commit import Commit
from holdfast.store.sqlite.durability import LogSync, Observe
from holdfast.store.sqlite.known import KnownLocks
from holdfast.store.sqlite.opening import (
    connect,
    create_file,
    explain,
    is_busy,
    migrate,
    patiently,
    shipped_migrations,
)
from holdfast.store.sqlite.resuming import resume
from holdfast.store.sqlite.transaction import Session, SqliteReadTransaction, SqliteWriteTransaction, inherited
from holdfast.store.sqlite.watching import CommitWatch

__all__ = ["SqliteStore"]

_CHANGES_PER_CHECKPOINT: Final = 2000
"""Changed rows after which the log is checkpointed: some 300 grants and releases with commits of their own, or 500
that share them; some 15 MiB of log."""

_OPENER_CACHE_KIB: Final = 8192
_CACHE_KIB: Final = 2048
"""Page caches: of the thread that opened the store, which answers the hot requests (with 100,000 locks kept, 8 MiB
instead of 2 make them a fifth quicker), and of each other thread, of which there may be many."""

_T = TypeVar("_T")

_open_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


class SqliteStore:
    """A store in one file (and SQLite's `-wal` and `-shm` beside it), for any number of threads and processes.

    `clock` gives the sources of time; the store goes on from the anchor that its file keeps, so that all
    processes agree (`self.clock`). Raises StoreError, with a sentence for a person, when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        durability: Durability = Durability.POWER,
        busy_limit_s: float = 10,
        observe: Observe | None = None,
    ) -> None:
        """Open `path`, or make it; waits at most `busy_limit_s` seconds for other processes, now and later."""
        self._observe = observe
        self.path = path
        self._busy_limit_s = busy_limit_s
        self._waits_for_disk = durability is Durability.POWER
        self._refusal: str | None = None
        self._turn = threading.Lock()
        self._opener = threading.get_ident()
        self._local = threading.local()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._sessions_turn = threading.Lock()
        self._watch = CommitWatch(path, busy_limit_s)
        self._durable_ceiling = self._changes = 0
        create_file(path)
        # Open until the end: it keeps SQLite from removing the log, and runs the checkpoints.
        self._keeper = connect(path, busy_limit_s=busy_limit_s, cache_kib=64)
        try:
            migrate(self._keeper, path, shipped_migrations(), busy_limit_s=busy_limit_s)
            self.clock = resume(self._keeper, path, clock or Clock(), busy_limit_s=busy_limit_s)
            self._log = LogSync(path.with_name(path.name + "-wal"), observe)
            self._checkpointer = Checkpointer(
                self._keeper,
                self._turn,
                self._log.wait,
                lambda: connect(path, busy_limit_s=busy_limit_s, cache_kib=64),
                self._begin_immediate,
            )
        except OSError as error:
            self._keeper.close()
            raise StoreError(f"{path}-wal cannot be used: {error.strerror}") from error
        except BaseException:
            self._keeper.close()
            raise
        _open_stores.add(self)

    def _session(self) -> Session:
        if self._refusal is not None:
            raise StoreError(self._refusal)
        try:
            return self._local.session
        except AttributeError:
            return self._new_session()

    def _new_session(self) -> Session:
        cache_kib = _OPENER_CACHE_KIB if threading.get_ident() == self._opener else _CACHE_KIB
        connection = connect(self.path, busy_limit_s=self._busy_limit_s, cache_kib=cache_kib)
        session = Session(connection, self.path, self._busy_limit_s)
        with self._sessions_turn:
            if self._refusal is not None:
                raise StoreError(self._refusal)
            self._sessions.add(session)
        self._local.session = session
        return session

    def now(self) -> datetime:
        """The instant on the store's clock."""
        return self.clock.now()

    def peek(self, roots: Sequence[str]) -> list[Lock]:
        """`locks_on` as a transaction of its own, without the cost of beginning and ending one."""
        return self._peek(lambda known: known.locks_at_once(roots))

    def peek_waiters(self, roots: Sequence[str]) -> list[Waiter]:
        """The same for `waiters_on`: nothing is read while nobody waits and nobody else has committed."""
        return self._peek(lambda known: known.waiters_on(roots))

    def _peek(self, question: Callable[[KnownLocks], list[_T]]) -> list[_T]:
        session = self._session()
        _refuse_nesting(session)
        known = session.known
        try:
            try:
                known.refresh()
                return question(known)
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                patiently(known.refresh, self._busy_limit_s)
                return patiently(lambda: question(known), self._busy_limit_s)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def version(self) -> int:
        """SQLite's own number, as a connection sees it that never commits."""
        if self._refusal is not None:
            raise StoreError(self._refusal)
        return self._watch.version()

    def read(self) -> _Reading:
        """A snapshot."""
        return _Reading(self)

    def write(self) -> _Writing:
        """A serial transaction."""
        return _Writing(self)

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Write transactions of this thread inside may share one commit."""
        return _Holding(self._session())

    @property
    def has_held(self) -> bool:
        """True when this thread holds something, or a failure that it was not told of."""
        session: Session | None = getattr(self._local, "session", None)
        return session is not None and session.held is not None

    def commit_held(self) -> None:
        """One COMMIT for all; waits for the disk only where fencing tokens need it, as every commit may."""
        session: Session | None = getattr(self._local, "session", None)
        if session is None or session.held is None:
            return
        if self._refusal is not None:
            raise StoreError(self._refusal)
        _refuse_nesting(session)
        held, session.held = session.held, None
        if held.failure is None:
            self._commit_all(session, held)
        if held.failure is not None:
            raise type(held.failure)(str(held.failure)) from held.failure

    @property
    def has_unsynced(self) -> bool:
        """True when `sync` has something to do; never with CRASH."""
        return self._waits_for_disk and self._log.is_behind

    def sync(self) -> None:
        """Wait for the disk, together with whoever else waits; returns at once with CRASH."""
        if self._refusal is not None:
            raise StoreError(self._refusal)
        if self._waits_for_disk:
            self._log.wait()

    def close(self) -> None:
        """Close all connections; transactions that other threads have open are undone."""
        with self._sessions_turn:
            if self._refusal is not None:
                return
            self._refusal = "this store was closed; open another one"
            sessions = list(self._sessions)
        _open_stores.discard(self)
        for session in sessions:
            session.close()
            held = session.held
            if held is not None and held.failure is None:
                held.failure = StoreError(self._refusal)
                self._turn.release()
        self._checkpointer.close()
        self._watch.close()
        self._log.close()
        self._keeper.close()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _begin_write(self, session: Session) -> SqliteWriteTransaction:
        held = session.held
        if held is not None:
            if session.holds:
                if held.failure is not None:
                    raise StoreError(str(held.failure)) from held.failure
                return SqliteWriteTransaction(session, self.clock.now_us(), self._durable_ceiling, held, joins=True)
            if held.failure is None:
                session.held = None
                self._commit_all(session, held)
                # A failure is kept for `commit_held` to tell; it is not this transaction's.
                session.held = held if held.failure else None
        if not self._turn.acquire(timeout=self._busy_limit_s):
            raise StoreError(
                f"the store was busy for {self._busy_limit_s:g} s with other work of this process; try again"
            )
        try:
            self._begin_immediate(session.cursor)
            self._refresh(session)
        except BaseException:
            self._turn.release()
            raise
        now_us = self.clock.now_us()
        return SqliteWriteTransaction(session, now_us, self._durable_ceiling, Commit(session.cursor, now_us))

    def _begin_immediate(self, cursor: sqlite3.Cursor) -> None:
        try:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                patiently(lambda: cursor.execute("BEGIN IMMEDIATE"), self._busy_limit_s)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _commit(self, session: Session, tx: SqliteWriteTransaction) -> int:
        """Commit; returns the fencing ceiling that must be on disk before the tokens are given out, or 0."""
        self._write_and_commit(session, tx.commit)
        return 0 if self._waits_for_disk else tx.commit.reserved_ceiling

    def _refresh(self, session: Session) -> None:
        try:
            session.known.refresh()
        except sqlite3.Error as error:
            session.cursor.execute("ROLLBACK")
            raise explain(error, self.path) from error

    def _write_and_commit(self, session: Session, commit: Commit) -> None:
        if not commit.has_work:
            session.cursor.execute("COMMIT")
            return
        _refuse_undone(session)
        started = perf_counter()
        commit.write()
        session.cursor.execute("COMMIT")
        if self._observe is not None:
            self._observe("commit", perf_counter() - started)
        self._log.note_commit()
        self._changes += commit.changed
        if self._changes >= _CHANGES_PER_CHECKPOINT:
            self._changes = 0
            self._checkpointer.ask()

    def _commit_all(self, session: Session, held: Commit) -> None:
        """Commit what was held, or note why that failed."""
        try:
            try:
                self._write_and_commit(session, held)
            finally:
                self._end_write(session)
            if held.reserved_ceiling and not self._waits_for_disk:
                self._reserve(held.reserved_ceiling)
        except sqlite3.Error as error:
            held.failure = explain(error, self.path)
        except StoreError as error:
            held.failure = error
        if held.failure is not None:
            session.known.forget()

    def _end_joined(self, session: Session, tx: SqliteWriteTransaction, held: Commit, *, keep: bool) -> None:
        """Add a transaction to those that are held, or undo it alone; where that fails all are undone."""
        try:
            if keep:
                tx.keep()
            else:
                tx.undo()
            _refuse_undone(session)
        except sqlite3.Error as error:
            held.failure = explain(error, self.path)
        except StoreError as error:
            held.failure = error
        if held.failure is not None:
            session.known.forget()
            self._end_write(session)
            if keep:
                raise StoreError(str(held.failure)) from held.failure

    def _end_write(self, session: Session) -> None:
        """Undo what is not committed, and let the next one write."""
        try:
            if session.connection.in_transaction:
                session.cursor.execute("ROLLBACK")
        finally:
            self._turn.release()

    def _reserve(self, ceiling: int) -> None:
        self._log.wait()
        self._durable_ceiling = max(self._durable_ceiling, ceiling)

    def _leave_to_parent(self) -> None:
        """In the child of a fork: touch nothing of what belongs to the parent, not even to close it."""
        inherited.extend((*self._sessions, self._keeper, self._checkpointer, self._watch, self._log, self._local))
        self._refusal = "this store was opened before a fork; open it in the new process"


class _Holding(contextlib.AbstractContextManager[None]):
    """`with store.hold():`."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._session.holds = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.holds = False


class _Reading:
    """`with store.read() as tx`; in the transaction of what this thread holds, if it does."""

    __slots__ = ("_joins", "_session", "_store", "_tx")

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> SqliteReadTransaction:
        self._session = session = self._store._session()
        _refuse_nesting(session)
        self._joins = session.connection.in_transaction
        commit = session.held if self._joins else None
        self._tx = tx = SqliteReadTransaction(session, self._store.clock.now_us(), commit)
        try:
            if not self._joins:
                session.cursor.execute("BEGIN")
        except sqlite3.Error as error:
            raise explain(error, session.path) from error
        session.is_active = True
        return tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        self._tx.end()
        session.is_active = False
        try:
            if not self._joins:
                session.cursor.execute("COMMIT")
        except sqlite3.Error as failure:
            raise explain(failure, session.path) from failure


class _Writing:
    """`with store.write() as tx`."""

    __slots__ = ("_session", "_store", "_tx")

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> SqliteWriteTransaction:
        self._session = session = self._store._session()
        _refuse_nesting(session)
        self._tx = tx = self._store._begin_write(session)
        session.is_active = True
        return tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        store, session, tx = self._store, self._session, self._tx
        session.is_active = False
        if tx.joins:
            assert session.held is not None
            try:
                store._end_joined(session, tx, session.held, keep=error is None)
            finally:
                tx.end()
            return
        if session.holds and error is None and tx.commit.has_work and session.connection.in_transaction:
            session.held = tx.commit
            tx.end()
            return
        ceiling = 0
        is_kept = False
        try:
            if error is None:
                ceiling = store._commit(session, tx)
                is_kept = True
        except sqlite3.Error as failure:
            raise explain(failure, session.path) from failure
        finally:
            if not is_kept:
                session.known.forget()
            tx.end()
            store._end_write(session)
        if ceiling:
            store._reserve(ceiling)


def _refuse_nesting(session: Session) -> None:
    if session.is_active:
        raise StoreError("a transaction is open in this thread already; they do not nest")


def _refuse_undone(session: Session) -> None:
    """After some errors SQLite undoes the transaction by itself; what is written then would be committed at once."""
    if not session.connection.in_transaction:
        raise StoreError("SQLite undid what was not yet committed; try again")


def _after_fork_in_child() -> None:
    for store in list(_open_stores):
        store._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
