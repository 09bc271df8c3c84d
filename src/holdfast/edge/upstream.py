"""The application behind a guard: connections to it, kept for the next request, and one exchange at a time on each.

Owns: connecting (TCP, TLS, or a Unix socket), the pool, and what the application sends, read by its framing (h11). Must not
know: the client's request, locks, which fields pass (`forwarding`).

Theory of operation: a `Wire` is an asyncio protocol that holds little: it stops reading while what came is not taken, and
tells when it may be written to again. An `Exchange` is one request and its answer on a wire; afterwards the wire goes back
to the pool if both sides may go on, and is closed otherwise. A wire that idles and says anything, or ends, is dropped at once.
After a 101 the wire is handed out, and what it carries is no HTTP any more.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import h11

__all__ = [
    "Exchange",
    "Fields",
    "Pool",
    "Upstream",
    "UpstreamAddressError",
    "UpstreamError",
    "UpstreamSlowError",
    "Wire",
]

Fields = Sequence[tuple[bytes, bytes]]

_HEAD_BYTES: Final = 64 * 1024
_UNREAD_BYTES: Final = 256 * 1024
"""What may wait to be taken before the socket is read no more."""
_READ_BYTES: Final = 64 * 1024
_FLUSH_S: Final = 10.0
"""For how long an application may take the last bytes of a connection that has ended."""
_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


class UpstreamError(Exception):
    """The application cannot be reached, or what it sends is no HTTP; the text is for the log. `is_stale` where a kept

    connection turned out to have ended before any of the answer came.
    """

    is_stale = False


class UpstreamSlowError(UpstreamError):
    """The application does not connect, answer or take a request in time."""


class UpstreamAddressError(ValueError):
    """The address is none; the text is a plain sentence."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the application is: host and port, or a Unix socket (`path`). `authority` is what a Host field calls it."""

    host: str
    port: int
    path: str
    is_tls: bool
    authority: bytes

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Of `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`. Raises UpstreamAddressError."""
        if text.startswith("unix:/"):
            return cls("", 0, text.removeprefix("unix:"), is_tls=False, authority=b"localhost")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
            authority = parts.netloc.encode("ascii")
        except ValueError as error:
            msg = f"{text!r} is no address: {error}."
            raise UpstreamAddressError(msg) from error
        if parts.scheme not in {"http", "https"} or not host:
            msg = f"{text!r} is no address: write http://HOST:PORT, https://HOST:PORT or unix:/PATH."
            raise UpstreamAddressError(msg)
        if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
            msg = f"{text!r} has more in it than a host and a port: paths are passed on as they come."
            raise UpstreamAddressError(msg)
        is_tls = parts.scheme == "https"
        return cls(host, port or (443 if is_tls else 80), "", is_tls, authority)

    def __str__(self) -> str:
        """For the log."""
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"


class Wire(asyncio.Protocol):
    """One connection; used from the loop's thread only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._came = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._is_paused = False
        self._is_raw = False
        self._tls: ssl.SSLObject | None = None
        self.transport: asyncio.Transport
        self.has_ended = False
        self.was_reset = False
        self.is_idle = False
        self.idle_since = 0.0
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = cast("asyncio.Transport", transport)
        self._tls = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is taken."""
        if self.is_idle:  # nobody asked
            self.drop()
            return
        self._came += data
        if len(self._came) > _UNREAD_BYTES:
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """True where it may still be written to."""
        self.was_reset = self._tls is not None and not _has_ended(self._tls)
        self.has_ended = True
        _wake(self._reader)
        if self.is_idle:
            self.drop()
        return self._is_raw and self.transport.can_write_eof()  # TLS ends both directions at once

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for it."""
        is_broken = exc is not None or (self._tls is not None and not self.has_ended)
        self.was_reset = self.was_reset or is_broken
        self.has_ended = True
        self._is_paused = False
        self._pool.forget(self)
        _wake(self._reader)
        _wake(self._drainer)

    def pause_writing(self) -> None:
        """The other side takes too little."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_paused = False
        _wake(self._drainer)

    async def read(self) -> bytes:
        """What came; empty at the end."""
        while not self._came:
            if self.has_ended:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        data = bytes(self._came[:_READ_BYTES])
        del self._came[:_READ_BYTES]
        if len(self._came) <= _READ_BYTES and not self.has_ended:
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Hand over, then wait while the other side takes too little. Raises UpstreamError where it is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)
        while self._is_paused:
            self._drainer = self._loop.create_future()
            await self._drainer
        if self.transport.is_closing():
            msg = "it closed the connection while the request was being sent"
            raise UpstreamError(msg)

    def leave_http(self, came: bytes) -> None:
        """Carry another protocol from now on; `came` was read already and belongs to it."""
        self._is_raw = True
        self._came[:0] = came

    def end_writing(self) -> bool:
        """Send no more; False where that would end the other direction too."""
        if self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    @property
    def is_gone(self) -> bool:
        """True where it has ended in both directions."""
        return self.transport.is_closing()

    def finish(self) -> None:
        """Close it once what was written is sent, or the other side has had time to take it."""
        self._pool.finish(self)

    @property
    def is_quiet(self) -> bool:
        """True while it is open and nothing has come that nobody has read, not even to the system's socket.

        What an application sends too much must not be taken for the answer to the next request.
        """
        if self._came or self.has_ended or self.transport.is_closing():
            return False
        found = select.poll()
        found.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN | _POLLRDHUP)
        return not found.poll(0)

    def drop(self) -> None:
        """Close now; what is not yet sent is lost, so that the other side cannot take part of a request for all of it."""
        self._pool.forget(self)
        self.transport.abort()


def _has_ended(tls: ssl.SSLObject) -> bool:
    """False where the connection ended without the word that TLS does: anybody on the way may have cut it off (RFC 9112 section 9.8).

    asyncio tells a protocol no difference, but with no more to read OpenSSL gives nothing only once the other side has said so; uvloop
    then tells of no end at all before the connection is lost.
    """
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class Pool:
    """Connections to one Upstream. Belongs to one loop, and is used from its thread only."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        context: ssl.SSLContext | None = None,
        connect_s: float = 10.0,
        idle_s: float = 60.0,
        fresh_s: float = 1.0,
        most_idle: int = 64,
    ) -> None:
        """Keep a connection for `idle_s` seconds, `most_idle` at once; one that idles for `fresh_s` may carry any request.

        Longer ones carry only what may be sent again: the other side may be closing them just then.
        """
        self.upstream = upstream
        self._context = context
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._fresh_s = fresh_s
        self._most_idle = most_idle
        self._idle: list[Wire] = []
        self._ending: set[Wire] = set()

    async def open(self, *, may_be_old: bool, may_be_kept: bool = True) -> Exchange:
        """A connection to send a request on. Raises UpstreamError."""
        now = asyncio.get_running_loop().time()
        while self._idle and may_be_kept:
            wire = self._idle.pop()
            age = now - wire.idle_since
            if age > self._idle_s or not wire.is_quiet:
                wire.drop()
            elif age > self._fresh_s and not may_be_old:
                self._idle.append(wire)
                break
            else:
                wire.is_idle = False
                return Exchange(self, wire, was_kept=True)
        return Exchange(self, await self._connect(), was_kept=False)

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        upstream = self.upstream
        try:
            async with asyncio.timeout(self._connect_s):
                if upstream.path:
                    _, wire = await loop.create_unix_connection(lambda: Wire(self), upstream.path)
                else:
                    context: Any = (self._context or ssl.create_default_context()) if upstream.is_tls else None
                    _, wire = await loop.create_connection(
                        lambda: Wire(self), upstream.host, upstream.port, ssl=context
                    )
        except TimeoutError as error:
            msg = f"it did not connect within {self._connect_s:g} s"
            raise UpstreamSlowError(msg) from error
        except OSError as error:
            raise UpstreamError(str(error)) from error
        return wire

    def keep(self, wire: Wire) -> None:
        """Keep it for the next request, or close it where there are enough."""
        self._drop_old()
        if len(self._idle) >= self._most_idle or not wire.is_quiet:
            wire.drop()
            return
        wire.is_idle = True
        wire.idle_since = asyncio.get_running_loop().time()
        self._idle.append(wire)

    def _drop_old(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle[0].drop()

    def forget(self, wire: Wire) -> None:
        """It has ended."""
        self._ending.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)

    def finish(self, wire: Wire) -> None:
        """Close `wire` once what was written is sent, or the other side has had time to take it."""
        if wire.transport.get_write_buffer_size():
            self._ending.add(wire)
            asyncio.get_running_loop().call_later(_FLUSH_S, wire.transport.abort)
        wire.transport.close()

    def close(self) -> None:
        """Close what is kept, and what has not ended yet."""
        while self._idle:
            self._idle[-1].drop()
        for wire in tuple(self._ending):
            wire.drop()


class Exchange:
    """One request and its answer; `end` must be called, whatever happens."""

    def __init__(self, pool: Pool, wire: Wire, *, was_kept: bool) -> None:
        """On a wire that is nobody else's."""
        self._pool = pool
        self._wire: Wire | None = wire
        self.was_kept = was_kept
        self._http = wire.http
        self._came = False

    async def send_head(self, method: bytes, target: bytes, fields: Fields, *, ends: bool) -> None:
        """Send the request's head; with `ends` that is all of it. Raises UpstreamError, and ValueError for what is no field."""
        try:
            data = self._http.send(h11.Request(method=method, target=target, headers=list(fields)))
            if ends:
                data = (data or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error
        await self._write(data)

    async def send_data(self, data: bytes) -> None:
        """Send some of the body. Raises UpstreamError."""
        await self._write(self._http.send(h11.Data(data=data)))

    async def send_end(self, data: bytes = b"") -> None:
        """Send the last of the body, and its end. Raises UpstreamError."""
        rest = self._http.send(h11.Data(data=data)) or b"" if data else b""
        await self._write(rest + (self._http.send(h11.EndOfMessage()) or b""))

    async def head(self) -> h11.InformationalResponse | h11.Response:
        """The next head that comes: an interim one, or the final one. Raises UpstreamError."""
        event = await self._event()
        if isinstance(event, h11.InformationalResponse | h11.Response):
            return event
        raise self._failed("it closed the connection without an answer")

    async def body(self) -> AsyncGenerator[bytes]:
        """The content as it comes. Raises UpstreamError where it is cut short."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                msg = "it closed the connection in the middle of an answer"
                raise UpstreamError(msg)

    def leave_http(self) -> Wire:
        """After a 101: the connection, with whatever came behind that head. It is the caller's to `finish`."""
        wire, self._wire = self._wire, None
        if wire is None:
            msg = "the exchange has ended"
            raise UpstreamError(msg)
        wire.leave_http(self._http.trailing_data[0])
        return wire

    def end(self) -> None:
        """Keep the connection where both sides are done with it and may go on, else close it. Harmless when repeated."""
        wire, self._wire = self._wire, None
        if wire is None:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
            self._pool.keep(wire)
        else:
            wire.drop()

    async def _event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event | None:
        wire = self._wire
        if wire is None:
            return None
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await wire.read()
                self._came = self._came or bool(data)
                if not data and wire.was_reset:  # to h11 it would be the end of a body that has no length
                    raise self._failed("it broke off the connection")
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            text = "it closed the connection too early" if wire.has_ended else f"what it sent is no HTTP/1.1: {error}"
            raise self._failed(text) from error
        return event

    def _failed(self, text: str) -> UpstreamError:
        error = UpstreamError(text)
        error.is_stale = self.was_kept and not self._came
        return error

    async def _write(self, data: bytes | None) -> None:
        if self._wire is None:
            msg = "the exchange has ended"
            raise UpstreamError(msg)
        if data:
            await self._wire.write(data)
