"""423 in FastAPI: two dependencies, the locks' own routes, and the 423 in the OpenAPI document of every operation that may answer it.

Owns: what FastAPI has beyond Starlette. Must not know: how locks are kept, or what a 423 looks like.

    app = FastAPI()
    install(app, Locks("sqlite:///locks.db", address="/locks"))

    @app.put("/orders/{order}", dependencies=[Depends(require_lock("/orders/{order}"))])
    def put_order(order: str): ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from typing import Any, Final, cast

from fastapi import Depends, FastAPI, Header, Request

from holdfast.core.model import LockScope
from holdfast.faces.api.bodies import ShownLock
from holdfast.integrations import starlette
from holdfast.integrations.answering import LockedError, openapi_responses
from holdfast.integrations.asgi import LockMiddleware
from holdfast.integrations.backends import Locks, Wanted
from holdfast.integrations.routes import MayBreak, MayLock, MaySee, allow_single, see_all
from holdfast.integrations.starlette import (
    PrincipalOf,
    install_database_errors,
    installed,
    lock_routes,
)

__all__ = [
    "LockMiddleware",
    "LockedError",
    "Locks",
    "Wanted",
    "install",
    "install_database_errors",
    "installed",
    "lock",
    "lock_routes",
    "require_lock",
]

_TOKEN: Final = "Lock-Token"  # noqa: S105 - a field's name
_ABOUT_TOKEN: Final = "The token of the caller's own lock, in angle brackets."  # noqa: S105
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def install(
    app: FastAPI,
    locks: Locks,
    *,
    principal: PrincipalOf | None = None,
    may_lock: MayLock = allow_single,
    may_see: MaySee = see_all,
    may_break: MayBreak = lambda _principal: False,
) -> Locks:
    """As `starlette.install`; and every operation that depends on a lock has the 423 in the OpenAPI document."""
    more: dict[str, Any] = {} if principal is None else {"principal": principal}
    starlette.install(app, locks, may_lock=may_lock, may_see=may_see, may_break=may_break, **more)
    plain = app.openapi

    @wraps(plain)
    def openapi() -> dict[str, Any]:
        document = plain()
        _add_responses(document)
        return document

    app.openapi = openapi
    return locks


def require_lock(
    resource: str = "", *, principal: Callable[..., Any] | None = None, held_only: bool = False, writes: bool = False
) -> Callable[..., Awaitable[None]]:
    """A dependency: the operation runs where `resource` is free, or locked by the caller, who submits the token. 423 else.

    `resource` is a template with the route's parameters; without one it is the request's own path. `principal` is a dependency that
    gives the caller's name, in place of the rule that `install` was given. What only reads passes (GET, HEAD, OPTIONS), but with
    `writes`, for an operation whose GET changes something. With `held_only` a change of a free resource is refused too (428).
    """

    async def requires(
        request: Request,
        who: str = Depends(principal or _installed_principal),
        token: str | None = Header(None, alias=_TOKEN, description=_ABOUT_TOKEN),  # noqa: ARG001 - for the document
    ) -> None:
        await starlette.require_lock(request, resource, principal=who, held_only=held_only, writes=writes)

    return requires


def lock(
    resource: str = "",
    *,
    principal: Callable[..., Any] | None = None,
    ttl: float = 60.0,
    wait: float = 0.0,
    scope: LockScope = LockScope.EXCLUSIVE,
    reason: str = "",
) -> Callable[..., AsyncGenerator[ShownLock]]:
    """A dependency: a lock on `resource` while the operation runs, or the one whose token the caller submits. 423 else.

    As `Depends(lock(...), scope="function")` it is released before the answer is sent, otherwise a moment after. `ttl` (seconds) is
    longer than the operation takes; `wait` is for how many seconds to stand in line.
    """

    async def holds(
        request: Request,
        who: str = Depends(principal or _installed_principal),
        token: str | None = Header(None, alias=_TOKEN, description=_ABOUT_TOKEN),  # noqa: ARG001 - for the document
    ) -> AsyncGenerator[ShownLock]:
        async with starlette.lock(
            request, resource, principal=who, ttl=ttl, wait=wait, scope=scope, reason=reason
        ) as taken:
            yield taken

    return holds


async def _installed_principal(request: Request) -> str:
    return installed(request).principal(request)


def _add_responses(document: dict[str, Any]) -> None:
    """Add the 423 to each operation that takes a lock's token, unless it describes one itself."""
    for path in cast("dict[str, dict[str, Any]]", document.get("paths", {})).values():
        for method, operation in path.items():
            if method in _METHODS and any(_is_token(item) for item in operation.get("parameters", ())):
                for status, response in openapi_responses().items():
                    operation.setdefault("responses", {}).setdefault(str(status), response)


def _is_token(parameter: dict[str, Any]) -> bool:
    return parameter.get("in") == "header" and parameter.get("description") == _ABOUT_TOKEN
