"""OPTIONS, GET and HEAD (RFC 9110 section 9.3, RFC 4918 sections 9.4 and 10.1).

A write lock never stops a read (RFC 4918 section 7): nothing here asks the lock service, but the
listing page, which shows who holds what.
"""

from __future__ import annotations

import secrets
from typing import BinaryIO, Final

from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import current_tag, judge, modified_at, refuse_false_condition
from holdfast.faces.webdav.errors import RefusalError
from holdfast.faces.webdav.visible import visible_members
from holdfast.files import Resource
from holdfast.wire.davxml_write import iso_instant
from holdfast.wire.exchange import FileRegion, Response
from holdfast.wire.rfc9110 import UNSATISFIABLE, ByteRange, http_date, parse_range, range_applies, render_content_range
from holdfast.wire.sentences import clock_text, holder_text
from holdfast.wire.webpages import HTML_CONTENT_TYPE, PAGE_POLICY, ListingEntry, render_listing

__all__ = ["ALLOWED", "CLASSES", "get", "options"]

_WHOLE_BYTES: Final = 64 * 1024
"""A document up to this size is read at once: cheaper than to hand the file over."""

CLASSES: Final = "1, 2, 3, extended-mkcol"
"""The DAV field (RFC 4918 section 18; RFC 5689 section 3.1). Finder mounts read-only without 2."""

ALLOWED: Final = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"


def options() -> Response:
    """OPTIONS of any URL, mapped or not, with or without credentials.

    The Windows client asks before it has any, and gives up on 401 (sftpgo issue 614).
    """
    return Response(
        200,
        [
            ("DAV", CLASSES),
            ("Allow", ALLOWED),
            ("MS-Author-Via", "DAV"),  # makes the Windows client and Office choose WebDAV
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "no-cache"),
        ],
    )


def get(call: Call) -> Response:
    """GET and HEAD: a document or ranges of it, or a collection's listing page."""
    refuse_false_condition(call)
    opened = call.site.folder.open(call.inside)
    if opened is None:
        return _collection(call)
    file, resource = opened
    kept = False
    try:
        response = _document(call, file, resource)
        kept = isinstance(response.body, list)  # whoever sends the file closes it
    finally:
        if not kept:
            file.close()
    return response


def _document(call: Call, file: BinaryIO, resource: Resource) -> Response:
    verdict = judge(call, resource)
    headers = _validators(resource)
    if verdict == 304:
        return Response(304, headers)
    if verdict == 412:
        raise RefusalError(412, "A precondition of the request is false for the document as it is now.")
    ranges = None
    asked = call.header(b"range")
    if asked is not None and call.request.method == "GET":
        matches = range_applies(
            call.header(b"if-range"), current=current_tag(resource), modified_at=modified_at(resource)
        )
        ranges = parse_range(asked, resource.size) if matches else None
    media_type = resource.media_type or "application/octet-stream"
    if ranges is None:
        headers.append(("Content-Type", media_type))
        whole = file.read(_WHOLE_BYTES + 1) if resource.size <= _WHOLE_BYTES and call.request.method == "GET" else b""
        # A document may grow while it is read: then the bytes that its entity tag stands for are sent from the file.
        if whole and len(whole) == resource.size:
            return Response(200, headers, whole)
        return Response(200, headers, [FileRegion(file, 0, resource.size)])
    if ranges is UNSATISFIABLE:
        raise RefusalError(
            416,
            f"The document has {resource.size} bytes, and the range asked for lies outside of it.",
            headers=(("Content-Range", render_content_range(None, resource.size)),),
        )
    return _partial(file, resource, ranges, media_type, headers)


def _partial(
    file: BinaryIO, resource: Resource, ranges: tuple[ByteRange, ...], media_type: str, headers: list[tuple[str, str]]
) -> Response:
    if len(ranges) == 1:
        part = ranges[0]
        headers += [("Content-Type", media_type), ("Content-Range", render_content_range(part, resource.size))]
        return Response(206, headers, [FileRegion(file, part.offset, part.length)])
    boundary = secrets.token_hex(12)
    body: list[bytes | FileRegion] = []
    for part in ranges:
        place = render_content_range(part, resource.size)
        body.append(f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {place}\r\n\r\n".encode())
        body.append(FileRegion(file, part.offset, part.length))
    body.append(f"\r\n--{boundary}--\r\n".encode())
    headers.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Response(206, headers, body)


def _collection(call: Call) -> Response:
    """200 with a page: LibreOffice cannot save into a collection that answers 404 to GET or HEAD."""
    call.existing()
    above, direct = call.site.service.discover_members(call.resource)
    offset = call.site.clock.wall_offset()
    now = call.site.clock.now() + offset
    entries: list[ListingEntry] = []
    for member in visible_members(call, call.resource):
        path = ResourcePath(call.resource.prefix + member.path.name)
        locks = [*direct.get(path.text, ()), *above]
        lock = next(iter(locks), None)
        until = None if lock is None or lock.expires_at is None else lock.expires_at + offset
        changed = modified_at(member)
        entries.append(
            ListingEntry(
                name=path.name,
                href=path.href(collection=member.is_collection),
                is_collection=member.is_collection,
                size=member.size,
                modified_text=clock_text(changed, now),
                modified_iso=iso_instant(changed),
                locked_by="" if lock is None else holder_text(lock.principal, lock.owner),
                lock_id="" if lock is None else lock.id,
                locked_more=max(0, len(locks) - 1),
                locked_until_text="" if until is None else clock_text(until, now),
                locked_until_iso="" if until is None else iso_instant(until),
            )
        )
    headers = [
        ("Content-Type", HTML_CONTENT_TYPE),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", PAGE_POLICY),
        ("X-Content-Type-Options", "nosniff"),
    ]
    top = call.site.mount.href(collection=True)
    return Response(200, headers, render_listing(call.resource.prefix, entries, top=top))


def _validators(resource: Resource) -> list[tuple[str, str]]:
    return [
        ("ETag", resource.etag or ""),
        ("Last-Modified", http_date(resource.modified_ns // 1_000_000_000)),
        ("Accept-Ranges", "bytes"),
        # Stored, but asked again each time: the next reader sees the last save.
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        # A document shown in a browser may not act as a page of this server.
        ("Content-Security-Policy", "sandbox"),
    ]
