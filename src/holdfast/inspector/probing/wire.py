"""The wire of a probe: one request, whole, as it is written, and the response, whole, as it came.

Owns: connections of `http.client`, kept open for each thread, their limits in time and size, and an upload that stops midway. Must
not know: WebDAV, or probes. It follows no redirect, uses no proxy, decodes nothing and repeats nothing, but for a request on a kept
connection that the server had already closed.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.probing.probe import UndecidedError

__all__ = ["HttpTransport", "Midway", "NoAnswerError", "Transport"]

Midway = Callable[[], object]
"""What is done when the first half of a body is sent."""

_MOST_BODY: Final = 2 * 1024 * 1024
_CONTINUE_S: Final = 3.0
"""For how long an interim answer is waited for."""


class NoAnswerError(UndecidedError):
    """No answer came, or none that is HTTP; the text says what happened instead."""


class Transport(Protocol):
    """What carries a request to the server under probe, from several threads at once."""

    def exchange(self, request: SentRequest, within: float, midway: Midway | None = None) -> Exchange:
        """Send it and return what came, within so many seconds. Raises NoAnswerError."""
        ...

    def release(self) -> None:
        """Close what this thread has open."""
        ...


class HttpTransport:
    """Transport over sockets, to the host of a URL; https with the machine's own certificates."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        parts = urlsplit(url)
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._here = threading.local()

    def exchange(self, request: SentRequest, within: float, midway: Midway | None = None) -> Exchange:
        """Send it and return what came. Raises NoAnswerError."""
        until = time.monotonic() + within
        is_kept = getattr(self._here, "connection", None) is not None
        try:
            return self._once(request, until, midway)
        except (OSError, http.client.HTTPException) as error:
            self.release()
            if not is_kept or midway is not None or isinstance(error, TimeoutError):
                raise _no_answer(request, error) from error
        try:
            return self._once(request, until, None)
        except (OSError, http.client.HTTPException) as error:
            self.release()
            raise _no_answer(request, error) from error

    def release(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._here, "connection", None)
        if connection is not None:
            self._here.connection = None
            connection.close()

    def _connection(self, within: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._here, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
            connection = kind(self._host, self._port, timeout=within)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._here.connection = connection
        connection.sock.settimeout(max(within, 0.05))
        return connection

    def _once(self, request: SentRequest, until: float, midway: Midway | None) -> Exchange:
        began = time.monotonic()
        connection = self._connection(until - began)
        parts = urlsplit(request.url)
        # The target goes as it is written: `http.client` adds nothing to it, and dot segments stay.
        target = request.url.partition("//")[2].removeprefix(parts.netloc) or "/"
        connection.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in request.fields:
            connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        if request.body or request.method in {"PUT", "POST", "PATCH"}:
            connection.putheader("Content-Length", str(len(request.body)))
        is_asking = request.has("expect")
        interim: tuple[ReceivedResponse, ...] = ()
        was_sent = True
        connection.endheaders(None if is_asking or midway is not None else request.body or None)
        if is_asking:
            was_sent = self._may_send(connection, until)
            if was_sent:
                interim = (ReceivedResponse(status=100, reason="Continue"),)
        if was_sent and (is_asking or midway is not None):
            half = len(request.body) // 2
            connection.send(request.body[:half])
            if midway is not None:
                self._here.connection = None  # what is sent midway goes over a connection of its own
                midway()
                self.release()
                self._here.connection = connection
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer may have come already
                connection.send(request.body[half:])
        received = self._receive(connection, until)
        came_at = datetime.now(UTC)
        if not was_sent:
            self.release()
        return Exchange(
            response=received,
            request=request,
            interim=interim,
            received_at=came_at,
            answered_s=time.monotonic() - began,
            body_was_sent=was_sent,
        )

    @staticmethod
    def _may_send(connection: http.client.HTTPConnection, until: float) -> bool:
        """Wait for the first bytes of an answer: False where it is a final one. A server that keeps silent is sent the body."""
        wait = max(min(_CONTINUE_S, until - time.monotonic()), 0)
        if not select.select([connection.sock], [], [], wait)[0]:
            return True
        try:
            head = connection.sock.recv(12, socket.MSG_PEEK)
        except ValueError:  # TLS has no way to look ahead
            return True
        return head[9:12] == b"100"

    def _receive(self, connection: http.client.HTTPConnection, until: float) -> ReceivedResponse:
        response = connection.getresponse()
        body = bytearray()
        while piece := response.read1(65_536):
            body += piece
            if len(body) > _MOST_BODY or time.monotonic() > until:
                break
        is_whole = (response.isclosed() or response.length == 0) and not response.length
        fields = tuple(response.getheaders())
        version = "1.0" if response.version == 10 else "1.1"
        response.close()
        if not is_whole or response.will_close:
            self.release()
        return ReceivedResponse(
            status=response.status,
            reason=response.reason,
            fields=fields,
            body=bytes(body),
            version=version,
            body_is_whole=is_whole,
        )


def _no_answer(request: SentRequest, error: Exception) -> NoAnswerError:
    what = (
        "no answer in time" if isinstance(error, TimeoutError) else f"no answer: {str(error) or type(error).__name__}"
    )
    return NoAnswerError(f"{request.method} {urlsplit(request.url).path}: {what}")
