"""WaitAdapter: an adapter for requests that waits out a refusal as locked.

Owns: how prepared requests and responses become the flow's values, and back; rewinding a body; options for some requests
(`using`). Must not know: when to wait, or for how long (see `waiting`).

requests reads the body of an answer after the adapter has returned it, so an answer that is no refusal is passed on unread.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, cast
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.response import HTTPResponse

from holdfast.client.drivers import Sleeper, SyncSleep, run_sync
from holdfast.client.exchange import MAX_BODY, MAX_MULTISTATUS, ClientRequest, ClientResponse, Headers, bounded_body
from holdfast.client.layers import refuse_retries
from holdfast.client.policy import WaitPolicy
from holdfast.client.versions import remember
from holdfast.client.waiting import Options, OwnRequest, TokensFor, Waited, body_needed, wait_out
from holdfast.wire.prefer import parse_prefer

__all__ = ["WaitAdapter", "waited_for"]

_PIECE: Final = 16 * 1024
_ATTRIBUTE: Final = "holdfast"


class WaitAdapter(HTTPAdapter):
    """Waits out a refusal as locked, of any server, below a `requests.Session`.

    `waited_for(response)` tells what happened. When the wait has failed, the last 423 is returned, or LockedError
    raised if the policy says so. Raises NotReplayableError and UnknownVersionError without waiting, for what must not be sent again.

    >>> import requests
    >>> adapter = WaitAdapter(WaitPolicy(deadline=60))
    >>> with requests.Session() as session:
    ...     session.mount("https://", adapter)
    ...     with adapter.using(version='"v1"'):
    ...         pass  # session.put(...) is sent again only while "v1" is still the version there
    """

    def __init__(
        self,
        policy: WaitPolicy | None = None,
        *,
        tokens_for: TokensFor | None = None,
        sleeper: SyncSleep | None = None,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        **options: Any,
    ) -> None:
        """`options` are HTTPAdapter's own. Raises RetryLayerError where its `max_retries` retries 423 as well.

        `tokens_for` gives the caller's own locks; `sleeper`, `now` and `chance` are time and luck, for tests.
        """
        super().__init__(**options)
        refuse_retries(self)
        self.policy = WaitPolicy() if policy is None else policy
        self._tokens_for = tokens_for
        self._given_sleeper = sleeper
        self._sleeper: SyncSleep = Sleeper() if sleeper is None else sleeper
        self._now = now
        self._chance = chance
        self._options: ContextVar[Options | None] = ContextVar("holdfast_adapter_options", default=None)

    @contextmanager
    def using(self, **options: Any) -> Generator[None]:
        """Options for the requests of this block, in this thread: `policy`, `version` (None: there was nothing), `body`.

        `body` is a function that opens a body which could not be sent again otherwise.
        """
        before = self._options.set(Options.of(options, self.policy))
        try:
            yield
        finally:
            self._options.reset(before)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send, and wait as long as it is locked."""
        options = self._options.get() or Options(policy=self.policy)
        sending = dict(zip(("stream", "timeout", "verify", "cert", "proxies"), args, strict=False)) | kwargs
        sleeper = self._sleeper
        call = _Call(request, options, sending, super().send, sleeper)
        flow = wait_out(
            call.own, options.policy, stated=options.version, tokens_for=self._tokens_for, chance=self._chance
        )
        try:
            waited = run_sync(flow, call.send, sleeper, self._now, listen=call.listen)
            call.raise_if_asked(waited)
        except BaseException:
            if call.live is not None:
                call.live.close()
            raise
        assert call.live is not None
        setattr(call.live, _ATTRIBUTE, waited)
        return call.live

    def close(self) -> None:
        """End all waits, of other threads too (WaitCancelledError), and the connections. It can be used again.

        A request that is under way, one for which a server holds the line included, is not interrupted.
        """
        if isinstance(self._sleeper, Sleeper) and self._given_sleeper is None:
            self._sleeper.cancel()
            self._sleeper = Sleeper()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        """Refused, for what waits in another thread cannot go along."""
        msg = "a WaitAdapter cannot be pickled: mount a new one"
        raise TypeError(msg)


def waited_for(response: requests.Response) -> Waited | None:
    """What happened to the request of a response that came through a WaitAdapter; None for any other.

    >>> waited_for(requests.Response()) is None
    True
    """
    return getattr(response, _ATTRIBUTE, None)


class _Call:
    """One request of the caller's, sent as often as it takes. `live` is the answer to it that came last."""

    def __init__(
        self,
        request: requests.PreparedRequest,
        options: Options,
        sending: dict[str, Any],
        below: Callable[..., requests.Response],
        sleeper: SyncSleep,
    ) -> None:
        self._request = request
        self._options = options
        self._sending = sending
        self._below = below
        self._sleeper = sleeper
        self._was_sent = False
        self.live: requests.Response | None = None
        size, spent = _size(request), "" if options.body is not None else _spent(request)
        self.own = OwnRequest(
            method=(request.method or "GET").upper(),
            url=request.url or "",
            headers=Headers((name, _text(value)) for name, value in request.headers.items()),
            size=size,
            spent=spent,
        )

    def send(self, asked: ClientRequest) -> ClientResponse:
        if isinstance(asked, OwnRequest):
            return self._send_own(asked)
        with self._below(self._prepared(asked), **{**self._sending, "stream": True}) as response:
            room = MAX_MULTISTATUS if response.status_code == 207 else MAX_BODY
            raw, _rest = _read(response.raw, room)
            return _answer(asked, response, raw)

    def listen(self, asked: ClientRequest, patience: float) -> _Stream:
        return _Stream(self._below(self._prepared(asked), **self._timed(read=patience), stream=True), self._sleeper)

    def raise_if_asked(self, waited: Waited) -> None:
        error = waited.error
        if error is not None and self._options.policy.raise_locked:
            error.response = self.live
            raise error

    def _send_own(self, asked: OwnRequest) -> ClientResponse:
        request = self._request.copy()
        for name, value in asked.headers.items():
            if self.own.headers.get(name) != value:
                request.headers[name] = value
        if self._options.body is not None:
            request.body = cast("Any", _Pieces(self._options.body))
        elif self._was_sent and hasattr(request.body, "seek"):
            requests.utils.rewind_body(request)
        self._was_sent = True
        wait = 0 if "prefer" in self.own.headers else parse_prefer(asked.headers.get("prefer")).wait or 0
        response = self._below(request, **(self._timed(more=wait) if wait else self._sending))
        try:
            room = body_needed(asked.method, response.status_code, self._options.policy)
            raw = b""
            if room:
                raw, rest = _read(response.raw, room)
                if response.status_code == 423:
                    rest = None
                response.raw = _rejoined(response.raw, raw, rest)
        except BaseException:
            response.close()
            raise
        self.live = response
        answer = _answer(asked, response, raw)
        remember(asked, response.status_code, answer.headers)
        return answer

    def _prepared(self, asked: ClientRequest) -> requests.PreparedRequest:
        body = asked.body if isinstance(asked.body, bytes) else None
        return requests.Request(asked.method, asked.url, headers=dict(asked.headers), data=body).prepare()

    def _timed(self, *, more: float = 0.0, read: float | None = None) -> dict[str, Any]:
        """What is handed on to requests, with another time for the answer: so much more, or just so much."""
        timeout: Any = self._sending.get("timeout")
        connect, usual = cast("tuple[Any, Any]", timeout) if isinstance(timeout, tuple) else (timeout, timeout)
        if read is None and isinstance(usual, (int, float)):
            read = usual + more
        kept = {name: value for name, value in self._sending.items() if name != "stream" or more}
        return {**kept, "timeout": (connect, read)}


class _Stream:
    """A stream of events; who waits for its next piece is woken where the wait is cancelled."""

    def __init__(self, response: requests.Response, sleeper: SyncSleep) -> None:
        self.status = response.status_code
        self._response = response
        self._pieces: Iterator[bytes] = response.raw.stream(_PIECE, decode_content=False)
        self._sleeper = sleeper if isinstance(sleeper, Sleeper) else None
        if self._sleeper is not None:
            self._sleeper.attach(self, self._interrupt)

    def read(self) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")

    def close(self) -> None:
        if self._sleeper is not None:
            self._sleeper.detach(self)
        self._response.close()

    def _interrupt(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self._response.raw.shutdown()  # of urllib3 2.3 and later; with an older one the next sign of life wakes it


class _Pieces:
    """A body that a function opens anew for each sending."""

    def __init__(self, opener: Callable[[], Iterable[bytes]]) -> None:
        self._opener = opener

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._opener())


class _Rest(io.RawIOBase):
    """What was read of a body, then the rest of it."""

    def __init__(self, first: bytes, rest: Iterator[bytes], source: Any) -> None:
        super().__init__()
        self._held = first
        self._rest = rest
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._held:
            self._held = next(self._rest, b"")
        taken = self._held[: len(buffer)]
        self._held = self._held[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _read(source: Any, room: int) -> tuple[bytes, Iterator[bytes] | None]:
    """Up to `room` bytes of a body as they came, and the rest; None where that was all, and the connection is free again."""
    pieces: Iterator[bytes] = source.stream(_PIECE, decode_content=False)
    raw = b""
    while len(raw) <= room:
        piece = next(pieces, None)
        if piece is None:
            source.release_conn()
            return raw, None
        raw += piece
    return raw, pieces


def _rejoined(source: Any, raw: bytes, rest: Iterator[bytes] | None) -> HTTPResponse:
    """A response of urllib3's with the same body, fields and cookies."""
    if rest is None:
        source.close()
    return HTTPResponse(
        body=io.BytesIO(raw) if rest is None else io.BufferedReader(_Rest(raw, rest, source)),
        headers={name: value for name, value in source.headers.items() if name.lower() != "transfer-encoding"},
        status=source.status,
        version=source.version,
        reason=source.reason,
        preload_content=False,
        decode_content=True,
        original_response=getattr(source, "_original_response", None),
    )


def _answer(asked: ClientRequest, response: requests.Response, raw: bytes) -> ClientResponse:
    headers = Headers(response.headers.items())
    destination = asked.headers.get("destination", "")
    return ClientResponse(
        status=response.status_code,
        url=asked.url,
        headers=headers,
        body=bounded_body([raw], headers.get("content-encoding", ""), MAX_MULTISTATUS),
        method=asked.method,
        destination=_joined(asked.url, destination),
    )


def _size(request: requests.PreparedRequest) -> int | None:
    length = _text(request.headers.get("Content-Length", ""))
    if length.isascii() and length.isdigit():
        return int(length)
    return 0 if request.body is None else None


def _spent(request: requests.PreparedRequest) -> str:
    body = cast("Any", request.body)
    if body is None or isinstance(body, (bytes, str)):
        return ""
    if isinstance(request._body_position, int) and hasattr(body, "seek"):
        return ""
    if hasattr(body, "read"):
        return "its body comes from a file that cannot be rewound"
    if hasattr(body, "__iter__") and iter(body) is not body:
        return ""
    return "its body is an iterator that can be read only once; give a function that opens it, as the option `body`"


def _joined(url: str, href: str) -> str:
    try:
        return urljoin(url, href) if href else ""
    except ValueError:
        return ""


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
