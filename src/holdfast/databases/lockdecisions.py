"""What may be asked of a LockTable, as functions of one transaction, and what is raised.

Owns: applying the rules of `core.decisions` to the rows, inside the transaction. Must not know: SQL (`lockrows`), engines, threads.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypedDict

import msgspec
from sqlalchemy import ColumnElement, Connection, MetaData

from holdfast.core.conditions import Submission
from holdfast.core.decisions import (
    Effect,
    Reach,
    Refused,
    decide_acquire,
    decide_holder,
    decide_write,
    protected_resources,
)
from holdfast.core.model import Break, Depth, EventKind, Face, Lock, LockScope
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.core.timeouts import FOREVER, TimeoutPolicy
from holdfast.databases.answering import LockedAnswer, refused_answer, sentence_of
from holdfast.databases.lockrows import LONGEST_PATH, Ended, LockRows, instant, milliseconds
from holdfast.wire.davxml_write import Condition
from holdfast.wire.sentences import clean, clock_text

__all__ = [
    "LockDecisions",
    "LockLostError",
    "LockRefusedError",
    "LockWish",
    "NotHolderError",
    "ResourceLockedError",
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


class LockWish(TypedDict, total=False):
    """What may be said of a lock that is asked for.

    `ttl` is in seconds; None is the table's usual time (30 minutes). `owner` is what the holder says of itself, `client` its program.
    `lock_id` names the lock: the same one again gives the same lock. With a reason in `break_first`, what is in the way is
    broken in the same step: the holder's own locks, and with `may_break` everybody's.
    """

    scope: LockScope
    depth: Depth
    ttl: float | None
    owner: str
    reason: str
    client: str
    lock_id: str | None
    break_first: str
    may_break: bool


class LockRefusedError(Exception):
    """Carries a refusal out of the transaction, which is rolled back by it."""

    def __init__(self, refused: Refused, now: int) -> None:
        """`now` is in milliseconds, by the database's clock."""
        super().__init__()
        self.refused = refused
        self.now = now

    def told(self, resource: ResourcePath) -> ResourceLockedError:
        """The same for the caller."""
        return ResourceLockedError(answer_of(self.refused, self.now, resource, Condition.NO_CONFLICTING_LOCK))


class LockDecisions:
    """What both colours share: the tables, and what is done in one transaction, as functions of a plain Connection."""

    def __init__(
        self, metadata: MetaData, name: str, timeouts: TimeoutPolicy | None, now: ColumnElement[int] | None
    ) -> None:
        """Put the tables into `metadata`."""
        self.metadata = metadata
        self.rows = LockRows(metadata, name, now)
        self._timeouts = timeouts or TimeoutPolicy()

    def guard(self, lock: Lock) -> ColumnElement[bool]:
        """For the WHERE of an UPDATE, DELETE or INSERT ... SELECT: true while `lock` is held.

        Where no row was changed, the lock is lost (or there was no such row). From then on the lock can neither be broken nor
        given away until the end of that transaction.
        """
        return self.rows.stands(lock)

    def granting(self, resource: str | ResourcePath, holder: str, wish: LockWish) -> Callable[[Connection], Lock]:
        """Grant a lock, or raise LockRefusedError; a name or id that cannot be is a ValueError at once."""
        root = path_of(resource)
        if not 0 < len(holder) <= 255 or "\0" in holder:
            msg = "a holder has a name, of 255 characters at most"
            raise ValueError(msg)
        lock_id = wish.get("lock_id") or f"l-{uuid.uuid4().hex}"
        if not _ID.fullmatch(lock_id):
            msg = "the id of a lock has letters, digits, - and _ alone, 64 at most"
            raise ValueError(msg)
        # Made before the first attempt: where nobody knows whether the COMMIT came through, the next attempt finds its own lock.
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
        return lambda connection: self._grant(connection, wanted, wish)

    def _grant(self, connection: Connection, wanted: Lock, wish: LockWish) -> Lock:
        fencing_token, now = self.rows.take_turn(connection, mints=True)
        known = self.rows.find(connection, wanted.id, now)
        if known is not None:
            lock, ended = known
            if ended is None and lock.principal == wanted.principal and lock.root == wanted.root:
                return lock
            msg = f"there was a lock {wanted.id} already"
            raise ValueError(msg)
        self.rows.tidy(connection, wanted.root, now)
        held = self.rows.held(connection, wanted.root, now, below=wanted.depth is Depth.INFINITY)
        refused = decide_acquire(wanted.root, wanted.scope, wanted.depth, held)
        if refused is not None:
            self._break_first(connection, refused, wanted, wish, now)
        at = instant(now)
        ttl = wish.get("ttl")
        lock = msgspec.structs.replace(
            wanted,
            fencing_token=fencing_token,
            created_at=at,
            refreshed_at=at,
            expires_at=at + self._timeouts.grant(_span(ttl)),
        )
        self.rows.put(connection, lock)
        return lock

    def _break_first(self, connection: Connection, refused: Refused, wanted: Lock, wish: LockWish, now: int) -> None:
        reason, may_break = wish.get("break_first", ""), wish.get("may_break", False)
        locks = [one.lock for one in refused.contentions]
        if not reason or not all(may_break or lock.principal == wanted.principal for lock in locks):
            raise LockRefusedError(refused, now)
        for lock in locks:
            self.rows.end(connection, lock.id, now, EventKind.BROKEN, by=wanted.principal, reason=reason)

    def refreshing(self, known: Lock | str, holder: str | None, ttl: float | None) -> Callable[[Connection], Lock]:
        """Restart the time of a lock."""

        def work(connection: Connection) -> Lock:
            _, now = self.rows.take_turn(connection)
            lock = self._mine(connection, known, holder, now)
            expires_at = instant(now) + self._timeouts.grant(_span(ttl))
            self.rows.refresh(connection, lock.id, now, milliseconds(expires_at))
            found = self.rows.find(connection, lock.id, now)
            assert found is not None
            return found[0]

        return work

    def releasing(self, known: Lock | str, holder: str | None) -> Callable[[Connection], None]:
        """End a lock, which may be over already."""

        def work(connection: Connection) -> None:
            _, now = self.rows.take_turn(connection)
            try:
                lock = self._mine(connection, known, holder, now)
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
            _, now = self.rows.take_turn(connection)
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
                self.rows.end(connection, lock.id, at, EventKind.BROKEN, by=by, reason=reason)
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
            for token in tokens:
                known = self.rows.find(connection, token, now)
                ended = None if known is None else known[1]
                if known is not None and ended is not None and ended.how is EventKind.BROKEN:
                    broken = Break(known[0].id, ended.at, ended.by, ended.reason)
                    return msgspec.structs.replace(refused, broken=broken), now
            return refused, now

        return work

    def lost(self, connection: Connection, lock: Lock) -> LockLostError:
        """What is to be raised about `lock`."""
        found = self.rows.find(connection, lock.id, self.rows.time(connection))
        return LockLostError(lock.root.text, None if found is None else found[1])

    def _mine(self, connection: Connection, known: Lock | str, holder: str | None, now: int) -> Lock:
        """The lock, if it is held, and the holder's. Raises LockLostError, NotHolderError."""
        token = known.token if isinstance(known, Lock) else known
        name = known.root.text if isinstance(known, Lock) else "this resource"
        found = self.rows.find(connection, token, now)
        if found is None or found[0].token != token:
            raise LockLostError(name, None)
        lock, ended = found
        if ended is not None:
            raise LockLostError(lock.root.text, ended)
        if holder is not None and decide_holder(lock, lock.root, holder) is not None:
            msg = f"{lock.principal} holds the lock on {lock.root}"
            raise NotHolderError(msg)
        return lock


def path_of(resource: str | ResourcePath) -> ResourcePath:
    """The canonical path. Raises InvalidPathError, a ValueError."""
    path = resource if isinstance(resource, ResourcePath) else ResourcePath.from_text(resource)
    if len(path.text) > LONGEST_PATH:
        msg = f"the path is longer than {LONGEST_PATH} characters"
        raise InvalidPathError(msg)
    return path


def _span(seconds: float | None) -> timedelta | None:
    if seconds is None:
        return None
    return FOREVER if seconds >= FOREVER.total_seconds() else timedelta(seconds=seconds)


def answer_of(refused: Refused, now: int, resource: ResourcePath, condition: Condition) -> LockedAnswer:
    """The 423 for a refusal at `now` (milliseconds, by the database's clock)."""
    return refused_answer(refused, resource, condition, instant(now))
