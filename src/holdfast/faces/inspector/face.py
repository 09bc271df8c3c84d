"""InspectorFace: `/inspect`, the page, and `/api/inspect`, what it and programs ask.

Owns: who may ask, methods, refusals, and the page's files with the policy that binds a browser to this server's own scripts. Must not
know: what is right and wrong about a response.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
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
from holdfast.wire.rfc4918 import HeaderError
from holdfast.wire.rfc9110 import EntityTag, evaluate_preconditions, parse_preconditions

__all__ = ["API", "PAGE", "POLICY", "InspectorFace"]

PAGE: Final = "/inspect"
API: Final = "/api/inspect"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: only what this server itself gives may run, load, or be sent to."""

_ASSETS: Final = Path(__file__).parent / "assets"
_FILES: Final = {
    PAGE: ("inspect.html", "text/html; charset=utf-8"),
    f"{PAGE}/inspect.js": ("inspect.js", "text/javascript; charset=utf-8"),
    f"{PAGE}/inspect.css": ("inspect.css", "text/css; charset=utf-8"),
}
_READS: Final = frozenset({"GET", "HEAD"})
_GUARDS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_NEVER_KEPT: Final = ("Cache-Control", "no-store")


class _File(msgspec.Struct, frozen=True):
    body: bytes
    content_type: str
    etag: EntityTag


class InspectorFace:
    """The face over one Inspection; satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, inspection: Inspection, *, unknown: Callable[[Request], UnknownAnswer]) -> None:
        """Read the page's files; `unknown` tells what is answered to a request without a principal."""
        self._inspection = inspection
        self._unknown_answer = unknown
        self._files = {target: _file(name, content_type) for target, (name, content_type) in _FILES.items()}

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
            return _send(request, self._files[request.target])
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
        return Response(303, [("Location", f"/login?next={quote(PAGE)}"), _NEVER_KEPT, *_GUARDS])


def _methods(target: str) -> list[str]:
    """What may be asked of an address; empty where nothing is there."""
    if target == API:
        return ["GET", "HEAD", "OPTIONS", "POST"]
    return ["GET", "HEAD", "OPTIONS"] if target in _FILES else []


def _file(name: str, content_type: str) -> _File:
    body = (_ASSETS / name).read_bytes()
    return _File(body, content_type, EntityTag(blake2b(body, digest_size=12).hexdigest()))


def _send(request: Request, file: _File) -> Response:
    # Kept, but asked for again each time: after an upgrade nobody sees a page of before.
    headers = [
        ("ETag", file.etag.render()),
        ("Cache-Control", "no-cache"),
        ("Content-Security-Policy", POLICY),
        *_GUARDS,
    ]
    try:
        conditions = parse_preconditions(request.headers)
    except HeaderError as error:
        raise RefusedError(400, str(error)) from None
    verdict = evaluate_preconditions(request.method, conditions, current=file.etag, modified_at=None, exists=True)
    if verdict == 304:
        return Response(304, headers)
    if verdict == 412:
        raise RefusedError(412, "A precondition of the request is false for the page as it is now.")
    return Response(200, [("Content-Type", file.content_type), *headers], file.body)


def _said(body: bytes) -> Response:
    return Response(200, [("Content-Type", "application/json"), _NEVER_KEPT, *_GUARDS], body)


def _refused(request: Request, error: RefusedError) -> Response:
    answer = render_refusal(error.status, "", str(error), accept=request.headers.get(b"accept"), prefers_xml=False)
    return Response(answer.status, [*answer.headers, *error.fields], answer.body)
