"""If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since for WebDAV's methods (RFC 9110 section 13).

Owns: asking them about the state at the moment of the check. The rules are in `wire.rfc9110`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.errors import RefusalError
from holdfast.files import Resource
from holdfast.wire.rfc9110 import (
    EntityTag,
    Preconditions,
    evaluate_preconditions,
    parse_entity_tag,
    parse_preconditions,
)

__all__ = ["current_tag", "judge", "modified_at", "precondition_of", "refuse_false_condition"]

_FIELDS = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"))


def current_tag(resource: Resource | None) -> EntityTag | None:
    """The resource's entity tag as a value; None for a collection, and for nothing."""
    return parse_entity_tag(resource.etag) if resource is not None and resource.etag else None


def modified_at(resource: Resource) -> datetime:
    """The resource's modification time."""
    return datetime.fromtimestamp(resource.modified_ns / 1_000_000_000, tz=UTC)


def refuse_false_condition(call: Call) -> None:
    """412 where a read's If header is false; it makes any method conditional (RFC 4918 section 10.4.1)."""
    condition = call.condition
    if condition is not None and not call.site.service.holds(condition):
        raise RefusalError(412, "The If header is false: the resource or its locks are not as it says.")


def judge(call: Call, resource: Resource | None) -> Literal[304, 412] | None:
    """What the request's conditional fields say of a state; None where they have nothing against it."""
    headers = call.request.headers
    if not headers.has_any(_FIELDS):
        return None
    return _evaluate(call.request.method, parse_preconditions(headers), resource)


def precondition_of(call: Call) -> Callable[[], bool] | None:
    """A check to run inside the transaction of a change; None where the request sets no condition.

    davfs2 sends `If-None-Match: *` with LOCK of a new document and relies on it.
    """
    headers = call.request.headers
    if not headers.has_any(_FIELDS):
        return None
    conditions = parse_preconditions(headers)
    method, folder, inside = call.request.method, call.site.folder, call.inside
    return lambda: _evaluate(method, conditions, folder.stat(inside)) is None


def _evaluate(method: str, conditions: Preconditions, resource: Resource | None) -> Literal[304, 412] | None:
    return evaluate_preconditions(
        method,
        conditions,
        current=current_tag(resource),
        modified_at=None if resource is None else modified_at(resource),
        exists=resource is not None,
    )
