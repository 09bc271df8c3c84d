"""The client's own requests and responses: small frozen values, whatever HTTP library they came from.

Owns: ClientRequest, ClientResponse, Headers, and how the objects of httpx, requests, urllib3 and the like become them,
by their shape: none of these libraries is imported. Must not know: locks. A body is kept up to a bound, and one that
was not read yet is read for a 423 alone, for any other answer belongs to the caller.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec

from holdfast.wire.rfc9110.dates import parse_http_date

__all__ = [
    "MAX_BODY",
    "MAX_MULTISTATUS",
    "Body",
    "ClientRequest",
    "ClientResponse",
    "Headers",
    "bounded_body",
]

MAX_BODY: Final = 64 * 1024
"""Most of a body that is kept, in bytes."""

MAX_MULTISTATUS: Final = 1024 * 1024
"""The same for a 207, and for a 424 that looks like one."""

_MAX_HEADERS: Final = 200
_MAX_HEADER: Final = 8192

Body: TypeAlias = bytes | Callable[[], Iterable[bytes]] | None
"""A body that can be sent again: bytes, or what opens it anew; None where there is none."""


class Headers(Mapping[str, str]):
    """Header fields by name in any case; the values of a name that comes twice are joined by a comma.

    >>> Headers([("Retry-After", "3")])["retry-after"]
    '3'
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        """Keep the fields in their order."""
        joined: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        self._fields = joined

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __repr__(self) -> str:
        """The names alone: values may be secrets."""
        return f"Headers({', '.join(self._fields)})"


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a flow hands it to a driver. `url` is absolute.

    >>> ClientRequest(method="PUT", url="http://127.0.0.1:4230/dav/a", body=b"text").method
    'PUT'
    """

    method: str
    url: str
    headers: Headers = Headers()
    body: Body = None


class ClientResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as a value: its status, the URL that answered (without user and fragment), fields, and a bounded body.

    `method` and `destination` are those of the request, where they are known. It can be pickled.

    >>> response = ClientResponse.of((423, {"Retry-After": "5"}, b"", "http://127.0.0.1:4230/dav/a"))
    >>> response.status, response.headers["Retry-After"]
    (423, '5')
    """

    status: int
    url: str = ""
    headers: Headers = Headers()
    body: bytes = b""
    method: str = ""
    destination: str = ""

    @classmethod
    def of(cls, response: object) -> ClientResponse:
        """A response of httpx, requests, urllib3 or urllib, an error of theirs that has one, or (status, headers, body, url).

        Raises TypeError for anything that has no status.
        """
        if isinstance(response, ClientResponse):
            return response
        if isinstance(response, tuple):
            return _of_tuple(cast("tuple[object, ...]", response))
        status = _status(response)
        if status is None:
            inner = _get(response, "response")
            if inner is None or inner is response or _status(inner) is None:
                msg = f"{type(response).__name__} is not a response: it has no status"
                raise TypeError(msg)
            return cls.of(inner)
        request = _get(response, "request")
        sent = _headers(_get(request, "headers"))
        method = _get(request, "method") or _get(response, "_method")
        headers = _headers(_get(response, "headers"))
        url = _get(response, "url") or _get_url(response) or _get(request, "url")
        return cls(
            status=status,
            url=_without_secrets(url),
            headers=headers,
            body=_body(response, status, headers),
            method=method.upper() if isinstance(method, str) else "",
            destination=sent.get("destination", ""),
        )

    @property
    def answered_at(self) -> datetime | None:
        """The server's clock when it answered: its Date field."""
        return parse_http_date(self.headers.get("date"))


def bounded_body(chunks: Iterable[bytes], encoding: str = "", limit: int = MAX_BODY) -> bytes:
    """At most `limit` bytes of a body that arrives in `chunks`, decoded; no more is asked for than is needed.

    `encoding` is the Content-Encoding. gzip and deflate are undone without ever holding more than the limit, whatever
    they would grow to; a body in another encoding is empty.

    >>> bounded_body([b"locked", b" by Ada"], limit=9)
    b'locked by'
    """
    encoding = encoding.strip().lower()
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _inflated(chunks, limit)
    if encoding not in {"", "identity"}:
        return b""
    parts: list[bytes] = []
    room = limit
    for chunk in chunks:
        parts.append(chunk[:room])
        room -= len(parts[-1])
        if room <= 0:
            break
    return b"".join(parts)


def _inflated(chunks: Iterable[bytes], limit: int) -> bytes:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    parts: list[bytes] = []
    room = limit
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        try:
            parts.append(decoder.decompress(chunk, room))
        except zlib.error:
            return b""
        room -= len(parts[-1])
        # What is not decompressed for want of room is left; so is a stream of input that makes no output.
        if room <= 0 or taken > limit or decoder.eof:
            break
    return b"".join(parts)


def _limit(status: int) -> int:
    return MAX_MULTISTATUS if status in {207, 424} else MAX_BODY


def _get(thing: object, name: str) -> object:
    """The attribute, or None; those of HTTP libraries raise errors of many kinds where nothing was read or sent yet."""
    try:
        return cast("object", getattr(thing, name, None))
    except Exception:  # noqa: BLE001 - a property of someone else's class
        return None


def _status(response: object) -> int | None:
    for name in ("status_code", "status", "code"):
        value = _get(response, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)
    return None


def _get_url(response: object) -> object:
    geturl = _get(response, "geturl")
    if not callable(geturl):
        return None
    with suppress(Exception):
        return geturl()
    return None


def _of_tuple(parts: tuple[object, ...]) -> ClientResponse:
    if not parts or not isinstance(parts[0], int) or isinstance(parts[0], bool):
        msg = "a response as a tuple is (status, headers, body, url)"
        raise TypeError(msg)
    status, headers, body, url = (*parts, None, None, None)[:4]
    status = cast("int", status)
    text = body.encode("utf-8", "replace") if isinstance(body, str) else body
    kept = bytes(text[: _limit(status)]) if isinstance(text, (bytes, bytearray)) else b""
    return ClientResponse(status=status, url=_without_secrets(url), headers=_headers(headers), body=kept)


def _headers(fields: object) -> Headers:
    """The fields of a mapping, of pairs, or of what has multi_items or items; text or bytes."""
    if isinstance(fields, Headers):
        return fields
    pairs: object = fields
    for name in ("multi_items", "items"):
        method = _get(fields, name)
        if callable(method):
            pairs = method()
            break
    found: list[tuple[str, str]] = []
    if not isinstance(pairs, Iterable) or isinstance(pairs, (str, bytes)):
        return Headers()
    for pair in cast("Iterable[object]", pairs):
        if len(found) >= _MAX_HEADERS:
            break
        if isinstance(pair, (tuple, list)) and len(cast("tuple[object, ...]", pair)) == 2:
            name, value = (_header_text(part) for part in cast("tuple[object, ...]", pair))
            if name:
                found.append((name, value))
    return Headers(found)


def _header_text(part: object) -> str:
    if isinstance(part, bytes):
        return part[:_MAX_HEADER].decode("latin-1")
    return part[:_MAX_HEADER] if isinstance(part, str) else ""


def _body(response: object, status: int, headers: Headers) -> bytes:
    limit = _limit(status)
    if not _is_unread(response):
        for name in ("content", "data", "body", "_body"):
            value = _get(response, name)
            if isinstance(value, (bytes, bytearray)):
                return bytes(value[:limit])
        return b""
    # Nobody but its reader knows how long it is, so it is read here and only for what is locked whatever it says.
    if status != 423:
        return b""
    encoding = headers.get("content-encoding", "")
    with suppress(Exception):
        return bounded_body(_chunks(response), encoding, limit)
    return b""


def _is_unread(response: object) -> bool:
    """True for a streamed response whose body is not in memory; asking requests or urllib3 for it would read it all."""
    if _get(response, "is_closed") is not None and callable(_get(response, "iter_raw")):  # httpx
        return _get(response, "_content") is None
    if callable(_get(response, "iter_content")):  # requests
        return _get(response, "_content") is False
    if callable(_get(response, "read_chunked")):  # urllib3
        return _get(response, "_body") is None
    return callable(_get(response, "read")) and not isinstance(_get(response, "_body"), bytes)


def _chunks(response: object) -> Iterable[bytes]:
    iter_raw = _get(response, "iter_raw")
    if callable(iter_raw):
        return cast("Iterable[bytes]", iter_raw())
    source = _get(response, "raw") if callable(_get(response, "iter_content")) else response
    stream = _get(source, "stream")
    if callable(stream):  # urllib3, alone or below requests
        return cast("Iterable[bytes]", stream(16 * 1024, decode_content=False))
    read = _get(source, "read")
    return _reads(cast("Callable[[int], object]", read)) if callable(read) else ()


def _reads(read: Callable[[int], object]) -> Iterator[bytes]:
    while True:
        chunk = read(16 * 1024)
        if not isinstance(chunk, bytes) or not chunk:  # a coroutine, of an asynchronous library, is no chunk
            close = _get(chunk, "close")
            if callable(close):
                close()
            return
        yield chunk


def _without_secrets(url: object) -> str:
    """The URL without user, password and fragment; empty where it is none."""
    text = url if isinstance(url, str) else "" if url is None else str(url)
    try:
        parts = urlsplit(text)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    except ValueError:
        return ""
