"""LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11).

Owns: what the two methods' headers and bodies ask, and how a grant is answered. The rules of locking
are in `core.decisions`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from holdfast.core.access import Principal, Role
from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Lock
from holdfast.core.timeouts import FOREVER
from holdfast.faces.webdav.answers import refusal_answer, refused
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import precondition_of
from holdfast.faces.webdav.discovery import Shown, activelocks_of
from holdfast.faces.webdav.errors import RefusalError, as_refusal
from holdfast.files import Resource
from holdfast.service import AcquireRequest, Queued, Stay
from holdfast.wire.davxml import parse_lockinfo
from holdfast.wire.davxml_write import XML_CONTENT_TYPE, render_lock_answer
from holdfast.wire.exchange import Response
from holdfast.wire.prefer import parse_prefer
from holdfast.wire.rfc4918 import (
    Infinite,
    parse_depth,
    parse_lock_token,
    parse_timeout,
    render_lock_token,
)

__all__ = ["lock", "unlock"]


def lock(call: Call) -> Response:
    """LOCK: with a body a new lock, without one a refresh (RFC 4918 sections 9.10.1, 9.10.2)."""
    body = call.body_bytes()
    return _acquire(call, body) if body.strip() else _refresh(call)


def unlock(call: Call) -> Response:
    """UNLOCK (RFC 4918 section 9.11); any resource in the lock's scope may be named."""
    text = call.header(b"lock-token")
    if text is None:
        raise RefusalError(400, "UNLOCK needs a Lock-Token header that names the lock to release.")
    token = parse_lock_token(text)
    answer = call.site.service.release(call.resource, token, call.principal.name, condition=call.condition)
    if isinstance(answer, Refused):
        return refused(call, answer, scope_status=409)
    return Response(204, [], awaits_sync=True)


def _acquire(call: Call, body: bytes) -> Response:
    depth = parse_depth(call.header(b"depth")) or Depth.INFINITY
    if depth is Depth.ONE:
        raise RefusalError(400, "LOCK takes Depth 0 or infinity, not 1 (RFC 4918 section 9.10.3).")
    _demand_writer_throughout(call, depth)
    info = parse_lockinfo(body, call.site.settings.xml)
    longest = call.site.settings.texts.owner_bytes
    if info.owner_xml is not None and len(info.owner_xml.encode()) > longest:
        raise RefusalError(413, f"The owner element is longer than {longest} bytes.")
    request = AcquireRequest(
        claim=call.claim(),
        scope=info.scope,
        depth=depth,
        asked=_asked(call),
        owner=info.owner_text,
        owner_xml=info.owner_xml,
        client=call.client,
    )
    line = call.site.line
    preferred = parse_prefer(call.header(b"prefer")).wait
    wait_s = 0 if preferred is None else min(preferred, int(line.longest.total_seconds()))
    attempt = _attempts(call, request, [] if preferred is None else [("Preference-Applied", f"wait={wait_s}")])
    answer = attempt(Stay.PARKED if wait_s else None)
    if isinstance(answer, Response):
        return answer
    failed = partial(_failure, call)
    current = call.site.follow(call.principal)

    def attempt_later(stay: Stay) -> Response | Queued:
        _demand_writer_still(call, depth, current())
        return attempt(stay)

    pending = line.park(answer.waiter, attempt_later, failed=failed, wait=timedelta(seconds=wait_s), keeps_place=False)
    return Response(200, [], pending)


def _demand_writer_throughout(call: Call, depth: Depth) -> None:
    if depth is Depth.INFINITY and call.principal.role_throughout(call.resource) < Role.WRITER:
        raise RefusalError(403, f"You may not write to all that is in {call.resource.text}, so not lock it in depth.")


def _demand_writer_still(call: Call, depth: Depth, principal: Principal | None) -> None:
    """For a request that has waited: 403 where its principal, as it stands by now, may not lock any more."""
    if principal is None or principal.role_at(call.resource) < Role.WRITER:
        raise RefusalError(403, f"While you waited, you lost the right to lock {call.resource.text}.")
    call.principal = principal
    _demand_writer_throughout(call, depth)


def _attempts(
    call: Call, request: AcquireRequest, headers: list[tuple[str, str]]
) -> Callable[[Stay | None], Response | Queued]:
    """What makes the request, again and again while it waits: each time everything is looked at anew."""
    place_id: str | None = None

    def attempt(stay: Stay | None) -> Response | Queued:
        nonlocal place_id
        response = _attempt(call, request, stay, place_id)
        if isinstance(response, Queued):
            place_id = response.waiter.id
        else:
            response.headers.extend(headers)
        return response

    return attempt


def _attempt(call: Call, request: AcquireRequest, stay: Stay | None, place_id: str | None) -> Response | Queued:
    folder, inside = call.site.folder, call.inside
    created = False
    found: Resource | None = None

    def is_mapped() -> bool:
        nonlocal found
        found = folder.stat(inside)
        return found is not None

    def create() -> None:
        nonlocal created
        call.refuse_new_member_of_missing_parent()
        staged = folder.staging.new()
        try:
            # Empty, so there is nothing to lose with the power: neither it nor its entry is waited for on the disk.
            staged.seal(durable=False)
            folder.place(staged, inside, sync=False)
        finally:
            staged.discard()  # what could not be placed must not stay, nor stay open
        created = True

    answer = call.site.service.acquire(
        request,
        is_mapped=is_mapped,
        precondition=precondition_of(call),
        create=create,
        stay=stay,
        place_id=place_id,
    )
    if isinstance(answer, Queued):
        return answer
    if isinstance(answer, Refused):
        return refused(call, answer)
    response = _granted(call, answer, 201 if created else 200, found)
    response.headers.append(("Lock-Token", render_lock_token(answer.token)))
    return response


def _failure(call: Call, error: Exception) -> Response:
    """The answer in place of what a waiting request raised; raises what is a fault of ours."""
    return refusal_answer(call.request, error if isinstance(error, RefusalError) else as_refusal(error))


def _refresh(call: Call) -> Response:
    claim = call.claim()
    if not claim.submissions():
        raise RefusalError(
            400,
            "LOCK without a body refreshes a lock, and needs an If header with that lock's token. "
            "To take a new lock, send a lockinfo body.",
        )
    answer = call.site.service.refresh(claim, _asked(call))
    if isinstance(answer, Refused):
        return refused(call, answer, scope_status=412)
    # No Lock-Token field on a refresh (RFC 4918 section 9.10.2).
    return _granted(call, answer, 200, call.site.folder.stat(call.inside))


def _granted(call: Call, granted: Lock, status: int, found: Resource | None) -> Response:
    shown = Shown(call.resource.text, found is not None and found.is_collection)
    body = render_lock_answer(activelocks_of([granted], granted.refreshed_at, call.principal.name, shown))
    headers = [("Content-Type", XML_CONTENT_TYPE), ("Cache-Control", "no-store")]
    return Response(status, headers, body, awaits_sync=True)


def _asked(call: Call) -> timedelta | None:
    asked = parse_timeout(call.bounded(b"timeout", call.site.settings.texts.timeout_bytes))
    if asked is None:
        return None
    return FOREVER if isinstance(asked, Infinite) else timedelta(seconds=asked)
