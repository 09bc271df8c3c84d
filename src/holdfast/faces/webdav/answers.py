"""Refusals as responses: the 423 and the 207 that stand for one, the 412 and the rest.

Owns: which of the service's refusals becomes which WebDAV answer (RFC 4918 sections 9.6.1, 9.9.2,
9.10.3, 16). Must not know: what a 423 looks like; that is `wire.locked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.core.decisions import Contention, Refusal, Refused, Standing
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.errors import RefusalError
from holdfast.wire.davxml_write import (
    XML_CONTENT_TYPE,
    Condition,
    condition_xml,
    error_element,
    render_multistatus,
    status_response,
)
from holdfast.wire.exchange import Request, Response
from holdfast.wire.locked import (
    ContendingLock,
    LockedAnswer,
    locked_conditions,
    locked_response,
    retry_after,
)
from holdfast.wire.problem import render_refusal
from holdfast.wire.sentences import broken_text

__all__ = ["refusal_answer", "refused"]

_OFFICE: Final = ("Microsoft", "MSOffice", "DavClnt")
"""What is found in user agents that read X-MSDAVEXT_ERROR (MS-WDV section 2.2.3)."""

_MOST_MEMBERS: Final = 100
"""Members that one 207 names; the client has to look again in any case."""


def refusal_answer(request: Request, error: RefusalError) -> Response:
    """A refusal in the form that the client reads."""
    condition = None if error.condition is None else condition_xml(error.condition)
    response = render_refusal(error.status, "", error.detail, condition, request.headers.get(b"accept"))
    response.headers.extend(error.headers)
    return response


def refused(call: Call, refusal: Refused, *, scope_status: int = 412) -> Response:
    """The answer to a refusal of the lock service.

    `scope_status` is what `lock-token-matches-request-uri` goes with: 409 for UNLOCK, 412 for a refresh.
    """
    kind = refusal.refusal
    if kind is Refusal.LOCKED:
        return _locked(call, refusal, Condition.LOCK_TOKEN_SUBMITTED)
    if kind is Refusal.CONFLICT:
        return _locked(call, refusal, Condition.NO_CONFLICTING_LOCK)
    if kind is Refusal.CONDITION_FAILED:
        detail = "A precondition of the request is false: the resource or its locks are not as the request assumes."
        return refusal_answer(call.request, RefusalError(412, f"{_note(call, refusal)}{detail}"))
    if kind is Refusal.NOT_IN_SCOPE:
        detail = _note(call, refusal) + (
            "No lock with this token covers this resource. It may have expired, been released, or belong elsewhere; "
            "PROPFIND lockdiscovery tells what is held now."
        )
        condition = Condition.LOCK_TOKEN_MATCHES_REQUEST_URI
        return refusal_answer(call.request, RefusalError(scope_status, detail, condition=condition))
    if kind is Refusal.NOT_HOLDER:
        holder = refusal.contentions[0].lock.principal
        return refusal_answer(
            call.request, RefusalError(403, f"The lock was created by {holder}, who alone may use it.")
        )
    detail = "No more locks can be kept: release some, or ask the administrator to raise the limit."
    return refusal_answer(call.request, RefusalError(507, detail))


def _note(call: Call, refusal: Refused) -> str:
    """What a former holder is told of the end of his lock, with a space behind it; empty for anybody else."""
    broken = refusal.broken
    if broken is None:
        return ""
    offset = call.site.clock.wall_offset()
    return broken_text(broken.actor, broken.reason, broken.at + offset, call.site.clock.now() + offset) + " "


def _locked(call: Call, refusal: Refused, condition: Condition) -> Response:
    members = _only_members(call, refusal.contentions)
    if members:
        return _multistatus(call, members, condition, refusal)
    answer = _answer(call, call.resource, refusal.contentions, condition, refusal.line, _note(call, refusal).rstrip())
    client = call.client
    office = client != "" and any(mark in client for mark in _OFFICE)
    return locked_response(answer, call.header(b"accept"), office=office)


def _answer(
    call: Call,
    resource: ResourcePath,
    contentions: Iterable[Contention],
    condition: Condition,
    line: Standing | None,
    note: str = "",
) -> LockedAnswer:
    distinct = {item.lock.id: item.lock for item in contentions}
    clock = call.site.clock
    lengths = {} if line is None else line.lengths
    return LockedAnswer(
        resource=resource,
        locks=tuple(
            [
                ContendingLock.of(lock, root_href=_root_href(call, lock.root), queue_length=lengths.get(lock.id, 0))
                for lock in distinct.values()
            ]
        ),
        condition=condition,
        now=clock.now(),
        wall_offset=clock.wall_offset(),
        note=note,
        line=line,
    )


def _root_href(call: Call, root: ResourcePath) -> str:
    """The root's URL, with its slash where it is a collection (RFC 4918 section 5.2), as one above the request's is."""
    if root == call.resource and not call.names_collection:
        return root.href()  # a document as a rule: not worth a look at the disk
    is_collection = call.resource.is_below(root)
    if not is_collection and root.is_at_or_below(call.site.mount):
        found = call.site.folder.stat(call.site.inside(root))
        is_collection = found is not None and found.is_collection
    return root.href(collection=is_collection)


def _only_members(call: Call, contentions: tuple[Contention, ...]) -> dict[ResourcePath, list[Contention]]:
    """By resource, when all in the way lies below what the request changes; empty when that itself is locked."""
    if not contentions or contentions[0].resource == call.resource:
        return {}
    method = call.request.method
    trees = [call.resource] if method != "COPY" else []  # nothing in a COPY's source stands in its way
    if method in {"COPY", "MOVE"} and call.destination is not None:
        trees.append(call.destination)
    by_resource: dict[ResourcePath, list[Contention]] = {}
    for item in contentions:
        if not any(item.resource.is_below(tree) for tree in trees):
            return {}
        by_resource.setdefault(item.resource, []).append(item)
    return by_resource


def _multistatus(
    call: Call, members: dict[ResourcePath, list[Contention]], condition: Condition, refusal: Refused
) -> Response:
    """207: each member in the way with its own 423 and error element (RFC 4918 sections 9.6.1, 9.8.5, 9.9.2)."""
    note = _note(call, refusal).rstrip()
    responses: list[str] = []
    longest = 1
    for resource, contentions in list(members.items())[:_MOST_MEMBERS]:
        answer = _answer(call, resource, contentions, condition, refusal.line, note)
        longest = max(longest, retry_after(answer))
        responses.append(status_response(resource.href(), 423, error_element(locked_conditions(answer))))
    if condition is Condition.NO_CONFLICTING_LOCK:
        # Only LOCK names the Request-URI too (section 9.10.3); DELETE, COPY and MOVE leave 424 out.
        responses.append(status_response(call.resource.href(collection=True), 424))
    headers = [("Content-Type", XML_CONTENT_TYPE), ("Cache-Control", "no-store"), ("Retry-After", str(longest))]
    return Response(207, headers, render_multistatus(responses))
