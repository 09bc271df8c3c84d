"""A locked database as the 423 that a web application answers: the same value that a Holdfast server renders.

Owns: which refusals of a database are a 423, and what of its holders a client may read. Must not know: frameworks, headers, Accept.

What is not a 423 is None here: a fault of the program (its own cursor, its own LOCK TABLES) is a 500, and so is a session that an
administrator has ended. A stale snapshot is a 423 too, although nobody holds anything any more: the request was refused for what
another one did at the same time, nothing of it was done, and the very same request may be sent again at once. A 409 would tell the
client to change its request first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Face, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import Dialect, LockKind
from holdfast.databases.holders import Holder
from holdfast.databases.patience import DatabaseLockedError
from holdfast.databases.telling import holders_of, holders_of_async
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import ContendingLock, LockedAnswer, locked_detail
from holdfast.wire.locked import Holder as ShownHolder

if TYPE_CHECKING:
    from holdfast.databases.connecting import Target

__all__ = [
    "RETRY_SECONDS",
    "LockedAnswer",
    "answer_error",
    "answer_error_async",
    "locked_answer",
    "refused_answer",
    "sentence_of",
]

RETRY_SECONDS: Final = {LockKind.HELD: 2, LockKind.STALE: 1, LockKind.DEADLOCK: 1}
"""Retry-After by the kind of refusal; a kind that is not in here is no 423. Transactions are short, and have no set end."""

_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


def locked_answer(
    locked: LockedDatabase,
    holders: Sequence[Holder] = (),
    *,
    resource: ResourcePath | str = "/",
    now: datetime | None = None,
    waited: float = 0.0,
) -> LockedAnswer | None:
    """The 423 for a refusal, to be rendered by `holdfast.wire.locked`; None where it is none.

    `resource` is what the client asked for. `waited` (seconds) is for how long it has been known to be locked: a holder
    whose database does not tell since when is said to hold it since then. A holder's statement, host, command line and account on this machine are never told.

    >>> import sqlite3
    >>> error = sqlite3.OperationalError("database is locked")
    >>> error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    >>> from holdfast.wire.locked import locked_detail, retry_after
    >>> answer = locked_answer(classify(error), resource="/orders/42")
    >>> retry_after(answer), locked_detail(answer)
    (2, 'The database is locked: another connection has locked the database. Your change was not made. Try again soon.')
    """
    seconds = RETRY_SECONDS.get(locked.kind)
    if seconds is None:
        return None
    path = resource if isinstance(resource, ResourcePath) else ResourcePath.from_text(resource)
    at = datetime.now(UTC) if now is None else now
    shown = [holder for holder in holders if holder.is_in_the_way and not holder.is_waiting] or list(holders)
    return LockedAnswer(
        resource=path,
        locks=tuple(_contending(holder, path, at, waited) for holder in shown),
        condition=Condition.LOCK_TOKEN_SUBMITTED,
        now=at,
        note=f"The database is locked: {locked.sentence}.",
        most_retry=seconds,
    )


def answer_error(
    error: BaseException,
    asked: Target | None = None,
    *,
    resource: ResourcePath | str = "/",
    now: datetime | None = None,
    statement: str | None = None,
) -> LockedAnswer | None:
    """The 423 for whatever an application's handler caught; None where it is about something else.

    `asked` is the engine (or what `who` takes) that is asked for the holders, where the error does not bring them already.
    """
    found = _read(error, statement)
    if found is None:
        return None
    locked, holders, waited = found
    if not holders and asked is not None and locked.kind is LockKind.HELD:
        holders = holders_of(asked)
    return locked_answer(locked, holders, resource=resource, now=now, waited=waited)


async def answer_error_async(
    error: BaseException,
    asked: Target | None = None,
    *,
    resource: ResourcePath | str = "/",
    now: datetime | None = None,
    statement: str | None = None,
) -> LockedAnswer | None:
    """The same, asking an asynchronous engine."""
    found = _read(error, statement)
    if found is None:
        return None
    locked, holders, waited = found
    if not holders and asked is not None and locked.kind is LockKind.HELD:
        holders = await holders_of_async(asked)
    return locked_answer(locked, holders, resource=resource, now=now, waited=waited)


def _read(error: BaseException, statement: str | None) -> tuple[LockedDatabase, Sequence[Holder], float] | None:
    if isinstance(error, DatabaseLockedError):
        return error.locked, error.holders, error.waited
    locked = classify(error, statement=statement)
    return None if locked is None else (locked, (), 0.0)


def _contending(holder: Holder, path: ResourcePath, now: datetime, waited: float) -> ContendingLock:
    since = holder.since
    if since is None:
        since = now - timedelta(seconds=waited if holder.held_s is None else holder.held_s)
    program = holder.program_name
    number = "another connection" if holder.pid is None else f"process {holder.pid}"
    # An account of the database is a name of the application's; one of this machine is nobody's business who comes over the web.
    name = number if holder.dialect is Dialect.SQLITE else holder.user or program or number
    return ContendingLock(
        id=_NOT_IN_AN_ID.sub("-", holder.id) or "unknown",
        root=path,
        root_href=path.href(),
        scope=LockScope.EXCLUSIVE,
        depth=Depth.ZERO,
        holder=ShownHolder(name, "", program),
        reason=holder.doing,
        face=Face.API,
        created_at=since,
        expires_at=None,
        url="",
    )


def refused_answer(refused: Refused, resource: ResourcePath, condition: Condition, now: datetime) -> LockedAnswer:
    """The 423 of a LockTable: its locks have no address of their own, unless `links` are put in."""
    return LockedAnswer.of(refused, resource, condition, now=now, wall_offset=timedelta())


def sentence_of(answer: LockedAnswer) -> str:
    """What the 423 says to a person."""
    return locked_detail(answer)
