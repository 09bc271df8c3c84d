"""423 in Flask: an exception that becomes the whole answer, two decorators, and the locks' own routes.

Owns: what an application calls. Must not know: how locks are kept, or what a 423 looks like.

    app = Flask(__name__)
    install(app, Locks("sqlite:///locks.db", address="/locks"))

    @app.put("/orders/<order>")
    @require_lock("/orders/{order}")
    def put_order(order): ...
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import msgspec
from flask import Blueprint, Flask, current_app, request
from flask import Response as FlaskResponse

from holdfast.core.model import LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations.answering import REFUSALS, LockedError, answer_refusal, body_of
from holdfast.integrations.backends import Locks, Wanted
from holdfast.integrations.database_errors import answer_database_error, database_errors
from holdfast.integrations.guarding import Head
from holdfast.integrations.holding import Terms, held, require, resource_named
from holdfast.integrations.routes import MAX_BODY_BYTES, LockRoutes, MayBreak, MayLock, MaySee, allow_single, see_all
from holdfast.integrations.wsgi import LockMiddleware, head_of, principal_of
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
    "holding",
    "install",
    "install_database_errors",
    "installed",
    "lock",
    "lock_routes",
    "require_lock",
]

P = ParamSpec("P")
T = TypeVar("T")

PrincipalOf = Callable[[], str]
"""Who sends the current request, as the application knows it."""

_NAME: Final = "holdfast"


def _principal() -> str:
    return principal_of(request.environ)


class Installed(msgspec.Struct, frozen=True):
    """What `install` left with an application."""

    locks: Locks
    principal: PrincipalOf = _principal


def install(
    app: Flask,
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Locks:
    """Let an application answer 423: its exceptions become answers, and at `locks.address` stand the locks' own routes.

    `principal` tells who sends the current request (REMOTE_USER, where none is given). `may_lock`, `may_see` and `may_break` are the
    application's rules for the routes; see `lock_routes`. Returns `locks`.
    """
    app.extensions[_NAME] = Installed(locks, principal)
    for kind in REFUSALS:
        app.register_error_handler(kind, _on_refusal)
    if locks.address:
        app.register_blueprint(
            lock_routes(locks, principal=principal, may_lock=may_lock, may_see=may_see, may_break=may_break)
        )
    return locks


def install_database_errors(app: Flask, engine: Engine | str | None = None) -> None:
    """Let a locked database become a 423 with Retry-After, and with the holder where `engine` is given to ask for it.

    Errors of databases that are about something else stay what they are.
    """

    def on_error(error: Exception) -> FlaskResponse:
        path = head_of(request.environ).path
        answer = answer_database_error(error, engine, path, request.headers.get("Accept"))
        if answer is None:
            raise error
        return as_response(answer)

    for kind in database_errors():
        app.register_error_handler(kind, on_error)


def installed() -> Installed:
    """What `install` left with the current application. Raises LookupError."""
    found = current_app.extensions.get(_NAME)
    if not isinstance(found, Installed):
        msg = "this application has no locks: call install(app, Locks(...)) first"
        raise LookupError(msg)  # noqa: TRY004 - nothing was passed
    return found


def require_lock(
    resource: str = "", *, principal: PrincipalOf | None = None, held_only: bool = False, writes: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: the view runs where `resource` is free, or locked by the caller, who submits the token. 423 else.

    `resource` is a template with the route's parameters (`/orders/{order}`); without one it is the request's own path. `principal`
    tells who calls, in place of the rule that `install` was given. What only reads passes (GET, HEAD, OPTIONS), but with `writes`, for
    a view whose GET changes something. With `held_only` a change of a free resource is refused too (428).
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **named: P.kwargs) -> T:
            found = installed()
            head, path = _asked(resource)
            who = (principal or found.principal)()
            require(found.locks, head, path, who, held_only=held_only, writes=writes)
            return current_app.ensure_sync(view)(*args, **named)

        return guarded

    return decorate


def lock(
    resource: str = "",
    *,
    principal: PrincipalOf | None = None,
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: the view runs with a lock on `resource`, or with the one whose token the caller submits. 423 else.

    It is released when the view returns, before its answer is sent. See `holding` for the other words.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **named: P.kwargs) -> T:
            with holding(resource, principal=principal, ttl=ttl, wait=wait, scope=scope, reason=reason):
                return current_app.ensure_sync(view)(*args, **named)

        return guarded

    return decorate


@contextmanager
def holding(
    resource: str = "",
    *,
    principal: PrincipalOf | None = None,
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> Generator[ShownLock]:
    """A lock on `resource` while the block of a view runs, or the one whose token the caller submits. Raises LockedError.

    `ttl` (seconds) is longer than the block takes: the lock ends then by itself where the process died. `wait` is for how many
    seconds to stand in line.
    """
    found = installed()
    head, path = _asked(resource)
    terms = Terms(ttl=ttl, wait=wait, scope=scope, reason=reason)
    with held(found.locks, head, path, (principal or found.principal)(), terms) as taken:
        yield taken


def lock_routes(
    locks: Locks,
    *,
    principal: PrincipalOf = _principal,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Blueprint:
    """The locks' own routes (see `integrations.routes`), at their address; `install` adds them by itself.

    `may_lock(principal, resource, depth)` is asked for every new lock: without a rule any resource may be locked, but nothing
    together with all that is below it. `may_see(principal, resource)` tells who may ask who has a resource: without a rule, everybody.
    `may_break(principal)` tells who breaks others' locks: without a rule, nobody.
    """
    routes = LockRoutes(locks, may_lock=may_lock, may_see=may_see, may_break=may_break)
    blueprint = Blueprint(_NAME, __name__, url_prefix=locks.address)

    def answer(tail: str = "") -> FlaskResponse:
        body = request.stream.read(MAX_BODY_BYTES + 1)
        query = request.query_string.decode("latin-1")
        return as_response(routes.answer(head_of(request.environ), f"/{tail}", query, body, principal()))

    methods: dict[str, Any] = {"methods": ["GET", "POST", "DELETE"]}
    blueprint.add_url_rule("", "locks", answer, **methods)
    blueprint.add_url_rule("/<path:tail>", "lock", answer, **methods)
    return blueprint


def as_response(answer: Response) -> FlaskResponse:
    """An answer of this package as one of Flask's."""
    response = FlaskResponse(body_of(answer), answer.status)
    for name, _ in answer.headers:
        response.headers.remove(name)
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response


def _asked(resource: str) -> tuple[Head, ResourcePath]:
    head = head_of(request.environ)
    return head, resource_named(resource, request.view_args or {}, head.path)


def _on_refusal(error: Exception) -> FlaskResponse:
    root = head_of(request.environ).root
    return as_response(answer_refusal(error, request.headers.get("Accept"), root=root))
