"""What the rows of the locks' table mean, at an instant of the database's clock, and that clock.

Owns: making the values of `core.model` of rows, and which of them are held. Must not know: who asks, requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import BigIntegerField, Func, Q

from holdfast.core.model import Break, Depth, Event, EventKind, Face, LockScope
from holdfast.core.model import Lock as HeldLock
from holdfast.core.paths import ResourcePath
from holdfast.databases.rowvalues import instant
from holdfast.finding import Found
from holdfast.integrations.django.models import Lock

__all__ = ["HeldState", "NowMs", "event_of", "found_of", "held_rows", "lock_of"]


class NowMs(Func):
    """Milliseconds since 1970 by the database's clock at this statement, not at the beginning of the transaction."""

    template = ""  # a database that is none of these three says so: it has no default
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """`julianday` is in UTC."""
        said = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
        return self.as_sql(compiler, connection, template=said, **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """`now()` would stand still during a transaction."""
        said = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        return self.as_sql(compiler, connection, template=said, **more)

    def as_mysql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """UNIX_TIMESTAMP would read local time."""
        said = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"
        return self.as_sql(compiler, connection, template=said, **more)


class HeldState:
    """What an If header may ask: the live locks by their tokens. Nothing is known of entity tags here."""

    def __init__(self, held: Iterable[HeldLock]) -> None:
        """Those that are named in it."""
        self._by_token = {lock.token: lock for lock in held}

    def matching_lock(self, token: str) -> HeldLock | None:
        """As StateLookup.matching_lock."""
        return self._by_token.get(token)

    def etag_of(self, resource: ResourcePath) -> str | None:
        """As StateLookup.etag_of."""
        return None


def held_rows(using: str) -> Any:
    """The rows of all locks that are held, as a query."""
    held = Q(ended_at_ms__isnull=True) | Q(ended_at_ms__gt=NowMs())
    return Lock.objects.using(using).filter(held, Q(expires_at_ms__isnull=True) | Q(expires_at_ms__gt=NowMs()))


def lock_of(row: Lock) -> HeldLock:
    """The lock that a row keeps."""
    return HeldLock(
        id=row.id,
        token=row.token,
        root=ResourcePath(row.root),
        scope=LockScope(row.scope),
        depth=Depth(row.depth),
        principal=row.holder,
        owner=row.owner,
        owner_xml=None,
        reason=row.reason,
        client=row.client,
        face=Face.API,
        fencing_token=row.fencing_token,
        created_at=row.since,
        refreshed_at=row.refreshed_at,
        expires_at=row.expires_at,
    )


def found_of(row: Lock, now: int, queue_length: int = 0) -> Found:
    """The same, with the break that is to end it, and how many wait for that."""
    pending = None
    if row.ended_at_ms is not None and row.ended_at_ms > now:
        pending = Break(row.id, instant(row.ended_at_ms), row.ended_by, row.ended_reason)
    return Found(lock_of(row), pending, queue_length)


def event_of(row: Lock, now: int) -> Event | None:
    """How the lock has ended, by what came first; None while it is held."""
    expires, ended = row.expires_at_ms, row.ended_at_ms
    if expires is not None and expires <= now and (ended is None or ended > expires):
        return Event.about(lock_of(row), EventKind.EXPIRED, instant(expires), actor="")
    if ended is None or ended > now:
        return None
    how = EventKind(row.ended_how)
    how = EventKind.BROKEN if how is EventKind.BREAKING else how
    return Event.about(lock_of(row), how, instant(ended), actor=row.ended_by, reason=row.ended_reason)
