"""423 in aiohttp's server: an exception that becomes the whole answer, locks for a request, a guard, and the locks' own routes.

Owns: what an application calls, and what the path of a request means in an application that another one has taken in. Must not know:
how locks are kept, or what a 423 looks like.

    app = web.Application()
    install(app, Locks("sqlite:///locks.db", address="/locks"))

    async def put_order(request):
        await require_lock(request)  # 423 unless it is free, or the caller's
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from holdfast.core.model import LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.answering import REFUSALS, LockedError, answer_refusal, body_of
from holdfast.integrations.backends import DEFAULT_PRINCIPAL, Locks, Wanted
from holdfast.integrations.database_errors import answer_database_error, database_errors
from holdfast.integrations.guarding import Guard, Head
from holdfast.integrations.holding import Terms, resource_named
from holdfast.integrations.routes import LockRoutes, MayBreak, MayLock, MaySee, allow_single, see_all
from holdfast.integrations.threads import answer_on_thread, ask_on_thread, held_on_thread, read_body, require_on_thread
from holdfast.wire.exchange import Headers, Response

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = [
    "Installed",
    "LockedError",
    "Locks",
    "PrincipalOf",
    "Wanted",
    "as_response",
    "install",
    "install_database_errors",
    "installed",
    "lock",
    "lock_middleware",
    "lock_routes",
    "require_lock",
]

PrincipalOf = Callable[[web.Request], str]
"""Who sends a request, as the application knows it."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Middleware = Callable[[web.Request, _Handler], Awaitable[web.StreamResponse]]


def _nobody(_request: web.Request) -> str:
    return DEFAULT_PRINCIPAL


class Installed(msgspec.Struct, frozen=True):
    """What `install` left with an application."""

    locks: Locks
    principal: PrincipalOf = _nobody


_INSTALLED: Final = web.AppKey("holdfast", Installed)


def install(
    app: web.Application,
    locks: Locks,
    *,
    principal: PrincipalOf = _nobody,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Locks:
    """Let an application answer 423: its exceptions become answers, and at `locks.address` stand the locks' own routes.

    `principal` tells who sends a request; aiohttp itself knows nobody. `may_lock`, `may_see` and `may_break` are the application's
    rules for the routes; see `lock_routes`. What it takes in with `add_subapp` has the same locks, unless it was given its own.
    Returns `locks`.
    """
    app[_INSTALLED] = Installed(locks, principal)
    app.middlewares.append(_answer_refusals)
    if locks.address:
        app.add_routes(lock_routes(locks, principal=principal, may_lock=may_lock, may_see=may_see, may_break=may_break))
    return locks


def install_database_errors(app: web.Application, engine: Engine | str | None = None) -> None:
    """Let a locked database become a 423 with Retry-After, and with the holder where `engine` is given to ask for it.

    Errors of databases that are about something else stay what they are.
    """
    kinds = database_errors()

    @web.middleware
    async def answer_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except kinds as error:
            if _has_begun(request):
                raise
            path, accept = _head(request, request.match_info.current_app).path, _accept(request)
            answer = await ask_on_thread(answer_database_error, error, engine, path, accept)
            if answer is None:
                raise
            return as_response(answer)

    app.middlewares.append(answer_errors)


def installed(request: web.Request) -> Installed:
    """What `install` left with the application of a request, or with the one that has taken it in. Raises LookupError."""
    return _installed(request)[1]


async def require_lock(
    request: web.Request, resource: str = "", *, principal: str = "", held_only: bool = False, writes: bool = False
) -> None:
    """Return where the request may change `resource`: it is free, or locked by its sender, who submits the token. LockedError else.

    `resource` is a template with the route's parameters (`/orders/{order}`); without one it is the request's own path. What only reads
    passes (GET, HEAD, OPTIONS), but with `writes`, for a route whose GET changes something. With `held_only` a change of a free
    resource is refused too (428): who writes must have locked it before.
    """
    found, head, path = _asked(request, resource)
    who = principal or found.principal(request)
    await require_on_thread(found.locks, head, path, who, held_only=held_only, writes=writes)


@asynccontextmanager
async def lock(
    request: web.Request,
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
    found, head, path = _asked(request, resource)
    terms = Terms(ttl=ttl, wait=wait, scope=scope, reason=reason)
    async with held_on_thread(found.locks, head, path, principal or found.principal(request), terms) as taken:
        yield taken


def lock_middleware(
    locks: Locks,
    *,
    principal: PrincipalOf | None = None,
    under: Collection[str] = ("/",),
    methods: Collection[str] = (),
    resource: Callable[[str], str | None] | None = None,
) -> _Middleware:
    """A middleware that lets no change to what somebody has locked pass: see `guarding.Guard` for `under`, `methods` and `resource`.

    `principal` tells who sends a request, where the rule that `install` was given does not. A middleware that finds that out stands
    before this one. What is checked here is the moment before the handler begins: whoever needs certainty until its end holds a lock
    meanwhile.
    """
    guard = Guard(locks, under=under, methods=methods, resource=resource)

    @web.middleware
    async def guards(request: web.Request, handler: _Handler) -> web.StreamResponse:
        head = _head(request, request.match_info.current_app)
        if guard.concerns(head):
            refusal = await ask_on_thread(guard.judge, head, lambda: (principal or _principal)(request))
            if refusal is not None:
                return as_response(refusal)
        return await handler(request)

    return guards


def lock_routes(
    locks: Locks,
    *,
    principal: PrincipalOf = _nobody,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> list[web.RouteDef]:
    """The locks' own routes (see `integrations.routes`), at their address; `install` adds them by itself.

    `may_lock(principal, resource, depth)` is asked for every new lock: without a rule any resource may be locked, but nothing
    together with all that is below it. `may_see(principal, resource)` tells who may ask who has a resource: without a rule, everybody.
    `may_break(principal)` tells who breaks others' locks: without a rule, nobody.
    """
    routes = LockRoutes(locks, may_lock=may_lock, may_see=may_see, may_break=may_break)

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await read_body(request.content.iter_any())
        tail = f"/{request.match_info['tail']}" if "tail" in request.match_info else ""
        head, who = _head(request, request.app), principal(request)
        return as_response(await answer_on_thread(routes, head, tail, request.query_string, body, who))

    return [web.route("*", locks.address, answer), web.route("*", f"{locks.address}/{{tail:.*}}", answer)]


def as_response(answer: Response) -> web.Response:
    """An answer of this package as one of aiohttp's."""
    return web.Response(body=body_of(answer), status=answer.status, headers=CIMultiDict(answer.headers))


@web.middleware
async def _answer_refusals(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except REFUSALS as error:
        if _has_begun(request):
            raise
        root = _head(request, request.match_info.current_app).root
        return as_response(answer_refusal(error, _accept(request), root=root))


def _has_begun(request: web.Request) -> bool:
    """True where an answer is on its way already: another one would become a part of it."""
    return request.writer.output_size > 0


def _asked(request: web.Request, resource: str) -> tuple[Installed, Head, ResourcePath]:
    app, found = _installed(request)
    head = _head(request, app)
    return found, head, resource_named(resource, request.match_info, head.path)


def _installed(request: web.Request) -> tuple[web.Application, Installed]:
    for app in reversed(_apps(request, request.match_info.current_app)):
        if _INSTALLED in app:
            return app, app[_INSTALLED]
    msg = "this application has no locks: call install(app, Locks(...)) first"
    raise LookupError(msg)


def _principal(request: web.Request) -> str:
    """The rule that `install` was given, where there is one."""
    apps = reversed(_apps(request, request.match_info.current_app))
    found = next((app[_INSTALLED] for app in apps if _INSTALLED in app), None)
    return DEFAULT_PRINCIPAL if found is None else found.principal(request)


def _head(request: web.Request, app: web.Application) -> Head:
    """The head of a request, as `app` sees it: its path is what stands below the place at which others have taken the application in."""
    root = _root(request, app)
    headers = Headers([(name.lower(), value) for name, value in request.raw_headers])
    return Head(request.method, request.path.removeprefix(root) or "/", headers, request.scheme, root)


def _root(request: web.Request, app: web.Application) -> str:
    """The path at which `app` stands in the outermost application; each one's `add_subapp` has added its own part to it already."""
    root = ""
    for outer, inner in pairwise(_apps(request, app)):
        places = [place.get_info() for place in outer.router.resources()]
        root = next((place.get("prefix", "") for place in places if place.get("app") is inner), "")
    return unquote(root)


def _apps(request: web.Request, app: web.Application) -> tuple[web.Application, ...]:
    """The applications that a request has come through, from the outermost to `app`."""
    apps = request.match_info.apps
    return apps[: apps.index(app) + 1]


def _accept(request: web.Request) -> str | None:
    return request.headers.get("Accept")
