"""Sending a client's requests with httpx or httpx2, with plain calls and with await.

Owns: the only import of these libraries for locks: how a ClientRequest becomes a request of theirs, how long it may take, how
much of an answer is read, and what their errors become. Must not know: locks, or what a request is for.

Redirects are not followed: a lock token, or a name and password, would go where they do not belong.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from holdfast.client.exchange import ClientRequest, ClientResponse, Headers
from holdfast.client.policy import Stale, WaitPolicy
from holdfast.client.refusals import UnreachableError

__all__ = [
    "EXTENSION",
    "MAX_ANSWER",
    "AsyncHttpClient",
    "AsyncSender",
    "HttpClient",
    "Sender",
    "TimedRequest",
    "new_http",
]

EXTENSION: Final = "holdfast"
"""The name of a request's options and of a response's Waited, in their `extensions`."""

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Most of an answer that is read, in bytes; a page of a thousand locks is a tenth of that."""

_USUAL_S: Final = 10.0

# For a WaitTransport below: who asks for a lock waits by itself.
_NO_WAIT: Final = WaitPolicy(deadline=0, attempts=1, stale=Stale.OVERWRITE, hold_the_line=False, listen=False)
_CONNECT_S: Final = 5.0


class TimedRequest(ClientRequest, frozen=True, kw_only=True):
    """A request that may take so many seconds at most, each of its steps apart."""

    within: float = _USUAL_S


class HttpClient(Protocol):
    """An httpx.Client or httpx2.Client, as far as it is used here."""

    @property
    def base_url(self) -> Any:
        """Where relative URLs begin."""
        ...

    @property
    def build_request(self) -> Callable[..., Any]:
        """Make a request."""
        ...

    @property
    def send(self) -> Callable[..., Any]:
        """Send it."""
        ...

    @property
    def close(self) -> Callable[[], None]:
        """Close the connections."""
        ...


class AsyncHttpClient(Protocol):
    """An httpx.AsyncClient or httpx2.AsyncClient, as far as it is used here."""

    @property
    def base_url(self) -> Any:
        """Where relative URLs begin."""
        ...

    @property
    def build_request(self) -> Callable[..., Any]:
        """Make a request."""
        ...

    @property
    def send(self) -> Callable[..., Any]:
        """Send it."""
        ...

    @property
    def aclose(self) -> Callable[[], Any]:
        """Close the connections."""
        ...


def new_http(kind: str) -> Any:
    """A new `Client` or `AsyncClient` of httpx2, or of httpx where that is not installed.

    It opens as many connections as are needed: requests that stand in line must not keep a refresh from being sent.
    """
    for name in ("httpx2", "httpx"):
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
        else:
            return getattr(library, kind)(limits=library.Limits(max_connections=None, max_keepalive_connections=20))
    msg = "the client needs an HTTP library: pip install httpx"
    raise ImportError(msg)


class _Adapter:
    """What both senders do alike."""

    def __init__(self, http: Any, auth: tuple[str, str] | None) -> None:
        self._http = http
        self._library = importlib.import_module(_library_of(http))
        self._options: dict[str, Any] = {} if auth is None else {"auth": self._library.BasicAuth(*auth)}

    def _built(self, request: ClientRequest) -> Any:
        within = request.within if isinstance(request, TimedRequest) else _USUAL_S
        timeout = self._library.Timeout(within, connect=min(within, _CONNECT_S), pool=within)
        content = request.body if isinstance(request.body, bytes) or request.body is None else request.body()
        return self._http.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=content,
            timeout=timeout,
            extensions={EXTENSION: {"policy": _NO_WAIT}},
        )

    def _value(self, request: ClientRequest, response: Any, body: bytes) -> ClientResponse:
        return ClientResponse(
            status=response.status_code,
            url=request.url,
            headers=Headers(response.headers.multi_items()),
            body=body,
            method=request.method,
            destination=request.headers.get("destination", ""),
        )

    @contextmanager
    def _translated(self, request: ClientRequest) -> Generator[None]:
        library = self._library
        try:
            yield
        except (library.TransportError, library.DecodingError) as error:
            unsent = isinstance(error, (library.ConnectError, library.ConnectTimeout, library.PoolTimeout))
            parts = urlsplit(request.url)
            server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
            why = str(error) or type(error).__name__
            raise UnreachableError(server, why, was_sent=not unsent) from error


def _library_of(http: Any) -> str:
    """The name of the library that a client's class, or one that it extends, is of."""
    for kind in type(http).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in {"httpx", "httpx2"}:
            return name
    msg = f"{type(http).__name__} is no client of httpx or httpx2"
    raise TypeError(msg)


class Sender(_Adapter):
    """Sends with an httpx.Client; safe from any thread, as that is."""

    def __call__(self, request: ClientRequest) -> ClientResponse:
        """Send once. Raises UnreachableError."""
        with self._translated(request):
            response = self._http.send(self._built(request), stream=True, follow_redirects=False, **self._options)
            try:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk[: MAX_ANSWER - len(body)]
                    if len(body) >= MAX_ANSWER:
                        break
                return self._value(request, response, bytes(body))
            finally:
                response.close()

    @contextmanager
    def stream(self, request: ClientRequest) -> Generator[Any]:
        """Send, and give the library's response as soon as its head is there. Raises UnreachableError, in the block too."""
        with self._translated(request):
            response = self._http.send(self._built(request), stream=True, follow_redirects=False, **self._options)
            try:
                yield response
            finally:
                response.close()


class AsyncSender(_Adapter):
    """Sends with an httpx.AsyncClient."""

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        """Send once. Raises UnreachableError."""
        with self._translated(request):
            response = await self._http.send(self._built(request), stream=True, follow_redirects=False, **self._options)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk[: MAX_ANSWER - len(body)]
                    if len(body) >= MAX_ANSWER:
                        break
                return self._value(request, response, bytes(body))
            finally:
                await response.aclose()

    @asynccontextmanager
    async def stream(self, request: ClientRequest) -> AsyncGenerator[Any]:
        """As `Sender.stream`."""
        with self._translated(request):
            response = await self._http.send(self._built(request), stream=True, follow_redirects=False, **self._options)
            try:
                yield response
            finally:
                await response.aclose()
