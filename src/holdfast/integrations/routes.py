"""The locks' own routes in an application, so that its pages and clients can lock what they are about to edit.

Owns: what each route takes and answers, as values. Must not know: frameworks, which bring a request's parts and send what comes back,
or how locks are kept. The bodies are those of a Holdfast server's API, so what speaks to the one speaks to the other.

    POST   {address}                 acquire: {"resource": "/orders/42", "ttl": 60}        201, 423
    GET    {address}?resource=...    who has it                                             200
    GET    {address}/{id}            one lock: held, or how it ended                        200, 404, 410
    POST   {address}/{id}/refresh    {"token": "...", "ttl": 60}                            200, 403, 404, 410
    POST   {address}/{id}/break      {"reason": "left open"}                                200, 202, 403, 404, 410
    POST   {address}/{id}/take-over  {}: one's own lock, in another window                  201, 403, 404, 410
    DELETE {address}/{id}            release, with the token in Lock-Token                  204, 403, 404, 410
    GET    {address}/help            what 423 means, for people                             200
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import UnsetType

from holdfast.core.model import Depth
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import (
    RESERVED_ID,
    AcquireBody,
    BreakBody,
    EndedLock,
    GrantedLock,
    RefreshBody,
    ReleaseBody,
    ShownLock,
    TakeOverBody,
)
from holdfast.faces.api.shown import ended_text
from holdfast.integrations.answering import REFUSALS, RefusalError, answer_refusal
from holdfast.integrations.backends import Locks, Wanted, resource_of
from holdfast.integrations.guarding import Head
from holdfast.integrations.steps import Steps, finished
from holdfast.wire.exchange import Response
from holdfast.wire.rfc4918 import parse_lock_token
from holdfast.wire.webpages import HTML_CONTENT_TYPE, PAGE_POLICY, render_problem_page

__all__ = [
    "MAX_BODY_BYTES",
    "LockRoutes",
    "MayBreak",
    "MayLock",
    "MaySee",
    "allow_single",
    "may_stand_in_line",
    "see_all",
]

MAX_BODY_BYTES: Final = 64 * 1024
"""Longest body that a route takes, in bytes."""

_LONGEST_WAIT_S: Final = 20.0
_LONGEST_CLIENT: Final = 200
_JSON: Final = "application/json"
_TAILS: Final = frozenset({"break", "refresh", "take-over"})

T = TypeVar("T")
L = TypeVar("L", bound=ShownLock)

MayLock = Callable[[str, ResourcePath, Depth], bool]
"""May this principal lock this resource, alone or with everything below it?"""

MaySee = Callable[[str, ResourcePath], bool]
"""May this principal see who has this resource?"""

MayBreak = Callable[[str], bool]
"""May this principal break locks of others?"""


def allow_single(_principal: str, resource: ResourcePath, depth: Depth) -> bool:
    """The rule where an application gives none: anything may be locked, one at a time, and nothing with all that is below it."""
    return depth is Depth.ZERO and not resource.is_root


def see_all(_principal: str, _resource: ResourcePath) -> bool:
    """The rule where an application gives none: everybody may see who has what, as a 423 tells it to everybody."""
    return True


def may_stand_in_line(head: Head, tail: str) -> bool:
    """True for a request that asks for a new lock; none of the others waits for anybody."""
    return head.method == "POST" and not tail.strip("/")


class LockRoutes:
    """Answers the locks' routes. `may_lock`, `may_see` and `may_break` are the application's own rules.

    Without them everybody sees who has what, and nobody breaks the locks of others.
    """

    def __init__(
        self,
        locks: Locks,
        *,
        may_lock: MayLock = allow_single,
        may_see: MaySee = see_all,
        may_break: MayBreak = lambda _principal: False,
    ) -> None:
        """Answer for `locks`, at its address. Raises ValueError where it has none."""
        if not locks.address:
            msg = 'the locks need an address for their routes, such as Locks(..., address="/locks")'
            raise ValueError(msg)
        self.locks = locks
        self._may_lock = may_lock
        self._may_see = may_see
        self._may_break = may_break

    def answer(self, head: Head, tail: str, query: str, body: bytes, principal: str) -> Response:
        """The answer to a request for the path `tail` below the locks' address, which begins with a slash or is empty."""
        return finished(self.answering(head, tail, query, body, principal))

    def answering(
        self, head: Head, tail: str, query: str, body: bytes, principal: str, *, may_wait: bool = True
    ) -> Steps[Response]:
        """As `answer`, in steps. Without `may_wait` nobody stands in line, whatever the request says."""
        asked, names = _Asked(head, query, body, principal, may_wait), tail.strip("/").split("/")
        try:
            if may_stand_in_line(head, tail):
                return (yield from self._acquire(asked))
            return self._answer(asked, names)
        except REFUSALS as error:
            return answer_refusal(error, head.field(b"accept"), root=head.root)

    def _answer(self, asked: _Asked, names: list[str]) -> Response:
        method = "GET" if asked.head.method == "HEAD" else asked.head.method
        match method, names:
            case "GET", [""]:
                return self._find(asked)
            case "GET", ["help"]:
                return _help()
            case "GET", [lock_id]:
                return self._describe(asked, lock_id)
            case "DELETE", [lock_id] if lock_id:
                return self._release(asked, lock_id)
            case "POST", [lock_id, "refresh"]:
                return self._refresh(asked, lock_id)
            case "POST", [lock_id, "break"]:
                return self._break(asked, lock_id)
            case "POST", [lock_id, "take-over"]:
                return self._take_over(asked, lock_id)
            case _:
                raise _unknown(names)

    def _acquire(self, asked: _Asked) -> Steps[Response]:
        body = asked.json(AcquireBody)
        resource, depth = resource_of(body.resource), Depth(body.depth)
        if not self._may_lock(asked.principal, resource, depth):
            below = " with all that is below it" if depth is Depth.INFINITY else ""
            raise RefusalError(403, f"You may not lock {resource.text}{below}.")
        if body.ttl is None:
            raise RefusalError(403, "A lock without end is not given here; give a ttl.")
        if body.id in {RESERVED_ID, "help"}:
            raise RefusalError(422, "This id is taken by an address; choose another.")
        breaking = "" if isinstance(body.break_, UnsetType) else body.break_.reason
        lock = yield from self.locks.acquiring(
            Wanted(
                resource=resource,
                principal=asked.principal,
                scope=body.scope,
                depth=depth,
                ttl=_seconds(body.ttl),
                wait=min(body.wait, _LONGEST_WAIT_S) if asked.may_wait and isinstance(body.wait, float) else 0.0,
                owner=body.owner,
                reason=body.reason,
                client=asked.client,
                lock_id=body.id if isinstance(body.id, str) else None,
                break_first=breaking,
                may_break=bool(breaking) and self._may_break(asked.principal),
            )
        )
        return _granted(asked, lock)

    def _find(self, asked: _Asked) -> Response:
        resources = parse_qs(asked.query).get("resource", [])
        if len(resources) != 1:
            raise RefusalError(400, "Name one resource: ?resource=/orders/42")
        resource = resource_of(resources[0])
        self._demand_sight(asked, resource)
        return _said(_Found([asked.placed(lock) for lock in self.locks.find(resource)]))

    def _describe(self, asked: _Asked, lock_id: str) -> Response:
        found = self.locks.describe(lock_id)
        if found is None:
            raise RefusalError(404, "No lock with this id is known here.")
        self._demand_sight(asked, resource_of(found.root))
        if isinstance(found, EndedLock):
            raise RefusalError(410, ended_text(found, datetime.now(UTC)), ended=found)
        return _said(asked.placed(found))

    def _demand_sight(self, asked: _Asked, resource: ResourcePath) -> None:
        if not self._may_see(asked.principal, resource):
            raise RefusalError(403, "Who has what is not told to you here.")

    def _refresh(self, asked: _Asked, lock_id: str) -> Response:
        body = asked.json(RefreshBody)
        if body.ttl is None:
            raise RefusalError(403, "A lock without end is not given here; give a ttl.")
        return _said(asked.placed(self.locks.refresh(lock_id, body.token, asked.principal, _seconds(body.ttl))))

    def _release(self, asked: _Asked, lock_id: str) -> Response:
        text = asked.head.field(b"lock-token")
        token = asked.json(ReleaseBody).token if text is None else parse_lock_token(text)
        self.locks.release(lock_id, token, asked.principal)
        return Response(204, [("Cache-Control", "no-store")])

    def _break(self, asked: _Asked, lock_id: str) -> Response:
        body = asked.json(BreakBody)
        may = self._may_break(asked.principal)
        found = self.locks.break_(lock_id, asked.principal, body.reason, after=body.after, may_break=may)
        return _said(asked.placed(found), 202) if isinstance(found, ShownLock) else _said(found)

    def _take_over(self, asked: _Asked, lock_id: str) -> Response:
        body = asked.json(TakeOverBody)
        owner = None if isinstance(body.owner, UnsetType) else body.owner
        ttl = _seconds(body.ttl)
        lock = self.locks.take_over(lock_id, asked.principal, ttl=ttl, owner=owner, client=asked.client)
        return _granted(asked, lock)


class _Found(msgspec.Struct, frozen=True):
    locks: list[ShownLock]


class _Asked(msgspec.Struct, frozen=True):
    """One request for a route."""

    head: Head
    query: str
    body: bytes
    principal: str
    may_wait: bool

    @property
    def client(self) -> str:
        """What the client calls itself."""
        return (self.head.field(b"user-agent") or "")[:_LONGEST_CLIENT]

    def placed(self, lock: L) -> L:
        """The lock with its address below where the application is mounted, as the links of a 423 have it."""
        return msgspec.structs.replace(lock, url=f"{self.head.root}{lock.url}")

    def json(self, kind: type[T]) -> T:
        """The body as `kind`; 413, 415, 400 and 422 as at the server."""
        if len(self.body) > MAX_BODY_BYTES:
            raise RefusalError(413, f"The body is larger than {MAX_BODY_BYTES} bytes, the most that is taken here.")
        # Asked for also because a page of another site cannot send it without being allowed to (cross-site requests).
        if (self.head.field(b"content-type") or "").partition(";")[0].strip().lower() != _JSON:
            raise RefusalError(415, f"The body must be {_JSON}.", headers=(("Accept", _JSON),))
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise RefusalError(422, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RefusalError(400, "The body is not well-formed JSON in UTF-8.") from None


def _granted(asked: _Asked, lock: GrantedLock) -> Response:
    placed = asked.placed(lock)
    return _said(placed, 201, ("Location", placed.url))


def _seconds(ttl: float | UnsetType | None) -> float | None:
    return ttl if isinstance(ttl, float) else None


def _unknown(names: list[str]) -> RefusalError:
    match names:
        case [""]:
            allow = "GET, HEAD, POST"
        case ["help"]:
            allow = "GET, HEAD"
        case [_]:
            allow = "DELETE, GET, HEAD"
        case [_, tail] if tail in _TAILS:
            allow = "POST"
        case _:
            return RefusalError(404, "There is nothing at this address.")
    return RefusalError(405, "This is not a method of this address.", headers=(("Allow", allow),))


def _help() -> Response:
    fields = [
        ("Content-Type", HTML_CONTENT_TYPE),
        ("Cache-Control", "max-age=86400"),
        ("Content-Security-Policy", PAGE_POLICY),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Response(200, fields, render_problem_page(is_server=False))


def _said(value: object, status: int = 200, *headers: tuple[str, str]) -> Response:
    fields = [("Content-Type", _JSON), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *headers]
    return Response(status, fields, msgspec.json.encode(value))
