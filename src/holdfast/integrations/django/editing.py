"""The edit lock of a form: who gets it when the form opens, and what the form says of it.

Owns: the decision, as a value. Must not know: the admin, templates, scripts.

Each window has a lock of its own, with a token that the form carries. A window of the same browser session that is opened later, or
loaded again, takes the lock over without a word, and the earlier one learns of it; the same user in another session is asked first, and
so is one whom another site's page has led here. What a browser loads without anybody's wish, ahead of time or into another site's page,
takes nothing (Fetch Metadata: Sec-Purpose, Sec-Fetch-Site, Sec-Fetch-Mode).
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

import msgspec
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import GrantedLock
from holdfast.integrations.answering import LockedError, RefusalError
from holdfast.integrations.backends import Wanted, resource_of
from holdfast.integrations.django.answers import principal_of
from holdfast.integrations.django.configuration import edit_locks, locks
from holdfast.integrations.django.naming import lock_resource
from holdfast.wire.locked import ContendingLock, LockedAnswer
from holdfast.wire.sentences import program_name

__all__ = ["CONTINUED", "Editing", "InTheWay", "begin_editing", "is_wish", "path_of", "seize"]

CONTINUED: Final = "continued in another window"
"""The reason that the earlier window of the same user is told."""

_REASON: Final = "open in the admin"
_MARK_LENGTH: Final = 16
_NAVIGATE: Final = "navigate"
_BROWSER: Final = "a web browser"  # goes without saying in an admin


class InTheWay(msgspec.Struct, frozen=True):
    """Who has it, as the form tells. Instants are aware; `program` is empty where it is not known."""

    holder: str
    since: datetime
    until: datetime | None
    reason: str
    program: str
    is_own: bool
    is_here: bool
    more: int


class Editing(msgspec.Struct, frozen=True):
    """How a form stands: with its own lock, or with what is in the way; never with both."""

    resource: ResourcePath
    lock: GrantedLock | None = None
    answer: LockedAnswer | None = None
    in_the_way: InTheWay | None = None


def is_wish(request: HttpRequest) -> bool:
    """False for what no person has asked to see: loaded ahead of time, or as a part of another site's page."""
    ahead = (request.headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Moz"))
    if any("prefetch" in text or "prerender" in text for text in ahead):
        return False
    return not _is_led_here(request) or request.headers.get("Sec-Fetch-Mode", _NAVIGATE) == _NAVIGATE


def path_of(instance: Any) -> ResourcePath:
    """The resource of an object."""
    return resource_of(lock_resource(instance))


def begin_editing(request: HttpRequest, instance: Any) -> Editing:
    """The form opens: its lock, or who has it."""
    path, mark = path_of(instance), _mark(request)
    wanted = _wanted(request, path, mark)
    try:
        return Editing(path, lock=locks().acquire(wanted))
    except LockedError as error:
        answer = error.answer
    principal = principal_of(request)
    if not _is_led_here(request) and all(_is_here(lock, principal, mark) for lock in answer.locks) and answer.locks:
        return _seized(msgspec.structs.replace(wanted, break_first=CONTINUED))
    return Editing(path, answer=answer, in_the_way=_told(answer, principal, mark))


def seize(request: HttpRequest, instance: Any, reason: str, *, may_break: bool) -> Editing:
    """Break what is in the way, and give this session the lock, in one step; whoever is not allowed to hears who has it."""
    wanted = _wanted(request, path_of(instance), _mark(request))
    return _seized(msgspec.structs.replace(wanted, break_first=reason or CONTINUED, may_break=may_break))


def _seized(wanted: Wanted) -> Editing:
    try:
        return Editing(wanted.resource, lock=locks().acquire(wanted))
    except RefusalError as error:
        if error.status != 403:
            raise
    try:  # somebody else was quicker, whose lock is not to be broken
        return Editing(wanted.resource, lock=locks().acquire(msgspec.structs.replace(wanted, break_first="")))
    except LockedError as error:
        mark = (wanted.lock_id or "")[:_MARK_LENGTH]
        return Editing(wanted.resource, answer=error.answer, in_the_way=_told(error.answer, wanted.principal, mark))


def _wanted(request: HttpRequest, path: ResourcePath, mark: str) -> Wanted:
    return Wanted(
        resource=path,
        principal=principal_of(request),
        ttl=edit_locks().ttl,
        reason=_REASON,
        client=str(request.headers.get("User-Agent", ""))[:200],
        lock_id=f"{mark}-{uuid.uuid4().hex[:20]}",
    )


def _mark(request: HttpRequest) -> str:
    """What begins the ids of this browser session's locks: it says nothing of the session to whoever reads it."""
    session: Any = getattr(request, "session", None)
    key = "" if session is None else session.session_key or ""
    return salted_hmac("holdfast.editing", key, algorithm="sha256").hexdigest()[:_MARK_LENGTH]


def _is_here(lock: ContendingLock, principal: str, mark: str) -> bool:
    return lock.holder.name == principal and lock.id.startswith(f"{mark}-")


def _is_led_here(request: HttpRequest) -> bool:
    """True where a page of another site has sent the browser here."""
    return request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}


def _told(answer: LockedAnswer, principal: str, mark: str) -> InTheWay | None:
    if not answer.locks:
        return None
    lock = answer.locks[0]
    program = program_name(lock.holder.client)
    return InTheWay(
        holder=lock.holder.name,
        since=lock.created_at + answer.wall_offset,
        until=None if lock.expires_at is None else lock.expires_at + answer.wall_offset,
        reason="" if lock.reason == _REASON else lock.reason,
        program="" if program == _BROWSER else program,
        is_own=all(one.holder.name == principal for one in answer.locks),
        is_here=all(_is_here(one, principal, mark) for one in answer.locks),
        more=len(answer.locks) - 1,
    )
