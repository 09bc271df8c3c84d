"""The places of those who wait for locks of a LockTable: one more table, and what is done with it inside one transaction.

Owns: the columns and the statements. Must not know: whose turn it is (`core.queueing`), engines, who asks.

Theory of operation: a place is taken, and given up, by whoever has the counter's row (see `lockrows`), so the numbers of places rise in the
order in which those who wait have come, and nothing is granted between the look at the line and the grant. A place counts until
`kept_until_ms` alone, whether or not anybody has removed it; its waiter's sign of life changes that one row, and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from holdfast.core.model import Depth, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.databases.lockrows import beneath, exact, sayable
from holdfast.databases.lockwaiting import LineOf
from holdfast.databases.rowvalues import CHUNK, FEW, LEASE_MS, LONGEST_PATH, MOST_LAPSED, instant, waiter_of

__all__ = ["LockPlaces"]


class LockPlaces:
    """The table, in a MetaData; every method works on a connection that is in a transaction."""

    def __init__(self, metadata: MetaData, name: str, now: ColumnElement[int]) -> None:
        """`name` is that of the locks' table, `now` the database's clock."""
        self._now = now
        self.table = Table(
            f"{name}_places",
            metadata,
            Column("id", exact(64), primary_key=True),
            Column("seq", BigInteger, nullable=False, unique=True),
            Column("root", exact(LONGEST_PATH), nullable=False, index=True),
            Column("scope", String(16), nullable=False),
            Column("depth", String(16), nullable=False),
            Column("principal", String(255), nullable=False),
            Column("owner", String(1000), nullable=False),
            Column("entered_at_ms", BigInteger, nullable=False),
            Column("kept_until_ms", BigInteger, nullable=False),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mariadb_engine="InnoDB",
            mariadb_charset="utf8mb4",
        )

    def is_empty(self, connection: Connection) -> bool:
        """True where nobody waits, and nobody has left anything behind."""
        return connection.execute(select(self.table.c.id).limit(1)).first() is None

    def find(self, connection: Connection, lock_id: str) -> Waiter | None:
        """Who waits, or has waited, for the lock that will have this id."""
        row = connection.execute(select(self.table).where(self.table.c.id == lock_id)).one_or_none()
        return None if row is None else waiter_of(row)

    def line(self, connection: Connection, root: ResourcePath, depth: Depth, now: int) -> Iterator[Waiter]:
        """Who lives and waits for anything that a lock would meet, in order; read as far as it is asked for."""
        columns = self.table.c
        seq = 0
        while True:
            query = select(self.table).where(self._near(root, depth), columns.kept_until_ms > now, columns.seq > seq)
            found = connection.execute(query.order_by(columns.seq).limit(CHUNK)).all()
            yield from map(waiter_of, found)
            if len(found) < CHUNK:
                return
            seq = found[-1].seq

    def reading(self, connection: Connection, now: int) -> LineOf:
        """`line`, for a root and a depth."""
        return lambda root, depth: self.line(connection, root, depth, now)

    def before(
        self, connection: Connection, lock_id: str, root: ResourcePath, depth: Depth, seq: int
    ) -> Iterator[tuple[Waiter, datetime]]:
        """A place, if it is there, and the living ones before it, from the last one on; each with the time.

        One SELECT, of a few, and a second one where more of them are asked for.
        """
        columns = self.table.c
        ahead = and_(self._near(root, depth), columns.seq < seq, columns.kept_until_ms > self._now)
        query = select(self.table, self._now.label("now")).where(or_(columns.id == lock_id, ahead))
        query = query.order_by(columns.seq.desc())
        found = connection.execute(query.limit(FEW)).all()
        yield from ((waiter_of(row), instant(int(row.now))) for row in found)
        if len(found) == FEW:
            rest = connection.execute(query.where(columns.seq < found[-1].seq)).all()
            yield from ((waiter_of(row), instant(int(row.now))) for row in rest)

    def enter(self, connection: Connection, wanted: Lock, now: int) -> Waiter:
        """A place at the end of the line, under the id of the lock that is asked for. What others have left behind is removed."""
        columns = self.table.c
        lapsed = connection.execute(select(columns.id).where(columns.kept_until_ms <= now).limit(MOST_LAPSED)).scalars()
        ids = lapsed.all()
        if ids:  # by their ids: no other row is locked by that
            connection.execute(delete(self.table).where(columns.id.in_(ids), columns.kept_until_ms <= now))
        last = connection.execute(select(func.max(columns.seq))).scalar_one()
        values = {
            "id": wanted.id,
            "seq": (last or 0) + 1,
            "root": wanted.root.text,
            "scope": wanted.scope.value,
            "depth": wanted.depth.value,
            "principal": wanted.principal,
            "owner": sayable(wanted.owner, 1000),
            "entered_at_ms": now,
            "kept_until_ms": now + LEASE_MS,
        }
        connection.execute(insert(self.table).values(values))
        place = self.find(connection, wanted.id)
        assert place is not None
        return place

    def renew(self, connection: Connection, lock_id: str, seq: int, *, even_lapsed: bool = False) -> bool:
        """Keep it from now on; False where it is gone, or has lapsed already: others may have passed it since.

        `even_lapsed` is for a transaction that has the counter's row, and has found it alive: nobody has.
        """
        columns = self.table.c
        mine = and_(columns.id == lock_id, columns.seq == seq)
        if not even_lapsed:
            mine = and_(mine, columns.kept_until_ms > self._now)
        kept = update(self.table).where(mine).values(kept_until_ms=self._now + literal(LEASE_MS))
        return bool(connection.execute(kept).rowcount)

    def remove(self, connection: Connection, lock_id: str, seq: int) -> None:
        """Harmless when it is gone."""
        connection.execute(delete(self.table).where(self.table.c.id == lock_id, self.table.c.seq == seq))

    def _near(self, root: ResourcePath, depth: Depth) -> ColumnElement[bool]:
        column = self.table.c.root
        on = column.in_(root.lineage)
        return or_(on, beneath(column, root)) if depth is Depth.INFINITY else on
