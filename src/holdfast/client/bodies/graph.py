"""Microsoft Graph and OneDrive: `{"error": {"code", "message", "innerError"}}`, and the beta's `lockInfo`.

Owns: their codes. Must not know: other JSON errors (see `coded`).
"""

from __future__ import annotations

from typing import Final

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import is_said_to_be_locked, told
from holdfast.client.bodies.values import JsonObject, instant, json_object, objects_in, text, words
from holdfast.client.details import KnownLock, LockedKind

__all__ = ["read_graph"]

_CODES: Final = {
    "resourcelocked": LockedKind.HELD_BY_OTHER,
    "locked": LockedKind.HELD_BY_OTHER,
    "lockownermismatch": LockedKind.HELD_BY_OTHER,
    "resourcecheckedout": LockedKind.HELD_BY_OTHER,
    "lockmismatch": LockedKind.BAD_TOKEN,
    "locknotfoundoralreadyexpired": LockedKind.BAD_TOKEN,
    "notallowed": LockedKind.UNKNOWN,
    "accessdenied": LockedKind.UNKNOWN,
}


def read_graph(value: JsonObject, asked: Asked) -> Found | None:
    """Graph's errors; the inner codes are more to the point than the outer one, and the words than both."""
    error = json_object(value.get("error"))
    inner = json_object(error.get("innerError") or error.get("innererror"))
    if not isinstance(error.get("code"), str) or not inner:
        return None
    codes = [text(error.get("code")), *(text(item.get("code")) for item in objects_in(inner))]
    message = words(error.get("message"))
    code, kind = codes[0], LockedKind.UNKNOWN
    for candidate in codes:
        meaning = _CODES.get(candidate.lower(), LockedKind.UNKNOWN)
        if meaning is not LockedKind.UNKNOWN:
            code, kind = candidate, meaning
    lowered = message.lower()
    if "lock token" in lowered:
        kind = LockedKind.BAD_TOKEN
    elif kind is LockedKind.UNKNOWN and (is_said_to_be_locked(message) or "locked for" in lowered):
        kind = LockedKind.HELD_BY_OTHER
    facts = told(message)
    lock = _lock_info(value, asked)
    if lock is None and facts.holder:
        lock = asked.lock(holder=facts.holder, since=facts.since, until=facts.until)
    return Found(
        service="microsoft-graph",
        kind=kind,
        code=code,
        message=message,
        locks=() if lock is None else (lock,),
        is_certain=kind is not LockedKind.UNKNOWN,
    )


def _lock_info(value: JsonObject, asked: Asked) -> KnownLock | None:
    info = next((json_object(item["lockInfo"]) for item in objects_in(value) if "lockInfo" in item), None)
    if not info:
        return None
    owners = info.get("owners")
    names = [
        text(item.get("displayName")) or text(item.get("email"))
        for item in objects_in(owners)
        if "displayName" in item or "email" in item
    ]
    return asked.lock(
        holder=next((name for name in names if name), ""),
        since=instant(info.get("createdDateTime")),
        until=instant(info.get("expirationDateTime")),
        scope="shared" if "shared" in text(info.get("lockType")).lower() else "",
    )
