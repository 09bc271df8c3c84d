"""Transports for httpx and httpx2 that wait out a refusal as locked: WaitTransport and AsyncWaitTransport.

Owns: sending through the transport below, with plain calls and with await, and leaving nothing open whatever ends the wait.
Must not know: when to wait, or for how long (see `waiting`); the libraries' objects in detail (see `exchange_httpx`).

An answer that is no refusal is passed on untouched and unread. The body of a 423 is read up to a bound and put back, and its
connection is free while the wait lasts. Redirects and authentication stay the client's: each request that it makes of
them is waited for by itself.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdfast.client.drivers import AsyncSleep, Sleeper, SyncSleep, async_sleep, run_async, run_sync
from holdfast.client.exchange import ClientRequest, ClientResponse
from holdfast.client.exchange_httpx import Call
from holdfast.client.layers import RetryLayerError, refuse_retries, retries_locked
from holdfast.client.policy import WaitPolicy
from holdfast.client.waiting import OwnRequest, TokensFor, Waited, wait_out

if TYPE_CHECKING:
    import httpx
else:
    try:
        import httpx
    except ImportError:
        import httpx2 as httpx

__all__ = ["AsyncWaitTransport", "WaitTransport"]


class WaitTransport(httpx.BaseTransport):
    """Waits out a refusal as locked, of any server, below an `httpx.Client` or `httpx2.Client`.

    Options of one request go into its extensions: `extensions={"holdfast": {"version": etag}}`; also `policy`, and `body`, a
    function that opens a body which could not be sent again otherwise. What happened is in `response.extensions["holdfast"]`, a
    Waited. When the wait has failed, the last 423 is returned, or LockedError raised if the policy says so. Raises
    NotReplayableError and UnknownVersionError without waiting, for what must not be sent again.

    >>> import httpx
    >>> http = httpx.Client(transport=WaitTransport(WaitPolicy(deadline=60)))
    >>> http.close()
    """

    def __init__(
        self,
        policy: WaitPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        *,
        tokens_for: TokensFor | None = None,
        sleeper: SyncSleep | None = None,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`transport` is the one below, a plain HTTPTransport unless given. `tokens_for` gives the caller's own locks.

        `sleeper`, `now` and `chance` are time and luck, for tests. Raises RetryLayerError where the transport
        below retries 423 as well.
        """
        refuse_retries(transport)
        self.policy = WaitPolicy() if policy is None else policy
        self._below: Any = transport
        self._tokens_for = tokens_for
        self._sleeper = Sleeper() if sleeper is None else sleeper
        self._now = now
        self._chance = chance

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and wait as long as it is locked."""
        _refuse_layer_above(request)
        call = Call(request, self.policy)
        below = self._transport(call)

        def send(asked: ClientRequest) -> ClientResponse:
            return _send(call, below, asked)

        def listen(asked: ClientRequest, patience: float) -> _Stream:
            return _Stream(below.handle_request(call.to_listen(asked, patience)), self._sleeper)

        flow = wait_out(
            call.own,
            call.options.policy,
            stated=call.options.version,
            tokens_for=self._tokens_for,
            chance=self._chance,
        )
        try:
            waited = run_sync(flow, send, self._sleeper, self._now, listen=listen)
            _raise_if_asked(call, waited)
        except BaseException:
            if call.live is not None:
                call.live.close()
            raise
        return call.finish(waited)

    def close(self) -> None:
        """End all waits, of other threads too (WaitCancelledError), and close the transport below.

        A request that is under way, one for which a server holds the line included, is not interrupted.
        """
        if isinstance(self._sleeper, Sleeper):
            self._sleeper.cancel()
        if self._below is not None:
            self._below.close()

    def _transport(self, call: Call) -> Any:
        if self._below is None:
            self._below = call.library.HTTPTransport()
        return self._below


class AsyncWaitTransport(httpx.AsyncBaseTransport):
    """The same below an `httpx.AsyncClient` or `httpx2.AsyncClient`; a wait is cancelled as any await is.

    >>> import asyncio, httpx
    >>> async def main() -> int:
    ...     async with httpx.AsyncClient(transport=AsyncWaitTransport(WaitPolicy(deadline=60))) as http:
    ...         return len(http.cookies)
    >>> asyncio.run(main())
    0
    """

    def __init__(
        self,
        policy: WaitPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        tokens_for: TokensFor | None = None,
        sleeper: AsyncSleep = async_sleep,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """As WaitTransport, with an AsyncHTTPTransport below unless one is given."""
        refuse_retries(transport)
        self.policy = WaitPolicy() if policy is None else policy
        self._below: Any = transport
        self._tokens_for = tokens_for
        self._sleeper = sleeper
        self._now = now
        self._chance = chance

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and wait as long as it is locked."""
        _refuse_layer_above(request)
        call = Call(request, self.policy)
        below = self._transport(call)

        async def send(asked: ClientRequest) -> ClientResponse:
            return await _send_async(call, below, asked)

        async def listen(asked: ClientRequest, patience: float) -> _AsyncStream:
            return _AsyncStream(await below.handle_async_request(call.to_listen(asked, patience)))

        flow = wait_out(
            call.own,
            call.options.policy,
            stated=call.options.version,
            tokens_for=self._tokens_for,
            chance=self._chance,
        )
        try:
            waited = await run_async(flow, send, self._sleeper, self._now, listen=listen)
            _raise_if_asked(call, waited)
        except BaseException:
            if call.live is not None:
                await call.live.aclose()
            raise
        return call.finish(waited)

    async def aclose(self) -> None:
        """Close the transport below."""
        if self._below is not None:
            await self._below.aclose()

    def _transport(self, call: Call) -> Any:
        if self._below is None:
            self._below = call.library.AsyncHTTPTransport()
        return self._below


class _Stream:
    """A stream of events, of a transport; who waits for its next piece is woken where the wait is cancelled."""

    def __init__(self, response: Any, sleeper: SyncSleep) -> None:
        self.status: int = response.status_code
        self._response = response
        self._pieces: Iterator[bytes] = iter(response.stream)
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
        """Closing a socket wakes nobody who reads from it; shutting it down does."""
        network = self._response.extensions.get("network_stream")
        with suppress(OSError, AttributeError):
            network.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class _AsyncStream:
    """The same, awaited."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status_code
        self._response = response
        self._pieces: AsyncIterator[bytes] = aiter(response.stream)

    async def read(self) -> bytes:
        async for piece in self._pieces:
            if piece:
                return piece
        return b""

    async def close(self) -> None:
        await _close(self._response, self._pieces)


def _send(call: Call, below: Any, asked: ClientRequest) -> ClientResponse:
    response = below.handle_request(call.to_send(asked))
    is_kept = False
    try:
        room = call.room(asked, response)
        raw = b""
        if room:
            pieces = iter(response.stream)
            while len(raw) <= room and (piece := next(pieces, None)) is not None:
                raw += piece
            # Of a 423 no more than the bound is of use; anything else is the caller's, however long.
            is_whole = len(raw) <= room or response.status_code == 423
            if is_whole:
                response.stream.close()
            call.put_back(response, raw, None if is_whole else pieces, is_async=False)
        answer = call.arrived(asked, response, raw)
        is_kept = isinstance(asked, OwnRequest)
        return answer
    finally:
        if not is_kept:
            response.close()


async def _send_async(call: Call, below: Any, asked: ClientRequest) -> ClientResponse:
    response = await below.handle_async_request(call.to_send(asked))
    is_kept = False
    try:
        room = call.room(asked, response)
        raw = b""
        if room:
            pieces = aiter(response.stream)
            while len(raw) <= room and (piece := await anext(pieces, None)) is not None:
                raw += piece
            is_whole = len(raw) <= room or response.status_code == 423
            if is_whole:
                await _close(response, pieces)
            call.put_back(response, raw, None if is_whole else pieces, is_async=True)
        answer = call.arrived(asked, response, raw)
        is_kept = isinstance(asked, OwnRequest)
        return answer
    finally:
        if not is_kept:
            await response.aclose()


async def _close(response: Any, pieces: AsyncIterator[bytes]) -> None:
    """End a body that was perhaps not read to its end.

    The generators below are run to their end, which comes at once on a closed connection: trio warns of any that is not.
    """
    await response.stream.aclose()
    if response.extensions.get("http_version") in {b"HTTP/1.1", b"HTTP/1.0"}:
        with suppress(Exception):
            while await anext(pieces, None) is not None:
                pass


def _refuse_layer_above(request: httpx.Request) -> None:
    """httpx-retries leaves its Retry in the extensions of what it passes down."""
    if retries_locked(request.extensions.get("retry")):
        msg = "a RetryTransport above is set to retry 423 as well: take 423 out of its status_forcelist"
        raise RetryLayerError(msg)


def _raise_if_asked(call: Call, waited: Waited) -> None:
    error = waited.error
    if error is not None and call.options.policy.raise_locked:
        error.response = call.live
        raise error
