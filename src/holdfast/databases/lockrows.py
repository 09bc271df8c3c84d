"""The rows of a LockTable: its tables, the database's own clock in them, and what is done with them inside one transaction.

Owns: the columns and the statements. Must not know: engines, retries, who asks. The rules are those of `core.decisions`.

Theory of operation: whoever grants a lock takes the counter's row first, by an UPDATE: on PostgreSQL and MySQL that locks the row, on
SQLite the database, until the end of the transaction. So the grants of all processes are serial, nothing comes between the look at what
is held and the grant, and the fencing token is the counter's new value. A refused request rolls that back; one that takes a place in line
(`lockplaces`) gives the token back. A lock that has ended stays as a row for a day, so that its former holder can be told how.

A lock's own row is share-locked by each transaction that writes under it, and whoever ends the lock, refreshes it or gives its place away
locks it exclusively, and so waits for them. Where that is a grant, it does not wait with the counter's row in its hands, for then all
others would wait, too: it gives up (RowsBusyError), waits for the row alone, and begins anew. The end of a lock that nobody has ended
(its time ran out, a break with a grace has come) is written down before its place is given away; `ended` says whether that has been done.
On MySQL all rows are locked by their ids, one by one: a range would lock the rows and the gaps beside it, which are of other locks.

Instants are whole milliseconds since 1970 by the clock of the database, which all processes share: such a number
is compared alike everywhere, whatever time zone a session has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from holdfast.core.model import Depth, EventKind, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.databases.rowvalues import LONGEST_PATH, instant, milliseconds

__all__ = [
    "ENDED_FOR",
    "DatabaseNow",
    "Ended",
    "LockRows",
    "RowsBusyError",
    "beneath",
    "exact",
    "sayable",
]

ENDED_FOR: Final = timedelta(days=1)
"""For how long a former holder is told how the lock ended."""

_NOT_WRITTEN_DOWN: Final = ("", EventKind.BREAKING.value)
_MOST_FORGOTTEN: Final = 200
_BY_ID: Final = "FORCE INDEX (PRIMARY)"  # a small table would be scanned, and all of its rows be locked
_MILLISECOND: Final = timedelta(milliseconds=1)


class Ended(msgspec.Struct, frozen=True):
    """How a lock ended: RELEASED, EXPIRED or BROKEN; `by` and `reason` are empty where nobody ended it."""

    how: EventKind
    at: datetime
    by: str = ""
    reason: str = ""


class RowsBusyError(Exception):
    """Ends a transaction that is not to wait for a lock's row: somebody writes under it, or has changed it just now."""

    def __init__(self, lock_id: str) -> None:
        """`lock_id` is the row to wait for, alone."""
        super().__init__(lock_id)
        self.lock_id = lock_id


class DatabaseNow(FunctionElement[int]):
    """Milliseconds since 1970 by the database's clock at this statement, not at the beginning of the transaction."""

    type = BigInteger()
    inherit_cache = True


@compiles(DatabaseNow, "sqlite")
def _now_sqlite(_element: DatabaseNow, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


@compiles(DatabaseNow, "postgresql")
def _now_postgres(_element: DatabaseNow, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(DatabaseNow, "mysql")
@compiles(DatabaseNow, "mariadb")
def _now_mysql(_element: DatabaseNow, _compiler: SQLCompiler, **_: Any) -> str:
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"  # UNIX_TIMESTAMP reads local time


def exact(length: int) -> String:
    """Text that is compared byte by byte: two paths that differ in case only are two, and their order is that of `/`.

    A type of MySQL's own would not do: a migration that Alembic writes on another database would not import it.
    """
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


class LockRows:
    """The tables of the locks and of the counter, in a MetaData, and what is done with them on a connection that is in a transaction."""

    def __init__(self, metadata: MetaData, name: str, now: ColumnElement[int] | None = None) -> None:
        """`now` stands in for the database's clock, in tests."""
        self.now: ColumnElement[int] = DatabaseNow() if now is None else now
        self.table = Table(
            name,
            metadata,
            Column("id", exact(64), primary_key=True),
            Column("token", exact(64), nullable=False, unique=True),
            Column("root", exact(LONGEST_PATH), nullable=False, index=True),
            Column("scope", String(16), nullable=False),
            Column("depth", String(16), nullable=False),
            Column("principal", String(255), nullable=False),
            Column("owner", String(1000), nullable=False),
            Column("reason", String(1000), nullable=False),
            Column("client", String(255), nullable=False),
            Column("fencing_token", BigInteger, nullable=False, unique=True),
            Column("created_at_ms", BigInteger, nullable=False),
            Column("refreshed_at_ms", BigInteger, nullable=False),
            Column("expires_at_ms", BigInteger, nullable=True),
            Column("ended_at_ms", BigInteger, nullable=True),
            Column("ended", String(16), nullable=False),
            Column("ended_by", String(255), nullable=False),
            Column("ended_reason", String(1000), nullable=False),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mariadb_engine="InnoDB",
            mariadb_charset="utf8mb4",
        )
        self.counter = Table(
            f"{name}_counter",
            metadata,
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("last_fencing_token", BigInteger, nullable=False),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )

    def take_turn(self, connection: Connection, *, mints: bool = False) -> tuple[int, int]:
        """The last fencing token, a new one if it `mints`, and the time in milliseconds.

        Nobody else is granted a lock before this transaction has ended.
        """
        counter = self.counter
        last = counter.c.last_fencing_token
        step = update(counter).where(counter.c.id == 1).values(last_fencing_token=last + int(mints))
        while not connection.execute(step).rowcount:
            # The first one of all, or somebody has emptied the table: never below what has been given out.
            highest = select(func.coalesce(func.max(self.table.c.fencing_token), 0)).scalar_subquery()
            try:
                with connection.begin_nested():
                    connection.execute(
                        insert(counter).from_select(["id", "last_fencing_token"], select(text("1"), highest))
                    )
            except IntegrityError:
                continue  # another one was quicker
        row = connection.execute(select(counter.c.last_fencing_token, self.now).where(counter.c.id == 1)).one()
        return int(row[0]), int(row[1])

    def give_back(self, connection: Connection) -> None:
        """The fencing token that this transaction's turn has minted is not used."""
        last = self.counter.c.last_fencing_token
        connection.execute(update(self.counter).where(self.counter.c.id == 1).values(last_fencing_token=last - 1))

    def time(self, connection: Connection) -> int:
        """The database's time in milliseconds."""
        return int(connection.execute(select(self.now)).scalar_one())

    def held(self, connection: Connection, root: ResourcePath, now: int, *, below: bool) -> list[Lock]:
        """The locks that cover `root`, and with `below` those beneath it; expired and broken ones are none."""
        columns = self.table.c
        place: ColumnElement[bool] = columns.root.in_(root.lineage)
        if below:
            place = or_(place, beneath(columns.root, root))
        rows = connection.execute(select(self.table).where(place, self._is_live(now)).order_by(columns.fencing_token))
        found = [lock_of(row) for row in rows]
        return [lock for lock in found if lock.covers(root) or (below and lock.root.is_below(root))]

    def find(self, connection: Connection, known: str, now: int) -> tuple[Lock, Ended | None] | None:
        """By id or token, held or not; with how it ended, where it has."""
        columns = self.table.c
        query = select(self.table).where(or_(columns.id == known, columns.token == known))
        row = connection.execute(query).one_or_none()
        return None if row is None else (lock_of(row), ended_of(row, now))

    def put(self, connection: Connection, lock: Lock) -> None:
        """Keep a new lock."""
        connection.execute(
            insert(self.table).values(
                id=lock.id,
                token=lock.token,
                root=lock.root.text,
                scope=lock.scope.value,
                depth=lock.depth.value,
                principal=lock.principal,
                owner=sayable(lock.owner, 1000),
                reason=sayable(lock.reason, 1000),
                client=sayable(lock.client, 255),
                fencing_token=lock.fencing_token,
                created_at_ms=milliseconds(lock.created_at),
                refreshed_at_ms=milliseconds(lock.refreshed_at),
                expires_at_ms=None if lock.expires_at is None else milliseconds(lock.expires_at),
                ended="",
                ended_by="",
                ended_reason="",
            )
        )

    def refresh(self, connection: Connection, lock_id: str, now: int, expires_at: int) -> None:
        """Set a new end."""
        changed = update(self.table).where(self.table.c.id == lock_id)
        connection.execute(changed.values(refreshed_at_ms=now, expires_at_ms=expires_at))

    def end(self, connection: Connection, lock_id: str, at: int, how: EventKind, *, by: str, reason: str = "") -> None:
        """Set its end: how it ended at `at`, or BREAKING where that lies ahead."""
        changed = update(self.table).where(self.table.c.id == lock_id)
        connection.execute(
            changed.values(ended_at_ms=at, ended=how.value, ended_by=by[:255], ended_reason=sayable(reason, 1000))
        )

    def take_row(self, connection: Connection, *, lock_id: str = "", token: str = "") -> None:
        """Let nobody else change this lock, or write under it, before the end of this transaction; wait for whoever does so."""
        columns = self.table.c
        one = columns.id == lock_id if lock_id else columns.token == token
        if connection.dialect.name == "sqlite":  # knows no locks on rows: the write lock is taken instead
            connection.execute(update(self.table).where(one).values(client=columns.client))
        else:
            connection.execute(select(columns.id).where(one).with_for_update()).all()

    def seize(self, connection: Connection, ids: Sequence[str], now: int, *, live: bool) -> list[Row[Any]]:
        """These rows, for this transaction alone, as they are now: all of them held at `now`, or none.

        Raises RowsBusyError where one of them is another one's, or is not so any more.
        """
        found = {row.id: row for row in self._free(connection, ids)}
        for lock_id in ids:
            row = found.get(lock_id)
            if row is None or (ended_of(row, now) is None) is not live:
                raise RowsBusyError(lock_id)
        return [found[lock_id] for lock_id in ids]

    def tidy(self, connection: Connection, root: ResourcePath, now: int) -> None:
        """Write down the end of what is in the way of a new lock on `root` no more, and forget what ended long ago.

        A row is changed before its place is given to another lock, so a guarded transaction that is still at work under it has ended
        before that. Raises RowsBusyError where it has not.
        """
        columns = self.table.c
        near = or_(columns.root.in_(root.lineage), beneath(columns.root, root))
        over = select(columns.id).where(near, columns.ended.in_(_NOT_WRITTEN_DOWN), not_(self._is_live(now)))
        ids = connection.execute(over).scalars().all()
        for row in self.seize(connection, ids, now, live=False) if ids else []:
            ended = ended_of(row, now)
            assert ended is not None
            at = milliseconds(ended.at)
            self.end(connection, row.id, at, ended.how, by=ended.by, reason=ended.reason)
        long_ago = columns.ended_at_ms <= now - ENDED_FOR // _MILLISECOND
        old = connection.execute(select(columns.id).where(near, long_ago).limit(_MOST_FORGOTTEN)).scalars().all()
        if old:
            for row in self._free(connection, old):
                connection.execute(delete(self.table).where(columns.id == row.id))

    def stands(self, lock: Lock) -> ColumnElement[bool]:
        """True in SQL while `lock` is held; its row can neither be broken nor given away before the end of the transaction that asked."""
        columns = self.table.c
        row = select(columns.id).where(
            columns.id == lock.id, columns.fencing_token == lock.fencing_token, self._is_live(self.now)
        )
        return exists(row.with_for_update(read=True))

    def hold_row(self, connection: Connection, lock: Lock) -> bool:
        """Whether `lock` is held; if so, it stays so until the end of this transaction."""
        columns = self.table.c
        mine = and_(columns.id == lock.id, columns.fencing_token == lock.fencing_token, self._is_live(self.now))
        if connection.dialect.name == "sqlite":  # knows no locks on rows: the write lock is taken instead
            return bool(connection.execute(update(self.table).where(mine).values(client=columns.client)).rowcount)
        found = connection.execute(select(columns.id).where(mine).with_for_update(read=True))
        return found.one_or_none() is not None

    def _free(self, connection: Connection, ids: Sequence[str]) -> Sequence[Row[Any]]:
        """Those of these rows that nobody else has locked, for this transaction alone."""
        query = select(self.table).where(self.table.c.id.in_(ids)).with_for_update(skip_locked=True)
        for dialect in ("mysql", "mariadb"):
            query = query.with_hint(self.table, _BY_ID, dialect)
        return connection.execute(query).all()

    def _is_live(self, now: int | ColumnElement[int]) -> ColumnElement[bool]:
        columns = self.table.c
        return and_(
            or_(columns.ended_at_ms.is_(None), columns.ended_at_ms > now),
            or_(columns.expires_at_ms.is_(None), columns.expires_at_ms > now),
        )


def beneath(column: ColumnElement[str], root: ResourcePath) -> ColumnElement[bool]:
    """True for the paths strictly below `root`."""
    return and_(column >= root.prefix, column < root.prefix[:-1] + "0")  # "0" is the character after "/"


def sayable(text: str, longest: int) -> str:
    """What a column of this length can keep of a text."""
    return text.replace("\0", "")[:longest]  # PostgreSQL keeps no NUL


def lock_of(row: Row[Any]) -> Lock:
    """The lock that a row keeps; its end is the earlier one where somebody has set one."""
    ends = [ms for ms in (row.expires_at_ms, row.ended_at_ms) if ms is not None]
    return Lock(
        id=row.id,
        token=row.token,
        root=ResourcePath(row.root),
        scope=LockScope(row.scope),
        depth=Depth(row.depth),
        principal=row.principal,
        owner=row.owner,
        owner_xml=None,
        reason=row.reason,
        client=row.client,
        face=Face.API,
        fencing_token=row.fencing_token,
        created_at=instant(row.created_at_ms),
        refreshed_at=instant(row.refreshed_at_ms),
        expires_at=instant(min(ends)) if ends else None,
    )


def ended_of(row: Row[Any], now: int) -> Ended | None:
    """How the lock of a row ended, by what came first; None while it is held."""
    expires, ended = row.expires_at_ms, row.ended_at_ms
    if expires is not None and expires <= now and (ended is None or ended > expires):
        return Ended(EventKind.EXPIRED, instant(expires))
    if ended is None or ended > now:
        return None
    how = EventKind(row.ended)
    how = EventKind.BROKEN if how is EventKind.BREAKING else how
    return Ended(how, instant(ended), row.ended_by, row.ended_reason)
