"""One connection: HTTP/1.1 in, requests to faces, answers out.

Owns: parsing (by httptools, under uvicorn's protocol class), the choice between the hot path, the
cold path and the ASGI application, and every limit that a connection has. Must not know: what faces
do, locks, WebDAV.

Theory of operation: a request whose body is small, and before which nothing is in flight, is
collected and, when its face calls it brief, answered inside the parser's last callback with one
write: no task, no ASGI dicts, no timer. Every other request for a face becomes a Cycle, which runs as
a task. What no face takes goes to uvicorn's own machinery; only for it are ASGI dicts built. Answers keep
the order of requests: behind an unfinished one all others queue in uvicorn's `pipeline`.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Any, Final, NoReturn, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from holdfast.edge.cycle import Arrival, Cycle, failure_of
from holdfast.edge.heads import BODILESS, HeadError, body_length, encode_head, problem
from holdfast.edge.intake import ClientGoneError, RefusedError
from holdfast.edge.runtime import Runtime
from holdfast.edge.sending import SMALL_BYTES, Outlet, TruncatedError, read_small
from holdfast.edge.settings import Slow
from holdfast.edge.target import BadRequestError, body_length_of, check_host, split_target
from holdfast.wire.exchange import Face, FileRegion, Headers, Request, Response

__all__ = ["HoldfastProtocol", "protocol_class"]

logger = logging.getLogger("holdfast.edge")

Fields = list[tuple[bytes, bytes]]

_CLOSE: Final = "connection: close\r\n"
_KEEP_ALIVE: Final = "connection: keep-alive\r\n"


class _Phase(enum.Enum):
    """Where the parser stands."""

    IDLE = "between requests"
    HEAD = "in request line or fields"
    BODY = "in a body"


class _Mode(enum.Enum):
    """Who gets the request that is being parsed."""

    HOT = "collected here"
    COLD = "a cycle"
    ASGI = "the ASGI application"
    IGNORED = "nobody"


_IDLE, _HEAD, _BODY = _Phase.IDLE, _Phase.HEAD, _Phase.BODY
_HOT, _COLD, _ASGI, _IGNORED = _Mode.HOT, _Mode.COLD, _Mode.ASGI, _Mode.IGNORED


class _Nowhere(list[tuple[bytes, bytes]]):
    """Where trailers go: they are read and forgotten (RFC 9110 section 6.5.1)."""

    def append(self, _field: tuple[bytes, bytes], /) -> None:
        """Forget it."""


_NOWHERE: Final = _Nowhere()


class HoldfastProtocol(HttpToolsProtocol):
    """Give uvicorn a subclass made by `protocol_class`, which sets `runtime`."""

    runtime: Runtime
    outlet: Outlet

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it."""
        super().__init__(config, server_state, app_state, _loop)
        runtime = self.runtime
        self._route = runtime.config.route
        self._identify_now = runtime.config.identifier.identify_now
        limits = self._limits = runtime.config.limits
        self._head_bytes = limits.head_bytes
        self._head_fields = limits.head_fields
        self._memory_bytes = limits.memory_body_bytes
        self._sweep = runtime.sweep(self.loop)
        self._phase = _IDLE
        self._mode = _IGNORED
        self._since = self._sweep.now
        self._deaf = False
        self._lingering = False
        self._drained = 0
        self._last = False
        self._stopping = False
        self._unparsed = 0
        self._may_be_large = False
        self._without_upgrade = b""
        self._body_came = False
        self._window = 0
        self._progress: tuple[int, int] | None = None
        self._progress_at = 0.0
        self._parts: list[bytes] = []
        self._client_host = ""
        # What is known of the request at hand, on the hot path.
        self._request: Request
        self._face: Face
        self._length = 0
        self._http10 = False

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is here."""
        super().connection_made(transport)
        self._client_host = self.client[0] if self.client else ""
        self.outlet = Outlet(transport, self.flow, self.loop, self.runtime, tls=self.scheme == "https")
        self._sweep.join(self)
        self._since = self._sweep.now
        if len(self.connections) > self._limits.connections:
            wait = ("retry-after", str(self._limits.retry_after_s))
            self._refuse(problem(503, "Too many connections are open; try again shortly.", [wait]))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; whatever was in flight learns it."""
        self._sweep.leave(self)
        self._deaf = True
        if isinstance(self.cycle, Cycle):
            self.cycle.intake.fail(ClientGoneError())
        self.outlet.connection_lost()
        super().connection_lost(exc)
        self.pipeline.clear()

    def shutdown(self) -> None:
        """End after what is in flight; at once when nothing is. Called by uvicorn."""
        self._stopping = True
        if self._is_busy():
            self._last = True
            self.cycle.keep_alive = False
        elif self._phase is _HEAD and not self._deaf:
            pass  # the request that is arriving is answered as the last one
        elif self._phase is _BODY and self._mode is _HOT:
            self._last = True
        else:
            self.transport.close()

    def _is_busy(self) -> bool:
        """True while a request that has been handed over is not yet answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def pause_writing(self) -> None:
        """The client takes less than is sent: read nothing more from it either."""
        super().pause_writing()
        self.pause_intake()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self.resume_intake()

    def pause_intake(self) -> None:
        """Read no more from the socket."""
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def resume_intake(self) -> None:
        """Read again, unless the client does not take its answers."""
        if not self.flow.write_paused and not self.transport.is_closing():
            self.flow.resume_reading()

    # Bytes

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below do the rest."""
        parser = self.parser
        if self._deaf or parser is None:
            self._drain(len(data))
            return
        was_idle = self._phase is _IDLE
        self._may_be_large = len(data) > self._head_bytes or not was_idle
        self._body_came = False
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_again(data, upgrade)
            return
        except httptools.HttpParserError as error:
            self._bad_bytes(error)
        if self._phase is not _IDLE:
            self._count_unparsed(len(data), was_idle=was_idle)

    def _parse_again(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """No upgrade is supported: read the request, and what follows, as if none were asked for (RFC 9110 7.8).

        The parser takes what follows the head for another protocol, the body included, so it gets the
        head once more, without the Upgrade field.
        """
        head, self._without_upgrade = self._without_upgrade, b""
        offset = cast("int", upgrade.args[0])
        if head:
            self._phase = _IDLE
            self.data_received(head + data[offset:])

    def _bad_bytes(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            logger.error("a parser callback failed", exc_info=cause)
            self._refuse(problem(500, "The server failed to read this request; its log says more."))
        elif isinstance(error, httptools.HttpParserInvalidMethodError):
            self._refuse(problem(501, "The method is not known here."))
        else:
            self._refuse(problem(400, "This is not a well-formed HTTP/1.1 request."))

    def _count_unparsed(self, size: int, *, was_idle: bool) -> None:
        """Bound what the parser holds back: an unfinished head, chunk extensions, trailers."""
        if self._phase is _HEAD:
            self._unparsed += size if was_idle or self._unparsed else 1
            detail = "The request line and fields are too large."
        elif self._body_came or self._mode is _HOT:
            self._unparsed = 0
            return
        else:
            self._unparsed += size
            detail = "The chunk extensions or trailers are too large."
        if self._unparsed > self._limits.head_bytes and not self._deaf:
            self._refuse(problem(431, detail))

    # Parser callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url = b""
        self.headers = []
        self._unparsed = 0
        self._phase = _HEAD
        self._since = self._sweep.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is here: choose who gets the request."""
        fields, self.headers = self.headers, _NOWHERE
        self._phase = _BODY
        self._since = self._sweep.now
        self._window = 0
        if self._deaf or self._last or self.transport.is_closing():
            self._mode = _IGNORED
            return
        try:
            self._begin(fields)
        except BadRequestError as error:
            self._mode = _IGNORED
            self._refuse(problem(error.status, str(error)))

    def _begin(self, fields: Fields) -> None:
        url = self.url
        if len(fields) > self._head_fields:
            raise BadRequestError(431, f"There are more than {self._head_fields} fields.")
        if self._may_be_large and len(url) + sum([len(name) + len(value) for name, value in fields]) > self._head_bytes:
            raise BadRequestError(431, "The request line and fields are too large.")
        parser = self.parser
        assert parser is not None
        method = parser.get_method().decode("ascii")
        target, query = split_target(method, url)
        headers = Headers(fields)
        if b"upgrade" in headers and parser.should_upgrade():
            lines = [b"%b: %b\r\n" % field for field in fields if field[0] != b"upgrade"]
            version = parser.get_http_version().encode("ascii")
            self._without_upgrade = b"%b %b HTTP/%b\r\n%b\r\n" % (method.encode("ascii"), url, version, b"".join(lines))
            self._mode = _IGNORED
            return
        keep = parser.should_keep_alive() and not self._stopping
        # Only HTTP/1.1 is kept open without being asked to, and asking the parser for a version is slow.
        http10 = (not keep or b"connection" in headers) and parser.get_http_version() == "1.0"
        if not http10:
            check_host(headers.get(b"host"))
        face = self._route(method, target)
        if face is None:
            self._last = not keep
            self._to_asgi(fields, headers)
            return
        length = body_length_of(headers)
        expects = b"expect" in headers and _expects_continue(headers) and not http10
        self._last = not keep
        request = Request(method, target, headers, None, b"", query, cast("str", self.scheme), self._client_host)
        is_small = length is not None and length <= self._memory_bytes and not expects
        if is_small and not self._is_busy() and not self.flow.write_paused:
            self._mode = _HOT
            self._request = request
            self._face = face
            self._length = cast("int", length)
            self._http10 = http10
        else:
            self._mode = _COLD
            arrival = Arrival(length=length, expects_continue=expects, http10=http10, keep=keep)
            self._go_cold(Cycle(self, arrival, request, face))

    def _to_asgi(self, fields: Fields, headers: Headers) -> None:
        """Let uvicorn do as it would have done."""
        self._mode = _ASGI
        url = self.url
        super().on_message_begin()
        self.url = url
        self.headers = fields
        self.scope["headers"] = fields
        self.expect_100_continue = _expects_continue(headers)
        super().on_headers_complete()
        self.headers = _NOWHERE

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body_came = True
        self._window += len(body)
        mode = self._mode
        if mode is _HOT:
            self._parts.append(body)
        elif mode is _COLD:
            cast("Cycle", self.cycle).intake.feed(body)
        elif mode is _ASGI:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._phase = _IDLE
        self._since = self._sweep.now
        mode = self._mode
        if mode is _HOT:
            parts = self._parts
            if parts:
                self._request.body = parts[0] if len(parts) == 1 else b"".join(parts)
                self._parts = []
            self._answer_hot()
        elif mode is _COLD:
            cast("Cycle", self.cycle).intake.finish()
        elif mode is _ASGI:
            super().on_message_complete()
        self._mode = _IGNORED

    # Answers

    def _answer_hot(self) -> None:
        """Answer here and now where that is short work; otherwise start a cycle."""
        request = self._request
        face = self._face
        try:
            principal = self._identify_now(request.headers.get(b"authorization"), self._client_host)
            if isinstance(principal, Slow):
                self._go_cold(self._complete_cycle())
                return
            request.principal = principal
            if not face.is_brief(request):
                self._go_cold(self._complete_cycle())
                return
            response = face(request)
        except Exception as error:  # noqa: BLE001 - whatever a face raises is answered
            response = failure_of(face, error)
        if response.awaits_sync and self.runtime.syncer(self.loop).is_needed():
            self._answer_cold(response)
            return
        body = response.body
        if not isinstance(body, bytes):
            length = body_length(body) if isinstance(body, list) else None
            if length is None or length > SMALL_BYTES or not self._read_in(response):
                self._answer_cold(response)
                return
        self._write_whole(response)

    def _read_in(self, response: Response) -> bool:
        """Put the bytes of small files into the body itself; False where they cannot be read."""
        parts = cast("list[bytes | FileRegion]", response.body)
        if self._request.method == "HEAD":
            return False
        try:
            response.body = read_small(parts)
        except (OSError, TruncatedError):
            return False
        return True

    def _write_whole(self, response: Response) -> None:
        """Write the answer to the request at hand, whose body is bytes; close where it is the last."""
        body = cast("bytes", response.body)
        keep = not self._last
        connection = "" if keep and not self._http10 else _KEEP_ALIVE if keep else _CLOSE
        defaults = self.runtime.defaults(self.server_state.default_headers)
        try:
            head = encode_head(response, len(body), defaults, connection)
        except HeadError:
            logger.exception("an answer could not be sent; 500 was sent in its place")
            response = problem(500, "The server failed to answer this request; its log says more.")
            body = cast("bytes", response.body)
            head = encode_head(response, len(body), defaults, connection)
        bodiless = self._request.method == "HEAD" or response.status in BODILESS
        self.transport.write(head if bodiless else head + body)
        self.server_state.total_requests += 1
        if not keep:
            self.close_after(unread=False)

    def _complete_cycle(self) -> Cycle:
        keep = not self._last
        arrival = Arrival(length=self._length, expects_continue=False, http10=self._http10, keep=keep)
        cycle = Cycle(self, arrival, self._request, self._face)
        cycle.intake.feed(cast("bytes", self._request.body))
        cycle.intake.finish()
        self._request.body = b""
        return cycle

    def _answer_cold(self, response: Response) -> None:
        cycle = self._complete_cycle()
        cycle.preset = response
        self._go_cold(cycle)

    def _go_cold(self, cycle: Cycle) -> None:
        """Start the cycle, or queue it behind the one in flight."""
        is_busy = self._is_busy()
        self.cycle = cycle
        app = cast("ASGI3Application", _no_application)
        if not is_busy:
            self._start_asgi_task(cycle, app)
            return
        self.pause_intake()
        self.pipeline.appendleft((cycle, app))
        if len(self.pipeline) >= self._limits.pipelined:
            cycle.keep_alive = False
            self._last = True

    def head_of(self, response: Response, length: int | None, *, chunked: bool, keep: bool, http10: bool) -> bytes:
        """The head as bytes; raises HeadError."""
        connection = "" if keep and not http10 else _KEEP_ALIVE if keep else _CLOSE
        defaults = self.runtime.defaults(self.server_state.default_headers)
        return encode_head(response, length, defaults, connection, chunked=chunked)

    def answered(self, *, keep: bool, unread: bool) -> None:
        """A cycle has sent its answer."""
        if keep:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.close_after(unread=unread)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it; called by cycles of both kinds."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._phase is _IDLE:
            self._since = self._sweep.now
        self.resume_intake()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # Endings

    def _refuse(self, response: Response) -> None:
        """Answer what is not a request, in its turn, and end the connection."""
        receiving = self._phase is _BODY
        self._deaf = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if not self._is_busy():
            body = cast("bytes", response.body)
            head = self.head_of(response, len(body), chunked=False, keep=False, http10=False)
            self.transport.write(head + body)
            self.close_after(unread=True)
        elif receiving and isinstance(cycle, Cycle) and self._mode is _COLD:
            cycle.keep_alive = False
            cycle.intake.fail(RefusedError(response))
        elif receiving and self._mode is _ASGI:
            self.transport.close()
        else:
            request = Request("GET", "", Headers(), None)
            arrival = Arrival(length=None, expects_continue=False, http10=False, keep=False)
            last = Cycle(self, arrival, request, None)
            last.preset = response
            self._go_cold(last)

    def close_after(self, *, unread: bool) -> None:
        """End the connection after what is written; where the client still sends, let it read the answer first.

        Closing a socket that holds unread bytes resets the connection, and the client may lose the answer.
        """
        self._deaf = True
        if not unread:
            self.transport.close()
            return
        self._lingering = True
        self._since = self.loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_intake()

    def _drain(self, size: int) -> None:
        self._drained += size
        if self._drained > self._limits.linger_bytes:
            self.pause_intake()

    # Time

    def check(self, now: float) -> None:
        """Act where the client has had its time. Called once per tick."""
        if self.transport.is_closing():
            return
        self._check_progress(now)
        limits = self._limits
        age = now - self._since
        if self._lingering:
            if age > limits.linger_s:
                self.transport.abort()
        elif self._deaf:
            return
        elif self._phase is _HEAD:
            if age > limits.head_s:
                self._refuse(problem(408, "The request took too long to arrive."))
        elif self._phase is _BODY:
            self._check_window(now, age)
        elif age > limits.idle_s and not self._is_busy():
            self.transport.close()

    def _check_window(self, now: float, age: float) -> None:
        if self.flow.read_paused:
            self._since, self._window = now, 0
        elif age > self._limits.body_window_s:
            if self._window < self._limits.body_window_bytes:
                self._refuse(problem(408, "The body took too long to arrive."))
            self._since, self._window = now, 0

    def _check_progress(self, now: float) -> None:
        progress = self.outlet.progress
        if progress is None or progress != self._progress:
            self._progress = progress
            self._progress_at = now
        elif now - self._progress_at > self._limits.stall_s:
            self.transport.abort()


def _expects_continue(headers: Headers) -> bool:
    return (headers.get(b"expect") or "").lower() == "100-continue"


async def _no_application(*_: object) -> NoReturn:
    msg = "a cycle answers by a face and calls no application"
    raise RuntimeError(msg)


def protocol_class(runtime: Runtime) -> type[HoldfastProtocol]:
    """The class to give to uvicorn as `http=`, bound to `runtime`."""
    return type("BoundHoldfastProtocol", (HoldfastProtocol,), {"runtime": runtime})
