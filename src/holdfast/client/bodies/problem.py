"""Problem details (RFC 9457): Holdfast's own 423, through the types that made it, and everybody else's.

Owns: which problems say "locked". Must not know: plain JSON errors (see `coded`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from holdfast.client.bodies.coded import lock_described
from holdfast.client.bodies.found import MAX_LOCKS, Asked, Found
from holdfast.client.bodies.prose import Told, is_said_to_be_locked, told
from holdfast.client.bodies.values import (
    MAX_RETRY_AFTER,
    JsonObject,
    count,
    instant,
    json_list,
    json_object,
    seconds,
    text,
    words,
)
from holdfast.client.details import KnownLock, LockedKind
from holdfast.wire.problem_json import LOCKED_TYPE, LockDescription, parse_locked_problem

__all__ = ["read_holdfast", "read_problem"]

_URI: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}:|/", re.IGNORECASE)  # others call something else a type: "error"
# What the last part of a problem's type is called where it means a lock; separators and case do not count.
_TYPES: Final = frozenset(
    {
        "locked",
        "resourcelocked",
        "resourceleased",
        "leased",
        "lockconflict",
        "lockheld",
        "alreadylocked",
        "resourcelock",
    }
)


def read_holdfast(value: JsonObject, asked: Asked) -> Found | None:
    """The JSON of a 423 of Holdfast; None for any other."""
    if value.get("type") != LOCKED_TYPE:
        return None
    problem = parse_locked_problem(asked.response.body.removeprefix(b"\xef\xbb\xbf"))
    if problem is None:
        return None
    locks = tuple(_holdfast_lock(lock, asked) for lock in problem.locks[:MAX_LOCKS])
    return Found(
        service="holdfast",
        kind=LockedKind.HELD_BY_OTHER,
        code="locked",
        message=words(problem.detail),
        locks=locks,
        resource=asked.url(problem.locks[0].root if problem.locks else problem.resource) or None,
        retry_after=min(max(0.0, seconds(problem.retry_after) or 0.0), MAX_RETRY_AFTER),
        queue_length=problem.queue_length if isinstance(problem.queue_length, int) else None,
        position=problem.position if isinstance(problem.position, int) else None,
    )


def read_problem(value: JsonObject, asked: Asked) -> Found | None:
    """Anybody's problem details: the type tells, or the words do, as in Kestra's `held until ... by USER '...'`.

    Where it is plain JSON, the locks that it lists as Holdfast does are read (`locks`, each with its `holder`).
    """
    kind = value.get("type")
    if not isinstance(kind, str) or not ("title" in value or "detail" in value or "status" in value):
        return _read_listed(value, asked)
    if not _URI.match(kind) and "problem+json" not in asked.headers.get("content-type", ""):
        return _read_listed(value, asked)
    title, detail = words(value.get("title")), words(value.get("detail"))
    code = text(kind.rstrip("/").replace(":", "/").replace("#", "/").rpartition("/")[2])
    named = "".join(letter for letter in code.lower() if letter.isalnum()) in _TYPES
    facts = told(detail) if detail else told(title)
    described = lock_described(value, asked)
    locks = _listed(value, asked) or ((described,) if described is not None else ())
    if not locks and facts != Told():
        locks = (asked.lock(holder=facts.holder, since=facts.since, until=facts.until),)
    certain = named or is_said_to_be_locked(detail) or is_said_to_be_locked(title)
    resource = value.get("resource")
    return Found(
        service="problem",
        kind=LockedKind.HELD_BY_OTHER if certain or locks else LockedKind.UNKNOWN,
        code="" if code == "blank" else code,
        message=detail or title,
        locks=locks,
        resource=asked.url(resource) or None if isinstance(resource, str) else None,
        retry_after=_bounded(seconds(value.get("retry_after") or value.get("retryAfter"))),
        is_certain=certain,
    )


def _read_listed(value: JsonObject, asked: Asked) -> Found | None:
    locks = _listed(value, asked)
    if not locks:
        return None
    resource = value.get("resource")
    root = asked.url(resource) if isinstance(resource, str) else ""
    return Found(
        service="json",
        kind=LockedKind.HELD_BY_OTHER,
        code="locked",
        message=words(value.get("detail")) or words(value.get("message")),
        locks=locks,
        resource=root or locks[0].url or None,
        retry_after=_bounded(seconds(value.get("retry_after") or value.get("retryAfter"))),
        queue_length=count(value.get("queue_length")),
        position=count(value.get("position")),
    )


def _listed(value: JsonObject, asked: Asked) -> tuple[KnownLock, ...]:
    """The locks in `locks: [{root, holder, since, expires_at, ...}]`; what has no holder is no lock that is held."""
    found: list[KnownLock] = []
    for item in [json_object(one) for one in json_list(value.get("locks"))[:MAX_LOCKS]]:
        told_of = json_object(item.get("holder"))
        holder = text(item.get("holder")) or text(told_of.get("name")) or text(told_of.get("owner"))
        root, about = item.get("root"), item.get("url")
        if not holder or not item.keys() & {"root", "since", "expires_at"}:
            continue
        found.append(
            asked.lock(
                url=asked.url(root) if isinstance(root, str) else "",
                holder=holder,
                owner=text(told_of.get("owner")),
                since=instant(item.get("since")),
                until=instant(item.get("expires_at")),
                remaining=seconds(item.get("expires_in")),
                endless="expires_at" in item and item["expires_at"] is None,
                id=text(item.get("id")),
                scope=text(item.get("scope")),
                depth=text(item.get("depth")),
                reason=words(item.get("reason")),
                program=text(told_of.get("client")),
                about=about if isinstance(about, str) else "",
            )
        )
    return tuple(found)


def _bounded(span: float | None) -> float | None:
    return None if span is None else min(max(span, 0.0), MAX_RETRY_AFTER)


def _holdfast_lock(lock: LockDescription, asked: Asked) -> KnownLock:
    return asked.lock(
        url=asked.url(lock.root),
        holder=text(lock.holder.name),
        owner=text(lock.holder.owner),
        since=_utc(lock.since),
        until=_utc(lock.expires_at),
        remaining=seconds(lock.expires_in),
        endless=lock.expires_at is None,
        id=text(lock.id),
        scope=lock.scope.value,
        depth=lock.depth.value,
        reason=words(lock.reason),
        program=text(lock.holder.client),
        about=lock.url if isinstance(lock.url, str) else "",
    )


def _utc(value: datetime | None) -> datetime | None:
    """In UTC; an instant without an offset is taken for UTC, and one that UTC cannot hold for none."""
    if value is None:
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        return None
