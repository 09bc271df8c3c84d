"""WebDAV's answers: DAV:error, the members of a 207, lock discovery (RFC 4918 sections 9.6.1, 14 and 16).

Owns: what any server says in the DAV: namespace, what Holdfast adds to it, and what sabre/dav does. Must not know:
Nextcloud's own properties (see `nextcloud`), JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from holdfast.client.bodies.found import MAX_LOCKS, Asked, Found
from holdfast.client.bodies.prose import is_said_to_be_locked, told
from holdfast.client.bodies.values import count, instant, text, words
from holdfast.client.details import KnownLock, LockedKind
from holdfast.wire.davxml import DAV
from holdfast.wire.davxml_write import HOLDFAST
from holdfast.wire.xmlread import Element

__all__ = ["ActiveLock", "active_locks", "child", "children", "read_error", "read_multistatus", "read_properties"]

_SABRE: Final = "http://sabredav.org/ns"

# The precondition codes that speak of locks (RFC 4918 section 16), and what they mean for the one who asked.
_CONDITIONS: Final = {
    "lock-token-submitted": LockedKind.HELD_BY_OTHER,
    "no-conflicting-lock": LockedKind.HELD_BY_OTHER,
    "lock-token-matches-request-uri": LockedKind.BAD_TOKEN,
}
_STATUS_LINE: Final = re.compile(r"\s*HTTP/\d(?:\.\d)?\s+(\d{3})\b", re.ASCII)
_TIMEOUT: Final = re.compile(r"\s*Second-(\d{1,18})\b", re.ASCII | re.IGNORECASE)


class ActiveLock(msgspec.Struct, frozen=True):
    """A DAV:activelock: the lock, and its token where the server shows it, which is a secret and stays out of `repr`."""

    lock: KnownLock
    token: str = ""

    def __repr__(self) -> str:
        return f"ActiveLock({self.lock!r})"


def child(parent: Element, name: str, namespace: str = DAV) -> Element | None:
    """The first child of this name."""
    return next((item for item in parent.elements() if item.name == name and item.namespace == namespace), None)


def children(parent: Element, name: str, namespace: str = DAV) -> list[Element]:
    """The children of this name."""
    return [item for item in parent.elements() if item.name == name and item.namespace == namespace]


def read_error(root: Element, asked: Asked) -> Found | None:
    """A DAV:error (RFC 4918 section 14.5); None for any other element."""
    return _read_error(root, asked, None) if _is(root, "error") else None


def read_multistatus(root: Element, asked: Asked) -> Found | None:
    """The members of a 207 that are locked: by their status, a propstat's, or their error. None where none is.

    424 alone is no proof: it follows from whatever else was refused.
    """
    if not _is(root, "multistatus"):
        return None
    members: list[Found] = []
    for item in children(root, "response"):
        found = _member(item, asked)
        if found is not None:
            members.append(found)
            if len(members) >= MAX_LOCKS:
                break
    if not members:
        return None
    first = members[0]
    locks = dict.fromkeys(lock for found in members for lock in found.locks)
    return Found(
        service=first.service,
        kind=first.kind,
        code=first.code,
        message=first.message or words(_text(root, "responsedescription")),
        locks=tuple(locks)[:MAX_LOCKS],
        resource=first.resource,
        queue_length=first.queue_length,
        position=first.position,
        is_partial=asked.status == 207,
    )


def read_properties(root: Element, asked: Asked) -> Found | None:
    """A DAV:prop with the locks discovered, as the body of a 423."""
    if not _is(root, "prop"):
        return None
    locks = tuple(active.lock for active in active_locks(root, asked))
    return Found(service="webdav", kind=LockedKind.HELD_BY_OTHER, locks=locks) if locks else None


def active_locks(element: Element, asked: Asked, href: str | None = None) -> list[ActiveLock]:
    """The DAV:activelock elements anywhere below (RFC 4918 section 14.1), up to a bound.

    `href` is the lock root where an activelock does not tell it, as RFC 2518 had it.
    """
    found: list[ActiveLock] = []
    for item in _below(element):
        if item.name != "activelock" or item.namespace != DAV:
            continue
        root = child(item, "lockroot")
        token = child(item, "locktoken")
        timeout = _text(item, "timeout")
        seconds = _TIMEOUT.match(timeout)
        scope = child(item, "lockscope")
        lock = asked.lock(
            url=asked.root((None if root is None else _text(root, "href").strip()) or href),
            owner=text(_text(item, "owner")),
            remaining=None if seconds is None else float(seconds[1]),
            endless=timeout.strip().lower().startswith("infinite"),
            scope=next((part.name for part in scope.elements() if part.name in {"exclusive", "shared"}), "")
            if scope is not None
            else "",
            depth=text(_text(item, "depth")).lower(),
        )
        found.append(ActiveLock(lock, "" if token is None else _text(token, "href").strip()))
        if len(found) >= MAX_LOCKS:
            break
    return found


def _read_error(error: Element, asked: Asked, member: str | None) -> Found:
    """What a DAV:error says of the request, or of the `member` of a 207 in whose response it stands."""
    code, kind = "", LockedKind.UNKNOWN
    hrefs: list[str] = []
    for item in error.elements():
        if item.namespace == DAV and item.name in _CONDITIONS:
            code, kind = code or item.name, _CONDITIONS[item.name] if not code else kind
            hrefs.extend(part.text().strip() for part in children(item, "href")[:MAX_LOCKS])
    exception = child(error, "exception", _SABRE)
    note = child(error, "message", _SABRE) or child(error, "detail", HOLDFAST)
    message = "" if note is None else words(note.text())
    locks = [_holdfast_lock(item, asked) for item in children(error, "lock", HOLDFAST)[:MAX_LOCKS]]
    service = "holdfast" if locks or child(error, "queue", HOLDFAST) else "webdav" if exception is None else "sabre"
    if not locks:
        locks = [active.lock for active in active_locks(error, asked, member)]
    facts = told(message)
    known = {lock.url for lock in locks}
    for url in dict.fromkeys(asked.root(href) for href in hrefs):
        if url and url not in known and service != "holdfast":
            locks.append(asked.lock(url=url, holder=facts.holder, since=facts.since, until=facts.until))
    if not code and exception is not None:
        code = text(exception.text()).rpartition("\\")[2]
    certain = bool(code in _CONDITIONS or locks or is_said_to_be_locked(message) or "locked" in code.lower())
    if kind is LockedKind.UNKNOWN and certain:
        kind = LockedKind.HELD_BY_OTHER
    queue = child(error, "queue", HOLDFAST)
    resource = next((url for url in (asked.root(href) for href in [*hrefs, member]) if url), None)
    return Found(
        service=service,
        kind=kind,
        code=code,
        message=message,
        locks=tuple(locks[:MAX_LOCKS]),
        resource=resource,
        queue_length=None if queue is None else _number(queue, "length"),
        position=None if queue is None else _number(queue, "position"),
        is_certain=certain,
    )


def _holdfast_lock(item: Element, asked: Asked) -> KnownLock:
    until = child(item, "until", HOLDFAST)
    return asked.lock(
        url=asked.root(_text(item, "href").strip()),
        holder=text(_text(item, "holder", HOLDFAST)),
        owner=text(_text(item, "owner", HOLDFAST)),
        since=instant(_text(item, "since", HOLDFAST)),
        until=None if until is None else instant(until.text()),
        endless=until is None,
        reason=words(_text(item, "reason", HOLDFAST)),
    )


def _member(response: Element, asked: Asked) -> Found | None:
    href = _text(response, "href").strip()
    errors = children(response, "error")
    locked = _status(response) == 423
    for part in children(response, "propstat"):
        locked = locked or _status(part) == 423
        errors.extend(children(part, "error"))
    for error in errors:
        found = _read_error(error, asked, href)
        if locked or (found.code in _CONDITIONS and found.is_certain):
            return found if found.locks else msgspec.structs.replace(found, locks=_at(href, asked))
    if not locked:
        return None
    return Found(
        service="webdav", kind=LockedKind.HELD_BY_OTHER, locks=_at(href, asked), resource=asked.root(href) or None
    )


def _at(href: str, asked: Asked) -> tuple[KnownLock, ...]:
    """A lock of which no more is known than the member that it protects; none at another server's URL."""
    url = asked.root(href)
    return (asked.lock(url=url),) if url else ()


def _status(element: Element) -> int | None:
    match = _STATUS_LINE.match(_text(element, "status"))
    return None if match is None else int(match[1])


def _is(element: Element, name: str) -> bool:
    return element.name == name and element.namespace == DAV


def _text(parent: Element, name: str, namespace: str = DAV) -> str:
    item = child(parent, name, namespace)
    return "" if item is None else item.text()


def _number(parent: Element, name: str) -> int | None:
    digits = _text(parent, name, HOLDFAST).strip()
    return count(int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _below(element: Element) -> Iterator[Element]:
    todo = [element]
    while todo:
        item = todo.pop()
        yield item
        todo.extend(reversed(item.elements()))
