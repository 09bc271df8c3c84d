"""One request on the cold path: its body is large, its answer takes time, or others are before it.

Owns: the order of the steps (identify, admit, receive, call the face, settle, send) and what happens
when one fails. Must not know: parsing, timers, other requests. It takes the place of uvicorn's
RequestResponseCycle, so that uvicorn's pipelining, shutdown and disconnect logic drive it too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from holdfast.core.access import Principal
from holdfast.edge.heads import BODILESS, body_length, problem
from holdfast.edge.intake import ClientGoneError, Intake, RefusedError, receive, too_large
from holdfast.edge.performing import Connection as Stage
from holdfast.edge.performing import Performance
from holdfast.edge.sending import close_body
from holdfast.edge.settings import Slow
from holdfast.wire.exchange import Face, Pending, Request, Response, Stream
from holdfast.wire.scripts import Script

__all__ = ["Arrival", "Connection", "Cycle", "failure_of"]

logger = logging.getLogger("holdfast.edge")

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Stage, Protocol):
    """What a cycle asks of the connection it is on."""

    def pause_intake(self) -> None:
        """Read no more from the socket."""
        ...

    def resume_intake(self) -> None:
        """Read again, unless something else forbids it."""
        ...

    def answered(self, *, keep: bool, unread: bool) -> None:
        """The answer is sent; go on with the next request, or close (politely where a body is `unread`)."""
        ...

    def park(
        self, before: object, request: Request, response: Response, pending: Pending, *, keep: bool, http10: bool
    ) -> None:
        """Let `pending`, the body of `response`, stand where `before` stood until its answer comes."""
        ...

    def open_stream(
        self, before: object, request: Request, response: Response, stream: Stream, *, keep: bool, http10: bool
    ) -> None:
        """Send the head, and let `stream` stand where `before` stood. Raises HeadError, with nothing sent."""
        ...


class Arrival:
    """How a request came: what its framing says, beside the Request itself."""

    __slots__ = ("expects_continue", "http10", "keep", "length")

    def __init__(self, *, length: int | None, expects_continue: bool, http10: bool, keep: bool) -> None:
        """`length` of the body in bytes, None for chunked; `keep` when the connection may stay open."""
        self.length = length
        self.expects_continue = expects_continue
        self.http10 = http10
        self.keep = keep


def failure_of(face: Face, error: Exception) -> Response:
    """Log what a face raised, without the request's fields, and make the answer."""
    logger.error("%s raised; the request was answered 500", type(face).__name__, exc_info=error)
    return problem(500, "The server failed to handle this request; its log says more.")


class Cycle(RequestResponseCycle):
    """Runs as one task."""

    def __init__(self, connection: Connection, arrival: Arrival, request: Request, face: Face | None) -> None:
        """Answer `request` by `face`; without a face, `preset` must be set before it runs."""
        runtime = connection.runtime
        self.connection = connection
        self.arrival = arrival
        self.request = request
        self.face = face
        self.preset: Response | None = None
        self.disconnected = False
        self.keep_alive = arrival.keep
        self.response_started = False
        self.response_complete = False
        self.message_event = asyncio.Event()
        gather = runtime.config.limits.memory_body_bytes
        self.intake = Intake(self.message_event, connection.pause_intake, connection.resume_intake, gather)
        self._continued = not arrival.expects_continue
        self._handed_over = False

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Answer. Never raises but for the task's cancelling, which ends the connection."""
        try:
            await self.connection.outlet.drained()
            try:
                response = await self._respond()
            except RefusedError as refusal:
                response = refusal.response
            await self._finish(response)
        except ClientGoneError:
            self.connection.transport.abort()
        except asyncio.CancelledError:
            self.connection.transport.abort()
            raise
        except Exception:
            logger.exception("an answer could not be sent")
            self.connection.transport.abort()
        finally:
            self.response_complete = True

    async def _respond(self) -> Response:
        if self.preset is not None:
            return self.preset
        face = self.face
        assert face is not None
        try:
            self.request.principal = await self._identify()
            refusal = self._admit(face)
            if refusal is not None:
                return refusal
            self.request.body = await receive(self.intake, self.connection.runtime, self.arrival.length, self._continue)
            return await self._call(face)
        except (RefusedError, ClientGoneError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a face or a disk raises is answered
            return failure_of(face, error)

    async def _identify(self) -> Principal | None:
        identifier = self.connection.runtime.config.identifier
        found = identifier.identify_now(self.request)
        if not isinstance(found, Slow):
            return found
        return await self.connection.runtime.run(partial(identifier.identify_slowly, self.request))

    def _admit(self, face: Face) -> Response | None:
        """Ask the face, and the limits, about a body that is not here yet and may be large."""
        length = self.arrival.length
        limits = self.connection.runtime.config.limits
        is_large = length is None or length > limits.memory_body_bytes
        if not is_large and (self.intake.complete or not self.arrival.expects_continue):
            return None
        refusal = face.admit(self.request)
        if refusal is not None:
            return refusal
        if limits.body_bytes is not None and length is not None and length > limits.body_bytes:
            return too_large(limits.body_bytes)
        return None

    def _continue(self) -> None:
        """Tell a client that waits for it to send the body (RFC 9110 section 10.1.1)."""
        if not self._continued:
            self._continued = True
            if not self.intake.total and not self.connection.transport.is_closing():
                self.connection.transport.write(_CONTINUE)

    async def _call(self, face: Face) -> Response:
        request = self.request
        runtime = self.connection.runtime
        holder = runtime.holder(self.connection.loop)
        try:
            if isinstance(request.body, bytes) and face.is_brief(request):
                # What it may read of others' changes must be sure, since nobody asks that of its answer.
                holder.flush()
                return face(request)
            return await runtime.run(partial(_answer, face, request), partial(_undo, request))
        finally:
            holder.nudge()

    async def _settle(self) -> None:
        syncer = self.connection.runtime.syncer(self.connection.loop)
        if syncer.is_needed():
            waiter: asyncio.Future[None] = self.connection.loop.create_future()
            syncer.call_after(partial(_settled, waiter))
            await waiter

    async def _finish(self, response: Response) -> None:
        """Send `response`, whose files and iterator are closed whatever happens."""
        try:
            if response.awaits_sync and not isinstance(response.body, Pending):
                await self._settle()
            if self._leave_standing(response):
                return
            keep = await self._send(response)
        except RefusedError as refusal:
            keep = await self._send(refusal.response)
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception:
            if self.response_started:
                raise
            logger.exception("an answer could not be sent; 500 was sent in its place")
            keep = await self._send(problem(500, "The server failed to answer this request; its log says more."))
        finally:
            if not self._handed_over:
                close_body(response.body)
        self.response_complete = True
        self.connection.answered(keep=keep and self.keep_alive, unread=self._has_unread())

    def _has_unread(self) -> bool:
        """True where the client may still be sending what nobody reads."""
        return not self.intake.complete

    async def _send(self, response: Response) -> bool:
        """True when the connection may stay open after it."""
        connection = self.connection
        body = response.body
        if isinstance(body, Script):
            return await self._perform(response, body)
        length = body_length(body)
        http10 = self.arrival.http10
        bodiless = self.request.method == "HEAD" or response.status in BODILESS
        streamed = length is None and not bodiless
        keep = self.keep_alive and self._leave_rest() and not (streamed and http10)
        chunked = streamed and not http10
        head = connection.head_of(self.request, response, length, chunked=chunked, keep=keep, http10=http10)
        if connection.transport.is_closing():
            raise ClientGoneError
        if bodiless:
            connection.transport.write(head)
        elif isinstance(body, bytes):
            connection.transport.write(head + body)
        elif isinstance(body, list):
            self._handed_over = True
            await connection.outlet.send_parts(head, body, length or 0, self._starts)
        else:
            self._handed_over = True
            chunks = cast("Iterator[bytes]", body)  # what comes later has been left to the connection
            await connection.outlet.send_chunks(head, chunks, self._starts, chunked=chunked)
        return keep

    def _leave_standing(self, response: Response) -> bool:
        """Leave what comes later to the connection, which needs no task for it; False for what is to be sent now."""
        body = response.body
        method = self.request.method
        if isinstance(body, (bytes, list)) or not isinstance(body, (Pending, Stream)):
            return False
        if not self.intake.complete:
            msg = "a request was refused with a body that comes later"
            raise TypeError(msg)
        http10 = self.arrival.http10
        if isinstance(body, Pending):
            self.connection.park(self, self.request, response, body, keep=self.keep_alive, http10=http10)
        elif method == "HEAD" or response.status in BODILESS:
            return False
        elif self.connection.transport.is_closing():
            raise ClientGoneError
        else:
            self.connection.open_stream(self, self.request, response, body, keep=self.keep_alive, http10=http10)
        return True

    async def _perform(self, response: Response, script: Script) -> bool:
        """True when the connection may stay open after it."""
        has_room = self._leave_rest()
        performance = Performance(self.connection, self.request, response, script, http10=self.arrival.http10)
        return await performance.perform(lambda: has_room and self.keep_alive, self._starts)

    def _starts(self) -> None:
        self.response_started = True

    def _leave_rest(self) -> bool:
        """Drop what the answer does not need of the body; True when the rest is so small that it may still come."""
        if self.intake.complete:
            return True
        self.intake.drop()
        self.connection.resume_intake()
        length = self.arrival.length
        if length is None or not self._continued:
            return False
        return length - self.intake.total <= self.connection.runtime.config.limits.memory_body_bytes


def _answer(face: Face, request: Request) -> Response:
    """Call `face`; an upload that it left is discarded."""
    try:
        return face(request)
    finally:
        if not isinstance(request.body, bytes):
            request.body.discard()


def _undo(request: Request, future: Future[Response]) -> None:
    """Leave nothing of a call whose caller was cancelled."""
    if not isinstance(request.body, bytes):
        request.body.discard()
    if not future.cancelled() and future.exception() is None:
        close_body(future.result().body)


def _settled(waiter: asyncio.Future[None], error: BaseException | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
