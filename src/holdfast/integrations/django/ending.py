"""How a lock in Django's own database comes to its end, beside the transactions that write under it.

Owns: writing an end down, and the row locks that it takes. Must not know: who may end a lock, requests.

Theory of operation: whoever writes under a lock has locked its row until the commit, so whoever ends the lock waits for that. A grant gives
the places of locks away that nobody has ended: their time has run out, or a break with a grace has come. It writes that down first, and
where somebody is still at work under one of them it does not wait with the counter's row in its hands, for then everybody
would wait: it gives up (BusyError), waits for that row alone, and begins anew. `ended_how` says what has been written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import F, Q

from holdfast.core.decisions import Effect, Reach, protected_resources
from holdfast.core.model import Depth, EventKind
from holdfast.core.model import Lock as HeldLock
from holdfast.core.paths import ResourcePath
from holdfast.databases.rowvalues import milliseconds
from holdfast.integrations.django.models import Lock
from holdfast.integrations.django.rows import event_of

__all__ = ["BusyError", "covers", "end", "hold_rows", "seize", "wait_for", "write_down"]

_KEPT_MS: Final = 24 * 60 * 60 * 1000
_MOST_FORGOTTEN: Final = 200
_NOT_WRITTEN_DOWN: Final = ("", EventKind.BREAKING.value)


class BusyError(Exception):
    """Ends a transaction that is not to wait for a lock's row: somebody writes under it, or has changed it just now."""

    def __init__(self, lock_id: str) -> None:
        """`lock_id` is the row to wait for, alone."""
        super().__init__(lock_id)
        self.lock_id = lock_id


def covers(held: Sequence[HeldLock], effects: Sequence[Effect]) -> bool:
    """True where each resource that these changes touch is under one of these locks, and all below it where they reach down."""
    trees = {effect.resource for effect in effects if effect.reach is Reach.TREE}
    return all(
        any(lock.covers(path) and (path not in trees or lock.depth is Depth.INFINITY) for lock in held)
        for path in protected_resources(effects)
    )


def end(rows: Any, at: int, how: EventKind, by: str, reason: str) -> bool:
    """Set the end of these rows: how they ended at `at` (milliseconds), or BREAKING where that lies ahead. False where there are none."""
    values = {"ended_at_ms": at, "ended_how": how.value, "ended_by": by[:255], "ended_reason": reason[:1000]}
    return bool(rows.update(**values))


def hold_rows(using: str, tokens: Sequence[str]) -> list[Lock]:
    """The locks of these tokens, held or not, whose rows nobody else changes before the end of this transaction; waits for whoever does."""
    rows = Lock.objects.using(using).filter(token__in=tokens).order_by("id")
    if connections[using].features.has_select_for_update:
        return list(rows.select_for_update())
    # SQLite: the write lock of the whole database is taken instead
    Lock.objects.using(using).filter(token__in=tokens).update(client=F("client"))
    return list(rows)


def seize(using: str, ids: Sequence[str], now: int, *, live: bool) -> list[Lock]:
    """These rows, for this transaction alone, as they are now: all of them held at `now`, or none.

    Raises BusyError where one of them is another one's, or is not so any more.
    """
    found = {row.id: row for row in _free(using, ids)}
    for lock_id in ids:
        if lock_id not in found or (event_of(found[lock_id], now) is None) is not live:
            raise BusyError(lock_id)
    return [found[lock_id] for lock_id in ids]


def wait_for(using: str, lock_id: str) -> None:
    """Wait until nobody is at work under this lock."""
    with transaction.atomic(using=using):
        rows = Lock.objects.using(using).filter(id=lock_id)
        list(rows.select_for_update() if connections[using].features.has_select_for_update else rows)


def write_down(using: str, root: ResourcePath, now: int) -> None:
    """The end of what is in the way of a new lock on `root` no more; and forget what ended long ago.

    Raises BusyError where somebody is still at work under one of them.
    """
    near = Lock.objects.using(using).filter(Q(root__in=root.lineage) | Q(root__startswith=root.prefix))
    over = near.filter(Q(ended_at_ms__lte=now) | Q(expires_at_ms__lte=now), ended_how__in=_NOT_WRITTEN_DOWN)
    for row in seize(using, _ids(over), now, live=False):
        event = event_of(row, now)
        assert event is not None
        rows = Lock.objects.using(using).filter(id=row.id)
        how = event.kind
        end(rows, milliseconds(event.at), how, event.actor, "" if how is EventKind.EXPIRED else event.reason)
    old = near.filter(ended_at_ms__lte=now - _KEPT_MS)
    for row in _free(using, _ids(old[:_MOST_FORGOTTEN])):
        Lock.objects.using(using).filter(id=row.id).delete()


def _ids(rows: Any) -> list[str]:
    return list(rows.values_list("id", flat=True))


def _free(using: str, ids: Sequence[str]) -> Iterable[Lock]:
    """Those of these rows that nobody else has locked. By their ids: on MySQL a range would lock its neighbours, too."""
    if not ids:
        return []
    rows = Lock.objects.using(using).filter(id__in=ids)
    features = connections[using].features
    return list(rows.select_for_update(skip_locked=True) if features.has_select_for_update_skip_locked else rows)
