"""One request of httpx or httpx2 on its way through a waiting transport: their objects <-> the flow's values.

Owns: Call (what is sent, which answer is the last, what is put back into it), and which bodies can be sent again. Must not
know: when to wait; whether it is called with threads or with a loop. Neither library is imported: what is made is of the
library that the request came from.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, cast
from urllib.parse import urljoin

from holdfast.client.exchange import MAX_BODY, MAX_MULTISTATUS, ClientRequest, ClientResponse, Headers, bounded_body
from holdfast.client.policy import WaitPolicy
from holdfast.client.sending import EXTENSION
from holdfast.client.versions import remember
from holdfast.client.waiting import Options, OwnRequest, Waited, body_needed
from holdfast.wire.prefer import parse_prefer

__all__ = ["EXTENSION", "Call"]

_LIBRARIES: Final = frozenset({"httpx", "httpx2"})


class Call:
    """One request of the caller's, sent as often as it takes. `live` is the answer to it that came last."""

    def __init__(self, request: Any, policy: WaitPolicy) -> None:
        self._request = request
        self.options = Options.of(request.extensions.get(EXTENSION), policy)
        self.library = _library_of(request)
        self._rewind, size, spent = _replay(request, self.options.body, self.library)
        self.own = OwnRequest(
            method=request.method.upper(),
            url=str(request.url),
            headers=Headers(request.headers.multi_items()),
            size=size,
            spent=spent,
        )
        self._was_sent = False
        self.live: Any = None

    def to_send(self, request: ClientRequest) -> Any:
        """The library's request for one of the flow's: the caller's own, with the fields that the flow added, or another."""
        if request is self.own and not self._was_sent and self.options.body is None:
            self._was_sent = True
            return self._request  # nearly all requests are sent once, as they are
        extensions = {name: value for name, value in self._request.extensions.items() if name != EXTENSION}
        if not isinstance(request, OwnRequest):
            body = request.body if isinstance(request.body, bytes) else None
            return self.library.Request(
                request.method, request.url, headers=list(request.headers.items()), content=body, extensions=extensions
            )
        stream = self._rewind(self._was_sent)
        self._was_sent = True
        headers = self._request.headers.copy()
        for name, value in request.headers.items():
            if self.own.headers.get(name) != value:
                headers[name] = value
        wait = 0 if "prefer" in self.own.headers else parse_prefer(request.headers.get("prefer")).wait or 0
        if wait:  # silence is what was asked for
            extensions["timeout"] = _patient(extensions.get("timeout"), wait)
        return self.library.Request(
            self._request.method, self._request.url, headers=headers, stream=stream, extensions=extensions
        )

    def to_listen(self, request: ClientRequest, patience: float) -> Any:
        """The same for a stream, of which no piece may take longer than `patience` seconds."""
        built = self.to_send(request)
        built.extensions["timeout"] = {**(built.extensions.get("timeout") or {}), "read": patience}
        return built

    def room(self, request: ClientRequest, response: Any) -> int:
        """Bytes of the answer's body that are read for the flow."""
        if isinstance(request, OwnRequest):
            return body_needed(request.method, response.status_code, self.options.policy)
        return MAX_MULTISTATUS if response.status_code == 207 else MAX_BODY

    def arrived(self, request: ClientRequest, response: Any, raw: bytes) -> ClientResponse:
        """The answer as the flow's; the caller's own becomes `live`, and is remembered for its version."""
        headers = Headers(response.headers.multi_items())
        answer = ClientResponse(
            status=response.status_code,
            url=request.url,
            headers=headers,
            body=bounded_body([raw], headers.get("content-encoding", ""), MAX_MULTISTATUS),
            method=request.method,
            destination=_joined(request.url, request.headers.get("destination", "")),
        )
        if isinstance(request, OwnRequest):
            self.live = response
            remember(request, response.status_code, headers)
        return answer

    def put_back(self, response: Any, raw: bytes, rest: Any, *, is_async: bool) -> None:
        """Make the body whole again: what was read, and the rest, None where there is none."""
        if rest is None:
            response.stream = self.library.ByteStream(raw)
        else:
            joined = _joined_streams(
                self.library.AsyncByteStream if is_async else self.library.SyncByteStream, is_async
            )
            response.stream = joined(raw, rest, response.stream)

    def finish(self, waited: Waited) -> Any:
        """The answer for the caller; `extensions["holdfast"]` is the Waited."""
        self.live.extensions = {**self.live.extensions, EXTENSION: waited}
        return self.live


def _library_of(request: object) -> Any:
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in _LIBRARIES:
            return sys.modules[name]
    msg = f"{type(request).__name__} is no request of httpx or httpx2"
    raise TypeError(msg)


def _replay(
    request: Any, opener: Callable[[], Iterable[bytes]] | None, library: Any
) -> tuple[Callable[[bool], Any], int | None, str]:
    """What gives the body's stream for each sending (told whether it is a repeated one), its size, and why it cannot be repeated."""
    stream = request.stream
    length = request.headers.get("content-length", "")
    chunked = "transfer-encoding" in request.headers
    size = int(length) if length.isascii() and length.isdigit() else None if chunked else 0
    if opener is not None:
        return (lambda _again: _opened(opener, library)), size, ""
    source: Any = getattr(stream, "_stream", None)
    if isinstance(source, bytes) or size == 0:
        return (lambda _again: stream), size, ""
    if isinstance(getattr(stream, "fields", None), list):  # multipart: httpx itself goes to the start of its files
        files = [getattr(part, "file", b"") for part in stream.fields]
        spent = "" if all(isinstance(file, (bytes, str)) or _seekable(file) for file in files) else _SPENT_FILE
        return (lambda _again: stream), size, spent
    if _seekable(source):
        start = source.tell()

        def rewound(again: bool) -> Any:  # noqa: FBT001 - the one argument of a small function
            if again:
                source.seek(start)
            return stream

        return rewound, size, ""
    if hasattr(source, "read") or hasattr(source, "aread"):
        return (lambda _again: stream), size, _SPENT_FILE
    is_repeatable = (hasattr(source, "__iter__") and iter(source) is not source) or isinstance(source, _Reopened)
    return (lambda _again: stream), size, "" if is_repeatable else _SPENT_ITERATOR


_SPENT_FILE: Final = "its body comes from a file that cannot be rewound"
_SPENT_ITERATOR: Final = (
    "its body is an iterator that can be read only once; give a function that opens it, as the option `body`"
)


class _Reopened:
    """A body that a function opens anew, for plain iteration and for `async for`."""

    def __init__(self, opener: Callable[[], Iterable[bytes]]) -> None:
        self._opener = opener

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._opener())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._opener():
            yield piece


def _opened(opener: Callable[[], Iterable[bytes]], library: Any) -> Any:
    return _both_streams(library.SyncByteStream, library.AsyncByteStream)(opener)


@cache
def _both_streams(sync_stream: type, async_stream: type) -> Any:
    return type("ReopenedStream", (_Reopened, sync_stream, async_stream), {})


class _JoinedStream:
    """What was read of a body, then the rest of it."""

    def __init__(self, first: bytes, rest: Iterator[bytes], source: Any) -> None:
        self._first = first
        self._rest = rest
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._rest

    def close(self) -> None:
        self._source.close()


class _JoinedAsyncStream:
    """The same, awaited."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], source: Any) -> None:
        self._first = first
        self._rest = rest
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        async for piece in self._rest:
            yield piece

    async def aclose(self) -> None:
        await self._source.aclose()


@cache
def _joined_streams(base: type, is_async: bool) -> Any:  # noqa: FBT001 - of a cached function
    return type("JoinedStream", (_JoinedAsyncStream if is_async else _JoinedStream, base), {})


def _seekable(source: Any) -> bool:
    try:
        return bool(source.seekable()) and isinstance(source.tell(), int)
    except (AttributeError, OSError, ValueError, TypeError):
        return False


def _patient(timeout: object, seconds: int) -> dict[str, Any]:
    """The caller's timeouts, with so much more time for the answer to begin."""
    given = dict(cast("Mapping[str, Any]", timeout)) if isinstance(timeout, Mapping) else {}
    if isinstance(given.get("read"), (int, float)):
        given["read"] = given["read"] + seconds
    return given


def _joined(url: str, href: str) -> str:
    try:
        return urljoin(url, href) if href else ""
    except ValueError:
        return ""
