"""A lock for as long as a request takes, and the question whether its sender may change a resource: `lock` and `require_lock` of every framework.

Owns: those two, on values. Must not know: frameworks.
"""

from __future__ import annotations

import logging
import string
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec

from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import GrantedLock, ShownLock
from holdfast.integrations.answering import LockedError, RefusalError
from holdfast.integrations.backends import Locks, Wanted
from holdfast.integrations.guarding import Head, change_of
from holdfast.integrations.steps import Steps, finished
from holdfast.wire.changes import Change

__all__ = ["Terms", "give_back", "held", "require", "resource_named", "taking"]

_logger = logging.getLogger("holdfast.integrations")

_LONGEST_CLIENT: Final = 200


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a request holds a lock.

    `ttl` (seconds) is longer than any such request takes: the lock ends then by itself where the process died. `wait` is for how
    many seconds to stand in line.
    """

    ttl: float = 60.0
    wait: float = 0.0
    scope: LockScope = LockScope.EXCLUSIVE
    reason: str = ""


def resource_named(template: str, parameters: Mapping[str, object], path: str) -> ResourcePath:
    """The resource that a template such as `/orders/{order}` names with a route's parameters; the decoded `path` itself without one.

    A parameter that holds slashes, of a route that takes several segments for it, names as many of the resource. Raises
    InvalidPathError where a parameter cannot be part of a path, KeyError where the route has no such parameter.

    >>> resource_named("/orders/{order}", {"order": "a b"}, "/shop/a%20b")
    ResourcePath('/orders/a b')
    """
    if not template:
        return ResourcePath.from_text(path)
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            value = str(parameters[name])
            # Some frameworks give several segments with the slash before them.
            parts.append(quote(value.removeprefix("/") if literal.endswith("/") else value))
    return ResourcePath.from_target("".join(parts))


def require(
    locks: Locks, head: Head, resource: ResourcePath, principal: str, *, held_only: bool = False, writes: bool = False
) -> None:
    """Return where the request's sender may change `resource` now: it is free, or one of its locks is submitted. LockedError else.

    A method that only reads passes, but with `writes`, for an application whose GET changes something. With `held_only` a change of
    a free resource is refused too, 428 (RFC 6585 section 3): who writes must have locked it before.
    """
    change = change_of(head, resource, writes=writes)
    if change is None:
        return
    found = locks.check(change.effects, change.tokens, principal, change.condition)
    if found is not None:
        raise LockedError(found)
    if held_only and not any(lock.holder.name == principal and _submits(change) for lock in locks.find(resource)):
        raise RefusalError(
            HTTPStatus.PRECONDITION_REQUIRED, f"Lock {resource.text} first, and send the lock's token with the change."
        )


@contextmanager
def held(locks: Locks, head: Head, resource: ResourcePath, principal: str, terms: Terms) -> Generator[ShownLock]:
    """A lock on `resource` while the block runs: a new one, released at its end, or the one whose token the request submits.

    Raises LockedError where somebody else has it.
    """
    lock = finished(taking(locks, head, resource, principal, terms))
    try:
        yield lock
    finally:
        give_back(locks, lock, principal)


def taking(locks: Locks, head: Head, resource: ResourcePath, principal: str, terms: Terms) -> Steps[ShownLock]:
    """What `held` begins with, in steps: a GrantedLock, which `give_back` releases; another kind where it is the request's own."""
    own = _submitted(locks, head, resource, principal)
    if own is not None:
        return own
    wanted = Wanted(
        resource=resource,
        principal=principal,
        scope=terms.scope,
        ttl=terms.ttl,
        wait=terms.wait,
        reason=terms.reason,
        client=(head.field(b"user-agent") or "")[:_LONGEST_CLIENT],
    )
    return (yield from locks.acquiring(wanted))


def give_back(locks: Locks, lock: ShownLock, principal: str) -> None:
    """What `held` ends with."""
    if not isinstance(lock, GrantedLock):
        return
    try:
        locks.release(lock.id, lock.token, principal)
    except RefusalError as error:
        # What the request did is done; that its lock had not lasted until then is for whoever runs the application.
        _logger.warning("the lock on %s was not held to the end of its request: %s", lock.root, error.detail)


def _submitted(locks: Locks, head: Head, resource: ResourcePath, principal: str) -> ShownLock | None:
    """The lock that covers the resource and whose token the request submits; None where it submits none."""
    change = change_of(head, resource, writes=True)
    assert change is not None
    if not _submits(change):
        return None
    effects = [Effect(resource, Reach.CONTENT)]
    found = locks.check(effects, change.tokens, principal, change.condition)
    if found is not None:
        raise LockedError(found)
    return next((lock for lock in locks.find(resource) if lock.holder.name == principal), None)


def _submits(change: Change) -> bool:
    return bool(change.tokens) or (change.condition is not None and any(change.condition.submissions()))
