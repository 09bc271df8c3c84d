"""HAR 1.2 files, as browsers and proxies export them -> exchanges.

Owns: the names and the habits of that format: what is base64, what is missing, what -1 means. Must not know: files, and what is
right and wrong. Cookies and tokens that a file holds are read into the exchange as any field, and shown nowhere by this module.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from holdfast.inspector.exchange import Exchange, FieldLine, ReceivedResponse, SentRequest
from holdfast.inspector.reading import ReadingError

__all__ = ["MOST_ENTRIES", "is_har", "read_har"]

MOST_ENTRIES: Final = 5_000
"""Entries that are read from one file; it is refused beyond."""

_BEGINS: Final = re.compile(rb"\s*\{\s*\"log\"\s*:")
_VERSION: Final = re.compile(r"(?:HTTP/|h)?(1\.[01]|[23])(?:\.0)?", re.IGNORECASE)

_LONGEST_MS: Final = 86_400_000.0

Status = Annotated[int, msgspec.Meta(ge=0, le=999)]


class _Pair(msgspec.Struct):
    name: str = ""
    value: str = ""


class _PostData(msgspec.Struct):
    text: str | None = None
    encoding: str | None = None


class _Content(msgspec.Struct):
    size: float | None = None
    text: str | None = None
    encoding: str | None = None


class _Request(msgspec.Struct, rename="camel"):
    method: str = ""
    url: str = ""
    http_version: str | None = None
    headers: list[_Pair] = []
    post_data: _PostData | None = None


class _Response(msgspec.Struct, rename="camel"):
    status: Status = 0
    status_text: str | None = None
    http_version: str | None = None
    headers: list[_Pair] = []
    content: _Content | None = None


class _Timings(msgspec.Struct):
    """Milliseconds; -1 is what did not happen. The time for TLS is a part of `connect`."""

    blocked: float | None = None
    dns: float | None = None
    connect: float | None = None
    send: float | None = None
    wait: float | None = None


class _Entry(msgspec.Struct, rename="camel"):
    request: _Request | None = None
    response: _Response | None = None
    started_date_time: str | None = None
    timings: _Timings | None = None


class _Log(msgspec.Struct):
    entries: list[msgspec.Raw] = []


class _File(msgspec.Struct):
    log: _Log


def is_har(data: bytes) -> bool:
    """True where a text begins like a HAR file."""
    return _BEGINS.match(data.removeprefix(b"\xef\xbb\xbf")[:4096]) is not None


def read_har(data: bytes) -> list[Exchange]:
    """The exchange of each entry that has a response. Raises ReadingError where it is no HAR file, or too long a one.

    An entry that is not as the format says is left out, as is one that was never answered (status 0).
    """
    try:
        entries = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_File).log.entries
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"This is no HAR file: {error}."
        raise ReadingError(msg) from error
    if len(entries) > MOST_ENTRIES:
        msg = f"The HAR file has {len(entries)} entries; at most {MOST_ENTRIES} are read."
        raise ReadingError(msg)
    found = [exchange for raw in entries if (exchange := _exchange(raw)) is not None]
    if not found:
        msg = "The HAR file holds no response."
        raise ReadingError(msg)
    return found


def _exchange(raw: msgspec.Raw) -> Exchange | None:
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if entry.response is None or not 100 <= entry.response.status <= 599:
        return None
    request = None if entry.request is None or not entry.request.method else _request(entry.request)
    response = _response(entry.response, "" if request is None else request.method)
    started_at, answered_s = _instant(entry.started_date_time), _answered_s(entry.timings or _Timings())
    received_at = None if started_at is None else started_at + timedelta(seconds=answered_s or 0)
    return Exchange(response=response, request=request, received_at=received_at, answered_s=answered_s)


def _request(found: _Request) -> SentRequest:
    body = b""
    if found.post_data is not None and found.post_data.text is not None:
        body = _bytes(found.post_data.text, found.post_data.encoding) or b""
    return SentRequest(
        method=found.method,
        url=found.url,
        version=_version(found.http_version),
        fields=_fields(found.headers),
        body=body,
    )


def _response(found: _Response, method: str) -> ReceivedResponse:
    content = found.content or _Content()
    body = None if content.text is None else _bytes(content.text, content.encoding)
    # Browsers leave the text out where there is no body, and also where they did not keep it.
    is_known = body is not None or method == "HEAD" or found.status in {204, 304} or content.size == 0
    return ReceivedResponse(
        status=found.status,
        reason=found.status_text or "",
        version=_version(found.http_version),
        fields=_fields(found.headers),
        body=body or b"",
        body_is_known=is_known,
    )


def _bytes(text: str, encoding: str | None) -> bytes | None:
    """The bytes of a text; None where it is said to be base64 and is not."""
    if (encoding or "").lower() != "base64":
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return None


def _fields(pairs: list[_Pair]) -> tuple[FieldLine, ...]:
    """The fields; the pseudo-fields of HTTP/2, such as :status, are none. Chromium joins repeated lines with a line feed."""
    found: list[FieldLine] = []
    for pair in pairs:
        if not pair.name or pair.name.startswith(":"):
            continue
        found += [(pair.name, line.strip(" \t\r")) for line in pair.value.split("\n")]
    return tuple(found)


def _version(text: str | None) -> str:
    match = _VERSION.fullmatch((text or "").strip())
    return match[1] if match else "1.1"


def _answered_s(spans: _Timings) -> float | None:
    """Seconds from the start until the head came; None where the file does not say."""
    known = [span for span in (spans.blocked, spans.dns, spans.connect, spans.send, spans.wait) if span is not None]
    total = sum(span for span in known if 0 < span < _LONGEST_MS) / 1000
    return total if known else None


def _instant(text: str | None) -> datetime | None:
    """The instant in ISO 8601; None where it is none or has no zone."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
