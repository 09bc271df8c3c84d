"""What needs no credentials and stands beside all faces: explanations.

Owns: those few routes, as an ASGI application. Must not know: locks, files, who is asking.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast.wire.problem import render_refusal
from holdfast.wire.webpages import HTML_CONTENT_TYPE, PAGE_POLICY, render_problem_page

__all__ = ["EXPLANATION", "home"]

EXPLANATION = "/problems/locked"
"""Where a Holdfast server explains a 423."""

_PAGE_FIELDS = {
    "Content-Type": HTML_CONTENT_TYPE,
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def home(*, is_server: bool = True, explains_at: Sequence[str] = (EXPLANATION,)) -> ASGIApp:
    """The application; where it stands at no whole Holdfast server, its page leads to none of a server's own.

    `explains_at` are the addresses at which it explains a 423.
    """

    async def explain_locked(_request: Request) -> Response:
        return Response(render_problem_page(is_server=is_server), headers=_PAGE_FIELDS)

    return Starlette(
        routes=[Route(address, explain_locked) for address in explains_at],
        exception_handlers={404: _not_found, 405: _not_found},
    )


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    answer = render_refusal(
        status, "", "There is nothing at this address.", accept=request.headers.get("accept"), prefers_xml=False
    )
    headers = dict(answer.headers) | dict(getattr(error, "headers", None) or {})
    return Response(answer.body if isinstance(answer.body, bytes) else b"", status_code=status, headers=headers)
