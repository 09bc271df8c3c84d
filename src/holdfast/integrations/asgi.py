"""Locks before any ASGI application: a middleware that lets no change to what somebody has locked pass.

Owns: reading an ASGI scope, and sending a refusal. Must not know: which framework stands behind it. Only a request's head is looked
at: bodies stream through untouched, and a request that may pass costs one question, asked on a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final, TypeAlias, cast

from holdfast.integrations.answering import body_of
from holdfast.integrations.backends import DEFAULT_PRINCIPAL, Locks
from holdfast.integrations.guarding import Guard, Head
from holdfast.integrations.threads import ask_on_thread
from holdfast.wire.exchange import Headers, Response

__all__ = ["ROOT", "WHERE", "App", "LockMiddleware", "Receive", "Scope", "Send", "head_of", "principal_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_HTTP: Final = "http"

ROOT: Final = "holdfast.root"
"""In a scope: the path at which the application stands that locks are installed in, as text."""

WHERE: Final = "holdfast.where"
"""In a scope: where those are kept, as their Locks say."""


def head_of(scope: Scope) -> Head:
    """The head of the request that a scope is about.

    Its path is what stands below the application that the locks are installed in: what others it has mounted see of the path changes
    nothing about the resource. Before an application without them it is what stands below the server's root_path.
    """
    root: str = scope.get(ROOT, scope.get("root_path")) or ""
    path: str = scope["path"]
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :] or "/"
    headers = cast("list[tuple[bytes, bytes]]", list(scope["headers"]))
    return Head(scope["method"], path, Headers(headers), scope.get("scheme") or _HTTP, root.rstrip("/"))


def principal_of(scope: Scope) -> str:
    """Who sent it, as Starlette's AuthenticationMiddleware and those like it tell; DEFAULT_PRINCIPAL where nobody does."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", False):
        return DEFAULT_PRINCIPAL
    return str(getattr(user, "display_name", "") or getattr(user, "username", "") or DEFAULT_PRINCIPAL)


class LockMiddleware:
    """Guards an ASGI application by `locks`: see `guarding.Guard` for `under`, `methods` and `resource`.

    Paths begin where it stands; but before something mounted in an application that the same locks are installed in, where that stands.
    `principal` tells from the scope who sends a request. A middleware that finds that out stands outside of this one.
    What is checked here is the moment before the application begins: whoever needs certainty until its end holds a lock meanwhile.
    """

    def __init__(
        self,
        app: App,
        locks: Locks,
        *,
        principal: Callable[[Scope], str] = principal_of,
        under: Collection[str] = ("/",),
        methods: Collection[str] = (),
        resource: Callable[[str], str | None] | None = None,
    ) -> None:
        """Stand before `app`."""
        self.app = app
        self._guard = Guard(locks, under=under, methods=methods, resource=resource)
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 423, or let the application answer."""
        if scope["type"] == _HTTP:
            head = self.head(scope)
            if self._guard.concerns(head):
                refusal = await ask_on_thread(self._guard.judge, head, lambda: self._principal(scope))
                if refusal is not None:
                    await _send_whole(refusal, send)
                    return
        await self.app(scope, receive, send)

    def head(self, scope: Scope) -> Head:
        """The head of the request, as the application behind will see it."""
        is_inside = scope.get(WHERE) == self._guard.locks.where
        return head_of(scope if is_inside else {**scope, ROOT: scope.get("root_path")})


async def _send_whole(response: Response, send: Send) -> None:
    body = body_of(response)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
