"""Terraform's and OpenTofu's state locks: the LockInfo that a state server answers a refused LOCK or POST with.

Owns: its members, whose case does not count, since Go does not count it either. Must not know: other JSON.
"""

from __future__ import annotations

from typing import Final

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.values import JsonObject, folded, instant, text, words
from holdfast.client.details import LockedKind

__all__ = ["read_terraform"]

_MEMBERS: Final = frozenset({"id", "operation", "info", "who", "version", "created", "path"})


def read_terraform(value: JsonObject, asked: Asked) -> Found | None:
    """A LockInfo: an ID, and at least one of Who and Operation."""
    info = folded(value)
    if not text(info.get("id")) or not (text(info.get("who")) or text(info.get("operation"))):
        return None
    if len(_MEMBERS & info.keys()) < 3 and len(info) > 3:
        return None
    lock = asked.lock(
        holder=text(info.get("who")),
        since=instant(info.get("created")),
        id=text(info.get("id")),
        reason=words(info.get("info")),
        program=f"Terraform {text(info.get('version'))}".strip(),
    )
    return Found(service="terraform", kind=LockedKind.HELD_BY_OTHER, message=text(info.get("operation")), locks=(lock,))
