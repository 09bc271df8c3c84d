"""Lockable: a model whose objects can be locked, by a person for the time of an edit, or by a program.

Owns: the mixin. Must not know: where the locks are kept, or any table: the mixin adds no column.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from django.db import models

from holdfast.core.decisions import Reach
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.integrations.answering import RefusalError
from holdfast.integrations.backends import Wanted, resource_of
from holdfast.integrations.django.configuration import edit_locks, locks
from holdfast.integrations.django.guards import changing
from holdfast.integrations.django.naming import key_path, name_of

__all__ = ["Lockable"]


class Lockable(models.Model):
    """Mixin: `class Order(Lockable, models.Model)`. Every method is one step: nobody comes between its look and its act.

    `user` is a user object, or a name. `lock_resource` may be overridden with a path of one's own.
    """

    class Meta:
        """No table of its own."""

        abstract = True

    @property
    def lock_resource(self) -> str:
        """The URL path that stands for this object among the locks."""
        return key_path(self)

    def lock_for(self, user: Any, ttl: float | None = None, reason: str = "", *, wait: float = 0.0) -> GrantedLock:
        """Grant `user` the lock for `ttl` seconds (EDIT_TTL where none is given). LockedError where somebody has it, the user included."""
        return self._acquire(user, ttl, reason, wait=wait)

    def refresh_lock(self, lock: GrantedLock, ttl: float | None = None) -> GrantedLock:
        """A sign of life: its timer starts anew. RefusalError 410 where it was lost, whose `ended` says how."""
        return locks().refresh(lock.id, lock.token, lock.holder.name, ttl or edit_locks().ttl)

    def release_lock(self, lock: GrantedLock) -> None:
        """End it. Harmless when repeated; RefusalError 410 where it was lost before."""
        locks().release(lock.id, lock.token, lock.holder.name)

    def break_lock(self, user: Any, reason: str, *, after: float = 0.0) -> ShownLock | EndedLock | None:
        """End whatever lock is on the object, at once or `after` seconds, and let its holder be told; None where there is none.

        Whether `user` may do that is for the caller to ask: `user.has_perm("holdfast.break_lock")`.
        """
        state = self.lock_state
        if state is None:
            return None
        try:
            return locks().break_(state.id, name_of(user), reason, after=after, may_break=True)
        except RefusalError as error:
            if error.ended is None:
                raise
            return error.ended  # it ended by itself, just now

    def take_over(self, user: Any, reason: str, ttl: float | None = None) -> GrantedLock:
        """Break what is in the way and grant `user` the lock, in one step. Whether `user` may is for the caller to ask."""
        return self._acquire(user, ttl, reason, break_first=reason)

    @property
    def lock_state(self) -> ShownLock | None:
        """Who has it, since when and until when; None where it is free."""
        found = locks().find(resource_of(self.lock_resource))
        return found[-1] if found else None

    @contextmanager
    def changed_by(self, user: Any, token: str = "", *, reach: Reach = Reach.CONTENT) -> Generator[None]:
        """The block changes the object: LockedError where somebody's lock is in the way (see `guards.changing`)."""
        with changing(self.lock_resource, name_of(user), [token] if token else [], reach=reach):
            yield

    def _acquire(
        self, user: Any, ttl: float | None, reason: str, *, wait: float = 0.0, break_first: str = ""
    ) -> GrantedLock:
        if self.pk is None:
            msg = "an object that was never saved has no name that could be locked"
            raise ValueError(msg)
        return locks().acquire(
            Wanted(
                resource=resource_of(self.lock_resource),
                principal=name_of(user),
                ttl=ttl or edit_locks().ttl,
                reason="" if break_first else reason,
                wait=wait,
                break_first=break_first,
                may_break=bool(break_first),
            )
        )
