"""ApiFace: locks as JSON, before any resource and for any program.

Owns: who is asking (401, 429), which route answers (404, 405), and turning refusals into answers; the
document of the API and the page that explains it. Each route's own work is in the module that `routes` names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.access.unknown import UnknownAnswer
from holdfast.faces.api import openapi, page
from holdfast.faces.api.call import MAX_BODY_BYTES, ApiSite, Call, too_large
from holdfast.faces.api.errors import EXPECTED_ERRORS, RefusalError, as_refusal, render
from holdfast.faces.api.routes import Route, matching
from holdfast.wire.exchange import Request, Response

__all__ = ["DOCUMENTS", "ApiFace"]

DOCUMENTS: Final[dict[str, Callable[[], Response]]] = {"/openapi.json": openapi.document, "/docs": page.document}
"""What is said about the API, for everybody: it tells nothing of this server's locks."""


class ApiFace:
    """The face over one ApiSite; satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, site: ApiSite, *, unknown: Callable[[Request], UnknownAnswer]) -> None:
        """`unknown` tells what is answered to a request without a principal."""
        self._site = site
        self._unknown_answer = unknown

    def admit(self, head: Request) -> Response | None:
        """Refuse a body that is too large, or that nobody would read, before it comes."""
        try:
            self._open(head)
        except RefusalError as error:
            return render(error)
        length = head.headers.get(b"content-length") or "0"
        if length.isdecimal() and len(length) < 10 and int(length) <= MAX_BODY_BYTES:
            return None
        return render(too_large())

    def is_brief(self, request: Request) -> bool:
        """True for all but long lists."""
        routes, _ = matching(request.target)
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        return route is None or route.is_brief

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response."""
        try:
            return self._answer(request)
        except RefusalError as error:
            return render(error)
        except EXPECTED_ERRORS as error:
            return render(as_refusal(error))
        finally:
            if not isinstance(request.body, bytes):
                request.body.discard()

    def _answer(self, request: Request) -> Response:
        opened = self._open(request)
        if isinstance(opened, Response):
            return opened
        call, route = opened
        if route.body is None and call.has_body():
            raise RefusalError(415, f"{request.method} takes no body here.")
        if route.query is None and request.query:
            raise RefusalError(400, f"{request.method} takes no parameters here.")
        return route.handle(call)

    def _open(self, request: Request) -> tuple[Call, Route] | Response:
        """What answers, once it is known who asks; the answer itself where nobody need be known."""
        document = DOCUMENTS.get(request.target)
        routes, lock_id = matching(request.target)
        method = "GET" if request.method == "HEAD" else request.method
        known = set(routes) if document is None else {"GET"}
        allow = ("Allow", ", ".join(_allowed(known)))
        if method == "OPTIONS" and known:
            return Response(204, [allow])
        if document is not None and method == "GET":
            return document()
        if document is None and request.principal is None:
            raise self._unknown(request)
        if not known:
            raise RefusalError(404, "There is nothing at this address; /docs tells what the API has.")
        route = routes.get(method)
        if route is None or request.principal is None:
            raise RefusalError(405, f"{request.method} is not a method of this address.", headers=(allow,))
        return Call(self._site, request, request.principal, lock_id), route

    def _unknown(self, request: Request) -> RefusalError:
        answer = self._unknown_answer(request)
        return RefusalError(answer.status, answer.detail, headers=answer.headers)


def _allowed(methods: set[str]) -> list[str]:
    if not methods:
        return []
    reading = ["HEAD"] if "GET" in methods else []
    return sorted([*methods, *reading, "OPTIONS"])
