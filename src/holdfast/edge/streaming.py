"""Answers that come as things happen: the chunks of a Stream, and the one end of it.

Owns: the framing of chunks, the limit on what a client leaves unread, and that `stop` comes once. Must not know:
what is streamed, requests, keep-alive beyond its flag. An open stream has no task and no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from holdfast.edge.holding import Unheard
from holdfast.wire.exchange import Stream

__all__ = ["Connection", "OpenStream"]

logger = logging.getLogger("holdfast.edge")

_LAST_CHUNK: Final = b"0\r\n\r\n"
_ROOM: Final = 4
"""There is room while less than this part of the limit is unsent."""


class Connection(Protocol):
    """What a stream asks of the connection it is on."""

    transport: asyncio.Transport

    @property
    def is_stopping(self) -> bool:
        """True once the server's graceful end has begun."""
        ...

    def end_stream(self, opened: OpenStream, /) -> None:
        """All is written: go on with the next request, or close."""
        ...


class OpenStream:
    """One answer whose head is sent; the Sink of its Stream. It stands on its connection where a cycle would."""

    __slots__ = ("_chunked", "_connection", "_most", "_stream", "disconnected", "keep_alive", "response_complete")

    message_event: ClassVar = Unheard()

    def __init__(self, connection: Connection, stream: Stream, most: int, *, keep: bool, chunked: bool) -> None:
        """Cut the client off when it leaves more than `most` bytes unread."""
        self._connection = connection
        self._stream = stream
        self._most = most
        self._chunked = chunked
        self.keep_alive = keep
        self.disconnected = False
        self.response_complete = False

    def begin(self, nudge: Callable[[], None]) -> None:
        """The head is written: let it stream. An error cuts the client off, which can be told nothing else any more."""
        try:
            self._stream.start(self)
        except Exception:
            logger.exception("%s could not be started; its client was cut off", type(self._stream).__name__)
            self._connection.transport.abort()
        nudge()
        if self._connection.is_stopping:
            self.hasten()

    def send(self, data: bytes) -> bool:
        """Send a chunk now; False where the client is gone or was cut off, or the answer has ended."""
        transport = self._connection.transport
        if self.response_complete or transport.is_closing():
            return False
        if data:  # an empty chunk would be the last
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            if transport.get_write_buffer_size() > self._most:
                transport.abort()
                return False
        return True

    @property
    def has_room(self) -> bool:
        """True while the client has taken most of what was sent before."""
        return self._connection.transport.get_write_buffer_size() * _ROOM <= self._most

    def end(self) -> None:
        """The stream is over; harmless when it already was."""
        if self.response_complete:
            return
        self.response_complete = True
        transport = self._connection.transport
        if not transport.is_closing():
            if self._chunked:
                transport.write(_LAST_CHUNK)
            self._connection.end_stream(self)

    def lost(self) -> None:
        """The client is gone."""
        if not self.response_complete:
            self.response_complete = True
            self._stop()

    def hasten(self) -> None:
        """The server stops: end the answer as it should."""
        if not self.response_complete:
            self._stop()
            self.end()

    def _stop(self) -> None:
        try:
            self._stream.stop()
        except Exception:
            logger.exception("%s could not be stopped", type(self._stream).__name__)
