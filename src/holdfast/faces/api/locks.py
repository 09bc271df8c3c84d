"""Acquire, refresh, release, break, take over, describe and find locks.

Owns: what each route's body asks, who may, and how the registry's answers are told. The rules of locking
are in `core.decisions`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec
from msgspec import UnsetType

from holdfast.core.access import Role
from holdfast.core.decisions import Refusal, Refused
from holdfast.core.model import Depth, Event, EventKind, Face, Lock
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.faces.api.bodies import (
    ID_PATTERN,
    RESERVED_ID,
    AcquireBody,
    BreakBody,
    FindQuery,
    LockPage,
    RefreshBody,
    RefreshManyBody,
    RefreshResult,
    RefreshResults,
    ReleaseBody,
    TakeOverBody,
)
from holdfast.faces.api.call import Call, answer
from holdfast.faces.api.errors import RefusalError, as_refusal, render
from holdfast.faces.api.shown import ended_lock, ended_sentence, granted_lock, may_see, may_see_event, shown_lock
from holdfast.registry import ENDLESS, BreakOrder, Filter, Found, Granted, IdTaken, Key, Miss, Renewal
from holdfast.service import AcquireRequest, Claim, Queued, Stay
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Response
from holdfast.wire.locked import MAX_RETRY_SECONDS, LockedAnswer, locked_response
from holdfast.wire.prefer import Preferences, parse_prefer, render_prefer
from holdfast.wire.rfc4918 import parse_lock_token
from holdfast.wire.sentences import broken_text

__all__ = [
    "acquire",
    "break_lock",
    "describe",
    "find",
    "refresh",
    "refresh_many",
    "refused",
    "release",
    "take_over",
]

_ID: Final = re.compile(ID_PATTERN)
# A String of RFC 9651 section 3.3.3, as the draft wants it, or bare as many clients send it.
_QUOTED_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_BARE_KEY: Final = re.compile(r"[!#-+\--~]{1,255}")
_CURSOR: Final = tuple[str, str]


def acquire(call: Call) -> Response:
    """POST /api/locks."""
    body = call.body(AcquireBody)
    resource = call.resource(body.resource, "resource")
    depth = Depth(body.depth)
    endless = _judge_asking(call, body, resource)
    chosen = None if isinstance(body.id, UnsetType) else _known_form(body.id, "id")
    named_by_key = chosen is None
    lock_id = chosen or _id_of_key(call)
    first = _break_first(call, body)
    request = AcquireRequest(
        claim=Claim(resource=resource, principal=call.principal.name),
        scope=body.scope,
        depth=depth,
        asked=_asked(body.ttl),
        owner=body.owner,
        reason=body.reason,
        client=call.client,
        face=Face.API,
    )
    # What breaks the locks in its way has nothing to wait for.
    wait_s, applied = _wait_of(call, body.wait) if first is None else (None, [])
    name = lock_id

    def attempt(stay: Stay | None) -> Response | Queued:
        nonlocal name
        found = call.site.registry.acquire(
            request,
            lock_id=name,
            endless=endless,
            first=first,
            may_break=lambda lock: _administers(call, lock),
            stay=stay,
        )
        if isinstance(found, Queued):
            name = found.waiter.id
            return found
        if isinstance(found, IdTaken):
            raise _id_refused(found, named_by_key=named_by_key)
        if isinstance(found, Event):
            raise _id_used(call, found)
        if isinstance(found, Miss):
            raise _missed(found, "break")
        response = _granted(call, found, resource, keeps_place=lock_id is not None)
        response.headers.extend(applied)
        return response

    if not wait_s:
        stay = None if wait_s is None or lock_id is None else Stay.KEPT
    else:
        stay = Stay.PARKED
    found = attempt(stay)
    if isinstance(found, Response):
        return found
    attempt_later = _judged_anew(call, body, resource, attempt)
    wait = timedelta(seconds=wait_s or 0)
    pending = call.site.line.park(
        found.waiter, attempt_later, failed=_failure, wait=wait, keeps_place=lock_id is not None
    )
    return Response(200, [], pending)


def find(call: Call) -> Response:
    """GET /api/locks."""
    query = call.query(FindQuery)
    wanted = Filter(
        resource=_path(call, query.resource, "resource"),
        covering=_path(call, query.covering, "covering"),
        under=_path(call, query.under, "under"),
        principal=query.principal or None,
        scope=query.scope or None,
        reason=query.reason or None,
    )
    after = None if isinstance(query.cursor, UnsetType) else _key_of(query.cursor)
    page = call.site.registry.find(wanted, lambda lock: may_see(call.principal, lock), after, query.limit)
    now, offset = call.site.clock.now(), call.site.clock.wall_offset()
    shown = [shown_lock(found, now, offset) for found in page.found]
    return answer(LockPage(shown, None if page.next_key is None else _cursor_of(page.next_key)))


def describe(call: Call) -> Response:
    """GET /api/locks/{id}."""
    found = call.site.registry.describe(call.lock_id)
    now, offset = call.site.clock.now(), call.site.clock.wall_offset()
    if isinstance(found, Event):
        if not may_see_event(call.principal, found):
            raise _missed(Miss.UNKNOWN, "see")
        raise _gone(call, found)
    if found is None or not may_see(call.principal, found.lock):
        raise _missed(Miss.UNKNOWN, "see")
    return answer(shown_lock(found, now, offset))


def refresh(call: Call) -> Response:
    """POST /api/locks/{id}/refresh."""
    body = call.body(RefreshBody)
    [found] = _refreshed(call, [(call.lock_id, body.token, body.ttl)])
    if isinstance(found, Found):
        return answer(granted_lock(found, call.site.clock.wall_offset()), awaits_sync=True)
    raise found


def refresh_many(call: Call) -> Response:
    """POST /api/locks/refresh."""
    body = call.body(RefreshManyBody)
    results: list[RefreshResult] = []
    refreshed = _refreshed(call, [(item.id, item.token, item.ttl) for item in body.locks])
    for item, found in zip(body.locks, refreshed, strict=True):
        if isinstance(found, Found):
            lock = granted_lock(found, call.site.clock.wall_offset())
            results.append(RefreshResult(id=item.id, status=200, lock=lock))
        else:
            results.append(RefreshResult(id=item.id, status=found.status, problem=found.problem()))
    return answer(RefreshResults(results), awaits_sync=True)


def release(call: Call) -> Response:
    """DELETE /api/locks/{id}: of a lock, with its token; without one, of a place in line."""
    text = call.header(b"lock-token")
    given = [] if text is None else [parse_lock_token(text)]
    if call.has_body():
        given.append(call.body(ReleaseBody).token)
    if not given:
        return _give_up(call)
    token = given[0]
    if token != given[-1]:
        raise RefusalError(400, "The Lock-Token field and the body name two tokens; give one of them.")
    found = call.site.registry.release(call.lock_id, token, call.principal.name)
    if isinstance(found, Miss):
        raise _missed(found, "release")
    if isinstance(found, Event) and found.kind is not EventKind.RELEASED:
        # Whoever held it must hear that it was lost before.
        raise _gone(call, found)
    return Response(204, [("Cache-Control", "no-store")], awaits_sync=True)


def _give_up(call: Call) -> Response:
    found = call.site.registry.give_up(call.lock_id, call.principal.name)
    if found is Miss.UNKNOWN:
        said = "Give the lock's token, in a Lock-Token field or in the body. Only a place in line is left without one."
        raise RefusalError(400, said)
    if found is Miss.NOT_CREATOR:
        raise RefusalError(403, "Somebody else waits here, so the place is not yours to give up.")
    return Response(204, [("Cache-Control", "no-store")], awaits_sync=True)


def break_lock(call: Call) -> Response:
    """POST /api/locks/{id}/break."""
    body = call.body(BreakBody)
    order = BreakOrder(call.lock_id, call.principal.name, body.reason, timedelta(seconds=body.after))
    found = call.site.registry.break_lock(order, lambda lock: _administers(call, lock))
    offset = call.site.clock.wall_offset()
    if isinstance(found, Miss):
        raise _missed(found, "break")
    if isinstance(found, Found):
        return answer(shown_lock(found, call.site.clock.now(), offset), 202, awaits_sync=True)
    is_ours = found.kind is EventKind.BROKEN and (found.actor, found.reason) == (order.actor, order.reason)
    if is_ours:
        return answer(ended_lock(found, offset), awaits_sync=True)
    if not may_see_event(call.principal, found):
        raise _missed(Miss.UNKNOWN, "break")
    raise _gone(call, found)


def take_over(call: Call) -> Response:
    """POST /api/locks/{id}/take-over."""
    body = call.body(TakeOverBody)
    ttl = _asked(body.ttl)
    held = _own(call, call.lock_id)
    endless = held is not None and _asks_no_end(call, body.ttl, held.lock.root)
    if held is not None:
        _demand_writer(call, held.lock.root, held.lock.depth)
    found = call.site.registry.take_over(
        call.lock_id,
        call.principal.name,
        ENDLESS if endless else ttl,
        client=call.client,
        owner=None if isinstance(body.owner, UnsetType) else body.owner,
        reason=None if isinstance(body.reason, UnsetType) else body.reason,
    )
    if isinstance(found, Miss):
        raise _missed(found, "take over")
    if isinstance(found, Event):
        raise _gone(call, found) if may_see_event(call.principal, found) else _missed(Miss.UNKNOWN, "take over")
    resource = held.lock.root if held is not None else ROOT
    return _granted(call, found, resource)


def refused(
    call: Call,
    refusal: Refused,
    resource: ResourcePath,
    condition: Condition,
    *,
    keeps_place: bool = False,
    prefers_xml: bool = False,
) -> Response:
    """The answer to a refusal of the lock service about `resource`; the 423 is in the form that Accept asks for.

    Where that leaves it open it is JSON, or XML with `prefers_xml`. `keeps_place`: a place in line that the request has is
    kept, for a client that comes back soon.
    """
    kind = refusal.refusal
    if refusal.is_locked:
        comes_back = keeps_place and refusal.line is not None and refusal.line.position is not None
        locked = LockedAnswer.of(
            refusal,
            resource,
            condition,
            now=call.site.clock.now(),
            wall_offset=call.site.clock.wall_offset(),
            most_retry=min(call.site.line.come_back_s, MAX_RETRY_SECONDS) if comes_back else MAX_RETRY_SECONDS,
        )
        locked = msgspec.structs.replace(locked, links=call.site.links)
        return locked_response(locked, call.header(b"accept"), prefers_xml=prefers_xml)
    if kind is Refusal.CONDITION_FAILED:
        said = "The If header is false: the resource or its locks are not as the request assumes."
        raise RefusalError(412, f"{_note(call, refusal)} {said}".lstrip())
    raise RefusalError(507, "No more locks can be kept: release some, or ask the administrator to raise the limit.")


def _note(call: Call, refusal: Refused) -> str:
    """What a former holder is told of the end of his lock; empty for anybody else."""
    broken = refusal.broken
    if broken is None:
        return ""
    offset = call.site.clock.wall_offset()
    return broken_text(broken.actor, broken.reason, broken.at + offset, call.site.clock.now() + offset)


def _granted(call: Call, found: Granted | Refused, resource: ResourcePath, *, keeps_place: bool = False) -> Response:
    if isinstance(found, Refused):
        return refused(call, found, resource, Condition.NO_CONFLICTING_LOCK, keeps_place=keeps_place)
    lock = granted_lock(Found(found.lock), call.site.clock.wall_offset())
    status = 201 if found.is_new else 200
    return answer(lock, status, ("Location", lock.url), awaits_sync=True)


def _wait_of(call: Call, asked: float | UnsetType) -> tuple[float | None, list[tuple[str, str]]]:
    """The seconds that the request is to wait in line, None where it named none; and the field that says so."""
    longest = call.site.line.longest.total_seconds()
    if not isinstance(asked, UnsetType):
        return min(asked, longest), []
    preferred = parse_prefer(call.header(b"prefer")).wait
    if preferred is None:
        return None, []
    granted = min(preferred, int(longest))
    return granted, [("Preference-Applied", render_prefer(Preferences(wait=granted)))]


def _failure(error: Exception) -> Response:
    """The answer in place of what a waiting request raised; raises what is a fault of ours."""
    return render(error if isinstance(error, RefusalError) else as_refusal(error))


def _refreshed(call: Call, wanted: list[tuple[str, str, float | UnsetType | None]]) -> list[Found | RefusalError]:
    renewals: list[Renewal] = []
    for lock_id, token, ttl in wanted:
        # Looked at only where no end is asked for, which is an administrator's to ask.
        held = _own(call, lock_id) if ttl is None else None
        endless = held is not None and _asks_no_end(call, ttl, held.lock.root)
        renewals.append(Renewal(lock_id, token, ENDLESS if endless else _asked(ttl)))
    answers: list[Found | RefusalError] = []
    for found in call.site.registry.refresh(renewals, call.principal.name):
        if isinstance(found, Miss):
            answers.append(_missed(found, "refresh"))
        else:
            answers.append(_gone(call, found) if isinstance(found, Event) else found)
    return answers


def _judge_asking(call: Call, body: AcquireBody, resource: ResourcePath) -> bool:
    """403 unless the principal may have such a lock; True for one without end."""
    _demand_writer(call, resource, Depth(body.depth))
    return _asks_no_end(call, body.ttl, resource)


def _judged_anew(
    call: Call, body: AcquireBody, resource: ResourcePath, attempt: Callable[[Stay], Response | Queued]
) -> Callable[[Stay], Response | Queued]:
    """The attempt, for one that has waited: 403 where its principal, as it stands by then, may not have the lock any more."""
    current = call.site.follow(call.principal)

    def attempt_later(stay: Stay) -> Response | Queued:
        principal = current()
        if principal is None:
            raise RefusalError(403, f"While you waited, you lost the right to lock {resource.text}.")
        call.principal = principal
        _judge_asking(call, body, resource)
        return attempt(stay)

    return attempt_later


def _break_first(call: Call, body: AcquireBody) -> BreakOrder | None:
    if isinstance(body.break_, UnsetType):
        return None
    named = "" if isinstance(body.break_.id, UnsetType) else _known_form(body.break_.id, "break.id")
    return BreakOrder(named, call.principal.name, body.break_.reason)


def _demand_writer(call: Call, resource: ResourcePath, depth: Depth) -> None:
    principal = call.principal
    if principal.role_at(resource) < Role.WRITER:
        raise RefusalError(403, f"You may not lock {resource.text}; it needs the writer role.")
    if depth is Depth.INFINITY and principal.role_throughout(resource) < Role.WRITER:
        raise RefusalError(403, f"You may not write to all that is in {resource.text}, so not lock it in depth.")


def _asks_no_end(call: Call, ttl: float | UnsetType | None, resource: ResourcePath) -> bool:
    """True for a lock without end; 403 unless an administrator asks."""
    if ttl is not None:
        return False
    if call.principal.role_at(resource) < Role.ADMIN:
        raise RefusalError(403, f"Only an administrator may lock {resource.text} without an end; give a ttl.")
    return True


def _administers(call: Call, lock: Lock) -> bool:
    return call.principal.role_at(lock.root) >= Role.ADMIN


def _asked(ttl: float | UnsetType | None) -> timedelta | None:
    return timedelta(seconds=ttl) if isinstance(ttl, float) else None


def _known_form(text: str, member: str) -> str:
    # The pattern's "$" lets a line feed pass, which would get into a header; and one address is not a lock's.
    if not _ID.fullmatch(text) or text == RESERVED_ID:
        raise RefusalError(422, f"Expected `str` matching regex '{ID_PATTERN}' - at `$.{member}`")
    return text


def _id_of_key(call: Call) -> str | None:
    """The id that an Idempotency-Key names: a key of another principal names another one. None without the field."""
    text = call.header(b"idempotency-key")
    if text is None:
        return None
    quoted = _QUOTED_KEY.fullmatch(text.strip(" \t"))
    if quoted is None and not _BARE_KEY.fullmatch(text.strip(" \t")):
        raise RefusalError(400, "The Idempotency-Key must be one string of 1 to 255 characters, in double quotes.")
    key = quoted[1] if quoted else text.strip(" \t")
    digest = hashlib.blake2b(f"{call.principal.name}\n{key}".encode(), digest_size=15).digest()
    return "key-" + base64.urlsafe_b64encode(digest).decode()


def _id_refused(found: IdTaken, *, named_by_key: bool) -> RefusalError:
    if named_by_key:
        # draft-ietf-httpapi-idempotency-key-header section 2.7.
        return RefusalError(422, "This Idempotency-Key was used for another request; use a new one for each lock.")
    if found.by_other:
        return RefusalError(409, "A lock of somebody else has this id; choose another.")
    return RefusalError(409, "Your lock with this id was acquired for another request; choose another id.")


def _id_used(call: Call, event: Event) -> RefusalError:
    """The id was that of a lock which has ended; of whose lock, and where, is told to those alone who may see it."""
    if not may_see_event(call.principal, event):
        return RefusalError(409, "This id has been used. Choose another id for a new lock.")
    said = f"This id has been used. {_sentence(call, event)} Choose another id for a new lock."
    return RefusalError(409, said, ended=ended_lock(event, call.site.clock.wall_offset()))


def _own(call: Call, lock_id: str) -> Found | None:
    """The held lock with this id, where it is the principal's own: a refusal that names its root tells nobody else."""
    held = call.site.registry.describe(lock_id)
    return held if isinstance(held, Found) and held.lock.principal == call.principal.name else None


def _missed(miss: Miss, verb: str) -> RefusalError:
    if miss is Miss.UNKNOWN:
        return RefusalError(404, "No lock with this id is known here.")
    if miss is Miss.WRONG_TOKEN:
        return RefusalError(403, f"To {verb} this lock takes its token; the one that was given is another.")
    hint = "" if verb == "break" else " An administrator may break it."
    return RefusalError(403, f"The lock was created by somebody else, so it is not yours to {verb}.{hint}")


def _gone(call: Call, event: Event) -> RefusalError:
    return RefusalError(410, _sentence(call, event), ended=ended_lock(event, call.site.clock.wall_offset()))


def _sentence(call: Call, event: Event) -> str:
    return ended_sentence(event, call.site.clock.now(), call.site.clock.wall_offset())


def _path(call: Call, text: str | UnsetType, member: str) -> ResourcePath | None:
    return None if isinstance(text, UnsetType) else call.resource(text, member, 400)


def _cursor_of(key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _key_of(cursor: str) -> Key:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=_CURSOR)
    except (ValueError, binascii.Error):
        raise RefusalError(400, "The cursor is not one that a page of this list gave.") from None
