"""Locks in the application's own database, beside what they protect.

Owns: saying what a LockTable answers in the words of LockBackend. Must not know: frameworks, SQL. Of an engine the tables are made at
their first use, and those that a newer version has more; whoever makes a LockTable itself makes them by migrations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from holdfast.core.conditions import IfHeader
from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import EventKind, Lock, LockScope
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.databases.lockrows import Ended
from holdfast.databases.locktable import LockLostError, LockTable, NotHolderError, ResourceLockedError
from holdfast.databases.patience import DatabaseLockedError
from holdfast.databases.rowvalues import instant
from holdfast.faces.api.bodies import EndedLock, GrantedLock, LockDepth, ShownLock
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import ended_text, granted_lock, shown_lock
from holdfast.finding import Found
from holdfast.integrations.backends import Wanted
from holdfast.integrations.steps import Steps, finished
from holdfast.wire.locked import LockedAnswer

__all__ = ["OwnDatabaseBackend", "backend_of"]

T = TypeVar("T")

_NO_OFFSET: Final = timedelta()  # the database's clock is the wall clock that is shown
_TAKEN_OVER: Final = "taken over"


def backend_of(where: object) -> OwnDatabaseBackend:
    """A backend in the database of an SQLAlchemy engine, or over a LockTable. Raises ValueError for anything else."""
    if isinstance(where, LockTable):
        return OwnDatabaseBackend(where)
    if isinstance(where, Engine):
        return OwnDatabaseBackend(LockTable(where), makes_tables=True)
    msg = f"Locks needs a place: sqlite:///locks.db, a Holdfast server's URL, or the application's SQLAlchemy engine, not {where!r}"
    raise ValueError(msg)


class OwnDatabaseBackend:
    """A LockBackend over a LockTable; satisfies `backends.LockBackend`."""

    def __init__(self, table: LockTable, *, makes_tables: bool = False) -> None:
        """Ask nothing of the database yet."""
        self.table = table
        self._must_make = makes_tables
        self._making = threading.Lock()

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check."""
        submitted = list(tokens)
        with self._working() as table:
            if condition is not None:
                down = effects[0].reach is Reach.TREE
                if not condition.holds(_State(table), reaches_down=down):
                    raise RefusalError(412, "The If header is false: the locks are not as the request assumes.")
                submitted += [item.token for item in condition.submissions(reaches_down=down)]
            return table.check(effects, submitted, principal)

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """As LockBackend.acquire."""
        return finished(self.acquiring(wanted))

    def acquiring(self, wanted: Wanted) -> Steps[GrantedLock | LockedAnswer]:
        """As SteppingBackend.acquiring."""
        with self._working() as table:
            try:
                lock = yield from table.acquiring(
                    wanted.resource,
                    wanted.principal,
                    wait=0.0 if wanted.break_first else wanted.wait,
                    scope=wanted.scope,
                    depth=wanted.depth,
                    ttl=wanted.ttl,
                    owner=wanted.owner,
                    reason=wanted.reason,
                    client=wanted.client,
                    lock_id=wanted.lock_id,
                    break_first=wanted.break_first,
                    may_break=wanted.may_break,
                )
            except ResourceLockedError as error:
                if wanted.break_first:
                    raise _not_yours("break") from error
                return error.answer
            except InvalidPathError:
                raise
            except ValueError as error:
                raise RefusalError(409 if wanted.lock_id else 422, f"This lock cannot be had: {error}.") from error
        return _granted(lock)

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        self._demand_token(lock_id, token, principal, "refresh")
        with self._working("refresh") as table:
            return _granted(table.refresh(token, ttl=ttl, holder=principal))

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        self._demand_token(lock_id, token, principal, "release")
        with self._working("release") as table:
            table.release(token, holder=principal)

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """As LockBackend.break_."""
        with self._working("break") as table:
            lock, ended = table.break_(lock_id, principal, reason, after=after, may_break=may_break)
        return self._shown(lock) if ended is None else _ended(lock, ended)

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """As LockBackend.take_over."""
        lock = self._own(lock_id, principal, "take over")
        wanted = Wanted(
            resource=lock.root,
            principal=principal,
            scope=lock.scope,
            depth=lock.depth,
            ttl=ttl,
            owner=lock.owner if owner is None else owner,
            reason=lock.reason,
            client=client,
            break_first=_TAKEN_OVER,  # it passes the line: nothing comes free by it
        )
        newer = self.acquire(wanted)
        if isinstance(newer, LockedAnswer):
            raise RefusalError(409, "The lock was changed meanwhile; look at it again.")
        if lock.scope is LockScope.SHARED:  # beside the new one it was in nobody's way
            with self._working("break") as table:
                table.break_(lock_id, principal, _TAKEN_OVER, may_break=False)
        return newer

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        known = self._known(lock_id)
        if known is None:
            return None
        lock, ended = known
        return self._shown(lock) if ended is None else _ended(lock, ended)

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """As LockBackend.find."""
        with self._working() as table:
            found = table.find(covering)
        return self._all_shown(sorted(found, key=lambda lock: lock.root)) if found else []

    def close(self) -> None:
        """The engine is the application's, which closes it."""

    @contextmanager
    def _working(self, verb: str = "change") -> Generator[LockTable]:
        """The table; what it raises about locks becomes a refusal."""
        try:
            self._make()
            yield self.table
        except NotHolderError as error:
            raise _not_yours(verb) from error
        except LockLostError as error:
            if error.ended is None:
                raise _unknown() from error
            raise RefusalError(410, str(error)) from error
        except DatabaseLockedError as error:
            said = "The database that keeps the locks is busy; nothing was changed. Try again soon."
            raise RefusalError(503, said, headers=(("Retry-After", "1"),)) from error

    def _make(self) -> None:
        if not self._must_make:
            return
        with self._making:
            if self._must_make:
                for _ in self.table.tables:
                    try:
                        self.table.create()
                        break
                    except (IntegrityError, OperationalError, ProgrammingError):
                        continue  # another process made one of them at the same moment
                else:
                    self.table.create()
                self._must_make = False

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._working() as table:
            return table._read(work)

    def _known(self, lock_id: str) -> tuple[Lock, Ended | None] | None:
        with self._working() as table:
            known = table.describe(lock_id)
        return known if known is not None and known[0].id == lock_id else None

    def _own(self, lock_id: str, principal: str, verb: str) -> Lock:
        known = self._known(lock_id)
        if known is None:
            raise _unknown()
        lock, ended = known
        if lock.principal != principal:
            raise _not_yours(verb)
        if ended is not None:
            raise _gone(lock, ended)
        return lock

    def _demand_token(self, lock_id: str, token: str, principal: str, verb: str) -> None:
        known = self._known(lock_id)
        if known is None:
            raise _unknown()
        lock, ended = known
        if lock.principal != principal:
            raise _not_yours(verb)
        if lock.token != token:
            raise RefusalError(403, f"To {verb} this lock takes its token; the one that was given is another.")
        if ended is not None and ended.how is not EventKind.RELEASED:
            raise _gone(lock, ended)

    def _shown(self, lock: Lock) -> ShownLock:
        return self._all_shown([lock])[0]

    def _all_shown(self, locks: Sequence[Lock]) -> list[ShownLock]:
        now, lengths = self._read(self.table.counting(locks))
        return [
            shown_lock(Found(lock, queue_length=lengths.get(lock.id, 0)), instant(now), _NO_OFFSET) for lock in locks
        ]


class _State:
    """A StateLookup over the table: what is true of the locks that an If header names."""

    def __init__(self, table: LockTable) -> None:
        self._table = table

    def matching_lock(self, token: str) -> Lock | None:
        known = self._table.describe(token)
        return known[0] if known is not None and known[1] is None and known[0].token == token else None

    def etag_of(self, resource: ResourcePath) -> str | None:
        return None


def _granted(lock: Lock) -> GrantedLock:
    return granted_lock(Found(lock), _NO_OFFSET)


def _ended(lock: Lock, ended: Ended) -> EndedLock:
    return EndedLock(
        lock_id=lock.id,
        root=lock.root.href(),
        scope=lock.scope,
        depth=cast("LockDepth", lock.depth.value),
        holder=lock.principal,
        owner=lock.owner,
        how=ended.how,
        at=ended.at.replace(microsecond=0),
        by=ended.by,
        reason=ended.reason,
    )


def _gone(lock: Lock, ended: Ended) -> RefusalError:
    told = _ended(lock, ended)
    return RefusalError(410, ended_text(told, datetime.now(UTC)), ended=told)


def _unknown() -> RefusalError:
    return RefusalError(404, "No lock with this id is known here.")


def _not_yours(verb: str) -> RefusalError:
    return RefusalError(403, f"The lock was created by somebody else, so it is not yours to {verb}.")
