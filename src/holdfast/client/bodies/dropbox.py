"""Dropbox: the union member `lock_conflict`, of a whole answer or of one entry of it.

Owns: its shape. Must not know: other JSON.
"""

from __future__ import annotations

from typing import Final

from holdfast.client.bodies.found import MAX_LOCKS, Asked, Found
from holdfast.client.bodies.values import JsonObject, instant, json_object, member, objects_in, text, words
from holdfast.client.details import KnownLock, LockedKind

__all__ = ["read_dropbox"]

_TAGS: Final = frozenset({"lock_conflict", "file_locked", "lock_conflict_error"})


def read_dropbox(value: JsonObject, asked: Asked) -> Found | None:
    """A `.tag` of a lock conflict anywhere in it, each with the lock in the way where it is told."""
    locks: list[KnownLock] = []
    code = ""
    for item in objects_in(value):
        tag = item.get(".tag")
        if not isinstance(tag, str) or tag not in _TAGS:
            continue
        code = code or tag
        content = json_object(member(item, "lock", "content"))
        if content:
            locks.append(
                asked.lock(
                    holder=text(content.get("lock_holder_account_id")),
                    owner=text(content.get("lock_holder_team_id")),
                    since=instant(content.get("created")),
                )
            )
    if not code:
        return None
    return Found(
        service="dropbox",
        kind=LockedKind.HELD_BY_OTHER,
        code=code,
        message=words(value.get("error_summary")),
        locks=tuple(locks[:MAX_LOCKS]),
    )
