"""Nextcloud: the lock properties of files_lock, its OCS answers in JSON and XML, and Bookmarks.

Owns: their members. Must not know: sabre's errors (see `dav`). The token that OCS shows is passed over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from holdfast.client.bodies.dav import child
from holdfast.client.bodies.found import MAX_REMAINING, Asked, Found
from holdfast.client.bodies.prose import told
from holdfast.client.bodies.values import JsonObject, instant, json_object, member, seconds, text, words
from holdfast.client.details import KnownLock, LockedKind
from holdfast.wire.davxml import DAV
from holdfast.wire.xmlread import Element

__all__ = ["read_bookmarks", "read_nextcloud_properties", "read_ocs", "read_ocs_xml"]

_NEXTCLOUD: Final = "http://nextcloud.org/ns"
_KINDS_OF_OWNER: Final = {"0": "", "1": "app", "2": "token"}


def read_nextcloud_properties(root: Element, asked: Asked) -> Found | None:
    """The DAV:prop with which a LOCK of a user (X-User-Lock) is refused."""
    if root.name != "prop" or root.namespace != DAV:
        return None
    properties = {item.name: item.text().strip() for item in root.elements() if item.namespace == _NEXTCLOUD}
    if properties.get("lock") != "1":
        return None
    since = instant(properties.get("lock-time"))
    asked_for = seconds(properties.get("lock-timeout"))
    until = None
    if since is not None and asked_for is not None and 0 < asked_for <= MAX_REMAINING:
        try:
            until = since + timedelta(seconds=asked_for)
        except OverflowError:
            until = None
    lock = asked.lock(
        holder=text(properties.get("lock-owner-displayname")) or text(properties.get("lock-owner")),
        owner=text(properties.get("lock-owner")),
        since=since,
        until=until,
        endless=asked_for is not None and asked_for < 0,
        program=text(properties.get("lock-owner-editor")),
        reason=_KINDS_OF_OWNER.get(properties.get("lock-owner-type", ""), ""),
    )
    return Found(service="nextcloud", kind=LockedKind.HELD_BY_OTHER, locks=(lock,))


def read_ocs(value: JsonObject, asked: Asked) -> Found | None:
    """The OCS envelope with statuscode 423, whatever the status around it, with the lock as its data."""
    ocs = value.get("ocs")
    if member(ocs, "meta", "statuscode") != 423:
        return None
    return _ocs(words(member(ocs, "meta", "message")), json_object(member(ocs, "data")), asked)


def read_ocs_xml(root: Element, asked: Asked) -> Found | None:
    """The same as XML, which OCS answers in unless it is asked for JSON."""
    meta = child(root, "meta", "")
    if root.name != "ocs" or meta is None:
        return None
    said = {item.name: item.text().strip() for item in meta.elements()}
    if said.get("statuscode") != "423":
        return None
    data = child(root, "data", "")
    members: dict[str, object] = {} if data is None else {item.name: item.text() for item in data.elements()}
    return _ocs(words(said.get("message")), members, asked)


def read_bookmarks(value: JsonObject, _asked: Asked) -> Found | None:
    """`{"status": "error", "data": "Resource is already locked"}`; its locks last half an hour at most."""
    data = value.get("data")
    if value.get("status") != "error" or not isinstance(data, str) or "locked" not in data.lower():
        return None
    return Found(service="nextcloud-bookmarks", kind=LockedKind.HELD_BY_OTHER, message=words(data))


def _ocs(message: str, lock: JsonObject, asked: Asked) -> Found:
    facts = told(message)
    holder = text(lock.get("displayName")) or text(lock.get("userId")) or text(lock.get("owner")) or facts.holder
    eta = seconds(lock.get("eta"))
    locks: tuple[KnownLock, ...] = ()
    if holder or lock:
        known = asked.lock(
            holder=holder,
            since=instant(lock.get("creation")),
            remaining=eta if eta is not None and eta >= 0 else None,
            endless=eta is not None and eta < 0,
            id=text(lock.get("id")),
        )
        locks = (known,)
    return Found(service="nextcloud", kind=LockedKind.HELD_BY_OTHER, code="423", message=message, locks=locks)
