"""What may be asked of a LockTable, as functions of one transaction, and what is raised.

Owns: applying the rules of `core.decisions` to the rows, inside the transaction. Must not know: SQL (`lockrows`), engines, threads.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, MetaData, Table, inspect

from holdfast.core.conditions import Submission
from holdfast.core.decisions import (
    Effect,
    Reach,
    Refused,
    Standing,
    decide_holder,
    decide_write,
    protected_resources,
)
from holdfast.core.model import Break, Depth, EventKind, Face, Lock, LockScope
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.databases.answering import LockedAnswer, refused_answer, sentence_of
from holdfast.databases.lockasking import Asking, LockWish, span_of
from holdfast.databases.lockplaces import LockPlaces
from holdfast.databases.lockrows import Ended, LockRows, RowsBusyError
from holdfast.databases.locktransactions import demand_transaction
from holdfast.databases.lockwaiting import counted
from holdfast.databases.rowvalues import LONGEST_PATH, instant, milliseconds
from holdfast.wire.davxml_write import Condition
from holdfast.wire.sentences import clean, clock_text

__all__ = [
    "LockDecisions",
    "LockLostError",
    "LockWish",
    "NotHolderError",
    "ResourceLockedError",
    "TableMissingError",
    "answer_of",
    "path_of",
]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ResourceLockedError(Exception):
    """The lock was not granted; `answer` is the 423 that says so, its text the sentence in it."""

    def __init__(self, answer: LockedAnswer) -> None:
        """Its text is a sentence for a person."""
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        return sentence_of(self.answer)


class LockLostError(Exception):
    """The lock is held no more. `ended` says how, when and by whom; None where it is not known any more, or never was."""

    def __init__(self, root: str, ended: Ended | None) -> None:
        """Its text is a sentence for a person."""
        super().__init__(root, ended)
        self.root = root
        self.ended = ended

    def __str__(self) -> str:
        ended = self.ended
        if ended is None:
            return f"The lock on {self.root} is held no more, or never was."
        by = f" by {clean(ended.by)}" if ended.by else ""
        reason = f": {clean(ended.reason)}" if ended.reason else ""
        return f"The lock on {self.root} has {_HOW[ended.how]}{by} at {clock_text(ended.at, ended.at)}{reason}."


class NotHolderError(Exception):
    """Somebody else holds the lock, and only its holder may do this."""


_HOW: Final = {EventKind.RELEASED: "been released", EventKind.EXPIRED: "expired", EventKind.BROKEN: "been broken"}


class TableMissingError(RuntimeError):
    """The database has not all the tables of the locks; its text says which are missing, and what makes them."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` are those of the missing tables."""
        super().__init__(tuple(names))
        self.names = tuple(names)

    def __str__(self) -> str:
        tables = "table" if len(self.names) == 1 else "tables"
        return (
            f"The database has no {tables} {', '.join(self.names)}. Call create() once, which makes what is missing; or, where migrations "
            "make the tables, run: alembic revision --autogenerate -m locks && alembic upgrade head"
        )


class LockDecisions:
    """What both colours share: the tables, and what is done in one transaction, as functions of a plain Connection."""

    def __init__(
        self, metadata: MetaData, name: str, timeouts: TimeoutPolicy | None, now: ColumnElement[int] | None
    ) -> None:
        """Put the tables into `metadata`."""
        self.metadata = metadata
        self.rows = LockRows(metadata, name, now)
        self.places = LockPlaces(metadata, name, self.rows.now)
        self.tables: tuple[Table, ...] = (self.rows.table, self.rows.counter, self.places.table)
        self._timeouts = timeouts or TimeoutPolicy()

    def guard(self, lock: Lock) -> ColumnElement[bool]:
        """For the WHERE of an UPDATE, DELETE or INSERT ... SELECT: true while `lock` is held.

        Where no row was changed, the lock is lost (or there was no such row). From then on the lock can neither be broken nor
        given away until the end of that transaction.
        """
        return self.rows.stands(lock)

    def missing(self, connection: Connection) -> TableMissingError | None:
        """Which of the tables are not there; None where all are."""
        found = inspect(connection)
        names = [table.name for table in self.tables if not found.has_table(table.name, table.schema)]
        return TableMissingError(names) if names else None

    def asking(self, resource: str | ResourcePath, holder: str, wish: LockWish) -> Asking:
        """A request for a lock; a name or id that cannot be is a ValueError at once."""
        root = path_of(resource)
        if not 0 < len(holder) <= 255 or "\0" in holder:
            msg = "a holder has a name, of 255 characters at most"
            raise ValueError(msg)
        lock_id = wish.get("lock_id") or f"l-{uuid.uuid4().hex}"
        if not _ID.fullmatch(lock_id):
            msg = "the id of a lock has letters, digits, - and _ alone, 64 at most"
            raise ValueError(msg)
        wanted = Lock(
            id=lock_id,
            token=f"urn:uuid:{uuid.uuid4()}",
            root=root,
            scope=wish.get("scope", LockScope.EXCLUSIVE),
            depth=wish.get("depth", Depth.ZERO),
            principal=holder,
            owner=wish.get("owner", ""),
            owner_xml=None,
            reason=wish.get("reason", ""),
            client=wish.get("client", ""),
            face=Face.API,
            fencing_token=0,
            created_at=instant(0),
            refreshed_at=instant(0),
            expires_at=None,
        )
        return Asking(self.rows, self.places, self._timeouts, wanted, wish)

    def outcome(self, asked: Asking) -> Lock:
        """What has come of it. Raises ResourceLockedError."""
        if asked.lock is not None:
            return asked.lock
        assert asked.refused is not None
        raise ResourceLockedError(answer_of(*asked.refused, asked.root, Condition.NO_CONFLICTING_LOCK))

    def refreshing(self, known: Lock | str, holder: str | None, ttl: float | None) -> Callable[[Connection], Lock]:
        """Restart the time of a lock."""

        def work(connection: Connection) -> Lock:
            lock, now = self._mine(connection, known, holder)
            expires_at = instant(now) + self._timeouts.grant(span_of(ttl))
            self.rows.refresh(connection, lock.id, now, milliseconds(expires_at))
            found = self.rows.find(connection, lock.id, now)
            assert found is not None
            return found[0]

        return work

    def releasing(self, known: Lock | str, holder: str | None) -> Callable[[Connection], None]:
        """End a lock, which may be over already."""

        def work(connection: Connection) -> None:
            try:
                lock, now = self._mine(connection, known, holder)
            except LockLostError as lost:
                if lost.ended is not None and lost.ended.how is EventKind.RELEASED:
                    return
                raise
            self.rows.end(connection, lock.id, now, EventKind.RELEASED, by=lock.principal)

        return work

    def breaking(
        self, lock_id: str, by: str, reason: str, after: float, *, may_break: bool
    ) -> Callable[[Connection], tuple[Lock, Ended | None]]:
        """End a lock by force."""

        def work(connection: Connection) -> tuple[Lock, Ended | None]:
            self.rows.take_row(connection, lock_id=lock_id)
            now = self.rows.time(connection)
            found = self.rows.find(connection, lock_id, now)
            if found is None or found[1] is not None:
                raise LockLostError(
                    lock_id if found is None else found[0].root.text, None if found is None else found[1]
                )
            lock = found[0]
            if not may_break and lock.principal != by:
                msg = f"{lock.principal} holds the lock on {lock.root}"
                raise NotHolderError(msg)
            at = now + max(0, round(after * 1000))
            if lock.expires_at is None or at < milliseconds(lock.expires_at):
                how = EventKind.BREAKING if at > now else EventKind.BROKEN
                self.rows.end(connection, lock.id, at, how, by=by, reason=reason)
            told = self.rows.find(connection, lock.id, now)
            assert told is not None
            return told

        return work

    def checking(
        self, effects: Sequence[Effect], tokens: Sequence[str], holder: str
    ) -> Callable[[Connection], tuple[Refused, int] | None]:
        """Judge changes; None for yes."""

        def work(connection: Connection) -> tuple[Refused, int] | None:
            now = self.rows.time(connection)
            held: dict[str, Lock] = {}
            trees = {effect.resource.text for effect in effects if effect.reach is Reach.TREE}
            for path in protected_resources(effects):  # the parent's too, where a member comes or goes
                below = path.text in trees
                held.update((lock.id, lock) for lock in self.rows.held(connection, path, now, below=below))
            submitted = [
                Submission(token, effect.resource, reaches_down=True) for token in tokens for effect in effects
            ]
            refused = decide_write(effects, list(held.values()), submitted, holder)
            if refused is None:
                return None
            lengths = self._lengths(connection, [item.lock for item in refused.contentions], now)
            if lengths:
                refused = msgspec.structs.replace(refused, line=Standing(lengths=lengths))
            for token in tokens:
                known = self.rows.find(connection, token, now)
                ended = None if known is None else known[1]
                if known is not None and ended is not None and ended.how is EventKind.BROKEN:
                    broken = Break(known[0].id, ended.at, ended.by, ended.reason)
                    return msgspec.structs.replace(refused, broken=broken), now
            return refused, now

        return work

    def counting(self, locks: Sequence[Lock]) -> Callable[[Connection], tuple[int, dict[str, int]]]:
        """The time in milliseconds, and how many wait for each lock, by its id."""

        def work(connection: Connection) -> tuple[int, dict[str, int]]:
            now = self.rows.time(connection)
            return now, self._lengths(connection, locks, now)

        return work

    def _lengths(self, connection: Connection, locks: Sequence[Lock], now: int) -> dict[str, int]:
        empty = not locks or self.places.is_empty(connection)
        return {} if empty else counted(locks, self.places.reading(connection, now))

    def confirming(self, connection: Connection, lock: Lock) -> None:
        """Hold `lock` until the end of the application's own transaction. Raises LockLostError, RuntimeError."""
        if not self.rows.hold_row(connection, lock):
            found = self.rows.find(connection, lock.id, self.rows.time(connection))
            raise LockLostError(lock.root.text, None if found is None else found[1])
        demand_transaction(connection)

    def waiting_for(self, busy: RowsBusyError, connection: Connection) -> None:
        """Wait for a lock's row, and give it back. No more than one: whoever wrote under several could otherwise meet this in a deadlock."""
        self.rows.take_row(connection, lock_id=busy.lock_id)

    def _mine(self, connection: Connection, known: Lock | str, holder: str | None) -> tuple[Lock, int]:
        """The lock, if it is held, and the holder's, with the time; its row is this transaction's. Raises LockLostError, NotHolderError."""
        token = known.token if isinstance(known, Lock) else known
        name = known.root.text if isinstance(known, Lock) else "this resource"
        self.rows.take_row(connection, token=token)
        now = self.rows.time(connection)
        found = self.rows.find(connection, token, now)
        if found is None or found[0].token != token:
            raise LockLostError(name, None)
        lock, ended = found
        if ended is not None:
            raise LockLostError(lock.root.text, ended)
        if holder is not None and decide_holder(lock, lock.root, holder) is not None:
            msg = f"{lock.principal} holds the lock on {lock.root}"
            raise NotHolderError(msg)
        return lock, now


def path_of(resource: str | ResourcePath) -> ResourcePath:
    """The canonical path. Raises InvalidPathError, a ValueError."""
    path = resource if isinstance(resource, ResourcePath) else ResourcePath.from_text(resource)
    if len(path.text) > LONGEST_PATH:
        msg = f"the path is longer than {LONGEST_PATH} characters"
        raise InvalidPathError(msg)
    return path


def answer_of(refused: Refused, now: int, resource: ResourcePath, condition: Condition) -> LockedAnswer:
    """The 423 for a refusal at `now` (milliseconds, by the database's clock)."""
    return refused_answer(refused, resource, condition, instant(now))
