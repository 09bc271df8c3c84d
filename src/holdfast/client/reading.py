"""Reading a refusal as locked, of any server: a response -> LockedDetails, or None.

Owns: which statuses and forms count, in which order the families of `bodies` are asked, and how their answers are put
together. Must not know: how to send anything. It is pure, reads a bounded part of a body, and raises for nothing that
a server can send. Nothing at another origin is ever taken for the resource.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeAlias

import msgspec

from holdfast.client.bodies import (
    coded,
    dav,
    dropbox,
    fields,
    graph,
    lfs,
    nextcloud,
    plain,
    problem,
    records,
    terraform,
    vendor_xml,
)
from holdfast.client.bodies.found import MAX_LOCKS, Asked, Found
from holdfast.client.bodies.prose import read_sentence
from holdfast.client.bodies.values import JsonObject, json_list, json_object, json_value, retry_after, text
from holdfast.client.details import KnownLock, LockedDetails, LockedKind
from holdfast.client.errors import LockedError
from holdfast.client.exchange import MAX_BODY, MAX_MULTISTATUS, ClientResponse
from holdfast.wire.xmlread import Element, XmlError, XmlLimits, parse_xml

__all__ = ["raise_for_locked", "read_locked"]

_JsonReader: TypeAlias = Callable[[JsonObject, Asked], Found | None]
_XmlReader: TypeAlias = Callable[[Element, Asked], Found | None]
_FieldsReader: TypeAlias = Callable[[Asked], Found | None]

# In the order in which they are asked; the first that knows a body has it.
_JSON: Final[tuple[_JsonReader, ...]] = (
    problem.read_holdfast,
    nextcloud.read_ocs,
    records.read_fhir,
    records.read_4d,
    lfs.read_lfs,
    dropbox.read_dropbox,
    graph.read_graph,
    records.read_drive,
    problem.read_problem,
    terraform.read_terraform,
    nextcloud.read_bookmarks,
    coded.read_coded,
)
_XML: Final[tuple[_XmlReader, ...]] = (
    dav.read_error,
    dav.read_multistatus,
    nextcloud.read_nextcloud_properties,
    dav.read_properties,
    nextcloud.read_ocs_xml,
    vendor_xml.read_sap,
    vendor_xml.read_azure,
)
_FIELDS: Final[tuple[_FieldsReader, ...]] = (
    fields.read_wopi,
    fields.read_azure_fields,
    fields.read_tus,
    fields.read_aspnet,
    fields.read_shopify,
    fields.read_hubspot,
)

_CONFLICTS: Final = frozenset({409, 412})
# Services that say "locked" with a status that means other things elsewhere.
_OTHER_STATUSES: Final[dict[str, frozenset[int]]] = {
    "4d": frozenset({200}),
    "ably": frozenset({400}),
    "autodesk": frozenset({403}),
    "box": frozenset({403}),
    "docusign": frozenset({400, 403}),
    "dropbox": frozenset({200}),
    "fhir": frozenset({403, 503}),
    "github": frozenset({403}),
    "google-drive": frozenset({403}),
    "microsoft-graph": frozenset({403}),
    "nextcloud": frozenset({200, 500}),
    "sap-adt": frozenset({403}),
}
_ANY_STATUS: Final = _CONFLICTS.union(*_OTHER_STATUSES.values())
# What a body under 200 must hold to be worth parsing: most 200s are no refusals, and none of them must cost.
_SIGNS: Final = (b"__STATUS", b"lock_conflict", b"file_locked", b"statuscode")

_SMALL_XML: Final = XmlLimits(MAX_BODY, 64, 5_000)
_LARGE_XML: Final = XmlLimits(MAX_MULTISTATUS, 64, 60_000)
_DESCRIBED_BY: Final = re.compile(r"<([^<>\s]{1,4096})>\s{0,5};[^,<>]{0,200}?\brel=\"?describedby\b", re.IGNORECASE)
_MAX_LINK: Final = 8192


def read_locked(response: object, *, conflicts: bool = False, own: Collection[str] = ()) -> LockedDetails | None:
    """What a response says of a lock in the way; None where it is no refusal as locked.

    `response` is anything that `ClientResponse.of` takes; TypeError is raised for what has no status, and nothing else ever.
    A 423 is always read, a 207 or a 424 where a member is locked. With `conflicts`, so are the 409 and 412 of services
    that say "locked" that way, and other statuses of services that are known to, where the body or fields say so.
    `own` holds ids of locks, or URLs or paths of lock roots, that the caller has: where all that is in the way are
    these, the kind is MINE_WITHOUT_TOKEN.

    >>> body = b'{"lock": {"id": "7", "path": "a.psd", "owner": {"name": "Ada"}}, "message": "already locked"}'
    >>> read_locked((409, {}, body, "https://git.example/locks"))
    >>> read_locked((409, {}, body, "https://git.example/locks"), conflicts=True).holder
    'Ada'
    """
    answer = ClientResponse.of(response)
    status = answer.status
    if status not in {207, 423, 424} and not (conflicts and status in _ANY_STATUS):
        return None
    asked = Asked(answer, answer.answered_at)
    founds = [found for found in _founds(asked) if _counts(found, status)]
    if not founds and status != 423:
        return None
    return _details(founds, asked, own)


def raise_for_locked(
    response: object, *, conflicts: bool = False, own: Collection[str] = (), waited: float = 0.0, attempts: int = 1
) -> None:
    """Raise LockedError where the response is a refusal as locked (see `read_locked`); otherwise do nothing.

    `waited` (seconds) and `attempts` are what the caller has spent already, for the error to tell.

    >>> raise_for_locked((204, {}, b"", "http://127.0.0.1:4230/dav/a"))
    """
    details = read_locked(response, conflicts=conflicts, own=own)
    if details is not None:
        raise LockedError(details, response, waited=waited, attempts=attempts)


def _counts(found: Found, status: int) -> bool:
    """Whether what a family made of an answer is a refusal as locked, under that status."""
    if status == 423:
        return True
    if status in {207, 424}:
        return found.service in {"webdav", "sabre", "holdfast"}
    return found.is_certain and (status in _CONFLICTS or status in _OTHER_STATUSES.get(found.service, ()))


def _founds(asked: Asked) -> Iterator[Found]:
    """What each part of the answer says, the most telling first."""
    if asked.status not in {207, 424}:
        for read in _FIELDS:
            found = read(asked)
            if found is not None:
                yield found
                break
    found = _from_body(asked)
    if found is not None:
        yield found
    found = fields.read_office(asked)
    if found is not None:
        yield found


def _from_body(asked: Asked) -> Found | None:
    status = asked.status
    body = asked.response.body[: MAX_MULTISTATUS if status in {207, 424} else MAX_BODY]
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if status in {207, 424}:
        worth = b"423" in body or b"lock-token-submitted" in body or b"no-conflicting-lock" in body
        root = _xml(body, _LARGE_XML) if worth else None
        return None if root is None else dav.read_multistatus(root, asked)
    if status == 200 and not any(sign in body for sign in _SIGNS):
        return None
    if start in {b"{", b"[", b'"'}:
        value = json_value(body)
        if value is not None:
            return _from_json(value, asked)
    if start == b"<" or body[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\x00" in body[:4]:
        return _from_xml(body, asked)
    return plain.read_text(body, asked)


def _from_json(value: object, asked: Asked) -> Found | None:
    if isinstance(value, str):
        return read_sentence(value, asked)
    members = json_object(value) or json_object(next(iter(json_list(value)), None))
    for read in _JSON if members else ():
        found = read(members, asked)
        if found is not None:
            return found
    return None


def _from_xml(body: bytes, asked: Asked) -> Found | None:
    root = _xml(body, _SMALL_XML)
    if root is None or root.name.lower() == "html":
        return None
    for read in _XML:
        found = read(root, asked)
        if found is not None:
            return found
    return vendor_xml.read_words(root, asked)


def _xml(body: bytes, limits: XmlLimits) -> Element | None:
    try:
        return parse_xml(body, limits)
    except XmlError:
        return None


def _details(founds: list[Found], asked: Asked, own: Collection[str]) -> LockedDetails:
    """Put together: the first that says a thing is believed."""
    service = next((found.service for found in founds), "")
    locks = _linked(next((found.locks for found in founds if found.locks), ())[:MAX_LOCKS], asked, service)
    kind = next((found.kind for found in founds if found.kind is not LockedKind.UNKNOWN), LockedKind.UNKNOWN)
    if kind is LockedKind.UNKNOWN and any(lock.holder or lock.owner or lock.id for lock in locks):
        kind = LockedKind.HELD_BY_OTHER
    if locks and own and all(_is_own(lock, own) for lock in locks):
        kind = LockedKind.MINE_WITHOUT_TOKEN
    url = next((found.resource for found in founds if found.resource), "")
    url = url or next((lock.url for lock in locks if lock.url), "") or asked.response.url
    asked_for = retry_after(asked.headers.get("retry-after"), asked.answered_at)
    if asked_for is None:
        asked_for = next((found.retry_after for found in founds if found.retry_after is not None), None)
    return LockedDetails(
        status=asked.status,
        kind=kind,
        resource=next((found.name for found in founds if found.name), "") or asked.path(url),
        url=url,
        locks=locks,
        retry_after=asked_for,
        code=next((found.code for found in founds if found.code), ""),
        message=next((found.message for found in founds if found.message), ""),
        service=service,
        queue_length=next((found.queue_length for found in founds if found.queue_length is not None), None),
        position=next((found.position for found in founds if found.position is not None), None),
        is_partial=any(found.is_partial for found in founds),
        answered_at=asked.answered_at,
        candidates=_candidates(url, locks, asked),
    )


def _linked(locks: tuple[KnownLock, ...], asked: Asked, service: str) -> tuple[KnownLock, ...]:
    """The locks with where to read of each: `Link: <...>; rel="describedby"` (RFC 8288), one for each lock, in their order.

    Where the body tells of none, the fields do. In Holdfast's the last part is the lock's id.
    """
    link = asked.headers.get("link", "")[:_MAX_LINK]
    links = [asked.url(match[1]) for match in _DESCRIBED_BY.finditer(link)]
    if not locks:
        return tuple(asked.lock(about=about) for about in links if about)[:MAX_LOCKS]
    if len(links) != len(locks):
        return locks
    return tuple(
        lock
        if lock.about
        else msgspec.structs.replace(
            lock, about=about, id=lock.id or (text(about.rpartition("/")[2]) if service == "holdfast" else "")
        )
        for lock, about in zip(locks, links, strict=True)
    )


def _is_own(lock: KnownLock, own: Collection[str]) -> bool:
    """Whether the caller has it; a slash at the end of a URL does not count."""
    names = {lock.id, lock.url.rstrip("/"), lock.resource.rstrip("/")} - {""}
    return any(name.rstrip("/") in names for name in own)


def _candidates(url: str, locks: tuple[KnownLock, ...], asked: Asked) -> tuple[str, ...]:
    """Where the lock may be discovered: its root, the request's URL, the Destination, and their parents."""
    request, destination = asked.response.url, asked.url(asked.response.destination)
    known = [*(lock.url for lock in locks), url, request, destination]
    parents = [
        asked.url(f"{candidate.partition('?')[0].rstrip('/').rpartition('/')[0]}/")
        for candidate in (request, destination)
        if candidate
    ]
    return tuple(dict.fromkeys(candidate for candidate in [*known, *parents] if candidate))
