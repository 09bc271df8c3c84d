"""423 in Starlette: an exception that becomes the whole answer, locks for a request, and the locks' own routes.

Owns: what an application calls. Must not know: how locks are kept, or what a 423 looks like. FastAPI's integration stands on this one.

    locks = install(app, Locks("sqlite:///locks.db", address="/locks"))

    async def put_order(request):
        await require_lock(request)  # 423 unless it is free, or the caller's
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from holdfast.core.model import LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.answering import REFUSALS, LockedError, answer_refusal, body_of
from holdfast.integrations.asgi import ROOT, WHERE, App, LockMiddleware, Receive, Scope, Send, head_of, principal_of
from holdfast.integrations.backends import Locks, Wanted
from holdfast.integrations.database_errors import answer_database_error, database_errors
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms, resource_named
from holdfast.integrations.routes import LockRoutes, MayBreak, MayLock, MaySee, allow_single, see_all
from holdfast.integrations.threads import answer_on_thread, ask_on_thread, held_on_thread, read_body, require_on_thread
from holdfast.wire.exchange import Response

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = [
    "Installed",
    "LockMiddleware",
    "LockedError",
    "Locks",
    "PrincipalOf",
    "Wanted",
    "as_response",
    "install",
    "install_database_errors",
    "installed",
    "lock",
    "lock_routes",
    "require_lock",
]

PrincipalOf = Callable[[Request], str]
"""Who sends a request, as the application knows it."""

_METHODS: Final = ["GET", "POST", "DELETE"]
_FOUND: Final = "holdfast.installed"
_HANDLERS: Final = "starlette.exception_handlers"


def _principal(request: Request) -> str:
    return principal_of(request.scope)


class Installed(msgspec.Struct, frozen=True):
    """What `install` left with an application."""

    locks: Locks
    principal: PrincipalOf = _principal


def install(
    app: Starlette,
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Locks:
    """Let an application answer 423: its exceptions become answers, and at `locks.address` stand the locks' own routes.

    `principal` tells who sends a request (the user of AuthenticationMiddleware, where none is given). `may_lock`, `may_see` and `may_break`
    are the application's rules for the routes; see `lock_routes`. What is mounted in it has the same locks, unless it was given its
    own. Returns `locks`.
    """
    app.state.holdfast = Installed(locks, principal)
    app.add_middleware(_Entering, found=app.state.holdfast)
    for kind in REFUSALS:
        app.add_exception_handler(kind, _on_refusal)
    if locks.address:
        app.router.routes.extend(
            lock_routes(locks, principal=principal, may_lock=may_lock, may_see=may_see, may_break=may_break)
        )
    return locks


def install_database_errors(app: Starlette, engine: Engine | str | None = None) -> None:
    """Let a locked database become a 423 with Retry-After, and with the holder where `engine` is given to ask for it.

    Errors of databases that are about something else stay what they are.
    """

    async def on_error(request: Request, error: Exception) -> StarletteResponse:
        path = head_of(request.scope).path
        accept = request.headers.get("accept")
        answer = await ask_on_thread(answer_database_error, error, engine, path, accept)
        if answer is None:
            raise error
        return as_response(answer)

    for kind in database_errors():
        app.add_exception_handler(kind, on_error)


def installed(request: Request) -> Installed:
    """What `install` left with the application of a request, or with the one that it is mounted in. Raises LookupError."""
    found = request.scope.get(_FOUND, getattr(request.app.state, "holdfast", None))
    if not isinstance(found, Installed):
        msg = "this application has no locks: call install(app, Locks(...)) first"
        raise LookupError(msg)  # noqa: TRY004 - nothing was passed
    return found


async def require_lock(
    request: Request, resource: str = "", *, principal: str = "", held_only: bool = False, writes: bool = False
) -> None:
    """Return where the request may change `resource`: it is free, or locked by its sender, who submits the token. LockedError else.

    `resource` is a template with the route's parameters (`/orders/{order}`); without one it is the request's own path. What only reads
    passes (GET, HEAD, OPTIONS), but with `writes`, for a route whose GET changes something. With `held_only` a change of a free
    resource is refused too (428): who writes must have locked it before.
    """
    found = installed(request)
    head, path = _asked(request, resource)
    who = principal or found.principal(request)
    await require_on_thread(found.locks, head, path, who, held_only=held_only, writes=writes)


@asynccontextmanager
async def lock(
    request: Request,
    resource: str = "",
    *,
    principal: str = "",
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> AsyncGenerator[ShownLock]:
    """A lock on `resource` while the block runs, or the one whose token the request submits. Raises LockedError.

    `ttl` (seconds) is longer than the block takes: the lock ends then by itself where the process died. `wait` is for how many
    seconds to stand in line.
    """
    found = installed(request)
    head, path = _asked(request, resource)
    terms = Terms(ttl=ttl, wait=wait, scope=scope, reason=reason)
    async with held_on_thread(found.locks, head, path, principal or found.principal(request), terms) as taken:
        yield taken


def lock_routes(
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> list[Route]:
    """The locks' own routes (see `integrations.routes`), at their address; `install` adds them by itself.

    `may_lock(principal, resource, depth)` is asked for every new lock: without a rule any resource may be locked, but nothing
    together with all that is below it. `may_see(principal, resource)` tells who may ask who has a resource: without a rule, everybody.
    `may_break(principal)` tells who breaks others' locks: without a rule, nobody.
    """
    routes = LockRoutes(locks, may_lock=may_lock, may_see=may_see, may_break=may_break)

    async def answer(request: Request) -> StarletteResponse:
        body = await _body(request)
        tail = f"/{request.path_params['tail']}" if "tail" in request.path_params else ""
        who = principal(request)
        head = head_of(request.scope)
        return as_response(await answer_on_thread(routes, head, tail, request.url.query, body, who))

    return [
        Route(locks.address, answer, methods=_METHODS),
        Route(f"{locks.address}/{{tail:path}}", answer, methods=_METHODS),
    ]


def as_response(answer: Response) -> StarletteResponse:
    """An answer of this package as one of Starlette's."""
    response = StarletteResponse(body_of(answer), answer.status)
    for name, value in answer.headers:
        response.headers.append(name, value)
    return response


class _Entering:
    """Leaves in the scope of each request what was installed, and where: for all that is mounted inside."""

    def __init__(self, app: App, found: Installed) -> None:
        self._app = app
        self._found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outside = {name: scope[name] for name in (_FOUND, ROOT, WHERE) if name in scope}
        scope.update({_FOUND: self._found, ROOT: scope.get("root_path") or "", WHERE: self._found.locks.where})
        try:
            await self._app(scope, receive, send)
        finally:
            scope.update(outside)


def _asked(request: Request, resource: str) -> tuple[Head, ResourcePath]:
    head = head_of(request.scope)
    # An application that is mounted answers its own exceptions, and would answer ours with a 500.
    for kind in REFUSALS:
        request.scope.get(_HANDLERS, ({},))[0].setdefault(kind, _on_refusal)
    return head, resource_named(resource, request.path_params, head.path)


async def _on_refusal(request: Request, error: Exception) -> StarletteResponse:
    root = head_of(request.scope).root
    return as_response(answer_refusal(error, request.headers.get("accept"), root=root))


async def _body(request: Request) -> bytes:
    try:
        return await read_body(request.stream())
    except ClientDisconnect:
        return b""
