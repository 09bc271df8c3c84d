"""What rows of locks and of places in line say, whichever library has read them: instants, and who waits.

Owns: the numbers that rows keep and what they mean, once for SQLAlchemy's tables and for Django's. Must not know: SQL, either library.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from holdfast.core.model import Depth, Face, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.core.queueing import PARKED_LEASE

__all__ = ["CHUNK", "FEW", "LEASE_MS", "LONGEST_PATH", "MOST_LAPSED", "instant", "milliseconds", "waiter_of"]

LONGEST_PATH: Final = 700
"""Most characters of a resource's path: MySQL indexes no longer ones."""

LEASE_MS: Final = round(PARKED_LEASE.total_seconds() * 1000)
"""For how long a place in line is kept from its waiter's last sign of life."""

CHUNK: Final = 200
"""Places of a line that are read at once."""

FEW: Final = 16
"""Places before one's own that are read at first."""

MOST_LAPSED: Final = 1000
"""Places that others have left behind, and that are removed at once."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def instant(ms: int) -> datetime:
    """Aware, in UTC; `ms` are milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def milliseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - _EPOCH) // _MILLISECOND


def waiter_of(row: Any) -> Waiter:
    """Who waits in the place that a row keeps: a row of SQLAlchemy's, or an object of Django's, with columns of the same names."""
    return Waiter(
        id=row.id,
        seq=row.seq,
        root=ResourcePath(row.root),
        scope=LockScope(row.scope),
        depth=Depth(row.depth),
        principal=row.principal,
        owner=row.owner,
        owner_xml=None,
        reason="",
        client="",
        face=Face.API,
        asked_s=None,
        endless=False,
        enqueued_at=instant(row.entered_at_ms),
        lease_until=instant(row.kept_until_ms),
    )
