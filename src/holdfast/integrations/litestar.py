"""423 in Litestar: a guard, a decorator, the locks' own routes, and the 423 in the OpenAPI document of every operation that may answer it.

Owns: what an application calls, and what Litestar has of its own: exception handlers that may not wait, and operations that describe
themselves. Must not know: how locks are kept, or what a 423 looks like.

    @put("/orders/{order:str}", guards=[require_lock("/orders/{order}")])
    async def put_order(order: str) -> dict[str, str]: ...

    app = Litestar([put_order])
    install(app, Locks("sqlite:///locks.db", address="/locks"))
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import unquote

import msgspec
from anyio import to_thread
from litestar import Litestar, Request, Response, route
from litestar.connection import ASGIConnection
from litestar.exceptions import responses
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import (
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Schema,
)
from litestar.plugins import ReceiveRoutePlugin
from litestar.response.base import ASGIResponse
from litestar.routes import BaseRoute, HTTPRoute
from litestar.utils import normalize_path

from holdfast.core.model import LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.answering import (
    REFUSALS,
    LockedError,
    RefusalError,
    answer_refusal,
    body_of,
    openapi_responses,
)
from holdfast.integrations.asgi import App, Scope, head_of, principal_of
from holdfast.integrations.asgi import LockMiddleware as AsgiLockMiddleware
from holdfast.integrations.backends import Locks, Wanted
from holdfast.integrations.database_errors import answer_database_error, database_errors
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms, resource_named
from holdfast.integrations.routes import LockRoutes, MayBreak, MayLock, MaySee, allow_single, see_all
from holdfast.integrations.threads import answer_on_thread, ask_on_thread, held_on_thread, read_body, require_on_thread
from holdfast.wire.exchange import Response as Answer

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = [
    "Installed",
    "LockMiddleware",
    "LockedError",
    "LockedOperation",
    "Locks",
    "PrincipalOf",
    "Wanted",
    "as_response",
    "holding",
    "install",
    "install_database_errors",
    "installed",
    "lock",
    "lock_routes",
    "require_lock",
]

_Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
_Request: TypeAlias = Request[Any, Any, Any]

PrincipalOf = Callable[[_Connection], str]
"""Who sends a request, as the application knows it."""

_OnError: TypeAlias = Callable[[_Request, Any], Response[Any]]

_NAME: Final = "holdfast"
_REQUEST: Final = "request"
_ABOUT_TOKEN: Final = "The token of the caller's own lock, in angle brackets."  # noqa: S105


def _principal(connection: _Connection) -> str:
    return principal_of(_scope(connection))


class Installed(msgspec.Struct, frozen=True):
    """What `install` left with an application."""

    locks: Locks
    principal: PrincipalOf = _principal


def install(
    app: Litestar,
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Locks:
    """Let an application answer 423: its exceptions become answers, and at `locks.address` stand the locks' own routes.

    Every operation that has the guard or the decorator of this module has the 423 in the OpenAPI document. `principal` tells who sends a
    request; without one it is the connection's user, where that has `is_authenticated` and a `display_name` or `username`. `may_lock`,
    `may_see` and `may_break` are the application's rules for the routes; see `lock_routes`. Returns `locks`.
    """
    app.state[_NAME] = Installed(locks, principal)
    _handlers_of(app).update(dict.fromkeys(REFUSALS, _on_refusal))
    if app.logging_config:
        app.logging_config.disable_stack_trace.update((LockedError, RefusalError))  # answers, not accidents
    for known in app.routes:
        _describe(known)
    app.plugins.receive_route = (*app.plugins.receive_route, _Describing())
    if locks.address:
        app.register(lock_routes(locks, principal=principal, may_lock=may_lock, may_see=may_see, may_break=may_break))
    return locks


def install_database_errors(app: Litestar, engine: Engine | str | None = None) -> None:
    """Let a locked database become a 423 with Retry-After, and with the holder where `engine` is given to ask for it.

    Errors of databases that are about something else are answered as they would be without this.
    """

    def on_error(request: _Request, error: Exception) -> Response[Any]:
        return _DatabaseAnswer(request, error, engine, lambda: _otherwise(request, error, on_error))

    _handlers_of(app).update(dict.fromkeys(database_errors(), on_error))


def installed(connection: _Connection) -> Installed:
    """What `install` left with the application of a connection. Raises LookupError."""
    found = connection.app.state.get(_NAME)
    if not isinstance(found, Installed):
        msg = "this application has no locks: call install(app, Locks(...)) first"
        raise LookupError(msg)  # noqa: TRY004 - nothing was passed
    return found


def require_lock(
    resource: str = "", *, principal: PrincipalOf | None = None, held_only: bool = False, writes: bool = False
) -> _Requires:
    """A guard: the handler runs where `resource` is free, or locked by the caller, who submits the token. 423 else.

    `resource` is a template with the route's parameters (`/orders/{order}`); without one it is the request's own path. `principal`
    tells who calls, in place of the rule that `install` was given. What only reads passes (GET, HEAD, OPTIONS), but with `writes`, for
    a handler whose GET changes something. With `held_only` a change of a free resource is refused too (428).
    """
    return _Requires(resource, principal, held_only, writes)


def lock(
    resource: str = "",
    *,
    principal: PrincipalOf | None = None,
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]:
    """A decorator, to stand below the route's: the handler runs with a lock on `resource`, or with the one whose token the caller submits.

    The lock is taken when everything that the handler needs is there, and released when it returns, before its answer is sent. A
    handler that is a plain function runs on a thread. See `holding` for the other words. (A dependency would not do: where another
    one fails, Litestar does not end those that came before.)
    """

    def decorate(handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        signature = inspect.signature(handler)
        takes_request = _REQUEST in signature.parameters

        @wraps(handler)
        async def guarded(*args: Any, **named: Any) -> Any:
            request = named[_REQUEST] if takes_request else named.pop(_REQUEST)
            async with holding(request, resource, principal=principal, ttl=ttl, wait=wait, scope=scope, reason=reason):
                if inspect.iscoroutinefunction(handler):
                    return await handler(*args, **named)
                return await to_thread.run_sync(lambda: handler(*args, **named))

        if not takes_request:
            asked = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
            guarded.__annotations__ = {**handler.__annotations__, _REQUEST: Request}
            guarded.__dict__["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), asked])
        guarded.__dict__[_NAME] = True
        return guarded

    return decorate


@asynccontextmanager
async def holding(
    request: _Request,
    resource: str = "",
    *,
    principal: PrincipalOf | None = None,
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> AsyncGenerator[ShownLock, None]:
    """A lock on `resource` while the block runs, or the one whose token the request submits. Raises LockedError.

    `ttl` (seconds) is longer than the block takes: the lock ends then by itself where the process died. `wait` is for how many
    seconds to stand in line.
    """
    found = installed(request)
    head, path = _asked(request, resource)
    terms = Terms(ttl=ttl, wait=wait, scope=scope, reason=reason)
    async with held_on_thread(found.locks, head, path, (principal or found.principal)(request), terms) as taken:
        yield taken


class LockMiddleware(AsgiLockMiddleware):
    """Guards an application by `locks`: see `guarding.Guard` for `under`, `methods` and `resource`.

    It is one of Litestar's `middleware`: `DefineMiddleware(LockMiddleware, locks=locks, under=["/orders"])`. `principal` tells who
    sends a request, where the rule that `install` was given does not; a middleware that finds that out stands before this one.
    What is checked here is the moment before the handler begins: whoever needs certainty until its end holds a lock meanwhile.
    """

    def __init__(
        self,
        app: App,
        locks: Locks,
        *,
        principal: PrincipalOf | None = None,
        under: Collection[str] = ("/",),
        methods: Collection[str] = (),
        resource: Callable[[str], str | None] | None = None,
    ) -> None:
        """Stand before `app`."""

        def who(scope: Scope) -> str:
            connection: _Connection = ASGIConnection(cast("Any", scope))
            found = connection.app.state.get(_NAME)
            return (principal or (found.principal if isinstance(found, Installed) else _principal))(connection)

        super().__init__(app, locks, principal=who, under=under, methods=methods, resource=resource)

    def head(self, scope: Scope) -> Head:
        """The head of the request, as Litestar has understood its path."""
        return _head(scope)


def lock_routes(
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> HTTPRouteHandler:
    """The locks' own routes (see `integrations.routes`), at their address; `install` adds them by itself.

    `may_lock(principal, resource, depth)` is asked for every new lock: without a rule any resource may be locked, but nothing
    together with all that is below it. `may_see(principal, resource)` tells who may ask who has a resource: without a rule, everybody.
    `may_break(principal)` tells who breaks others' locks: without a rule, nobody.
    """
    routes = LockRoutes(locks, may_lock=may_lock, may_see=may_see, may_break=may_break)

    async def answer_locks(request: _Request) -> Response[bytes]:
        body = await read_body(request.stream())
        head, who = _head(_scope(request)), principal(request)
        tail, query = head.path.removeprefix(locks.address), _scope(request)["query_string"].decode("latin-1")
        return as_response(await answer_on_thread(routes, head, tail, query, body, who))

    paths, methods = [locks.address, f"{locks.address}/{{tail:path}}"], ["GET", "POST", "DELETE"]
    return route(paths, http_method=cast("Any", methods), status_code=200, include_in_schema=False)(answer_locks)


def as_response(answer: Answer) -> Response[bytes]:
    """An answer of this package as one of Litestar's."""
    fields = dict(answer.headers)
    return Response(body_of(answer), status_code=answer.status, headers=fields, media_type=fields.get("Content-Type"))


@dataclass
class LockedOperation(Operation):
    """An operation that may answer 423, and takes a lock's token: what the OpenAPI document says of it.

    For a handler that locks by `holding`, or raises LockedError itself: `@post(..., operation_class=LockedOperation)`. Where the guard
    or the decorator is, it is there already.
    """

    def __post_init__(self) -> None:
        """Add the 423, unless the operation describes one itself."""
        self.parameters = [*(self.parameters or ()), _token_parameter()]
        self.responses = {"423": _locked_response(), **(self.responses or {})}


class _Requires(msgspec.Struct, frozen=True):
    """The guard that `require_lock` makes."""

    resource: str
    principal: PrincipalOf | None
    held_only: bool
    writes: bool

    async def __call__(self, connection: _Connection, _handler: BaseRouteHandler) -> None:
        found = installed(connection)
        head = _head(_scope(connection))
        if _is_of_locks(head.path, found.locks.address):
            return  # the application as a whole has the guard, and whoever needs a lock has to get at one
        path = resource_named(self.resource, connection.path_params, head.path)
        who = (self.principal or found.principal)(connection)
        await require_on_thread(found.locks, head, path, who, held_only=self.held_only, writes=self.writes)


class _Describing(ReceiveRoutePlugin):
    """Describes the routes that an application registers later."""

    def receive_route(self, route: BaseRoute) -> None:
        _describe(route)


class _DatabaseAnswer(Response[None]):
    """The answer to a database's error, for which the database is asked who holds it: on a thread, which an exception handler has not."""

    def __init__(
        self, request: _Request, error: Exception, engine: Engine | str | None, otherwise: Callable[[], Response[Any]]
    ) -> None:
        super().__init__(None)
        self._ask = (error, engine, _head(_scope(request)).path, request.headers.get("accept"))
        self._otherwise = otherwise

    def to_asgi_response(self, app: Litestar | None, request: _Request, **more: Any) -> ASGIResponse:
        return _AskingResponse(self, request, more)

    async def found(self) -> Response[Any]:
        answer = await ask_on_thread(answer_database_error, *self._ask)
        return self._otherwise() if answer is None else as_response(answer)


class _AskingResponse(ASGIResponse):
    def __init__(self, asked: _DatabaseAnswer, request: _Request, more: dict[str, Any]) -> None:
        super().__init__()
        self._asked, self._request, self._more = asked, request, more

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response: Any = await self._asked.found()
        await response.to_asgi_response(None, self._request, **self._more)(scope, receive, send)


def _otherwise(request: _Request, error: Exception, not_this: object) -> Response[Any]:
    """What the application answers to an error without the handler `not_this`, by Litestar's own order of handlers."""
    handlers: Mapping[Any, _OnError] = cast("Any", request.route_handler).resolve_exception_handlers()
    chosen = [handlers[kind] for kind in type(error).__mro__ if kind in handlers and handlers[kind] is not not_this]
    own = cast("Any", responses)
    plain: _OnError = own.create_debug_response if request.app.debug else own.create_exception_response
    return (chosen[0] if chosen else handlers.get(500, plain))(request, error)


def _handlers_of(app: Any) -> dict[Any, _OnError]:
    """An application's exception handlers, of which Litestar types no more than the half; each request looks into them anew."""
    return app.exception_handlers


def _on_refusal(request: _Request, error: Exception) -> Response[bytes]:
    root = _head(_scope(request)).root
    return as_response(answer_refusal(error, request.headers.get("accept"), root=root))


def _asked(connection: _Connection, resource: str) -> tuple[Head, ResourcePath]:
    head = _head(_scope(connection))
    return head, resource_named(resource, connection.path_params, head.path)


def _scope(connection: _Connection) -> Scope:
    return cast("Scope", connection.scope)


def _head(scope: Scope) -> Head:
    """The head of a request that Litestar has routed: its path is below the root already, and without slashes that say nothing."""
    root: str = scope.get("root_path") or ""
    path: str = scope["path"]
    if getattr(scope["route_handler"], "is_mount", False):
        # A mounted application is given only what is below it; which part of the path that is, is told by the path as it was sent.
        whole = unquote(scope["raw_path"].decode("latin-1"), errors="surrogateescape")
        path = normalize_path(whole.split(root, maxsplit=1)[-1] if root else whole)
    head = head_of({"method": "GET", **scope, "path": path, "root_path": ""})
    return msgspec.structs.replace(head, root=root.rstrip("/"))


def _is_of_locks(path: str, address: str) -> bool:
    return bool(address) and f"{path}/".startswith(f"{address}/")


def _describe(route: BaseRoute) -> None:
    """Let the handlers of a route that ask about locks say so in the OpenAPI document."""
    for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
        kind = handler.operation_class
        if _asks_about_locks(handler) and not issubclass(kind, LockedOperation):
            plain = kind is Operation
            handler.operation_class = (
                LockedOperation if plain else dataclass(type(kind.__name__, (LockedOperation, kind), {}))
            )


def _asks_about_locks(handler: HTTPRouteHandler) -> bool:
    if any(isinstance(guard, _Requires) for guard in cast("Any", handler).resolve_guards()):
        return True
    return bool(getattr(handler.fn, _NAME, False))


def _token_parameter() -> Parameter:
    text = Schema(type=OpenAPIType.STRING)
    return Parameter("Lock-Token", "header", schema=text, description=_ABOUT_TOKEN, required=False)


def _locked_response() -> OpenAPIResponse:
    told = openapi_responses()[423]
    return OpenAPIResponse(
        description=told["description"],
        headers={
            name: OpenAPIHeader(
                schema=cast("Schema", field["schema"]), description=field["description"], required=field["required"]
            )
            for name, field in told["headers"].items()
        },
        content={
            kind: OpenAPIMediaType(schema=cast("Schema", form["schema"])) for kind, form in told["content"].items()
        },
    )
