"""InspectorFace: `/inspect`, the page, and `/api/inspect`, what it and programs ask.

Owns: who may ask, methods, refusals, and which files the page is made of. Must not know: what is right and wrong about a response.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from holdfast.access.unknown import UnknownAnswer
from holdfast.faces.inspector.asked import LIVE_METHODS, MOST_BODY_BYTES, RefusedError, read_asked, refuse_length
from holdfast.faces.inspector.inspection import Inspection
from holdfast.inspector.showing.jsons import as_json
from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem import Representation, choose_representation, render_refusal
from holdfast.wire.provenance import is_from_script, is_led_here
from holdfast.wire.staticfiles import GUARDS, read_static, send_static

__all__ = ["API", "PAGE", "InspectorFace"]

PAGE: Final = "/inspect"
API: Final = "/api/inspect"

_ASSETS: Final = Path(__file__).parent / "assets"
_FILES: Final = {PAGE: "inspect.html", f"{PAGE}/inspect.js": "inspect.js", f"{PAGE}/inspect.css": "inspect.css"}
_READS: Final = frozenset({"GET", "HEAD"})
_NEVER_KEPT: Final = ("Cache-Control", "no-store")


class InspectorFace:
    """The face over one Inspection; satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, inspection: Inspection, *, unknown: Callable[[Request], UnknownAnswer]) -> None:
        """Read the page's files; `unknown` tells what is answered to a request without a principal."""
        self._inspection = inspection
        self._unknown_answer = unknown
        self._files = {target: read_static(_ASSETS / name) for target, name in _FILES.items()}

    def admit(self, head: Request) -> Response | None:
        """Refuse a body that is too large, or that nobody would read, before it comes."""
        if head.method in _READS:
            return None
        try:
            self._check(head)
            refuse_length(head)
        except RefusedError as error:
            return _refused(head, error)
        return None

    def is_brief(self, request: Request) -> bool:
        """True for all but an inspection."""
        return request.target != API or request.method != "POST"

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response."""
        try:
            return self._answer(request)
        except RefusedError as error:
            return _refused(request, error)
        finally:
            if not isinstance(request.body, bytes):
                request.body.discard()

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS" and (known := _methods(request.target)):
            return Response(204, [("Allow", ", ".join(known))])
        led = self._led_to_login(request)
        if led is not None:
            return led
        self._check(request)
        if request.target != API:
            return send_static(request, self._files[request.target])
        if request.method in _READS:
            return _said(msgspec.json.encode(self._offer()))
        return _said(as_json(self._inspection.inspect(read_asked(request))).encode())

    def _offer(self) -> dict[str, object]:
        """What may be asked here, for the page."""
        return {"urls": self._inspection.asks_urls, "methods": LIVE_METHODS, "most_bytes": MOST_BODY_BYTES}

    def _check(self, head: Request) -> None:
        """Refuse who is not known, and what is not there. Raises RefusedError."""
        methods = _methods(head.target)
        is_asset = head.target in self._files and head.target != PAGE
        # Whoever is led here may be logged in: the page, which says nothing by itself, asks with the cookie.
        is_led = head.target == PAGE and is_led_here(head)
        if head.principal is None and not is_asset and not is_led:
            answer = self._unknown_answer(head)
            raise RefusedError(answer.status, answer.detail, *answer.headers)
        if not methods:
            raise RefusedError(404, "There is nothing at this address.")
        if head.method not in methods:
            raise RefusedError(405, f"{head.method} is not a method of this address.", ("Allow", ", ".join(methods)))

    def _led_to_login(self, request: Request) -> Response | None:
        """The way to the login form, for a browser that shows the page to somebody who is not known."""
        if request.principal is not None or request.target != PAGE or request.method not in _READS:
            return None
        wants_page = choose_representation(request.headers.get(b"accept"), prefers_xml=False) is Representation.HTML
        is_program = b"authorization" in request.headers or is_from_script(request)
        if not wants_page or is_program or is_led_here(request):
            return None
        return Response(303, [("Location", f"/login?next={quote(PAGE)}"), _NEVER_KEPT, *GUARDS])


def _methods(target: str) -> list[str]:
    """What may be asked of an address; empty where nothing is there."""
    if target == API:
        return ["GET", "HEAD", "OPTIONS", "POST"]
    return ["GET", "HEAD", "OPTIONS"] if target in _FILES else []


def _said(body: bytes) -> Response:
    return Response(200, [("Content-Type", "application/json"), _NEVER_KEPT, *GUARDS], body)


def _refused(request: Request, error: RefusedError) -> Response:
    answer = render_refusal(error.status, "", str(error), accept=request.headers.get(b"accept"), prefers_xml=False)
    return Response(answer.status, [*answer.headers, *error.fields], answer.body)
