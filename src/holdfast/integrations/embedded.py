"""Locks in a file of the application's own: what the server is made of, without the server.

Owns: opening the SQLite store on first use and anew after a fork, and saying what the registry answers in the words of LockBackend.
Must not know: frameworks. All worker processes of one machine share the file; overlapping writes are serial, and each call is one
transaction. Expired locks are tidied away on the way; whether a lock holds is decided when it is read.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.conditions import IfHeader
from holdfast.core.decisions import Effect, Refusal, Refused
from holdfast.core.model import Event, EventKind, Face
from holdfast.core.paths import ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import ended_lock, ended_sentence, granted_lock, shown_lock
from holdfast.integrations.backends import Wanted
from holdfast.integrations.steps import Steps, finished
from holdfast.registry import BreakOrder, Filter, Found, Granted, IdTaken, LockRegistry, Miss, Renewal
from holdfast.service import AcquireRequest, Claim, LockService, Queued, Stay
from holdfast.store.sqlite import SqliteStore
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import LockedAnswer
from holdfast.wire.sentences import broken_text

__all__ = ["EmbeddedBackend"]

_POLL_S: Final = 0.1
_TIDY_S: Final = 60.0
_KEEP_EVENTS: Final = timedelta(days=30)
_MOST_FOUND: Final = 1000


class _Open:
    """The opened file, of one process."""

    def __init__(self, path: Path, clock: Clock | None, durability: Durability, timeouts: TimeoutPolicy | None) -> None:
        self.pid = os.getpid()
        self.store = SqliteStore(path, clock=clock, durability=durability)
        self.service = LockService(self.store, etag_of=lambda _resource: None, timeouts=timeouts)
        self.registry = LockRegistry(self.service, self.store)
        self.tidied_at = 0.0


class EmbeddedBackend:
    """A LockBackend over a SQLite file at `path`; satisfies `backends.LockBackend`.

    `clock` is the source of time, for tests that move it. With durability POWER a granted lock survives a power loss too.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        durability: Durability = Durability.POWER,
        timeouts: TimeoutPolicy | None = None,
    ) -> None:
        """Open nothing yet. The file is made where there is none; its folder must be there."""
        self.path = path
        self._clock = clock
        self._durability = durability
        self._timeouts = timeouts
        self._opening = threading.Lock()
        self._opened: _Open | None = None
        self._left_to_parents: list[_Open] = []

    # -- LockBackend --------------------------------------------------------------------------------

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check."""
        opened = self._open()
        found = opened.registry.check(effects, tokens, principal, condition)
        return None if found is None else _refused(opened, found, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """As LockBackend.acquire."""
        return finished(self.acquiring(wanted))

    def acquiring(self, wanted: Wanted) -> Steps[GrantedLock | LockedAnswer]:
        """As SteppingBackend.acquiring. Whoever waits looks again ten times a second, and each look keeps the place in line."""
        opened = self._open()
        self._tidy(opened)
        until = time.monotonic() + wanted.wait
        if wanted.wait > 0 and wanted.lock_id is None:
            wanted = msgspec.structs.replace(wanted, lock_id=f"w-{uuid.uuid4().hex}")
        while True:
            left = until - time.monotonic()
            found = self._attempt(opened, wanted, Stay.PARKED if left > 0 else Stay.LAST if wanted.wait > 0 else None)
            if not isinstance(found, Queued):
                return found
            try:
                yield min(left, _POLL_S)
            except GeneratorExit:
                opened.service.leave(found.waiter.id, "whoever waited has gone away")
                raise

    def _attempt(self, opened: _Open, wanted: Wanted, stay: Stay | None) -> GrantedLock | LockedAnswer | Queued:
        first = None
        if wanted.break_first:
            first, stay = BreakOrder("", wanted.principal, wanted.break_first), None
        found = opened.registry.acquire(
            AcquireRequest(
                claim=Claim(resource=wanted.resource, principal=wanted.principal),
                scope=wanted.scope,
                depth=wanted.depth,
                asked=_asked(wanted.ttl),
                owner=wanted.owner,
                reason=wanted.reason,
                client=wanted.client,
                face=Face.API,
            ),
            lock_id=wanted.lock_id,
            first=first,
            may_break=lambda _lock: wanted.may_break,
            stay=stay,
        )
        match found:
            case Granted(lock):
                opened.store.sync()
                return granted_lock(Found(lock), opened.store.clock.wall_offset())
            case Refused():
                return _refused(opened, found, wanted.resource, Condition.NO_CONFLICTING_LOCK)
            case IdTaken(by_other=by_other):
                whose = "a lock of somebody else" if by_other else "your lock for another request"
                raise RefusalError(409, f"This id is that of {whose}; choose another.")
            case Event():
                said = f"This id has been used. {_sentence(opened, found)} Choose another id for a new lock."
                raise RefusalError(409, said, ended=ended_lock(found, opened.store.clock.wall_offset()))
            case Miss():
                raise _missed(found, "break")
            case Queued():
                return found

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        opened = self._open()
        [found] = opened.registry.refresh([Renewal(lock_id, token, _asked(ttl))], principal)
        return self._still(opened, found, "refresh")

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        opened = self._open()
        found = opened.registry.release(lock_id, token, principal)
        if isinstance(found, Miss):
            raise _missed(found, "release")
        if isinstance(found, Event) and found.kind is not EventKind.RELEASED:
            raise _gone(opened, found)  # whoever held it must hear that it was lost before
        opened.store.sync()

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """As LockBackend.break_."""
        opened = self._open()
        order = BreakOrder(lock_id, principal, reason, timedelta(seconds=after))
        found = opened.registry.break_lock(order, lambda _lock: may_break)
        if isinstance(found, Miss):
            raise _missed(found, "break")
        opened.store.sync()
        if isinstance(found, Found):
            return self._shown(opened, found)
        if found.kind is EventKind.BROKEN and (found.actor, found.reason) == (principal, reason):
            return ended_lock(found, opened.store.clock.wall_offset())
        raise _gone(opened, found)

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """As LockBackend.take_over."""
        opened = self._open()
        found = opened.registry.take_over(lock_id, principal, _asked(ttl), client=client, owner=owner)
        if isinstance(found, Refused):
            raise RefusalError(507, _FULL)
        return self._still(opened, Found(found.lock) if isinstance(found, Granted) else found, "take over")

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        opened = self._open()
        found = opened.registry.describe(lock_id)
        if isinstance(found, Event):
            return ended_lock(found, opened.store.clock.wall_offset())
        return None if found is None else self._shown(opened, found)

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """As LockBackend.find."""
        opened = self._open()
        page = opened.registry.find(Filter(covering=covering), lambda _lock: True, None, _MOST_FOUND)
        return [self._shown(opened, found) for found in page.found]

    def close(self) -> None:
        """As LockBackend.close."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.store.close()

    # -- what they share ----------------------------------------------------------------------------

    def _open(self) -> _Open:
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            return opened
        with self._opening:
            opened = self._opened
            if opened is None or opened.pid != os.getpid():
                if opened is not None:
                    self._left_to_parents.append(opened)  # closing it here would take the parent's file locks away
                opened = self._opened = _Open(self.path, self._clock, self._durability, self._timeouts)
            return opened

    def _tidy(self, opened: _Open) -> None:
        now = time.monotonic()
        if now - opened.tidied_at >= _TIDY_S:
            opened.tidied_at = now
            opened.service.sweep()
            opened.service.trim(_KEEP_EVENTS)

    def _shown(self, opened: _Open, found: Found) -> ShownLock:
        clock = opened.store.clock
        return shown_lock(found, clock.now(), clock.wall_offset())

    def _still(self, opened: _Open, found: Found | Event | Miss, verb: str) -> GrantedLock:
        if isinstance(found, Miss):
            raise _missed(found, verb)
        if isinstance(found, Event):
            raise _gone(opened, found)
        opened.store.sync()
        return granted_lock(found, opened.store.clock.wall_offset())


_FULL: Final = "No more locks can be kept: release some."


def _asked(ttl: float | None) -> timedelta | None:
    return None if ttl is None else timedelta(seconds=ttl)


def _refused(opened: _Open, refused: Refused, resource: ResourcePath, condition: Condition) -> LockedAnswer:
    """What is said of a 423; RefusalError for every other refusal."""
    clock = opened.store.clock
    if not refused.is_locked:
        if refused.refusal is Refusal.CONDITION_FAILED:
            now, broken = clock.now() + clock.wall_offset(), refused.broken
            told = (
                "" if broken is None else broken_text(broken.actor, broken.reason, broken.at + clock.wall_offset(), now)
            )
            raise RefusalError(412, f"{told} The If header is false: the locks are not as it assumes.".lstrip())
        raise RefusalError(HTTPStatus.INSUFFICIENT_STORAGE, _FULL)
    return LockedAnswer.of(refused, resource, condition, now=clock.now(), wall_offset=clock.wall_offset())


def _sentence(opened: _Open, event: Event) -> str:
    clock = opened.store.clock
    return ended_sentence(event, clock.now(), clock.wall_offset())


def _gone(opened: _Open, event: Event) -> RefusalError:
    return RefusalError(410, _sentence(opened, event), ended=ended_lock(event, opened.store.clock.wall_offset()))


def _missed(miss: Miss, verb: str) -> RefusalError:
    if miss is Miss.UNKNOWN:
        return RefusalError(404, "No lock with this id is known here.")
    if miss is Miss.WRONG_TOKEN:
        return RefusalError(403, f"To {verb} this lock takes its token; the one that was given is another.")
    return RefusalError(403, f"The lock was created by somebody else, so it is not yours to {verb}.")
