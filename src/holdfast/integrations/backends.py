"""Locks of an application: one protocol, three places to keep them, and the object that an application talks to.

Owns: `LockBackend`, what every backend promises, and `Locks`, which picks one by where the locks are kept. Must not know:
frameworks; they bring requests and take answers. Everything here is synchronous and safe from any thread and in any process:
nothing is opened before its first use, and a fork opens its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, runtime_checkable
from urllib.parse import unquote, urlsplit

import msgspec

from holdfast.core.access import ANONYMOUS
from holdfast.core.conditions import IfHeader
from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import Depth, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.integrations.answering import LockedError, RefusalError, links_below
from holdfast.integrations.steps import Steps, finished
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import LockedAnswer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from holdfast.client.sending import HttpClient
    from holdfast.databases.locktable import LockTable

__all__ = ["DEFAULT_PRINCIPAL", "LockBackend", "Locks", "SteppingBackend", "Wanted", "resource_of"]

DEFAULT_PRINCIPAL: Final = ANONYMOUS.name
"""The principal of a request of which nobody knows who sent it."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is asked for. `ttl` and `wait` are in seconds; ttl None is the backend's usual time.

    `owner` is what the holder says of itself, `client` its program. `lock_id` names the lock, and makes one grant of all
    requests that have it. With a reason in `break_first` whatever is in the way is broken in the same step: the principal's own
    locks, and with `may_break` everybody's.
    """

    resource: ResourcePath
    principal: str
    scope: LockScope = LockScope.EXCLUSIVE
    depth: Depth = Depth.ZERO
    ttl: float | None = None
    wait: float = 0.0
    owner: str = ""
    reason: str = ""
    client: str = ""
    lock_id: str | None = None
    break_first: str = ""
    may_break: bool = False


class LockBackend(Protocol):
    """Keeps locks. Every refusal that is no 423 is a RefusalError with its status (403, 404, 409, 410, 412, 503, 507)."""

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """May `principal`, who submits these lock tokens, make these changes now? None for yes.

        `condition` is the request's If header, whose tokens are submitted too; RefusalError 412 where it is false.
        """
        ...

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """Grant a new lock, or say what is in the way."""
        ...

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """Restart a lock's timer. 404 unknown, 403 not the principal's or not its token, 410 where it has ended."""
        ...

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """End a lock; harmless when repeated. 404, 403; 410 where it was lost before."""
        ...

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """End somebody's lock, at once or `after` seconds: how it ended, or the lock with its end. 404, 403, 410.

        Its creator may, and with `may_break` everybody.
        """
        ...

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """Go on with the principal's own lock from another place: a new lock with a new token, and the old one is broken. 404, 403, 410."""
        ...

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """A lock by its id: held, or how it ended; None where nothing is known of it."""
        ...

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """The locks that protect a resource: on it, or above it with depth infinity; from the top down."""
        ...

    def close(self) -> None:
        """Give back files and connections; what is asked afterwards opens them again."""
        ...


@runtime_checkable
class SteppingBackend(Protocol):
    """A LockBackend that can wait without a thread; one that cannot has `acquire` alone, and takes a thread for as long as it waits."""

    def acquiring(self, wanted: Wanted) -> Steps[GrantedLock | LockedAnswer]:
        """As LockBackend.acquire, in short steps; closed early, it gives the place in line up."""
        ...


def resource_of(path: str) -> ResourcePath:
    """The resource of a URL path, percent-encoded. Raises InvalidPathError, a ValueError."""
    return ResourcePath.from_target(path)


class Locks:
    """The locks of an application, wherever they are kept.

    `where` is `sqlite:///locks.db` (a file of its own, shared by all worker processes of one machine; four slashes for an absolute
    path), `http://server` or `https://server` (a Holdfast server), or an SQLAlchemy engine or LockTable (the application's own
    database). `address` is the URL path at which the application has the locks' routes, empty where it has none: a 423's links
    lead there. `token` or `auth` (name, password) are the application's own credentials at a Holdfast server, `http` an
    httpx.Client of its own. A backend of one's own goes into `backend`.

    >>> locks = Locks("sqlite:///locks.db")
    >>> locks.where
    'sqlite:///locks.db'
    """

    def __init__(
        self,
        where: str | Path | Engine | LockTable | None = None,
        *,
        address: str = "",
        token: str = "",
        auth: tuple[str, str] | None = None,
        http: HttpClient | None = None,
        backend: LockBackend | None = None,
    ) -> None:
        """Open nothing yet. Raises ValueError where `where` says nothing that is known."""
        self.where = str(where) if isinstance(where, str | Path) else repr(where or backend)
        self.backend = backend or _backend_of(where, token=token, auth=auth, http=http)
        self.address = address.rstrip("/")

    @property
    def waits_in_steps(self) -> bool:
        """False where whoever waits takes a thread for as long."""
        return isinstance(self.backend, SteppingBackend)

    # -- questions about requests -------------------------------------------------------------------

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check, with this application's links, and a word to whoever has left out the token of a lock of its own.

        Where a member comes or goes, its collection changes, and a token submitted for the one counts for the other.
        """
        found = self.backend.check(_with_collections(effects), tokens, principal, condition)
        return None if found is None else self._told(found, principal)

    def require(
        self,
        resource: str | ResourcePath,
        principal: str,
        tokens: Sequence[str] = (),
        *,
        reach: Reach = Reach.CONTENT,
        condition: IfHeader | None = None,
    ) -> None:
        """Return where `principal` may change the resource now; LockedError where somebody's lock is in the way."""
        path = resource if isinstance(resource, ResourcePath) else resource_of(resource)
        found = self.check([Effect(path, reach)], tokens, principal, condition)
        if found is not None:
            raise LockedError(found)

    # -- locks --------------------------------------------------------------------------------------

    def acquire(self, wanted: Wanted) -> GrantedLock:
        """Grant a lock. Raises LockedError where something is in the way; RefusalError as LockBackend.acquire.

        An id is not for one whom nobody knows: everybody may read it, and would be given the same lock.
        """
        return finished(self.acquiring(wanted))

    def acquiring(self, wanted: Wanted) -> Steps[GrantedLock]:
        """As `acquire`, in steps: short ones, where `waits_in_steps`."""
        if wanted.lock_id is not None and wanted.principal == DEFAULT_PRINCIPAL:
            raise RefusalError(422, "Only a request of somebody who is known can name its lock; leave the id out.")
        if wanted.break_first and not wanted.may_break:
            _demand_known(wanted.principal)
        backend = self.backend
        found = (
            (yield from backend.acquiring(wanted)) if isinstance(backend, SteppingBackend) else backend.acquire(wanted)
        )
        if isinstance(found, LockedAnswer):
            raise LockedError(self._told(found, wanted.principal))
        return self._placed(found)

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        return self._placed(self.backend.refresh(lock_id, token, principal, ttl))

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        self.backend.release(lock_id, token, principal)

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """As LockBackend.break_; 403 for one whom nobody knows, and whom the application does not let."""
        if not may_break:
            _demand_known(principal)
        found = self.backend.break_(lock_id, principal, reason, after=after, may_break=may_break)
        return found if isinstance(found, EndedLock) else self._placed(found)

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """As LockBackend.take_over; 403 for one whom nobody knows."""
        _demand_known(principal)
        return self._placed(self.backend.take_over(lock_id, principal, ttl=ttl, owner=owner, client=client))

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        found = self.backend.describe(lock_id)
        return self._placed(found) if isinstance(found, ShownLock) else found

    def find(self, resource: str | ResourcePath) -> list[ShownLock]:
        """The locks that protect a resource, from the top down."""
        path = resource if isinstance(resource, ResourcePath) else resource_of(resource)
        return [self._placed(lock) for lock in self.backend.find(path)]

    def close(self) -> None:
        """As LockBackend.close."""
        self.backend.close()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Without any secret."""
        return f"Locks({self.where!r})"

    def _told(self, found: LockedAnswer, principal: str) -> LockedAnswer:
        note = found.note
        is_write = found.condition is Condition.LOCK_TOKEN_SUBMITTED
        if is_write and not note and any(_is_own(lock.holder.name, principal) for lock in found.locks):
            note = "You hold a lock here yourself: send its token, in a Lock-Token field."
        return msgspec.structs.replace(found, note=note, links=links_below(self.address))

    def _placed(self, lock: Any) -> Any:
        """The lock with its address in this application; without one its id stands there, relative to where locks are."""
        return msgspec.structs.replace(lock, url=f"{self.address}/{lock.id}" if self.address else lock.id)


def _is_own(holder: str, principal: str) -> bool:
    return holder == principal and principal != ANONYMOUS.name


def _with_collections(effects: Sequence[Effect]) -> list[Effect]:
    parents = [
        Effect(effect.resource.parent, Reach.CONTENT)
        for effect in effects
        if effect.reach is not Reach.CONTENT and not effect.resource.is_root
    ]
    return list(dict.fromkeys([*effects, *parents]))


def _demand_known(principal: str) -> None:
    """Whom nobody knows has nothing by name: the token alone tells its lock from those of all the others."""
    if principal == DEFAULT_PRINCIPAL:
        raise RefusalError(403, "Nobody knows who you are, so no lock is yours but by its token.")


def _backend_of(where: object, *, token: str, auth: tuple[str, str] | None, http: HttpClient | None) -> LockBackend:
    if isinstance(where, Path):
        from holdfast.integrations.embedded import EmbeddedBackend

        return EmbeddedBackend(where)
    if not isinstance(where, str) and where is not None:
        from holdfast.integrations.own_database import backend_of

        return backend_of(where)
    where = where or ""
    scheme = urlsplit(where).scheme
    if scheme in {"http", "https"}:
        from holdfast.integrations.remote import RemoteBackend

        return RemoteBackend(where, token=token, auth=auth, http=http)
    path = where.removeprefix("sqlite:///")
    if scheme == "sqlite" and path != where and path and ":memory:" not in path:
        from holdfast.integrations.embedded import EmbeddedBackend

        return EmbeddedBackend(Path(unquote(path)))
    msg = (
        "Locks needs a place: sqlite:///locks.db, the URL of a Holdfast server, or the application's SQLAlchemy engine, "
        f"not {where!r}"
    )
    raise ValueError(msg)
