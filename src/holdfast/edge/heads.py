"""Response heads as bytes, and the edge's own short refusals.

Owns: status line, fields, the framing fields (Content-Length, Transfer-Encoding, Connection). Must
not know: sockets, requests in flight. A head that a face got wrong is a HeadError, never a smuggled line.
"""

from __future__ import annotations

import http
from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.wire.exchange import Body, FileRegion, Response

__all__ = ["BODILESS", "UPGRADE", "HeadError", "body_length", "encode_head", "encode_interim", "problem"]


class HeadError(ValueError):
    """A face gave a field that cannot be sent."""


def _status_line(code: int) -> str:
    try:
        phrase = http.HTTPStatus(code).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {code} {phrase}\r\n"


_STATUS_LINES: Final = {code: _status_line(code) for code in range(200, 600)}
_SWITCHING_PROTOCOLS: Final = 101
UPGRADE: Final = "connection: upgrade\r\n"
"""The Connection line of the one answer that may have the status 101 (RFC 9110 section 15.2.2)."""
BODILESS: Final = frozenset({204, 304})
"""Statuses whose answers have neither a body nor a length (RFC 9110 sections 15.3.5, 15.4.5)."""


def body_length(body: Body) -> int | None:
    """Bytes that `body` will be; None where that is not known before it ends."""
    if isinstance(body, bytes):
        return len(body)
    if isinstance(body, list):
        return sum(part.length if isinstance(part, FileRegion) else len(part) for part in body)
    return None


def encode_head(
    response: Response, length: int | None, defaults: str, connection: str, *, chunked: bool = False
) -> bytes:
    """The head up to and with its empty line.

    `defaults` are whole lines for every answer (Date, Server); `connection` is a whole line or empty.
    `length` becomes Content-Length where the status has one (RFC 9110 section 8.6). Raises HeadError.
    """
    lines = _lines(response.headers)
    status = response.status
    line = _STATUS_LINES.get(status)
    if line is None:
        if status != _SWITCHING_PROTOCOLS or connection != UPGRADE:
            msg = f"{status} is not a final status"
            raise HeadError(msg)
        line = _status_line(status)
    if chunked:
        framing = "transfer-encoding: chunked\r\n"
    elif length is None or status in BODILESS:
        framing = ""
    else:
        framing = f"content-length: {length}\r\n"
    return _encoded(f"{line}{defaults}{lines}{framing}{connection}\r\n")


def encode_interim(status: int, fields: Sequence[tuple[str, str]]) -> bytes:
    """The whole of an interim answer, `status` 100 to 199 (RFC 9110 section 15.2). Raises HeadError."""
    return _encoded(f"{_status_line(status)}{_lines(fields)}\r\n")


def _lines(fields: Sequence[tuple[str, str]]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    count = len(fields)
    if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
        msg = "a response field holds a line break or NUL"
        raise HeadError(msg)
    return lines


def _encoded(head: str) -> bytes:
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        msg = "a response field holds a character outside Latin-1"
        raise HeadError(msg) from None


def problem(status: int, detail: str, fields: Sequence[tuple[str, str]] = ()) -> Response:
    """A refusal of the edge itself, as a problem (RFC 9457)."""
    body = msgspec.json.encode(
        {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
    )
    headers = [("content-type", "application/problem+json"), ("cache-control", "no-store"), *fields]
    return Response(status, headers, body)
