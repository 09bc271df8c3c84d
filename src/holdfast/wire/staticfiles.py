"""Files of the package that a browser is given: pages and what they load, with their entity tags and the policy that binds them.

Owns: content types, entity tags, the fields of such an answer, and its preconditions (RFC 9110 section 13). Must not know: which
address shows which file, or to whom.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem import render_refusal
from holdfast.wire.rfc4918 import HeaderError
from holdfast.wire.rfc9110 import EntityTag, evaluate_preconditions, parse_preconditions
from holdfast.wire.webpages import HTML_CONTENT_TYPE

__all__ = ["GUARDS", "POLICY", "STATIC_TYPES", "StaticFile", "read_static", "send_static", "static_file"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page: only what this server itself gives may run, load, or be sent to."""

GUARDS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    # Not `no-referrer`, under which forms would be sent with `Origin: null`, and could not prove where they come from.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What every answer of a face with pages says to browsers, beside the policy."""

STATIC_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": HTML_CONTENT_TYPE,
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Content-Type by the end of a file's name."""


class StaticFile(msgspec.Struct, frozen=True):
    """A file's bytes with their type and entity tag."""

    body: bytes
    content_type: str
    etag: EntityTag


def static_file(body: bytes, content_type: str) -> StaticFile:
    """What was made here, with the entity tag of its bytes."""
    return StaticFile(body, content_type, EntityTag(blake2b(body, digest_size=12).hexdigest()))


def read_static(path: Path) -> StaticFile:
    """A file of the package. Raises OSError, and KeyError for a name that no type is known of."""
    return static_file(path.read_bytes(), STATIC_TYPES[path.suffix])


def send_static(request: Request, file: StaticFile) -> Response:
    """Answer GET or HEAD with `file`: 200, or 304, 400 and 412 by the preconditions of the request."""
    headers = [
        ("ETag", file.etag.render()),
        # Kept, but asked for again each time: after an upgrade nobody sees a page of before.
        ("Cache-Control", "no-cache"),
        ("Content-Security-Policy", POLICY),
        *GUARDS,
    ]
    try:
        conditions = parse_preconditions(request.headers)
    except HeaderError as error:
        return _refused(request, 400, str(error))
    verdict = evaluate_preconditions(request.method, conditions, current=file.etag, modified_at=None, exists=True)
    if verdict == 304:
        return Response(304, headers)
    if verdict == 412:
        return _refused(request, 412, "A precondition of the request is false for the page as it is now.")
    return Response(200, [("Content-Type", file.content_type), *headers], file.body)


def _refused(request: Request, status: int, detail: str) -> Response:
    return render_refusal(status, "", detail, accept=request.headers.get(b"accept"), prefers_xml=False)
