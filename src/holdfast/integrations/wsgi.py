"""Locks before any WSGI application: a middleware that lets no change to what somebody has locked pass.

Owns: reading a WSGI environ, and answering in WSGI (PEP 3333). Must not know: which framework stands behind it. Only the head of a
request is looked at: bodies stream through untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast

from holdfast.integrations.answering import body_of
from holdfast.integrations.backends import DEFAULT_PRINCIPAL, Locks
from holdfast.integrations.guarding import Guard, Head
from holdfast.wire.exchange import Headers, Response

__all__ = ["Environ", "LockMiddleware", "head_of", "principal_of"]

Environ: TypeAlias = dict[str, Any]
_StartResponse: TypeAlias = Callable[..., Any]
_App: TypeAlias = Callable[[Environ, _StartResponse], Iterable[bytes]]

_PLAIN: Final = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


def head_of(environ: Mapping[str, Any]) -> Head:
    """The head of the request that an environ is about."""
    fields = [(_PLAIN[name], str(value).encode("latin-1")) for name, value in environ.items() if name in _PLAIN]
    fields += [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    return Head(
        environ["REQUEST_METHOD"],
        _decoded(environ.get("PATH_INFO", "")) or "/",
        Headers(fields),
        environ.get("wsgi.url_scheme", "http"),
        _decoded(environ.get("SCRIPT_NAME", "")).rstrip("/"),
    )


def principal_of(environ: Mapping[str, Any]) -> str:
    """Who sent it, as the web server tells in REMOTE_USER; DEFAULT_PRINCIPAL where it does not."""
    return cast("str", environ.get("REMOTE_USER") or DEFAULT_PRINCIPAL)


class LockMiddleware:
    """Guards a WSGI application by `locks`: see `guarding.Guard` for `under`, `methods` and `resource`.

    `principal` tells from the environ who sends a request. What is checked here is the moment before the application begins: whoever
    needs certainty until its end holds a lock meanwhile.
    """

    def __init__(
        self,
        app: _App,
        locks: Locks,
        *,
        principal: Callable[[Mapping[str, Any]], str] = principal_of,
        under: Collection[str] = ("/",),
        methods: Collection[str] = (),
        resource: Callable[[str], str | None] | None = None,
    ) -> None:
        """Stand before `app`."""
        self.app = app
        self._guard = Guard(locks, under=under, methods=methods, resource=resource)
        self._principal = principal

    def __call__(self, environ: Environ, start_response: _StartResponse) -> Iterable[bytes]:
        """Answer 423, or let the application answer."""
        refusal = self._guard.judge(head_of(environ), lambda: self._principal(environ))
        if refusal is None:
            return self.app(environ, start_response)
        return _answer(refusal, start_response)


def _answer(response: Response, start_response: _StartResponse) -> Iterable[bytes]:
    body = body_of(response)
    status = HTTPStatus(response.status)
    start_response(f"{status.value} {status.phrase}", [*response.headers, ("Content-Length", str(len(body)))])
    return [body]


def _decoded(text: str) -> str:
    """A path as people read it: PEP 3333 hands over its bytes as Latin-1. A path that is not UTF-8 stays unreadable, and is refused."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")
