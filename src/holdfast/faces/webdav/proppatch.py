"""PROPPATCH (RFC 4918 section 9.2): set and remove dead properties, all or none.

Owns: which properties may be set, and the few that act on the document itself (its modification time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from holdfast.core.decisions import Refused
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.answers import refused
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import precondition_of
from holdfast.faces.webdav.effects import refuse_too_many_properties, stored, write_of
from holdfast.faces.webdav.live import DAV, PROTECTED
from holdfast.store.protocol import WriteTransaction
from holdfast.wire.davxml import ChangeKind, PropertyChange, parse_proppatch
from holdfast.wire.davxml_write import (
    XML_CONTENT_TYPE,
    Condition,
    condition_xml,
    empty_property,
    error_element,
    propstat,
    render_multistatus,
    response,
)
from holdfast.wire.exchange import Response
from holdfast.wire.rfc9110 import parse_http_date

__all__ = ["proppatch"]

_WIN32: Final = "urn:schemas-microsoft-com:"


def proppatch(call: Call) -> Response:
    """Apply the changes in document order, or none of them when one is refused (424 for the others)."""
    call.existing()
    changes = parse_proppatch(call.body_bytes(), call.site.settings.xml)
    protected = {(change.namespace, change.name) for change in changes} & PROTECTED

    def apply(tx: WriteTransaction) -> None:
        if protected:
            return
        for change in changes:
            if change.kind is ChangeKind.SET:
                tx.put_property(stored(call, change))
            else:
                tx.remove_property(call.resource, change.namespace, change.name)
        refuse_too_many_properties(call, tx)
        for change in changes:
            modified = _modified_ns(change)
            if modified is not None:
                call.site.folder.set_modified(call.inside, modified)

    answer = call.site.service.write(write_of(call), apply, precondition=precondition_of(call))
    if isinstance(answer, Refused):
        return refused(call, answer)
    return Response(
        207, [("Content-Type", XML_CONTENT_TYPE)], _report(call.resource, changes, protected), awaits_sync=True
    )


def _report(resource: ResourcePath, changes: Sequence[PropertyChange], protected: set[tuple[str, str]]) -> bytes:
    # 207 with 200 inside also for success: Windows takes a 204 for "507 Insufficient Storage".
    names = dict.fromkeys((change.namespace, change.name) for change in changes)
    good = "".join(empty_property(*name) for name in names if name not in protected)
    bad = "".join(empty_property(*name) for name in names if name in protected)
    propstats = propstat(424 if bad else 200, good) if good else ""
    if bad:
        cause = error_element(condition_xml(Condition.CANNOT_MODIFY_PROTECTED_PROPERTY))
        propstats += propstat(403, bad, cause)
    return render_multistatus([response(resource.href(), propstats)])


def _unix_seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _http_date_seconds(text: str) -> int | None:
    moment: datetime | None = parse_http_date(text)
    return None if moment is None else int(moment.timestamp())


_MODIFIED: Final[dict[tuple[str, str], tuple[Callable[[str], int | None], ...]]] = {
    # The Windows client sets the time of the document it has just uploaded; lost otherwise (GCDWebServer issue 319).
    (_WIN32, "Win32LastModifiedTime"): (_http_date_seconds,),
    # rclone, for servers without X-OC-Mtime.
    (DAV, "lastmodified"): (_unix_seconds, _http_date_seconds),
}
"""Properties that are kept like any other and also set the modification time, with the forms of their value."""


def _modified_ns(change: PropertyChange) -> int | None:
    readers = _MODIFIED.get((change.namespace, change.name))
    if readers is None or change.kind is not ChangeKind.SET:
        return None
    for read in readers:
        seconds = read(change.text.strip())
        if seconds is not None:
            return seconds * 1_000_000_000
    return None
