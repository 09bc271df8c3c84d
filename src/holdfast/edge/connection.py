"""One connection's life: how it begins, whom it waits for, when it is over, and how it ends.

Owns: the queue of cycles, back-pressure between reading and writing, every limit in seconds, and the
polite close. Must not know: how requests are parsed or chosen (see `protocol`).
"""

from __future__ import annotations

import asyncio
import enum
from typing import Any, Final, NoReturn, cast

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from holdfast.edge.cycle import Arrival, Cycle
from holdfast.edge.heads import UPGRADE, encode_head, problem
from holdfast.edge.holding import HeldAnswer
from holdfast.edge.intake import ClientGoneError, RefusedError
from holdfast.edge.parking import Parked
from holdfast.edge.performing import Standing
from holdfast.edge.runtime import Runtime
from holdfast.edge.sending import Outlet
from holdfast.edge.streaming import OpenStream
from holdfast.edge.upgrading import Inbox
from holdfast.wire.exchange import Headers, Pending, Request, Response, Stream

__all__ = ["EdgeConnection", "Mode", "Phase", "connection_field"]


class Phase(enum.Enum):
    """Where the parser stands."""

    IDLE = "between requests"
    HEAD = "in request line or fields"
    BODY = "in a body"


class Mode(enum.Enum):
    """Who gets the request that is being parsed."""

    HOT = "collected here"
    COLD = "a cycle"
    ASGI = "the ASGI application"
    IGNORED = "nobody"


_READ_BEHIND: Final = 8
"""Requests that queue behind a parked one before nothing more is read: whoever reads nothing hears of no end."""

_CLOSE: Final = "connection: close\r\n"
_KEEP_ALIVE: Final = "connection: keep-alive\r\n"


def connection_field(*, keep: bool, http10: bool) -> str:
    """The Connection line of an answer; empty where HTTP/1.1 needs none (RFC 9112 section 9.3)."""
    if not keep:
        return _CLOSE
    return _KEEP_ALIVE if http10 else ""


class EdgeConnection(HttpToolsProtocol):
    """What `HoldfastProtocol` is built on.

    `_phase` and `_mode` say where the parser stands, `_since` and `_window` since when and with how many
    bytes; `_deaf` that nothing is parsed any more, `_last` that the request at hand is the last one. Where that one asks to leave
    HTTP, `_inbox` gets all that comes behind it, and decides when the socket is read.
    """

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
        self._limits = self.runtime.config.limits
        self._observe = self.runtime.config.observe
        self._sweep = self.runtime.sweep(self.loop)
        self._phase = Phase.IDLE
        self._mode = Mode.IGNORED
        self._since = self._sweep.now
        self._window = 0
        self._deaf = False
        self._last = False
        self._stopping = False
        self._lingering = False
        self._drained = 0
        self._progress: tuple[int, int] | None = None
        self._progress_at = 0.0
        self._standing: Standing | None = None
        self._inbox: Inbox | None = None
        self._client_host = ""
        self._scheme = "http"

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is here."""
        super().connection_made(transport)
        self._client_host = self.client[0] if self.client else ""
        self._scheme = self.scheme or "http"
        self.outlet = Outlet(transport, self.flow, self.loop, self.runtime, tls=self._scheme == "https")
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
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.lost()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more; True where it may still be written to."""
        if self._inbox is None or not self._inbox.is_open:
            return None
        self._inbox.end()
        return self.transport.can_write_eof()  # TLS ends both directions at once

    def shutdown(self) -> None:
        """End after what is in flight; at once when nothing is. Called by uvicorn."""
        self._stopping = True
        if self._is_busy():
            self._last = True
            self.cycle.keep_alive = False
        elif self._phase is Phase.HEAD and not self._deaf:
            pass  # the request that is arriving is answered as the last one
        elif self._phase is Phase.BODY and self._mode is Mode.HOT:
            self._last = True
        else:
            self.transport.close()
        if self._standing is not None:
            self._standing.hasten()

    @property
    def is_stopping(self) -> bool:
        """True once the server's graceful end has begun."""
        return self._stopping

    def _is_busy(self) -> bool:
        """True while a request that has been handed over is not yet answered."""
        cycle = self.cycle  # None before the first
        return not (not cycle or cycle.response_complete)

    def pause_writing(self) -> None:
        """The client takes less than is sent: read nothing more from it either."""
        super().pause_writing()
        if self._inbox is None:
            self.pause_intake()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._inbox is None:
            self.resume_intake()

    def pause_intake(self) -> None:
        """Read no more from the socket."""
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def resume_intake(self) -> None:
        """Read again, unless the client does not take its answers."""
        if not self.flow.write_paused and not self.transport.is_closing():
            self.flow.resume_reading()

    def _go_cold(self, cycle: Cycle) -> None:
        """Start the cycle, or queue it behind the one in flight."""
        is_busy = self._is_busy()
        self.cycle = cycle
        if not is_busy:
            self._start_cycle(cycle)
            return
        self.pipeline.appendleft((cycle, _NO_APPLICATION))
        self.pause_behind()
        if len(self.pipeline) >= self._limits.pipelined:
            cycle.keep_alive = False
            self._last = True

    def _start_cycle(self, cycle: Cycle) -> None:
        self._start_asgi_task(cycle, _NO_APPLICATION)

    def pause_behind(self) -> None:
        """Read no more while requests queue; a few of them where only a parked one is before them."""
        if self._standing is None or len(self.pipeline) > _READ_BEHIND:
            self.pause_intake()
        else:
            self.resume_intake()

    # What comes later

    def park(
        self, before: object, request: Request, response: Response, pending: Pending, *, keep: bool, http10: bool
    ) -> None:
        """Let `pending`, the body of `response`, stand where `before` stood until its answer comes."""
        holder = self.runtime.holder(self.loop)
        parked = Parked(self, request, response, pending, holder, keep=keep, http10=http10)
        self._stand(before, parked)
        if self.transport.is_closing():
            parked.lost()
        else:
            holder.after_commit(parked.begin)

    def open_stream(
        self, before: object, request: Request, response: Response, stream: Stream, *, keep: bool, http10: bool
    ) -> None:
        """Send the head, and let `stream` stand where `before` stood. Raises HeadError, with nothing sent."""
        keep = keep and not http10
        head = self.head_of(request, response, None, chunked=not http10, keep=keep, http10=http10)
        opened = OpenStream(self, stream, self._limits.stream_unsent_bytes, keep=keep, chunked=not http10)
        self._stand(before, opened)
        self.transport.write(head)
        opened.begin(self.runtime.holder(self.loop).nudge)

    def end_stream(self, opened: OpenStream) -> None:
        """All of a stream is written."""
        self._standing = None
        self.answered(keep=opened.keep_alive, unread=False)

    def begin_standing(self, standing: Standing) -> None:
        """Read on, as far as that may be, to hear when the client goes; and tell `standing` of it and of a stop."""
        self._standing = standing
        self.pause_behind()

    def end_standing(self, standing: Standing) -> None:
        """It has ended; what stands in its place by now goes on."""
        if self._standing is standing:
            self._standing = None

    def _stand(self, before: object, standing: Parked | OpenStream) -> None:
        self._put_in_place(before, standing)
        self._standing = standing
        self.pause_behind()

    def _put_in_place(self, before: object, after: object) -> None:
        """Let `after` be answered instead of `before`; where requests queue, the last of those stays the last."""
        if self.cycle is before:
            self.cycle = cast("RequestResponseCycle", after)

    def send_parked(self, parked: Parked, response: Response) -> None:
        """Send `response` by the rules of every answer."""
        raise NotImplementedError

    def send_held(self, answer: HeldAnswer, response: Response) -> None:
        """Write `response`, whose body is bytes, and go on with the next request."""
        raise NotImplementedError

    def head_of(
        self,
        request: Request | None,
        response: Response,
        length: int | None,
        *,
        chunked: bool,
        keep: bool,
        http10: bool,
        switches: bool = False,
    ) -> bytes:
        """The head as bytes; raises HeadError. Without a `request` it answers what is none; `switches` for a 101."""
        if self._observe is not None and request is not None:
            self._observe(request, response)
        defaults = self.runtime.defaults(self.server_state.default_headers)
        connection = UPGRADE if switches else connection_field(keep=keep, http10=http10)
        return encode_head(response, length, defaults, connection, chunked=chunked)

    def relayed_head(
        self,
        request: Request,
        response: Response,
        length: int | None,
        *,
        chunked: bool,
        keep: bool,
        http10: bool,
        switches: bool = False,
    ) -> bytes:
        """The head of an answer that another server gave, whose fields are its own; Date is added where it sent none.

        `switches` for a 101. Raises HeadError.
        """
        observe = self.runtime.config.observe_relayed
        if observe is not None:
            observe(request, response)
        is_dated = any(name.lower() == "date" for name, _ in response.headers)
        dates = [] if is_dated else [field for field in self.server_state.default_headers if field[0] == b"date"]
        lines = "".join(f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n" for name, value in dates)
        connection = UPGRADE if switches else connection_field(keep=keep, http10=http10)
        return encode_head(response, length, lines, connection, chunked=chunked)

    def answered(self, *, keep: bool, unread: bool) -> None:
        """A cycle has sent its answer."""
        if keep:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.close_after(unread=unread)

    def on_response_complete(self) -> None:
        """An answer is sent; called by cycles of both kinds."""
        self.server_state.total_requests += 1
        self.go_on()

    def go_on(self) -> None:
        """Take the next request, or wait for it."""
        if self.transport.is_closing():
            return
        if self._phase is Phase.IDLE:
            self._since = self._sweep.now
        self.resume_intake()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # Endings

    def _refuse(self, response: Response) -> None:
        """Answer what is not a request, in its turn, and end the connection."""
        receiving = self._phase is Phase.BODY
        self._deaf = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if not self._is_busy():
            body = cast("bytes", response.body)
            head = self.head_of(None, response, len(body), chunked=False, keep=False, http10=False)
            self.transport.write(head + body)
            self.close_after(unread=True)
        elif receiving and isinstance(cycle, Cycle) and self._mode is Mode.COLD:
            cycle.keep_alive = False
            cycle.intake.fail(RefusedError(response))
        elif receiving and self._mode is Mode.ASGI:
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
        elif self._phase is Phase.HEAD:
            if age > limits.head_s:
                self._refuse(problem(408, "The request took too long to arrive."))
        elif self._phase is Phase.BODY:
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


async def _no_application(*_: object) -> NoReturn:
    msg = "a cycle answers by a face and calls no application"
    raise RuntimeError(msg)


_NO_APPLICATION: Final = cast("ASGI3Application", _no_application)
