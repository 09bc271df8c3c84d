"""The places of those who wait for locks in Django's own database: what is done with their rows inside one transaction.

Owns: the queries. Must not know: whose turn it is (`core.queueing`), what a lock is, requests.

A place is taken, and given up, by whoever has the counter's row (see `database`), so the numbers of places rise in the order in which
those who wait have come. It counts until `kept_until_ms` alone, whether or not anybody has removed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Func, Max, Q

from holdfast.core.model import Depth, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.databases.lockwaiting import LineOf, Sought
from holdfast.databases.rowvalues import CHUNK, FEW, LEASE_MS, MOST_LAPSED, instant, waiter_of
from holdfast.integrations.django.models import LockPlace

__all__ = ["Places"]


class Places:
    """The line in the database `using`; `clock` is that database's."""

    def __init__(self, using: str, clock: Func) -> None:
        """Ask nothing of the database yet."""
        self._using = using
        self._clock = clock

    def is_empty(self) -> bool:
        """True where nobody waits, and nobody has left anything behind."""
        return not self._rows().exists()

    def find(self, lock_id: str) -> Waiter | None:
        """Who waits, or has waited, for the lock that will have this id."""
        row = self._rows().filter(id=lock_id).first()
        return None if row is None or row.id != lock_id else waiter_of(row)

    def reading(self, now: int) -> LineOf:
        """Who lives at `now` (milliseconds) and waits for anything that a lock of a root and depth would meet."""
        return lambda root, depth: self._line(root, depth, now)

    def before(self, lock_id: str, root: ResourcePath, depth: Depth, seq: int) -> Iterator[tuple[Waiter, datetime]]:
        """A place, if it is there, and the living ones before it, from the last one on; each with the time.

        One SELECT, of a few, and a second one where more of them are asked for.
        """
        ahead = _near(root, depth) & Q(seq__lt=seq, kept_until_ms__gt=self._clock)
        query = self._rows().filter(Q(id=lock_id) | ahead).annotate(now=self._clock).order_by("-seq")
        found = list(query[:FEW])
        yield from ((waiter_of(row), instant(int(row.now))) for row in found)
        if len(found) == FEW:
            yield from ((waiter_of(row), instant(int(row.now))) for row in query.filter(seq__lt=found[-1].seq))

    def enter(self, lock_id: str, sought: Sought, principal: str, owner: str, now: int) -> Waiter:
        """A place at the end of the line, under the id of the lock that is asked for. What others have left behind is removed."""
        lapsed = self._rows().filter(kept_until_ms__lte=now)
        ids = list(lapsed.values_list("id", flat=True)[:MOST_LAPSED])
        if ids:  # by their ids: no other row is locked by that
            lapsed.filter(id__in=ids).delete()
        row = LockPlace(
            id=lock_id,
            seq=(self._rows().aggregate(last=Max("seq"))["last"] or 0) + 1,
            root=sought.root.text,
            scope=sought.scope.value,
            depth=sought.depth.value,
            principal=principal,
            owner=owner[:1000],
            entered_at_ms=now,
            kept_until_ms=now + LEASE_MS,
        )
        row.save(using=self._using, force_insert=True)
        return waiter_of(row)

    def renew(self, lock_id: str, seq: int, *, even_lapsed: bool = False) -> bool:
        """Keep it from now on; False where it is gone, or has lapsed already: others may have passed it since.

        `even_lapsed` is for a transaction that has the counter's row, and has found it alive: nobody has.
        """
        mine = self._rows().filter(id=lock_id, seq=seq)
        if not even_lapsed:
            mine = mine.filter(kept_until_ms__gt=self._clock)
        return bool(mine.update(kept_until_ms=self._clock + LEASE_MS))

    def remove(self, lock_id: str, seq: int) -> None:
        """Harmless when it is gone."""
        self._rows().filter(id=lock_id, seq=seq).delete()

    def _line(self, root: ResourcePath, depth: Depth, now: int) -> Iterator[Waiter]:
        seq = 0
        while True:
            query = self._rows().filter(_near(root, depth), kept_until_ms__gt=now, seq__gt=seq).order_by("seq")
            found = list(query[:CHUNK])
            yield from map(waiter_of, found)
            if len(found) < CHUNK:
                return
            seq = found[-1].seq

    def _rows(self) -> Any:
        return LockPlace.objects.using(self._using)


def _near(root: ResourcePath, depth: Depth) -> Q:
    near = Q(root__in=root.lineage)
    return near | Q(root__startswith=root.prefix) if depth is Depth.INFINITY else near
