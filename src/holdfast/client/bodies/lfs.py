"""Git LFS file locks: `{"lock": {...}, "message"}` of a 409 or 423 (Git LFS locking API).

Owns: its members. Must not know: other JSON.
"""

from __future__ import annotations

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.values import JsonObject, instant, json_object, member, text, words
from holdfast.client.details import LockedKind

__all__ = ["read_lfs"]


def read_lfs(value: JsonObject, asked: Asked) -> Found | None:
    """A lock with id, path, locked_at and owner. The path is the repository's, and no URL."""
    lock = json_object(value.get("lock"))
    path = text(lock.get("path"))
    if not path or not ("locked_at" in lock or "owner" in lock):
        return None
    known = asked.lock(
        holder=text(member(lock, "owner", "name")),
        since=instant(lock.get("locked_at")),
        until=instant(lock.get("expires_at")),
        id=text(lock.get("id")),
    )
    return Found(
        service="git-lfs",
        kind=LockedKind.HELD_BY_OTHER,
        message=words(value.get("message")),
        locks=(known,),
        name=path,
    )
